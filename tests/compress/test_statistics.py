"""Statistics of tables and frequencies."""

import json

import numpy as np
import pytest

from slimtable.compress.statistics import frequency_statistics, table_statistics


class _Blocks(np.ndarray):
    """A table that remembers how many rows were read, and the largest block."""

    largest = read = 0

    def __getitem__(self, rows):
        part = np.asarray(self)[rows]
        if isinstance(rows, slice):
            self.largest, self.read = max(self.largest, len(part)), self.read + len(part)
        return part


def _table(num: int = 3000, dim: int = 12, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(num, dim)).astype(np.float32)


def test_planted_rows_are_counted() -> None:
    table = _table()
    table[[5, 6]] = 0
    table[7] = -0.0
    table[[10, 11, 12]] = table[100]
    table[20, 3], table[21, 0], table[22] = np.nan, np.inf, np.nan
    found = table_statistics(table)
    assert (found.zero_rows, found.duplicate_rows, found.non_finite_rows) == (3, 3, 3)
    assert not found.duplicates_estimated
    finite = table[np.isfinite(table).all(axis=1)]
    lengths = np.linalg.norm(finite.astype(np.float64), axis=1)
    lengths = lengths[lengths > 0]
    assert found.norm_mean == pytest.approx(lengths.mean())
    assert found.norm_spread == pytest.approx(lengths.std() / lengths.mean())
    assert (found.norm_min, found.norm_max) == pytest.approx((lengths.min(), lengths.max()))
    assert (found.smallest_value, found.largest_value) == (finite.min(), finite.max())
    assert found.sampled_rows == 2997


def test_zeros_of_either_sign_are_the_same_value() -> None:
    assert table_statistics(np.array([[1, 0.0], [1, -0.0], [2, 0]], np.float32)).duplicate_rows == 1


def test_the_spectrum_of_a_table_of_known_rank() -> None:
    rng = np.random.default_rng(1)
    basis = np.linalg.qr(rng.normal(size=(16, 16)))[0][:4]
    found = table_statistics((rng.choice([-1.0, 1.0], (4000, 4)) @ basis).astype(np.float32))
    assert found.effective_rank == pytest.approx(4, rel=0.01)
    assert found.rank_90 == 4
    alike = table_statistics((10 * basis[0] + 0.01 * rng.normal(size=(4000, 16))).astype(np.float32))
    assert alike.effective_rank == pytest.approx(1, abs=0.01)
    assert alike.mean_share > 0.99
    assert table_statistics(_table(20_000)).mean_share < 0.01


def test_a_table_is_read_once_and_in_blocks() -> None:
    blocks = _table(100_000, 4).view(_Blocks)
    found = table_statistics(blocks)
    assert blocks.read == 100_000
    assert blocks.largest < 40_000
    assert found.sampled_rows == 65_536
    assert found == table_statistics(_table(100_000, 4))
    assert found != table_statistics(_table(100_000, 4), seed=1)


def test_a_memory_mapped_file_and_other_types(tmp_path) -> None:
    table = _table()
    np.save(tmp_path / "t.npy", table)
    expected = table_statistics(table)
    assert table_statistics(np.load(tmp_path / "t.npy", mmap_mode="r")) == expected
    assert table_statistics(np.asfortranarray(table)) == expected
    wide = table_statistics(table.astype(np.float64))
    assert (wide.dtype, wide.norm_max) == ("float64", expected.norm_max)
    assert table_statistics(table.astype(np.float16)).norm_max == pytest.approx(expected.norm_max, rel=1e-3)


def test_duplicates_of_many_rows_are_estimated() -> None:
    """Three million rows, of which a fifth are copies of other rows."""
    rng = np.random.default_rng(2)
    table = rng.normal(size=(3_000_000, 2)).astype(np.float32)
    table[:600_000] = table[600_000:1_200_000]
    found = table_statistics(table)
    assert found.duplicates_estimated
    assert found.duplicate_rows == pytest.approx(600_000, rel=0.02)


@pytest.mark.parametrize(
    ("table", "facts"),
    [
        (np.zeros((4, 3), np.float32), {"zero_rows": 4, "duplicate_rows": 0, "norm_mean": 0.0, "effective_rank": 0.0}),
        (np.full((4, 3), np.nan), {"non_finite_rows": 4, "largest_value": 0.0, "norm_min": 0.0, "sampled_rows": 0}),
        (np.full((4, 3), 1e300), {"non_finite_rows": 4}),
        (np.full((4, 3), 3e38, np.float32), {"non_finite_rows": 0, "duplicate_rows": 3, "rank_90": 1}),
        (np.ones((1, 1), np.float16), {"effective_rank": 1.0, "mean_share": 1.0, "norm_spread": 0.0}),
    ],
    ids=["zeros", "nan", "too-large", "huge", "one"],
)
def test_odd_tables(table, facts) -> None:
    found = table_statistics(table).to_dict()
    assert {name: found[name] for name in facts} == facts
    json.dumps(found, allow_nan=False)


def test_what_is_no_table() -> None:
    for table in (np.zeros(3), np.zeros((0, 4)), np.zeros((3, 3), int)):
        with pytest.raises(ValueError, match="table"):
            table_statistics(table)


def test_frequencies() -> None:
    found = frequency_statistics(np.array([0, 0, 90, 5, 5, 0, 0, 0, 0, 0]))
    assert (found.occurrences, found.unseen_ids, found.median, found.top_decile_share) == (100, 7, 0, 0.9)
    assert frequency_statistics(np.full(100, 7)).zipf_slope == pytest.approx(0)
    for slope in (0.5, 1.2):
        law = frequency_statistics(1e6 * np.random.default_rng(0).permutation(np.arange(1, 5001) ** -slope))
        assert law.zipf_slope == pytest.approx(slope)
    nothing = frequency_statistics(np.zeros(5, int))
    assert (nothing.top_decile_share, nothing.zipf_slope) == (0.0, None)


def test_what_are_no_frequencies() -> None:
    for frequencies in (np.array([1, -1]), np.array([1, np.nan]), np.zeros(0), np.zeros((2, 2))):
        with pytest.raises(ValueError, match="frequencies"):
            frequency_statistics(frequencies)
