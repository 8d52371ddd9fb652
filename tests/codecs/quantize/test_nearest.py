"""Nearest centroids are exact: against brute force in double precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from slimtable.codecs.quantize.nearest import (
    Lookup,
    SortedCodebook,
    nearest_codes,
    quantize_subvectors,
)
from slimtable.codecs.quantize.subspace_kmeans import kmeans
from slimtable.embeddings.nearest_torch import nearest_codes_torch


def distances(rows, codebook, tiers, sizes):
    """Squared distances in double precision, (B, M, K); infinite where a tier may not use a centroid."""
    num_codebooks, num_centroids, width = codebook.shape
    parts = rows.reshape(len(rows), num_codebooks, 1, width).astype(np.float64)
    result = ((parts - codebook.astype(np.float64)) ** 2).sum(3)
    limits = np.array([*sizes, num_centroids])[tiers]
    result[np.broadcast_to(np.arange(num_centroids) >= limits[:, None, None], result.shape)] = np.inf
    return result


def assert_nearest(codes, rows, codebook, tiers, sizes, rtol=0.0):
    kept = tiers >= 0
    table = distances(rows, codebook, tiers, sizes)[kept]
    chosen = np.take_along_axis(table, np.asarray(codes)[kept][:, :, None].astype(np.int64), 2)[:, :, 0]
    np.testing.assert_allclose(chosen, table.min(2), rtol=rtol, atol=0)
    assert not np.asarray(codes)[~kept].any()


@pytest.mark.parametrize("sizes", [(1,), (2,), (256, 64), (7, 3, 5), (1000,)], ids=str)
def test_sorted_search_is_exact_while_centroids_move(sizes) -> None:
    generator = np.random.default_rng(0)
    search = SortedCodebook(sizes)
    codebook = generator.standard_normal((6, max(sizes))).astype(np.float32)
    for scale in (0.0, 1e-4, 0.1, 10.0):
        codebook += scale * generator.standard_normal(codebook.shape).astype(np.float32)
        codebook[:, : len(codebook[0]) // 3] = codebook[:, :1]  # equal centroids
        rows = 1.5 * generator.standard_normal((400, 6)).astype(np.float32)
        rows[:5] = [[1e30], [-1e30], [np.float32(1e-40)], [0.0], [codebook[0, 0]]]
        tiers = generator.integers(-1, len(sizes), 400).astype(np.int8)
        codes = search.encode(rows, codebook, tiers)
        assert_nearest(codes, rows, codebook[:, :, None], tiers, sizes)


floats = st.floats(-4, 4, width=32) | st.sampled_from([0.0, -0.0, 0.5, 1.0, 1.5])


@settings(deadline=None, max_examples=200)
@given(arrays(np.float32, (9, 2), elements=floats), arrays(np.float32, (2, 5), elements=floats))
def test_sorted_search_is_exact_on_any_numbers(rows, codebook) -> None:
    tiers = np.zeros(9, dtype=np.int8)
    assert_nearest(SortedCodebook((5,)).encode(rows, codebook, tiers), rows, codebook[:, :, None], tiers, (5,))


def test_order_does_not_depend_on_the_past() -> None:
    """A resumed run starts from another order; with equal centroids it must still choose the same ones."""
    generator = np.random.default_rng(0)
    codebook = generator.integers(0, 4, (3, 20)).astype(np.float32)
    rows, tiers = generator.standard_normal((50, 3)).astype(np.float32), np.zeros(50, dtype=np.int8)
    old = SortedCodebook((20,))
    old.encode(rows, codebook[:, ::-1].copy(), tiers)
    np.testing.assert_array_equal(
        old.encode(rows, codebook, tiers), SortedCodebook((20,)).encode(rows, codebook, tiers)
    )


def test_not_a_number_never_reads_out_of_bounds() -> None:
    rows = np.array([[np.nan, np.inf, -np.inf]], dtype=np.float32)
    codebook = np.array([[0.0, 1.0], [0.0, 1.0], [np.nan, np.nan]], dtype=np.float32)
    codes = SortedCodebook((2,)).encode(rows, codebook, np.zeros(1, dtype=np.int8))
    assert set(codes.ravel()) <= {0, 1}


@pytest.mark.parametrize("width", [1, 2, 8])
@pytest.mark.parametrize("sizes", [(33,), (32, 5)], ids=str)
def test_all_distances_on_both_paths(width, sizes) -> None:
    generator = np.random.default_rng(0)
    rows = generator.standard_normal((300, 4 * width)).astype(np.float32)
    codebook = generator.standard_normal((4, max(sizes), width)).astype(np.float32)
    tiers = generator.integers(-1, len(sizes), 300).astype(np.int8)
    codes = nearest_codes(rows, codebook, tiers, sizes)
    assert_nearest(codes, rows, codebook, tiers, sizes, rtol=1e-6)
    by_torch = nearest_codes_torch(*(torch.from_numpy(a) for a in (rows, codebook, tiers)), sizes).numpy()
    assert_nearest(np.where(tiers[:, None] < 0, 0, by_torch), rows, codebook, tiers, sizes, rtol=1e-6)


@pytest.mark.parametrize("width", [1, 4])
@pytest.mark.parametrize("num_rows", [60, 4000], ids=["repeated ids", "few repeated ids"])
def test_quantized_rows_pull_and_error(width, num_rows) -> None:
    generator = np.random.default_rng(0)
    table = generator.standard_normal((num_rows, 3 * width)).astype(np.float32)
    codebook = generator.standard_normal((3, 9, width)).astype(np.float32)
    ids = generator.integers(0, num_rows, 300)
    tiers = generator.integers(0, 2, num_rows).astype(np.int8)
    padding, sizes = int(ids[7]), (9, 4)
    lookup = Lookup(table, ids, tiers, padding)
    if width == 1:
        quantized, pull, total = SortedCodebook(sizes).quantize(lookup, codebook[:, :, 0].copy())
        pull = pull[:, :, None]
    else:
        quantized, pull, total = quantize_subvectors(lookup, codebook, sizes)
    rows, kept = table[ids], (ids != padding)[:, None]
    codes = distances(rows, codebook, tiers[ids], sizes).argmin(2)
    expected = codebook[np.arange(3), codes].reshape(len(ids), -1) * kept
    np.testing.assert_array_equal(quantized, expected)
    difference = (expected - rows) * kept
    expected_pull = np.zeros_like(codebook)
    np.add.at(expected_pull, (np.arange(3), codes), difference.reshape(len(ids), 3, width))
    np.testing.assert_allclose(pull, expected_pull, rtol=1e-4, atol=1e-4)
    assert total == pytest.approx(float((difference * (expected - rows)).sum()), rel=1e-5)


@pytest.mark.parametrize("width", [1, 4])
def test_ids_out_of_range_are_never_read(width) -> None:
    table, codebook = np.zeros((5, 2 * width), np.float32), np.zeros((2, 3, width), np.float32)
    for ids in ([0, 5], [-1, 2]):
        lookup = Lookup(table, np.array(ids), np.zeros(5, np.int8), -1)
        if width == 1:
            total = SortedCodebook((3,)).quantize(lookup, codebook[:, :, 0])[2]
        else:
            total = quantize_subvectors(lookup, codebook, (3,))[2]
        assert np.isnan(total)


def test_old_cells_never_change_what_is_found() -> None:
    """The starting table may be some steps old: centroids and rows move, yet every code stays the nearest."""
    generator = np.random.default_rng(0)
    table = generator.standard_normal((200, 4)).astype(np.float32)
    codebook = generator.standard_normal((4, 16)).astype(np.float32)
    finder, tiers, ids = SortedCodebook((16, 5)), generator.integers(0, 2, 200).astype(np.int8), np.arange(200)
    for _ in range(30):
        lookup = Lookup(table, ids, tiers, -1)
        expected = distances(table, codebook[:, :, None], tiers, (16, 5)).argmin(2)
        np.testing.assert_array_equal(finder.quantize(lookup, codebook)[0], codebook[np.arange(4), expected])
        codebook += 0.3 * generator.standard_normal(codebook.shape).astype(np.float32)
        table += 0.3 * generator.standard_normal(table.shape).astype(np.float32)


def test_kmeans_finds_planted_centres_and_keeps_fixed_ones() -> None:
    generator = np.random.default_rng(0)
    centres = np.array([[0, 0], [10, 0], [0, 10], [10, 10]], dtype=np.float32)
    rows = centres[generator.integers(4, size=500)] + 0.1 * generator.standard_normal((500, 2)).astype(np.float32)
    errors = []
    for seed in range(5):  # Lloyd may stop in a local optimum; one of five starts must find the centres
        found = kmeans(rows, 4, 1, seed=seed)[0]
        errors.append(max(np.linalg.norm(found - centre, axis=1).min() for centre in centres))
    assert min(errors) < 0.1
    fixed = np.full((1, 2, 2), 5.0, dtype=np.float32)
    np.testing.assert_array_equal(kmeans(rows, 6, 1, fixed=fixed)[:, :2], fixed)


def test_kmeans_in_one_dimension_beats_even_steps() -> None:
    rows = np.random.default_rng(0).standard_normal((4000, 2)).astype(np.float32)
    codebook = kmeans(rows, 16, 2)
    error = distances(rows, codebook, np.zeros(4000, dtype=np.int8), (16,)).min(2).mean()
    assert error < 0.01154  # Lloyd–Max distortion of 16 levels for a unit Gaussian; a finite sample fits better
    even = np.linspace(rows.min(), rows.max(), 16)
    assert error < 0.6 * ((rows[:, :, None] - even) ** 2).min(2).mean()


def test_kmeans_with_more_centroids_than_rows() -> None:
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    for num_codebooks in (1, 2):
        codebook = kmeans(rows, 8, num_codebooks)
        assert np.isfinite(codebook).all()
        error = distances(rows, codebook, np.zeros(3, dtype=np.int8), (8,)).min(2)
        assert error.max() < 0.3
    with pytest.raises(ValueError, match="needs rows"):
        kmeans(rows[:0], 2)
