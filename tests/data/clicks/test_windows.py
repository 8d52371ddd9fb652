"""Windows of a click log: equal, in order, and numbered as they would be met in time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from slimtable.data.clicks.clicks import Bags, Clicks
from slimtable.data.clicks.raw import RawClicks, RawField
from slimtable.data.clicks.schema import Field, Schema
from slimtable.data.clicks.vocabulary import Vocabularies
from slimtable.data.clicks.windows import (
    check_order,
    concatenate_clicks,
    encode_log,
    encode_windows,
    raw_windows,
    split_clicks,
    windows,
)
from slimtable.data.datasets import ClickDataset, make_synthetic_clicks
from slimtable.errors import DatasetError

SCHEMA = Schema(label="y", time="t", fields=(Field(name="v"),))


def raw(times: list[float], values: list[int] | None = None) -> RawClicks:
    rows = len(times)
    field = RawField.from_values(np.array(values if values is not None else range(rows), np.int64))
    return RawClicks(np.zeros(rows, np.float32), np.zeros((rows, 0), np.float32), (field,), np.array(times, float))


def log(whole: RawClicks, chronological: bool = True) -> ClickDataset:
    def read(chunk_rows: int) -> Iterator[RawClicks]:
        yield from (whole.slice(start, start + 3) for start in range(0, len(whole), 3))

    return ClickDataset("log", SCHEMA, read, chronological, windows=2)


def test_windows_are_equal_and_in_order():
    parts = windows(raw(list(range(11))), 4)
    assert [part.times.tolist() for part in parts] == [[0, 1], [2, 3, 4], [5, 6, 7], [8, 9, 10]]
    with pytest.raises(ValueError, match=r"must be in 1..3.*got 4"):
        windows(raw([0, 1, 2]), 4)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 11])
def test_windows_are_the_same_where_the_log_comes_in_chunks(count):
    whole = raw(list(range(11)))
    got = list(raw_windows(log(whole), count))
    assert [part.times.tolist() for part in got] == [part.times.tolist() for part in windows(whole, count)]


def test_a_window_is_numbered_by_what_was_met_up_to_it():
    encoded, sizes = encode_windows(log(raw([0, 1, 2, 3, 4, 5], [7, 8, 7, 9, 8, 7])))
    assert sizes == [{"v": 3}, {"v": 4}]
    assert [window.ids[0].tolist() for window in encoded] == [[1, 2, 1], [3, 2, 1]]
    assert encoded[1].with_known(sizes[0]).ids[0].tolist() == [0, 2, 1]
    _, fewer = encode_windows(log(raw([0, 1, 2, 3, 4, 5], [7, 8, 7, 9, 8, 7])), min_count=2)
    assert fewer == [{"v": 2}, {"v": 3}]


def test_the_windows_together_are_the_whole_log():
    dataset = make_synthetic_clicks(3_000, windows=5)
    encoded, sizes = encode_windows(dataset)
    whole, vocabularies = encode_log(dataset)
    assert sizes[-1] == vocabularies.sizes
    joined = concatenate_clicks(encoded)
    assert (joined.labels == whole.labels).all()
    for ours, theirs in zip(joined.ids, whole.ids, strict=True):
        if isinstance(ours, Bags):
            assert (ours.offsets == theirs.offsets).all()
            ours, theirs = ours.values, theirs.values
        assert (ours == theirs).all()


def test_time_must_not_run_backwards():
    assert check_order(raw([1, 1, 2]), "log", after=1) == 2
    assert check_order(raw([]), "log", after=1) == 1
    with pytest.raises(DatasetError, match="log: time runs backwards after its row 2, from 5 to 4"):
        check_order(raw([1, 5, 4, 3]), "log")
    with pytest.raises(DatasetError, match="log: its first row is of time 1, and those before end at 2"):
        check_order(raw([1]), "log", after=2)
    for times in ([0, 1, 2, 1, 3, 4], [0, 2, 1, 3, 4, 5]):  # between chunks, and within one
        with pytest.raises(DatasetError, match="Sort the rows by time"):
            encode_windows(log(raw(times)))


def test_a_log_in_no_order_has_no_windows():
    with pytest.raises(ValueError, match="not in time order"):
        encode_windows(log(raw([0, 1]), chronological=False))


def test_a_split_deals_every_row_out_once():
    whole = raw(list(range(100)))
    parts = split_clicks(whole, (0.8, 0.1, 0.1), seed=1)
    assert [len(part) for part in parts] == [80, 10, 10]
    assert sorted(np.concatenate([part.times for part in parts])) == list(range(100))
    assert all((np.diff(part.times) > 0).all() for part in parts)
    again, other = split_clicks(whole, (0.8, 0.1, 0.1), seed=1), split_clicks(whole, (0.8, 0.1, 0.1), seed=2)
    assert (again[2].times == parts[2].times).all()
    assert (other[2].times != parts[2].times).any()
    for shares in ((0.5, 0.4), (1.5, -0.5), (0.999, 0.001)):
        with pytest.raises(ValueError, match="shares"):
            split_clicks(whole, shares)


def test_clicks_are_split_as_raw_ones_are():
    vocabularies = Vocabularies.from_schema(SCHEMA)
    whole = raw(list(range(20)), list(range(20)))
    vocabularies.count(whole)
    parts: list[Clicks] = split_clicks(vocabularies.encode(whole), (0.5, 0.5))
    expected = [part.times.astype(int) + 1 for part in split_clicks(whole, (0.5, 0.5))]
    assert [part.ids[0].tolist() for part in parts] == [ids.tolist() for ids in expected]
