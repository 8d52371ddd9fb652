"""docs/models.md says of every CTR model what the code does."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from slimtable.models.ctr import ctr_model_names, get_ctr_model

PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text().partition("## CTR models")[2]
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| ")]


@pytest.mark.parametrize("name", ctr_model_names())
def test_every_model_has_a_row_with_its_width(name: str) -> None:
    (row,) = (row for row in ROWS if row[0] == f"`{name}`")
    assert {"1": 1, "d": 16, "d + 1": 17}[row[2]] == get_ctr_model(name).width(16)
    assert f"{name}.py" in row[4]


@pytest.mark.parametrize("name", ctr_model_names())
def test_every_option_has_a_row_with_its_default(name: str) -> None:
    for field in dataclasses.fields(get_ctr_model(name).config_class):
        (row,) = (row for row in ROWS if row[0] == f"`{field.name}`" and f"`{name}`" in row[2])
        default = field.default
        spelled = "full" if default is None else str(list(default) if isinstance(default, tuple) else default)
        assert row[1] == spelled
