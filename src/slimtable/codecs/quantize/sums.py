"""Codes of vectors that are sums of centroids: a beam search with fixed centroids, a pure function of each vector."""

from __future__ import annotations

import numpy as np
from numba import njit

from slimtable.codecs.quantize.parts import BLOCK, in_blocks

_LARGE = np.float32(3e38)
_LANES = 16  # sums that are compared at a time, by SIMD
_ROWS = 4  # vectors that are multiplied with the centroids at a time, so that these are read once for all of them


def nearest_sums(
    vectors: np.ndarray, books: np.ndarray, beam: int, *, by_angle: bool = False, threads: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """For each vector, a sum of one centroid per stage near it.

    The search keeps the ``beam`` nearest sums from stage to stage, as in :mod:`slimtable.codecs.quantize.beam`, and
    takes the best of the last ones: the nearest, or the one with the smallest angle, if a gain will scale it.

    Args:
        vectors: float32 (n, d).
        books: float32 (M, K, d).
        beam: number of sums kept.
        by_angle: True for the smallest angle.
        threads: number of threads; None for all cores that the process may use.

    Returns:
        Codes int32 (n, M), and the factor float32 (n,) with which the sum comes nearest to the vector; 0 for a sum of
        zeros. The results for a vector do not depend on the others.
    """
    vectors = np.ascontiguousarray(vectors, np.float32)
    stages, size, width = books.shape
    rows = np.ascontiguousarray(books.reshape(-1, width))
    wide = rows.astype(np.float64)
    half = (0.5 * np.square(wide).sum(axis=1)).astype(np.float32)
    products = _products(rows) if stages > 1 else np.empty((0, 0), np.float32)
    columns = np.ascontiguousarray(rows.T)
    codes, factors = np.empty((len(vectors), stages), np.int32), np.empty(len(vectors), np.float32)

    def work(first: int) -> None:
        part = slice(first, first + BLOCK)
        _search(vectors[part], columns, half, products, rows, size, beam, by_angle, codes[part], factors[part])

    in_blocks(work, len(vectors), threads)
    return codes, factors


# Arrays are indexed and never sliced in kernels, and functions that kernels call are inlined: see `beam`.


@njit(nogil=True, cache=True)
def _products(rows):  # type: ignore[no-untyped-def]
    """Inner products float32 (S, S), in an order of additions that no library of matrix products may change."""
    count, width = rows.shape
    columns, line = rows.T.copy(), np.empty(count)
    found = np.empty((count, count), np.float32)
    for a in range(count):
        for k in range(count):
            line[k] = 0.0
        for j in range(width):
            x = np.float64(rows[a, j])
            for k in range(count):
                line[k] += x * columns[j, k]
        for k in range(count):
            found[a, k] = line[k]
    return found


@njit(nogil=True, fastmath=True, cache=True)
def _search(  # type: ignore[no-untyped-def]
    vectors, columns, half, products, rows, size, beam, by_angle, codes, factors
):
    width, stages, last = vectors.shape[1], codes.shape[1], vectors.shape[0] - 1
    x, alone = np.empty((_ROWS, width), np.float32), np.empty((_ROWS, half.size), np.float32)
    line = np.empty(size, np.float32)
    scores, kept = np.empty(beam, np.float32), np.empty(beam, np.float32)
    paths, longer = np.empty((beam, stages), np.int32), np.empty((beam, stages), np.int32)
    parents, choices = np.empty(beam, np.int32), np.empty(beam, np.int32)
    for first in range(0, vectors.shape[0], _ROWS):
        for r in range(_ROWS):  # the last vector again where there are no more
            for j in range(width):
                x[r, j] = vectors[min(first + r, last), j]
        _project(x, columns, half, size, alone)
        for r in range(min(_ROWS, vectors.shape[0] - first)):
            count = 1
            scores[0] = np.float32(0.0)
            for stage in range(stages):
                begin = np.uintp(stage * size)  # unsigned: an index that could be negative does not vectorize
                found, worst = 0, _LARGE
                for p in range(count):
                    score = scores[p]
                    for k in range(size):
                        line[k] = score + alone[r, begin + np.uintp(k)]
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
                            q = min(found, beam - 1)  # the kept sums are sorted
                            while q > 0 and kept[q - 1] > line[i]:
                                kept[q], parents[q], choices[q] = kept[q - 1], parents[q - 1], choices[q - 1]
                                q -= 1
                            kept[q], parents[q], choices[q] = line[i], p, stage * size + i
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
            _choose(x, r, rows, paths, count, size, by_angle, first + r, codes, factors)


@njit(inline="always")
def _project(x, columns, half, size, alone):  # type: ignore[no-untyped-def]
    """Half the squared norms of the centroids minus their inner products with the vectors, a stage at a time."""
    width = x.shape[1]
    for begin in range(0, half.size, size):
        start = np.uintp(begin)
        for r in range(_ROWS):
            for k in range(size):
                alone[r, start + np.uintp(k)] = half[start + np.uintp(k)]
        j = 0
        while j + 4 <= width:
            for r in range(_ROWS):
                a, b, c, d = x[r, j], x[r, j + 1], x[r, j + 2], x[r, j + 3]
                for k in range(size):
                    at = start + np.uintp(k)
                    alone[r, at] -= (a * columns[j, at] + b * columns[j + 1, at]) + (
                        c * columns[j + 2, at] + d * columns[j + 3, at]
                    )
            j += 4
        while j < width:
            for r in range(_ROWS):
                a = x[r, j]
                for k in range(size):
                    at = start + np.uintp(k)
                    alone[r, at] -= a * columns[j, at]
            j += 1


@njit(inline="always")
def _choose(x, r, rows, paths, count, size, by_angle, b, codes, factors):  # type: ignore[no-untyped-def]
    """Writes the codes and the factor of the best of some sums."""
    best, least, factor = 0, _LARGE, np.float32(0.0)
    for q in range(count):
        dot, square = np.float32(0.0), np.float32(0.0)
        for j in range(x.shape[1]):
            value = np.float32(0.0)
            for m in range(paths.shape[1]):
                value += rows[paths[q, m], j]
            dot += x[r, j] * value
            square += value * value
        cost = square - np.float32(2.0) * dot
        if by_angle:
            cost = -dot * dot / square if dot > 0 and square > 0 else np.float32(0.0)
        if cost < least:
            best, least = q, cost
            factor = dot / square if square > 0 else np.float32(0.0)
    for m in range(paths.shape[1]):
        codes[b, m] = paths[best, m] - m * size
    factors[b] = factor
