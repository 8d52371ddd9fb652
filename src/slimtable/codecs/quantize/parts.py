"""Vectors cut into parts: the nearest centroid of each part, and centroids by weighted k-means."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numba import njit

from slimtable.codecs.quantize import kernels as shared
from slimtable.codecs.quantize.centroid_index import usable_threads

BLOCK = 1 << 11
"""Vectors that a thread takes at a time."""
_NOBODY = np.int32(2**31 - 1)


def in_blocks(work: Callable[[int], Any], count: int, threads: int | None, size: int = BLOCK) -> list[Any]:
    """What ``work`` returns for the first index of every block of ``size`` vectors, computed in several threads."""
    firsts, threads = range(0, count, size), usable_threads(threads)
    if threads == 1 or len(firsts) < 2:
        return [work(first) for first in firsts]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, firsts))


def nearest_parts(vectors: np.ndarray, books: np.ndarray, *, threads: int | None = None) -> np.ndarray:
    """The nearest centroid of every part of every vector.

    Args:
        vectors: float32 (n, M·s).
        books: float32 (M, K, s), or (1, K, s) for one set of centroids for all parts.
        threads: number of threads; None for all cores that the process may use.

    Returns:
        int32 (n, M). The codes of a vector do not depend on the others; of equally near centroids the first wins.
    """
    vectors = np.ascontiguousarray(vectors, np.float32)
    codes = np.empty((len(vectors), vectors.shape[1] // books.shape[2]), np.int32)
    columns = np.ascontiguousarray(books.transpose(0, 2, 1))  # (M, s, K): values of a column contiguous, for SIMD
    half = (0.5 * np.square(books.astype(np.float64)).sum(axis=2)).astype(np.float32)

    def work(first: int) -> None:
        part = slice(first, first + BLOCK)
        _search_parts(vectors[part], columns, half, codes[part])

    in_blocks(work, len(vectors), threads)
    return codes


def kmeans_parts(
    vectors: np.ndarray,
    weights: np.ndarray,
    num_parts: int,
    num_centroids: int,
    *,
    share: bool = False,
    begin: np.ndarray | None = None,
    iterations: int = 16,
    seed: int = 0,
    threads: int | None = None,
) -> np.ndarray:
    """Weighted Lloyd iterations in every subspace.

    Centroids start on vectors drawn in proportion to weight; a centroid without vectors moves onto one drawn anew.

    Args:
        vectors: float32 (n, M·s), n ≥ 1.
        weights: float32 (n,), not negative, with a positive sum.
        num_parts: number of subspaces M.
        num_centroids: K.
        share: True for one set of centroids for all subspaces.
        begin: float32 (M or 1, K, s) centroids to start from; None to draw them.
        iterations: rounds; stops as soon as no code changes.
        seed: seed of all draws.
        threads: number of threads; None for all cores that the process may use.

    Returns:
        float32 (M, K, s), or (1, K, s) if shared. It is the same for any number of threads.
    """
    generator = np.random.default_rng(seed)
    width = vectors.shape[1] // num_parts
    if share:
        vectors, weights = vectors.reshape(-1, width), np.repeat(weights, num_parts)
        num_parts = 1
    books = begin if begin is not None else _starts(vectors, weights, num_parts, num_centroids, generator)
    before = None
    for _ in range(iterations):
        codes = nearest_parts(vectors, books, threads=threads)
        if before is not None and np.array_equal(codes, before):
            break
        before = codes
        books = means_of_parts(vectors, weights, codes, books, generator, threads)
    return books


def means_of_parts(
    vectors: np.ndarray,
    weights: np.ndarray,
    codes: np.ndarray,
    books: np.ndarray,
    generator: np.random.Generator,
    threads: int | None = None,
) -> np.ndarray:
    """The weighted means of the vectors of each centroid, float32 (M, K, s); unused ones move onto drawn vectors."""
    shape, size = books.shape, 1 << 16  # blocks are as large for any number of threads, since sums round

    def work(first: int) -> tuple[np.ndarray, np.ndarray]:
        part, sums, masses = slice(first, first + size), np.zeros(shape), np.zeros(shape[:2])
        _add_parts(vectors[part], weights[part], codes[part], sums, masses)
        return sums, masses

    found = in_blocks(work, len(vectors), threads, size)
    sums, masses = sum(pair[0] for pair in found), sum(pair[1] for pair in found)
    means = np.divide(sums, masses[:, :, None], out=books.astype(np.float64), where=masses[:, :, None] > 0)
    for part, code in np.argwhere(masses == 0):
        drawn = _drawn(weights, 1, generator)[0]
        means[part, code] = vectors[drawn, part * shape[2] : (part + 1) * shape[2]]
    moved: np.ndarray = means.astype(np.float32)
    return moved


def _starts(
    vectors: np.ndarray, weights: np.ndarray, num_parts: int, count: int, generator: np.random.Generator
) -> np.ndarray:
    chosen = _drawn(weights, count, generator)
    starts: np.ndarray = vectors[chosen].reshape(count, num_parts, -1).transpose(1, 0, 2)
    return np.ascontiguousarray(starts)


def _drawn(weights: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Indices (count,) in proportion to weight; distinct as far as there are enough vectors."""
    if count == 1:
        carried = np.cumsum(weights, dtype=np.float64)
        place = np.searchsorted(carried, generator.random() * carried[-1], side="right")
        return np.minimum(np.array([place]), len(weights) - 1)
    ids = np.empty(count, np.int64)
    tau = shared.threshold(weights, float(count)) if count < len(weights) else 0.0
    found = shared.systematic(weights, tau, float(generator.random()) if tau > 0 else 0.0, ids)
    if found < count:
        ids[found:] = generator.integers(len(weights), size=count - found)
    return ids


