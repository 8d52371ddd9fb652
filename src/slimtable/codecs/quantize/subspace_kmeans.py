"""k-means in every subspace at once, on top of the exact nearest-centroid search."""

from __future__ import annotations

import numpy as np
from numba import njit

from slimtable.codecs.quantize.nearest import SortedCodebook, nearest_codes
from slimtable.codecs.vectors import Vectors, as_vectors

_ROWS_PER_CENTROID = 256  # more rows than this hardly improve a centroid; faiss has the same limit


def kmeans(
    rows: np.ndarray | Vectors,
    num_centroids: int,
    num_codebooks: int = 1,
    *,
    fixed: np.ndarray | None = None,
    iterations: int = 50,
    seed: int = 0,
) -> np.ndarray:
    """Lloyd's algorithm on each of M subspaces of the rows.

    One-dimensional subspaces start from quantiles, others from distinct random rows. A centroid without
    rows moves onto a random row. Large inputs are sampled down to 256 rows per centroid.

    Args:
        rows: float32 (N, M·s), N ≥ 1, in memory, or read a block at a time.
        num_centroids: K.
        num_codebooks: M.
        fixed: float32 (M, F, s), centroids that are not moved; they are the first F of the K.
        iterations: maximum number of rounds; stops as soon as no centroid moves.
        seed: seed of the sampling.

    Returns:
        float32 (M, K, s).

    Raises:
        ValueError: there are no rows, or more centroids are fixed than asked for.
    """
    num_fixed = 0 if fixed is None else fixed.shape[1]
    if len(rows) == 0 or num_fixed > num_centroids:
        raise ValueError(f"k-means needs rows and room for {num_fixed} fixed centroids, got {rows.shape} rows.")
    generator = np.random.default_rng(seed)
    read = as_vectors(rows)
    if len(read) > _ROWS_PER_CENTROID * num_centroids:
        rows = read.take(generator.choice(len(read), _ROWS_PER_CENTROID * num_centroids, replace=False))
    else:
        rows = read.read(0, len(read))
    width = rows.shape[1] // num_codebooks
    codebook = np.empty((num_codebooks, num_centroids, width), dtype=np.float32)
    if fixed is not None:
        codebook[:, :num_fixed] = fixed
    codebook[:, num_fixed:] = _starts(rows, num_centroids - num_fixed, num_codebooks, generator)

    tiers = np.zeros(len(rows), dtype=np.int8)
    search = SortedCodebook((num_centroids,))
    for _ in range(iterations):
        if width == 1:
            codes = search.encode(rows, codebook[:, :, 0].copy(), tiers)
        else:
            codes = nearest_codes(rows, codebook, tiers, (num_centroids,))
        sums, counts = _sum_by_code(rows, codes, num_codebooks, num_centroids)
        means = sums / np.maximum(counts, 1)[:, :, None]
        empty = counts == 0
        means[empty] = rows.reshape(-1, num_codebooks, width)[
            generator.integers(len(rows), size=empty.sum()), np.nonzero(empty)[0]
        ]
        means[:, :num_fixed] = codebook[:, :num_fixed]
        moved = not np.array_equal(codebook, means.astype(np.float32))
        codebook = means.astype(np.float32)
        if not moved:
            break
    return codebook


def _starts(rows: np.ndarray, count: int, num_codebooks: int, generator: np.random.Generator) -> np.ndarray:
    """Starting centroids (M, count, s)."""
    width = rows.shape[1] // num_codebooks
    if width == 1:
        places = (np.arange(count) + 0.5) / max(count, 1)
        starts: np.ndarray = np.quantile(rows, places, axis=0).T[:, :, None]
        return starts
    chosen = generator.choice(len(rows), count, replace=count > len(rows))
    return rows[chosen].reshape(count, num_codebooks, width).transpose(1, 0, 2)


@njit(cache=True, nogil=True)
def _sum_by_code(rows, codes, num_codebooks, num_centroids):  # type: ignore[no-untyped-def]
    width = rows.shape[1] // num_codebooks
    sums = np.zeros((num_codebooks, num_centroids, width), dtype=np.float64)
    counts = np.zeros((num_codebooks, num_centroids), dtype=np.int64)
    for b in range(rows.shape[0]):
        for m in range(num_codebooks):
            k = codes[b, m]
            counts[m, k] += 1
            for j in range(width):
                sums[m, k, j] += rows[b, m * width + j]
    return sums, counts
