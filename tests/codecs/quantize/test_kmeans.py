"""Fast k-means is nearly as good as k-means on everything, and keeps what was published before."""

from __future__ import annotations

import numpy as np
import pytest

from slimtable.codecs.quantize import Clustering, fast_kmeans, full_kmeans
from tests.codecs.quantize.samples import make_vectors, measured

VECTORS, COUNTS = make_vectors(20_000)


@pytest.mark.parametrize("num_rows", [40, 300])  # every distance, and an index
def test_fast_is_nearly_as_good_as_full(num_rows: int) -> None:
    fast, full = fast_kmeans(VECTORS, num_rows, COUNTS), full_kmeans(VECTORS, num_rows, COUNTS)
    assert fast.distortion <= 1.05 * full.distortion
    mean = np.average(VECTORS, axis=0, weights=COUNTS)
    assert full.distortion < 0.5 * measured(VECTORS, COUNTS, mean[None], np.zeros(len(VECTORS), int))


@pytest.mark.parametrize("options", [{}, {"min_frequency": 3}, {"sample": "head"}, {"sample": "uniform"}], ids=str)
def test_what_is_said_about_a_clustering_is_so(options) -> None:
    found = fast_kmeans(VECTORS, 200, COUNTS, **options)
    assert found.centroids.shape == (200, 8)
    assert found.centroids.dtype == np.float32
    assert found.rows.dtype == np.int32
    assert found.distortion == pytest.approx(measured(VECTORS, COUNTS, found.centroids, found.rows), rel=1e-4)
    for row in np.unique(found.rows)[::20]:
        members = found.rows == row
        mean = np.average(VECTORS[members], axis=0, weights=COUNTS[members])
        np.testing.assert_allclose(found.centroids[row], mean, atol=1e-5)


def test_vectors_are_in_the_nearest_clusters() -> None:
    """Means move a little after the last assignment, so nearly all, where the index has looked at a part."""
    found = fast_kmeans(VECTORS, 300, COUNTS)
    squares = ((VECTORS[::7, None] - found.centroids[None]) ** 2).sum(axis=2)
    assert (squares.argmin(axis=1) == found.rows[::7]).mean() > 0.85


def test_a_sample_by_frequency_beats_the_head_alone() -> None:
    """The measured lead of Saec: centroids of the head alone serve the tail badly."""
    by = {
        how: fast_kmeans(VECTORS, 100, COUNTS, sample=how, head=0.5, rows_per_centroid=8).distortion
        for how in ("proportional", "head", "uniform")
    }
    assert by["proportional"] < 0.97 * by["head"]
    assert by["proportional"] < 0.97 * by["uniform"]


def test_rare_vectors_share_the_default_row() -> None:
    found = fast_kmeans(VECTORS, 50, COUNTS, min_frequency=2)
    rare = COUNTS < 2
    assert found.default == 0
    assert (found.rows[rare] == 0).all()
    assert (found.rows[~rare] > 0).all()
    np.testing.assert_allclose(found.centroids[0], VECTORS[rare].mean(axis=0), atol=1e-5)


def test_all_may_be_rare_and_none_may_be() -> None:
    assert (fast_kmeans(VECTORS, 1, COUNTS, min_frequency=1).rows == 0).all()
    everything = fast_kmeans(VECTORS[:500], 9, COUNTS[:500], min_frequency=10**9)
    assert (everything.rows == 0).all()
    assert np.isfinite(everything.centroids).all()


def test_as_many_rows_as_vectors_lose_nothing() -> None:
    found = fast_kmeans(VECTORS[:64], 64, COUNTS[:64])
    assert found.distortion == pytest.approx(0, abs=1e-9)
    assert len(set(found.rows.tolist())) == 64


def test_vectors_that_nobody_asks_for_change_nothing() -> None:
    counts = COUNTS.copy()
    counts[::2] = 0
    found = fast_kmeans(VECTORS, 50, counts)
    assert found.distortion == pytest.approx(measured(VECTORS, counts, found.centroids, found.rows), rel=1e-4)
    others = fast_kmeans(np.where((counts > 0)[:, None], VECTORS, 9), 50, counts)
    assert others.distortion == pytest.approx(found.distortion, rel=1e-6)


def test_the_result_is_the_same_again_and_for_any_number_of_threads() -> None:
    vectors, counts = make_vectors(200_000, width=3)
    one, same, two = (fast_kmeans(vectors, 150, counts, iterations=2, threads=threads) for threads in (1, 1, 2))
    other = fast_kmeans(vectors, 150, counts, iterations=2, seed=1)
    for again in (same, two):
        assert np.array_equal(one.rows, again.rows)
        assert one.centroids.tobytes() == again.centroids.tobytes()
    assert not np.array_equal(one.rows, other.rows)


