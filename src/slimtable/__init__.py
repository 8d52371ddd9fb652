"""Slim embedding tables for recommender systems: train, compress, pack, verify and serve them.

    >>> from slimtable import MGQEConfig
    >>> MGQEConfig(codebook_sizes=(256, 64)).share_codebook
    True

The public names are listed in ``__init__.pyi``, and the classes of ``methods/`` are public as well. Each is imported
when it is first used, so that opening and serving artifacts needs no PyTorch.
"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import Any

from slimtable._version import __version__ as __version__

_FOLDER = Path(__file__).parent


def _listed() -> dict[str, str]:
    """Module of each public name in the stub."""
    imports = [
        node for node in ast.parse((_FOLDER / "__init__.pyi").read_text()).body if isinstance(node, ast.ImportFrom)
    ]
    return {alias.name: str(node.module) for node in imports for alias in node.names}


def _of_methods() -> dict[str, str]:
    """Module of the registered class of each method, and of its configuration; no file is imported."""
    found = {}
    for path in sorted((_FOLDER / "methods").glob("[a-z]*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and "register(" in "".join(map(ast.unparse, node.decorator_list)):
                found |= dict.fromkeys((node.name, f"{node.name}Config"), f"slimtable.methods.{path.stem}")
    return found


_MODULE_OF_NAME = _listed()
__all__ = sorted(_MODULE_OF_NAME)


def __getattr__(name: str) -> Any:
    module = _MODULE_OF_NAME.get(name) or _of_methods().get(name)
    if module is None:
        raise AttributeError(f"module 'slimtable' has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("slimtable"):
            raise
        raise ModuleNotFoundError(
            f"slimtable.{name} needs {error.name}, which is not installed. Run: pip install 'slimtable[train]'",
            name=error.name,
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
