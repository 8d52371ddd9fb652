"""Slim embedding tables for recommender systems: train, compress, pack, verify and serve them.

    >>> from slimtable import MGQEConfig
    >>> MGQEConfig(codebook_sizes=(256, 64)).share_codebook
    True

The public names are listed in ``__init__.pyi``, and the classes of ``methods/`` are public as well. Each is imported
on first use, so that opening and serving artifacts needs no PyTorch.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from slimtable._lazy import attach, load
from slimtable._version import __version__ as __version__

_FOLDER = Path(__file__).parent


def _of_methods() -> dict[str, str]:
    """Module of the registered class of each method, and of its configuration; no file is imported."""
    found = {}
    for path in sorted((_FOLDER / "methods").glob("[a-z]*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and "register(" in "".join(map(ast.unparse, node.decorator_list)):
                found |= dict.fromkeys((node.name, f"{node.name}Config"), f"slimtable.methods.{path.stem}")
    return found


_get, _, _MODULE_OF_NAME = attach(__name__, _FOLDER)
__all__ = sorted(_MODULE_OF_NAME)


def __getattr__(name: str) -> Any:
    found = _of_methods().get(name) if name not in _MODULE_OF_NAME else None
    value = globals()[name] = _get(name) if found is None else load(__name__, found, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_of_methods()})
