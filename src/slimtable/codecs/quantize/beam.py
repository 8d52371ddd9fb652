"""The compiled loops of the residual search: beam search over stages, and sums of what is left."""

from __future__ import annotations

import numpy as np
from numba import njit

_LARGE = np.float32(3e38)
_LANES = 16  # sums that are looked at together


# Arrays are indexed and never sliced here: a slice counts references of its array, and threads that count at once
# wait for each other. What others call is inlined: compiled by itself with fast arithmetic, it would round otherwise
# than the copy of it that is loaded from numba's cache with its caller.


@njit(nogil=True, fastmath=True, cache=True)
def search(  # type: ignore[no-untyped-def]
    vectors, weights, mean, columns, half, products, rows, edges, beam, keep, codes, costs
):
    """Finds sums of one row of each stage near vectors, keeping ``beam`` sums from stage to stage.

    Half the squared distance to a sum s is ``|x|²/2 + |s|²/2 - x·s``, and what a row adds to it is half its squared
    norm, less its product with x, and its products with the rows before it.

    Args:
        vectors: float32 (n, d).
        weights: float32 (n,).
        mean: float32 (d,), taken off the vectors; already off the rows of the first stage.
        columns: float32 (d, S) rows of all stages, values of a column side by side.
        half: float32 (S,) half their squared norms.
        products: float32 (S, S) of rows with each other.
        rows: float32 (S, d).
        edges: int64 (L + 1,) where stages begin.
        beam: sums kept.
        keep: 1 - hysteresis: how much nearer another sum must be for a vector to leave the one that it has.
        codes: int32 (n, L) rows of a vector among all S, -1 for none yet; written.
        costs: float32 (n,) weight times squared distance; written.
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
            # Unsigned, as what might count from the end of an array does not vectorize.
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
                        # The kept ones are in order: the best come first, in the next stage too.
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
    """Half the squared norms of rows less their products with x."""
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
    """Adds up by row what the sums of rows (float64) leave of the vectors; of zeros where there are no vectors.

    Vectors whose codes are negative are left out.
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
