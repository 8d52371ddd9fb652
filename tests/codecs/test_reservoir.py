"""The sample of a reservoir: the same whatever the blocks, in proportion to the weights, unbiased."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from slimtable.codecs.base import Rows
from slimtable.codecs.reservoir import Reservoir, sample_rows
from slimtable.codecs.vectors import Array

TABLE = np.random.default_rng(0).standard_normal((20_000, 4)).astype(np.float32)
COUNTS = np.random.default_rng(1).zipf(1.6, len(TABLE)).clip(max=5000)


def drawn(size: int, edges: list[int], order: int = 1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    reservoir = Reservoir(size, 4, seed)
    for start, stop in list(pairwise(edges))[::order]:
        reservoir.add(start, TABLE[start:stop], COUNTS[start:stop])
    found = reservoir.sample()
    assert np.array_equal(found.rows, TABLE[found.ids])
    return found.ids, found.weights


@pytest.mark.parametrize("size", [1, 37, 3000])
def test_blocks_do_not_change_the_sample(size: int) -> None:
    ids, weights = drawn(size, [0, len(TABLE)])
    assert len(ids) == size
    assert (np.diff(ids) > 0).all()
    for edges in ([0, 8, 9, 5000, len(TABLE)], [*range(0, len(TABLE), 64), len(TABLE)]):
        for order in (1, -1):
            found, found_weights = drawn(size, edges, order)
            assert np.array_equal(found, ids)
            assert np.array_equal(found_weights, weights)
    assert not np.array_equal(drawn(size, [0, len(TABLE)], seed=1)[0], ids)


def test_merged_reservoirs_are_one() -> None:
    whole = drawn(500, [0, len(TABLE)])[0]
    parts = [Reservoir(500, 4) for _ in range(3)]
    for first in range(0, len(TABLE), 1000):
        parts[first // 1000 % 3].add(first, TABLE[first : first + 1000], COUNTS[first : first + 1000])
    for part in parts[1:]:
        parts[0].merge(part)
    assert np.array_equal(parts[0].sample().ids, whole)


def test_rows_are_drawn_in_proportion_to_weights_and_sums_are_unbiased() -> None:
    weights = np.array([1.0, 2.0, 4.0, 8.0])
    rows, seen, sums = np.zeros((4, 1), np.float32), np.zeros(4), []
    for seed in range(4000):
        reservoir = Reservoir(1, 1, seed)
        reservoir.add(0, rows, weights)
        seen[reservoir.sample().ids] += 1
        reservoir = Reservoir(2, 1, seed)
        reservoir.add(0, rows, weights)
        found = reservoir.sample()
        sums.append(float(found.weights @ (found.ids + 1)))
    assert np.abs(seen / 4000 - weights / 15).max() < 0.03  # 4 standard deviations
    exact = float(weights @ np.arange(1, 5))
    assert abs(np.mean(sums) - exact) < 4 * np.std(sums) / np.sqrt(len(sums))


def test_rows_without_weight_only_fill_up() -> None:
    weights = np.zeros(100)
    weights[[3, 50]] = 1e-9, 1e9
    reservoir = Reservoir(5, 1)
    reservoir.add(0, np.zeros((100, 1), np.float32), weights)
    found = reservoir.sample()
    assert len(found.ids) == 5
    assert {3, 50} < set(found.ids.tolist())
    assert found.weights[found.ids == 50] == 1e9
    unweighted = Reservoir(5, 1)
    unweighted.add(0, np.zeros((100, 1), np.float32), np.zeros(100))
    assert unweighted.sample().weights.tolist() == [1.0] * 5


def test_a_table_is_sampled_in_one_pass_without_its_padding() -> None:
    class Once(Rows):
        reads = 0

        def read(self, start: int, stop: int) -> np.ndarray:
            self.reads += stop - start
            return super().read(start, stop)

    rows = Once(TABLE)
    found = sample_rows(rows, 100, COUNTS, power=0.5, padding_idx=int(COUNTS.argmax()))
    assert rows.reads == len(TABLE)
    assert len(found.ids) == 100
    assert COUNTS.argmax() not in found.ids
    everything = sample_rows(Array(TABLE), len(TABLE), COUNTS, floor=3)
    assert np.array_equal(everything.ids, np.arange(len(TABLE)))
    assert np.array_equal(everything.weights, np.maximum(COUNTS, 3))
    with pytest.raises(ValueError, match="at least one row"):
        sample_rows(Array(TABLE), 0)


def test_the_weight_of_a_sample_is_near_that_of_the_table() -> None:
    total = sample_rows(Array(TABLE), 2000, COUNTS).weights.sum()
    assert abs(total / COUNTS.sum() - 1) < 0.05
    plain = sample_rows(Array(TABLE), 2000, COUNTS, power=0)
    assert abs(plain.weights.sum() / len(TABLE) - 1) < 0.1
