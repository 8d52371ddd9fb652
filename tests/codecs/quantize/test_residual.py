"""Stages of centroids: beam search against all sums, least squares against numpy's, and what must not get worse."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from slimtable.codecs.quantize import residual
from slimtable.codecs.quantize.clustering import Clustering
from slimtable.codecs.quantize.residual import Stages, affordable_beam, cluster_stages, refine_stages
from slimtable.codecs.vectors import Array
from tests.codecs.quantize.samples import make_vectors

VECTORS, COUNTS = make_vectors(3000)


def error(stages: Stages, vectors: np.ndarray = VECTORS, counts: np.ndarray = COUNTS) -> float:
    sums = sum(rows[stages.codes[:, stage]].astype(np.float64) for stage, rows in enumerate(stages.centroids))
    return float((np.square(vectors - sums).sum(axis=1) * counts).sum() / counts.sum())


def test_a_wide_beam_finds_the_nearest_of_all_sums() -> None:
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((200, 5)).astype(np.float32) + 3
    rows = [generator.standard_normal((size, 5)).astype(np.float32) + shift for size, shift in ((4, 3), (3, 0), (5, 0))]
    begin = Stages(rows, np.full((200, 3), -1, np.int32))
    search = residual.SumSearch(
        Array(vectors), np.ones(200, np.float32), begin.codes, np.array([0, 4, 7, 12]), vectors.mean(axis=0), 1
    )
    costs = search.choose(np.concatenate(rows).astype(np.float64), 60, 0.0)
    sums = np.array(
        [sum(rows[stage][k] for stage, k in enumerate(chosen)) for chosen in product(*map(range, (4, 3, 5)))]
    )
    nearest = np.square(vectors[:, None] - sums).sum(axis=2).min(axis=1)
    np.testing.assert_allclose(costs, nearest, rtol=1e-4)
    served = np.concatenate(rows)[search.codes].sum(axis=1)
    np.testing.assert_allclose(np.square(vectors - served).sum(axis=1), nearest, rtol=1e-4)


def test_rows_are_placed_by_weighted_least_squares() -> None:
    generator = np.random.default_rng(1)
    vectors, weights = generator.standard_normal((400, 3)).astype(np.float32), generator.random(400).astype(np.float32)
    codes = np.stack([generator.integers(4, size=400), 4 + generator.integers(5, size=400)], axis=1).astype(np.int32)
    search = residual.SumSearch(Array(vectors), weights, codes, np.array([0, 4, 9]), vectors.mean(axis=0), 1)
    found = search.place(generator.standard_normal((9, 3)))
    design = np.zeros((400, 9))
    np.put_along_axis(design, codes, 1.0, axis=1)
    root = np.sqrt(weights)[:, None]
    best = np.linalg.lstsq(design * root, vectors * root, rcond=None)[0]
    np.testing.assert_allclose(design @ found, design @ best, atol=1e-3)


@pytest.mark.parametrize("sizes", [[32, 32, 32], [8] * 6, [4] * 10, [2] * 32, [20, 5]], ids=str)
def test_stages_together_are_better_than_one_by_one(sizes: list[int]) -> None:
    alone = cluster_stages(VECTORS, sizes, COUNTS, beam=1)
    together = cluster_stages(VECTORS, sizes, COUNTS)
    assert [len(rows) for rows in together.centroids] == sizes
    assert error(together) < 0.9 * error(alone)
    assert error(cluster_stages(VECTORS, sizes, COUNTS, beam=4)) < error(alone)


def test_rounds_never_make_it_worse() -> None:
    begin = cluster_stages(VECTORS, [12] * 3, COUNTS, beam=1)
    errors = [error(refine_stages(VECTORS, COUNTS, begin, beam=2, rounds=rounds)) for rounds in (1, 3, 9)]
    assert error(begin) > errors[0] > errors[1] > errors[2]
    again = refine_stages(VECTORS, COUNTS, Stages(begin.centroids, begin.codes), beam=1, rounds=3)
    assert error(again) < error(begin)


def test_few_work_for_many_and_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(residual, "_MIN_SAMPLE", 1000)
    begin = cluster_stages(VECTORS, [8] * 3, COUNTS, beam=1)
    found = [refine_stages(VECTORS, COUNTS, begin, threads=threads) for threads in (1, 3)]
    assert error(found[0]) < 0.95 * error(begin)
    np.testing.assert_array_equal(found[0].codes, found[1].codes)
    for one, other in zip(found[0].centroids, found[1].centroids, strict=True):
        np.testing.assert_array_equal(one, other)


def test_vectors_choose_among_rows_as_they_are_served() -> None:
    def rounded(stage: int, rows: np.ndarray) -> np.ndarray:
        return np.rint(rows * 8).astype(np.float32) / 8

    blind, seeing = (cluster_stages(VECTORS, [6] * 4, COUNTS, serve=serve) for serve in (None, rounded))
    as_served = [
        Stages([rounded(stage, rows) for stage, rows in enumerate(found.centroids)], found.codes)
        for found in (blind, seeing)
    ]
    assert error(as_served[1]) < error(as_served[0])


def test_a_row_that_nobody_chose_is_put_to_use() -> None:
    begin = cluster_stages(VECTORS, [8, 8], COUNTS, beam=1)
    far = [np.concatenate([rows, np.full((2, 8), 1e3, np.float32)]) for rows in begin.centroids]
    found = refine_stages(VECTORS, COUNTS, Stages(far, begin.codes))
    assert all(len(np.unique(found.codes[:, stage])) == 10 for stage in range(2))
    assert max(float(np.abs(rows).max()) for rows in found.centroids) < 100


def before(stages: Stages, ids: int, default: int | None = None) -> list[Clustering]:
    return [Clustering(rows, stages.codes[:ids, stage], default, 0.0) for stage, rows in enumerate(stages.centroids)]


def test_vectors_keep_their_sums_unless_another_is_nearer_by_enough() -> None:
    generator = np.random.default_rng(2)
    first = cluster_stages(VECTORS[:2500], [16] * 3, COUNTS[:2500])
    later = VECTORS + np.float32(0.1) * generator.standard_normal(VECTORS.shape).astype(np.float32) * VECTORS.std()
    moved = []
    for hysteresis in (0.0, 0.2, 0.9):
        again = cluster_stages(later, [16] * 3, COUNTS, previous=before(first, 2500), hysteresis=hysteresis)
        moved.append(float((again.codes[:2500] != first.codes).any(axis=1).mean()))
        assert error(again, later) < 1.3 * error(cluster_stages(later, [16] * 3, COUNTS), later)
    assert moved[0] > moved[1] > moved[2]
    assert moved[2] < 0.01


@pytest.mark.parametrize("sizes", [[20, 24], [16, 10]], ids=str)
def test_stages_may_grow_and_shrink(sizes: list[int]) -> None:
    first = cluster_stages(VECTORS, [16, 16], COUNTS)
    again = cluster_stages(VECTORS, sizes, COUNTS, previous=before(first, 3000), hysteresis=0.1)
    assert [len(rows) for rows in again.centroids] == sizes
    assert all(again.codes[:, stage].max() < size for stage, size in enumerate(sizes))
    assert error(again) < 1.5 * error(cluster_stages(VECTORS, sizes, COUNTS))
    if sum(sizes) > 32:
        assert error(again) < error(first)


def test_rare_vectors_have_the_default_row_and_zeros() -> None:
    found = cluster_stages(VECTORS, [10, 10], COUNTS, min_frequency=3)
    rare = COUNTS < 3
    assert not found.codes[rare].any()
    assert found.codes[~rare].min() > 0
    mean = np.average(VECTORS[rare], axis=0, weights=COUNTS[rare])
    np.testing.assert_allclose(found.centroids[0][0], mean, atol=1e-5)
    assert not found.centroids[1][0].any()
    again = cluster_stages(VECTORS, [10, 10], COUNTS, min_frequency=3, previous=before(found, 3000, 0), hysteresis=0.1)
    assert (again.codes == found.codes).all(axis=1).mean() > 0.9


def test_what_is_too_much_to_search_stays_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert affordable_beam(10**7, [2000] * 3, 16) == 2
    assert affordable_beam(10**6, [2000] * 3, 16) == 16
    assert affordable_beam(10, [5000] * 2, 16) == 0
    monkeypatch.setattr(residual, "_MAX_CANDIDATES", 1000)
    dear, alone = cluster_stages(VECTORS, [8, 8], COUNTS), cluster_stages(VECTORS, [8, 8], COUNTS, beam=1)
    np.testing.assert_array_equal(dear.codes, alone.codes)


def test_what_does_not_fit_is_refused() -> None:
    rows = [np.zeros((2, 8), np.float32)] * 2
    with pytest.raises(ValueError, match="shape"):
        refine_stages(VECTORS, COUNTS, Stages(rows, np.zeros((3000, 3), np.int32)))
    with pytest.raises(ValueError, match="below the number"):
        refine_stages(VECTORS, COUNTS, Stages(rows, np.full((3000, 2), 2, np.int32)))
    with pytest.raises(ValueError, match="hysteresis"):
        refine_stages(VECTORS, COUNTS, Stages(rows, np.zeros((3000, 2), np.int32)), hysteresis=1.0)


@pytest.mark.parametrize("sizes", [(2, 1), (2, 2, 1), (2, 1, 1, 1)])
def test_stages_of_few_vectors_stay_finite(sizes: tuple[int, ...]) -> None:
    """Where least squares have done what they can, only rounding is left, which must not be blown up."""
    for seed in range(40):
        vectors = np.random.default_rng(seed).standard_normal((sum(sizes) + 2, 17)).astype(np.float32)
        found = cluster_stages(vectors, sizes, np.arange(1, len(vectors) + 1))
        served = sum(centroids[codes] for centroids, codes in zip(found.centroids, found.codes.T, strict=True))
        assert np.square(served - vectors).mean() < np.square(vectors).mean()
