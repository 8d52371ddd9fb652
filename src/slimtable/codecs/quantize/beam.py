"""Numba kernels of residual quantization: beam search over stages, and weighted sums of residuals."""

from __future__ import annotations

import numpy as np
from numba import njit

_LARGE = np.float32(3e38)
_LANES = 16  # sums that are compared at a time, by SIMD


# Arrays are indexed and never sliced here: a slice updates the reference count of its array, and threads that do so at
# the same time wait for each other. Functions that others call are inlined: compiled separately with fastmath, they
# would round differently from the copies that numba's cache holds with their callers.


@njit(nogil=True, fastmath=True, cache=True)
def search(  # type: ignore[no-untyped-def]
    vectors, weights, mean, columns, half, products, rows, edges, beam, keep, codes, costs
):
    """Finds, for each vector, a sum of one row per stage near it, keeping ``beam`` sums from stage to stage.

    Half the squared distance to a sum s is ``|x|²/2 + |s|²/2 - x·s``. A further row adds half its squared norm, minus
    its inner product with x, plus its inner products with the rows chosen before it.

    Args:
        vectors: float32 (n, d).
        weights: float32 (n,).
        mean: float32 (d,), subtracted from the vectors here; the caller subtracts it from the first stage's rows.
        columns: float32 (d, S) rows of all stages, transposed, so that the values of a column are contiguous.
        half: float32 (S,) half the squared norms of the rows.
        products: float32 (S, S) inner products of the rows.
        rows: float32 (S, d) rows of all stages.
        edges: int64 (L + 1,) first row of each stage, and S.
        beam: number of sums kept.
        keep: 1 - hysteresis: a vector leaves its sum only for one within this fraction of its squared distance.
        codes: int32 (n, L) rows of each vector among all S, -1 for none yet; overwritten.
        costs: float32 (n,) weight times squared distance; overwritten.
    """
    width, stages = vectors.shape[1], edges.size - 1
    x, alone = np.empty(width, np.float32), np.empty(half.size, np.float32)
    line = np.empty(half.size, np.float32)
    scores, kept = np.empty(beam, np.float32), np.empty(beam, np.float32)
    paths, longer = np.empty((beam, stages), np.int32), np.empty((beam, stages), np.int32)
    parents, choices = np.empty(beam, np.int32), np.empty(beam, np.int32)
    for b in range(vectors.shape[0]):
        for j in range(width):
            x[j] = vectors[b, j] - mean[j]
        _project(x, columns, half, alone)
        count = 1
        scores[0] = np.float32(0.0)
        for stage in range(stages):
            # Unsigned: an index that could be negative does not vectorize.
            begin, size = np.uintp(edges[stage]), edges[stage + 1] - edges[stage]
            found, worst = 0, _LARGE
            for p in range(count):
                score = scores[p]
                for k in range(size):
                    line[k] = score + alone[begin + np.uintp(k)]
                for m in range(stage):
                    row = np.uintp(paths[p, m])
                    for k in range(size):
                        line[k] += products[row, begin + np.uintp(k)]
                k = 0
                while k < size:
                    stop = min(k + _LANES, size)
                    if found == beam and stop == k + _LANES:
                        least = worst
                        for i in range(_LANES):  # a fixed number, so that it vectorizes
                            value = line[np.uintp(k) + np.uintp(i)]
                            least = value if value < least else least
                        if least >= worst:
                            k = stop
                            continue
                    for i in range(k, stop):
                        if line[i] >= worst:
                            continue
                        # The kept sums are sorted: the best come first, in the next stage too.
                        q = min(found, beam - 1)
                        while q > 0 and kept[q - 1] > line[i]:
                            kept[q], parents[q], choices[q] = kept[q - 1], parents[q - 1], choices[q - 1]
                            q -= 1
                        kept[q], parents[q], choices[q] = line[i], p, edges[stage] + i
                        found = min(found + 1, beam)
                        if found == beam:
                            worst = kept[beam - 1]
                    k = stop
            for q in range(found):
                for m in range(stage):
                    longer[q, m] = paths[parents[q], m]
                longer[q, stage] = choices[q]
            for q in range(found):
                scores[q] = kept[q]
                for m in range(stage + 1):
                    paths[q, m] = longer[q, m]
            count = found
        distance = _distance(x, rows, paths, 0)
        if codes[b, 0] >= 0:
            here = _distance(x, rows, codes, b)
            if distance >= keep * here:
                costs[b] = weights[b] * here
                continue
        for m in range(stages):
            codes[b, m] = paths[0, m]
        costs[b] = weights[b] * distance


@njit(inline="always")
def _project(x, columns, half, alone):  # type: ignore[no-untyped-def]
    """Half the squared norms of the rows minus their inner products with x."""
    count, width = half.size, x.size
    for k in range(count):
        alone[k] = half[k]
    j = 0
    while j + 4 <= width:
        for k in range(count):
            alone[k] -= (x[j] * columns[j, k] + x[j + 1] * columns[j + 1, k]) + (
                x[j + 2] * columns[j + 2, k] + x[j + 3] * columns[j + 3, k]
            )
        j += 4
    while j < width:
        for k in range(count):
            alone[k] -= x[j] * columns[j, k]
        j += 1


@njit(inline="always")
def _distance(x, rows, codes, b):  # type: ignore[no-untyped-def]
    """Squared distance from x to the sum of some rows."""
    total = np.float32(0.0)
    for j in range(x.size):
        left = x[j]
        for m in range(codes.shape[1]):
            left -= rows[codes[b, m], j]
        total += left * left
    return total


@njit(nogil=True, cache=True)
def pull(vectors, weights, codes, rows, sums, masses):  # type: ignore[no-untyped-def]
    """Adds the weighted residual of each vector to each of its rows, in float64; without vectors, that of zeros.

    Vectors with negative codes are skipped.
    """
    width = rows.shape[1]
    left = np.empty(width)
    for b in range(codes.shape[0]):
        if codes[b, 0] < 0:
            continue
        for j in range(width):
            left[j] = vectors[b, j] if vectors.size else 0.0
        for m in range(codes.shape[1]):
            row = codes[b, m]
            for j in range(width):
                left[j] -= rows[row, j]
        weight = np.float64(weights[b])
        for j in range(width):
            left[j] *= weight
        for m in range(codes.shape[1]):
            row = codes[b, m]
            masses[row] += weight
            for j in range(width):
                sums[row, j] += left[j]
