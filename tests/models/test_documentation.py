"""docs/models.md says of every model what the code does."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from slimtable.models.base import get_ranker, ranker_names

PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| ")]


@pytest.mark.parametrize("name", ranker_names())
def test_every_model_has_a_row_with_its_tables(name: str) -> None:
    (row,) = (row for row in ROWS if row[0] == f"`{name}`" and len(row) == 5)
    model_name = get_ranker(name)
    tables = {spec.name for spec in model_name.table_specs(3, 4, 8, model_name.config_class())}
    assert tables == set(re.findall(r"`(\w+)`", row[2]))
    assert f"{name}.py" in row[4]


@pytest.mark.parametrize("name", ranker_names())
def test_every_option_has_a_row_with_its_default(name: str) -> None:
    for field in dataclasses.fields(get_ranker(name).config_class):
        (row,) = (row for row in ROWS if row[0] == f"`{field.name}`" and row[2] == f"`{name}`")
        assert row[1] == ("[2d, d, d/2, d/4]" if field.default is None else str(field.default))


@pytest.mark.parametrize("name", ranker_names())
def test_own_training_settings_are_listed(name: str) -> None:
    head = next(row for row in ROWS if row[0] == "setting")
    (column,) = (index for index, cell in enumerate(head) if f"`{name}`" in cell)
    for setting, value in get_ranker(name).train_defaults.items():
        (row,) = (row for row in ROWS if row[0].startswith(f"`{setting}`"))
        spelled = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        assert re.match(rf"{re.escape(spelled)}\b", row[column])
