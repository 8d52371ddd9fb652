"""Frequencies from files, columns and interactions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from slimtable.data import Interactions
from slimtable.tables import count_frequencies, read_frequencies

COUNTS = np.array([5, 0, 7])
FRAME = pl.DataFrame({"id": ["b", "a"], "count": [5, 7]})
DATA = Interactions.from_raw(np.array([1, 1, 2, 3]), np.array([10, 20, 20, 20]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    np.save(tmp_path / "a.npy", COUNTS)
    np.savez(tmp_path / "one.npz", counts=COUNTS, table=np.ones((3, 2)))
    np.savez(tmp_path / "two.npz", x=COUNTS, y=COUNTS * 2)
    np.save(tmp_path / "bad.npy", np.array([1.0, -1.0, np.nan]))
    FRAME.write_csv(tmp_path / "a.csv")
    FRAME.write_parquet(tmp_path / "a.parquet")
    FRAME.write_ipc(tmp_path / "a.arrow")
    pl.DataFrame({"n": COUNTS, "m": COUNTS}).write_csv(tmp_path / "rows.csv")
    pl.DataFrame({"item": [2, 0], "n": [7, 5]}).write_csv(tmp_path / "numbers.csv")
    pl.DataFrame({"item": [2, 2], "n": [7, 5]}).write_csv(tmp_path / "twice.csv")
    pl.DataFrame({"item": [2, 9], "n": [7, 5]}).write_csv(tmp_path / "unknown.csv")
    (tmp_path / "words.csv").write_text("a\nhello\n")
    (tmp_path / "ui.csv").write_text("user,item\n1,10\n1,20\n2,20\n3,20\n")
    return tmp_path


@pytest.mark.parametrize(
    ("file", "options"),
    [
        ("a.npy", {}),
        ("one.npz", {}),
        ("two.npz", {"column": "x"}),
        ("a.csv", {"id_column": "id", "ids": ["b", "c", "a"]}),
        ("a.parquet", {"column": "count", "id_column": "id", "ids": ["b", "c", "a"]}),
        ("a.arrow", {"id_column": "id", "ids": np.array(["b", "c", "a"])}),
        ("rows.csv", {"column": "m"}),
        ("numbers.csv", {"id_column": "item"}),
        ("numbers.csv", {"id_column": "item", "ids": np.array([0, 5, 2])}),
        ("numbers.csv", {"id_column": "item", "ids": ["0", "5", "2"]}),
    ],
)
def test_counts_of_a_file(folder: Path, file: str, options: dict) -> None:
    counts = read_frequencies(folder / file, 3, **options)
    np.testing.assert_array_equal(counts, COUNTS)


@pytest.mark.parametrize(
    ("file", "options", "message"),
    [
        ("absent.npy", {}, "There is no file"),
        ("two.npz", {}, r"not exactly one array of counts. Its arrays of one number per id: x \(3,\), y \(3,\)"),
        ("two.npz", {"column": "z"}, "no counts 'z'"),
        ("bad.npy", {}, "negative or not finite"),
        ("rows.csv", {}, "not exactly one column of numbers. Columns: n, m"),
        ("rows.csv", {"column": "z"}, "no such column 'z'"),
        ("a.csv", {"id_column": "z", "column": "count"}, "no such column 'z'"),
        ("a.csv", {"id_column": "id"}, "are texts, but the table has no ids"),
        ("a.csv", {}, "holds 2 counts, but the table has 3 rows"),
        ("a.csv", {"id_column": "id", "ids": ["b", "c", "x"]}, "are no ids of the table of 3 rows, the first 'a'"),
        ("a.csv", {"id_column": "id", "ids": ["b", "c"]}, "2 ids for 3 rows"),
        ("twice.csv", {"id_column": "item"}, "missing or appear twice"),
        ("unknown.csv", {"id_column": "item"}, "are no ids of the table of 3 rows, the first '9'"),
        ("words.csv", {}, "not exactly one column of numbers"),
    ],
)
def test_counts_that_cannot_be_read(folder: Path, file: str, options: dict, message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message) as refused:
        read_frequencies(folder / file, 3, **options)
    assert len(str(refused.value)) <= 300


def test_counts_of_interactions(folder: Path) -> None:
    assert count_frequencies(DATA, "item", 2).tolist() == [1, 3]
    assert count_frequencies(DATA, "user", 3).tolist() == [2, 1, 1]
    assert count_frequencies(DATA, "user", 5).tolist() == [0, 2, 1, 1, 0]  # ids are row numbers
    assert count_frequencies(DATA, "item", 3, ids=np.array([20, 5, 10])).tolist() == [3, 0, 1]
    assert count_frequencies(DATA, "item", 2, ids=["20", "10"]).tolist() == [3, 1]
    assert count_frequencies(folder / "ui.csv", "item", 2).tolist() == [1, 3]
    with pytest.raises(ValueError, match=r"2 of the items of the data are no ids of the table of 4 rows"):
        count_frequencies(DATA, "item", 4)
    with pytest.raises(ValueError, match="side must be 'user' or 'item', got 'place'"):
        count_frequencies(DATA, "place", 4)
