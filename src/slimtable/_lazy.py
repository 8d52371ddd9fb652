"""Lazy imports: the public names of a package are listed once, in a stub file in its folder."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any


def attach(package: str, folder: Path) -> tuple[Callable[[str], Any], Callable[[], list[str]], dict[str, str]]:
    """Creates ``__getattr__`` and ``__dir__`` of a package from its ``__init__.pyi``.

    Args:
        package: its name.
        folder: folder of the package.

    Returns:
        Both functions, and the module of each name.
    """
    stub = ast.parse((folder / "__init__.pyi").read_text())
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    module_of = {alias.name: str(node.module) for node in imports for alias in node.names}

    def get(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return load(package, module_of[name], name)

    return get, lambda: sorted(module_of), module_of


def load(package: str, module: str, name: str) -> Any:
    """Imports a name of a module; if a library is missing, the error says what to install."""
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("slimtable"):
            raise
        raise ModuleNotFoundError(
            f"{package}.{name} needs {error.name}, which is not installed. Run: pip install 'slimtable[train]'",
            name=error.name,
        ) from error
