"""docs/methods.md says of every method what the code does."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from slimtable.embeddings.base import get_method, method_names

PAGE = (Path(__file__).parents[2] / "docs" / "methods.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| `")]
PRESETS = [(name, preset) for name in method_names() for preset in get_method(name).config_class.presets]


def spelled(value: object) -> str:
    """A value as the tables have it."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(list(value)) if isinstance(value, tuple) else str(value)


@pytest.mark.parametrize("name", method_names())
def test_every_method_has_a_row(name: str) -> None:
    (row,) = (row for row in ROWS if row[0] == f"`{name}`" and len(row) == 5)
    assert f"methods/{name}.py)" in row[4]


@pytest.mark.parametrize("name", method_names())
def test_every_option_has_a_row_with_its_default(name: str) -> None:
    for field in dataclasses.fields(get_method(name).config_class):
        if field.name == "init_std":
            assert f"All take `init_std` ({field.default})" in PAGE
            continue
        common = field.name == "rows" or (field.name == "budget" and name not in ("auto", "saec"))
        takers = {"all that share rows"} if common else {f"`{name}`"}
        (row,) = (
            row
            for row in ROWS
            if len(row) == 4 and f"`{field.name}`" in row[0].split(", ") and takers & set(row[2].split(", "))
        )
        if field.default in (None, ""):  # the row says what is taken instead
            continue
        names = row[0].split(", ")
        of_methods = row[1].split(", ") if field.name == "grouping" else [row[1]] * len(row[2].split(", "))
        default = of_methods[0 if common else row[2].split(", ").index(f"`{name}`")]
        default = default.split(", ")[names.index(f"`{field.name}`")] if len(names) > 1 else default
        assert default.strip("`") == spelled(field.default)


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_every_preset_has_a_row_with_its_options(name: str, preset: str) -> None:
    (row,) = (row for row in ROWS if row[0] == f"`{preset}` of `{name}`")
    options = get_method(name).config_class.presets[preset]
    written = [f"`{option}={spelled(value).replace(' ', '')}`" for option, value in options.items()]
    assert row[1] == ", ".join(written)
