"""Who may import whom: the floors of docs/architecture.md, no circles, and no method named outside its folder."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.extras import modules_of_extras

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"

LEAVES = {
    "_lazy",
    "_version",
    "budget",
    "config",
    "errors",
    "files",
    "memory",
    "pool",
    "progress",
    "registry",
    "settings_file",
    "specs",
}
_FILES = LEAVES | {"artifact"}
_CODECS = _FILES | {"codecs"}
_DATA = LEAVES | {"artifact", "data"}
_LEARNING = _CODECS | {"data", "grouping", "embeddings", "methods", "models", "training"}
MAY_IMPORT = {
    **dict.fromkeys(LEAVES, LEAVES),
    "artifact": LEAVES | {"artifact"},
    "serve": _FILES | {"serve"},
    "export": _FILES | {"export"},
    "codecs": _CODECS,
    "data": _DATA,
    "grouping": _DATA | {"grouping"},
    "embeddings": _CODECS | {"data", "grouping", "embeddings"},
    "methods": _CODECS | {"data", "grouping", "embeddings", "methods"},
    "models": _CODECS | {"data", "grouping", "embeddings", "methods", "models"},
    "training": _LEARNING,
    "tables": _CODECS | {"data", "tables"},
    "compress": _CODECS | {"data", "tables", "grouping", "embeddings", "methods", "reporting", "compress"},
    "reporting": LEAVES | {"reporting"},
    "pipeline": _LEARNING | {"serve", "compress", "tables", "reporting", "pipeline"},
    "bench": _LEARNING | {"serve", "compress", "reporting", "bench"},
    "cli": _LEARNING | {"serve", "tables", "compress", "reporting", "pipeline", "bench", "cli", "export"},
}
"""By package or top module, what its files may import of `slimtable`."""

BASE = ("artifact", "serve", "codecs", *sorted(LEAVES))
"""What a base install uses, but for what `EXTRAS` names."""
EXTRAS = {"settings_file": {"pydantic", "yaml"}}


def _module(path: Path) -> str:
    parts = path.relative_to(SRC if path.is_relative_to(SRC) else ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _statements(tree: ast.AST, checkers: bool = False) -> Iterator[ast.stmt]:
    """All statements but those for type checkers alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.stmt):
            yield node
        yield from _statements(node)


@cache
def imports(path: Path) -> tuple[tuple[str, int], ...]:
    """The modules that a file imports anywhere, with the line; names of packages that are modules count as these."""
    found = []
    for node in _statements(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            base = str(node.module)
            for alias in node.names:
                whole = SRC / f"{base}.{alias.name}".replace(".", "/")
                is_module = whole.with_suffix(".py").is_file() or (whole / "__init__.py").is_file()
                found.append((f"{base}.{alias.name}" if is_module else base, node.lineno))
    return tuple(found)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def _part(module: str) -> str:
    """The package or top module of `slimtable` that a module belongs to."""
    return module.split(".")[1] if "." in module else ""


def test_imports_only_go_down() -> None:
    wrong = []
    for path in _files(SRC / "slimtable"):
        own = _part(_module(path))
        for module, line in imports(path):
            if own and module.startswith("slimtable.") and _part(module) not in MAY_IMPORT[own]:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {module}")
            if module.split(".")[0] == "studies":
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports a study")
    assert wrong == []


def test_every_package_has_a_floor_and_the_top_is_small() -> None:
    top = {
        path.stem for path in (SRC / "slimtable").iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert top - {"__init__"} == set(MAY_IMPORT)
    modules = [path for path in (SRC / "slimtable").glob("*.py") if not path.stem.startswith("_")]
    assert len(modules) <= 10


@pytest.mark.parametrize("part", BASE)
def test_files_and_codecs_never_import_what_an_extra_brings(part: str) -> None:
    place = SRC / "slimtable" / part
    absent = modules_of_extras() - EXTRAS.get(part, set())
    for path in _files(place) if place.is_dir() else [place.with_suffix(".py")]:
        assert not absent & {module.split(".")[0] for module, _ in imports(path)}, path


def test_there_are_no_circles() -> None:
    """Imports at the head of files form no circle, between files and between packages."""
    graph: dict[str, set[str]] = {}
    packages: dict[str, set[str]] = {}
    for path in _files(SRC / "slimtable"):
        module = _module(path)
        used = {name for name, _ in imports(path) if name.startswith("slimtable.") and name != module}
        if path.name != "__init__.py":
            graph[module] = {name for name in used if not (SRC / name.replace(".", "/") / "__init__.py").is_file()}
        if _part(module):
            packages.setdefault(_part(module), set()).update(_part(name) for name in used)
    for own, used in packages.items():
        used.discard(own)
    for each in (graph, packages):
        try:
            tuple(TopologicalSorter(each).static_order())
        except CycleError as error:
            pytest.fail(f"circle: {' -> '.join(error.args[1])}")


_NAMED = {"methods": "slimtable.methods", "algorithms": "slimtable.grouping.algorithms"}
_MAY_NAME = {
    "src/slimtable/bench/table.py": {"full"},  # what others are compared with
    "src/slimtable/training/field_allocation.py": {"full", "saec", "uniform"},  # splits a budget over saec's fields
    "src/slimtable/training/field_budget.py": {"saec"},
    "src/slimtable/bench/jobs.py": {"full"},  # what is compressed afterwards is trained uncompressed
    "src/slimtable/training/ctr_run.py": {"full"},
    "src/slimtable/training/table_budget.py": {"full"},
    "src/slimtable/models/ctr.py": {"full"},
    "src/slimtable/pipeline/settings.py": {"saec"},  # the default of the loop
    "src/slimtable/cli/demo.py": {"mgqe"},
}
"""Where a default or a baseline is meant."""


def test_no_method_or_grouping_is_imported_outside_its_folder() -> None:
    wrong = []
    for path in _files(SRC / "slimtable"):
        for module, line in imports(path):
            for folder, package in _NAMED.items():
                stem = module.removeprefix(f"{package}.")
                if stem == module or path.parent.name == folder:
                    continue
                if stem not in _MAY_NAME.get(str(path.relative_to(ROOT)), set()):
                    wrong.append(f"{path.relative_to(ROOT)}:{line} imports {module}")
    assert wrong == []


def test_nothing_asks_which_method_it_deals_with() -> None:
    for path in _files(SRC / "slimtable"):
        if path.parent.name in ("methods", "codecs", "algorithms"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare) and "method" in ast.unparse(node.left).lower().split("."):
                constants = [each for each in node.comparators if isinstance(each, ast.Constant)]
                assert not any(isinstance(each.value, str) for each in constants), f"{path}:{node.lineno}"


def test_nothing_outside_the_artifact_asks_which_layout_it_deals_with() -> None:
    for path in _files(SRC / "slimtable"):
        if path.parent.name == "artifact":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Match):
                assert not ast.unparse(node.subject).endswith("layout"), f"{path}:{node.lineno}"
            elif isinstance(node, ast.Compare) and ast.unparse(node.left).endswith(".layout"):
                constants = [each for each in node.comparators if isinstance(each, ast.Constant)]
                assert not any(isinstance(each.value, str) for each in constants), f"{path}:{node.lineno}"