# Arrays are indexed and never sliced in kernels: a slice updates the reference count of its array, and threads that do
# so at the same time wait for each other.


@njit(nogil=True, fastmath=True, cache=True)
def _search_parts(vectors, columns, half, codes):  # type: ignore[no-untyped-def]
    """Writes the nearest centroids to ``codes`` (n, M); ``columns`` (M or 1, s, K), ``half`` (M or 1, K).

    Two vectors are compared with a centroid at a time, so that it is read once for both. Half the squared distances are
    not negative up to rounding, so their bit patterns sort in the same order; integer minima vectorize.
    """
    parts, width, size = codes.shape[1], columns.shape[1], columns.shape[2]
    one, two = np.empty(size, np.float32), np.empty(size, np.float32)
    bits_one, bits_two = one.view(np.int32), two.view(np.int32)
    for b in range(0, vectors.shape[0], 2):
        other = min(b + 1, vectors.shape[0] - 1)  # the last vector twice, if their number is odd
        for m in range(parts):
            book = m if columns.shape[0] > 1 else 0
            begin = m * width
            square_one, square_two = np.float32(0.0), np.float32(0.0)
            for j in range(begin, begin + width):
                square_one += vectors[b, j] * vectors[b, j]
                square_two += vectors[other, j] * vectors[other, j]
            square_one *= np.float32(0.5)
            square_two *= np.float32(0.5)
            for k in range(size):
                one[k] = square_one + half[book, k]
                two[k] = square_two + half[book, k]
            j = 0
            while j + 4 <= width:
                at = begin + j
                x, y, z, w = vectors[b, at], vectors[b, at + 1], vectors[b, at + 2], vectors[b, at + 3]
                p, q, r, s = vectors[other, at], vectors[other, at + 1], vectors[other, at + 2], vectors[other, at + 3]
                for k in range(size):
                    first, second = columns[book, j, k], columns[book, j + 1, k]
                    third, fourth = columns[book, j + 2, k], columns[book, j + 3, k]
                    one[k] -= (x * first + y * second) + (z * third + w * fourth)
                    two[k] -= (p * first + q * second) + (r * third + s * fourth)
                j += 4
            while j < width:
                x, p = vectors[b, begin + j], vectors[other, begin + j]
                for k in range(size):
                    one[k] -= x * columns[book, j, k]
                    two[k] -= p * columns[book, j, k]
                j += 1
            least_one, least_two = _NOBODY, _NOBODY
            for k in range(size):
                least_one = min(least_one, bits_one[k])
                least_two = min(least_two, bits_two[k])
            best_one, best_two = _NOBODY, _NOBODY
            for k in range(size):
                best_one = min(best_one, np.int32(k) if bits_one[k] == least_one else _NOBODY)
                best_two = min(best_two, np.int32(k) if bits_two[k] == least_two else _NOBODY)
            codes[b, m] = best_one
            codes[other, m] = best_two


@njit(nogil=True, cache=True)
def _add_parts(vectors, weights, codes, sums, masses):  # type: ignore[no-untyped-def]
    width = sums.shape[2]
    for b in range(codes.shape[0]):
        weight = np.float64(weights[b])
        for m in range(codes.shape[1]):
            k = codes[b, m]
            masses[m, k] += weight
            for j in range(width):
                sums[m, k, j] += weight * vectors[b, m * width + j]