def test_nothing_moves_where_nothing_changes() -> None:
    before = fast_kmeans(VECTORS, 300, COUNTS)
    after = fast_kmeans(VECTORS, 300, COUNTS, previous=before, hysteresis=0.2)
    assert (after.rows != before.rows).mean() < 0.01  # by the means, which are taken after the assignment
    assert after.distortion <= before.distortion
    settled = fast_kmeans(VECTORS, 300, COUNTS, previous=after, hysteresis=0.2)
    assert (settled.rows != after.rows).mean() < 0.002
    unseen = fast_kmeans(VECTORS, 300, COUNTS, previous=before, changed=np.zeros(len(VECTORS), bool))
    assert np.array_equal(unseen.rows, before.rows)


def test_hysteresis_keeps_rows_under_noise() -> None:
    before = fast_kmeans(VECTORS, 300, COUNTS)
    noise = np.random.default_rng(1).standard_normal(VECTORS.shape).astype(np.float32)
    moved = VECTORS + 0.1 * VECTORS.std() * noise
    shares = [
        (fast_kmeans(moved, 300, COUNTS, previous=before, hysteresis=h).rows != before.rows).mean() for h in (0.0, 0.3)
    ]
    anew = fast_kmeans(moved, 300, COUNTS, seed=1)
    assert shares[1] < 0.6 * shares[0]
    kept = fast_kmeans(moved, 300, COUNTS, previous=before, hysteresis=0.1)
    assert kept.distortion < 1.1 * anew.distortion


def test_only_what_changed_is_looked_at() -> None:
    before = fast_kmeans(VECTORS, 100, COUNTS)
    vectors, changed = VECTORS.copy(), np.zeros(len(VECTORS), bool)
    changed[:50] = True
    vectors[:50] = VECTORS[100:150]
    after = fast_kmeans(vectors, 100, COUNTS, previous=before, changed=changed)
    assert np.array_equal(after.rows[50:], before.rows[50:])
    assert (after.rows[:50] == before.rows[100:150]).mean() > 0.8
    assert after.distortion == pytest.approx(measured(vectors, COUNTS, after.centroids, after.rows), rel=1e-4)


@pytest.mark.parametrize("num_rows", [80, 100, 130])
def test_a_table_grows_at_its_end(num_rows: int) -> None:
    before = fast_kmeans(VECTORS[:15_000], 100, COUNTS[:15_000], min_frequency=2)
    after = fast_kmeans(VECTORS, num_rows, COUNTS, min_frequency=2, previous=before, hysteresis=0.1)
    assert after.centroids.shape == (num_rows, 8)
    assert after.distortion == pytest.approx(measured(VECTORS, COUNTS, after.centroids, after.rows), rel=1e-4)
    anew = fast_kmeans(VECTORS, num_rows, COUNTS, min_frequency=2)
    assert after.distortion < 1.4 * anew.distortion
    if num_rows >= 100:
        assert (after.rows[:15_000] == before.rows).mean() > 0.85


def test_clusters_without_members_begin_anew() -> None:
    far = np.full((5, 8), 50.0, np.float32)
    before = fast_kmeans(VECTORS[:1000], 20, COUNTS[:1000])
    emptied = Clustering(np.concatenate([before.centroids, far]), before.rows, None, 0.0)
    after = fast_kmeans(VECTORS[:1000], 25, COUNTS[:1000], previous=emptied)
    assert after.distortion < before.distortion
    assert np.abs(after.centroids).max() < 50


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_rows": 0}, "num_rows"),
        ({"num_rows": 11}, r"1\.\.10"),
        ({"frequencies": np.ones(3)}, "frequencies"),
        ({"frequencies": -np.ones(10)}, "not negative"),
        ({"hysteresis": 1.0}, "hysteresis"),
        ({"iterations": 0}, "iterations"),
        ({"min_frequency": 2}, "Pass them"),
        ({"vectors": np.ones(10)}, "matrix"),
        ({"threads": 0}, "threads"),
        ({"previous": Clustering(np.ones((1, 2), np.float32), np.zeros(11, np.int32), None, 0.0)}, "at the end"),
    ],
    ids=str,
)
def test_impossible_arguments(options, message) -> None:
    arguments = {"vectors": np.ones((10, 2), np.float32), "num_rows": 2, **options}
    with pytest.raises(ValueError, match=message):
        fast_kmeans(**arguments)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e20])
@pytest.mark.parametrize("cluster", [fast_kmeans, full_kmeans])
def test_vectors_without_distances_are_refused(cluster, value) -> None:
    vectors = VECTORS[:200].copy()
    vectors[7, 3] = value
    with pytest.raises(ValueError, match=r"must be finite and at most 1e\+12"):
        cluster(vectors, 9)
