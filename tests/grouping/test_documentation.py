"""docs/groupings.md says of every grouping what the code does, and its snippets work."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from slimtable.cli import main
from slimtable.grouping import Grouping, get_grouping, grouping_names
from slimtable.grouping.files import read_groups
from slimtable.grouping.sides import SidedGrouping

PAGE = (Path(__file__).parents[2] / "docs" / "groupings.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| `")]


def spelled(value: object) -> str:
    """A default as the table has it."""
    if isinstance(value, str):
        return f"`{value}`"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else f"{value:g}"


@pytest.mark.parametrize("name", grouping_names())
def test_every_grouping_has_a_row(name: str) -> None:
    (row,) = (row for row in ROWS if row[0] == f"`{name}`" and len(row) == 6)
    grouping = type(get_grouping(name))
    own_choice = grouping.for_rows is Grouping.for_rows
    start = "automatic" if own_choice else "exact" if issubclass(grouping, SidedGrouping) else "tuned: "
    assert row[2].startswith(start)
    assert all(f"`{option}`" in row[2] for option in grouping.set_by_budget)
    assert row[3] == ("yes" if grouping.co_clusters else "no")
    assert f"algorithms/{name}.py)" in row[5]


@pytest.mark.parametrize("name", grouping_names())
def test_every_option_has_a_row_with_its_default(name: str) -> None:
    for field in dataclasses.fields(get_grouping(name)):
        (row,) = (row for row in ROWS if len(row) == 4 and {f"`{field.name}`", f"`{name}`"} <= words(row))
        options = row[0].split(", ")
        defaults = row[1].split(", ") if ", " in row[1] else [row[1]] * len(options)
        assert defaults[options.index(f"`{field.name}`")] == spelled(field.default)


def words(row: list[str]) -> set[str]:
    """Options and groupings of a row of options."""
    return {*row[0].split(", "), *row[2].split(", ")}


def test_no_row_is_left_over() -> None:
    of_options = [row for row in ROWS if len(row) == 4]
    named = [(option, name) for row in of_options for option in row[0].split(", ") for name in row[2].split(", ")]
    known = [
        (f"`{field.name}`", f"`{name}`")
        for name in grouping_names()
        for field in dataclasses.fields(get_grouping(name))
    ]
    assert sorted(named) == sorted(known)
    assert [row[0] for row in ROWS if len(row) == 6] == [f"`{name}`" for name in grouping_names()]


def test_snippets_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    users, items = (90 * np.random.default_rng(0).random((2, 2000)) ** 2).astype(np.int64)
    pl.DataFrame({"user": users, "item": items}).write_parquet("edges.parquet")
    blocks = re.findall(r"```(bash|python)\n(.*?)```", PAGE, re.S)
    assert [language for language, _ in blocks] == ["bash", "bash", "python", "python"]
    commands = [shlex.split(line, comments=True) for language, block in blocks[:2] for line in block.splitlines()]
    assert [main(words[1:]) for words in commands] == [0] * 5
    found: dict[str, Any] = {}
    exec(blocks[2][1], found)
    saved = read_groups("edges.safetensors")  # of the same graph and budget, by a command
    assert np.array_equal(found["groups"].users.rows, saved.users.rows)
    assert saved.users.num_embeddings == len(np.unique(users))
    exec(blocks[3][1], found)
    assert found["users"].num_embeddings == len(found["raw_ids"]) == 500
    assert found["users"].tables()[0].shape == (found["groups"].users.num_rows, 64)
