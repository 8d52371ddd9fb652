"""docs/datasets.md says of every dataset what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from slimtable.data.datasets.catalogue import sources
from slimtable.data.datasets.source import GeneratedSource, InteractionSource

PAGE = (Path(__file__).parents[3] / "docs" / "datasets.md").read_text()


def _rows() -> dict[str, dict[str, str]]:
    """Cells of the rows of all tables of datasets: by name of the dataset, then by column."""
    found = {}
    for table in re.findall(r"^\| name \| contents .*(?:\n\|.*)+", PAGE, re.M):
        head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines())
        found.update({row[0].strip("`"): dict(zip(head, row, strict=True)) for row in rows})
    return found


ROWS = _rows()


def test_every_dataset_has_a_row_and_no_row_is_left_over() -> None:
    assert sorted(ROWS) == sorted(sources())


@pytest.mark.parametrize("name", sources())
def test_a_row_says_the_size_and_the_order(name: str) -> None:
    source, row = sources()[name], ROWS[name]
    assert (source.kind == "clicks") == ("clicks" in row)
    if source.rows is not None:
        (size,) = (row[column] for column in ("interactions", "pairs", "rows") if column in row)
        assert sum(int(number.replace(",", "")) for number in re.findall(r"[\d,]+", size)) == source.rows
    if isinstance(source, InteractionSource):
        assert row["split"] == source.default_split
    elif not isinstance(source, GeneratedSource):
        assert row["order"].startswith("time" if source.chronological else "none")
