"""Numba kernels of clustering: distances to many centroids, search by cells, sums per cluster."""

from __future__ import annotations

import numpy as np
from numba import njit

_NOBODY = np.int32(2**31 - 1)


# Arrays are indexed and never sliced here: a slice updates the reference count of its array, and threads that do so at
# the same time wait for each other. Functions that others call are inlined: compiled separately with fastmath, they
# would round differently from the copies that numba's cache holds with their callers.


@njit(inline="always")
def _nearest(vectors, b, lists, half, cell, count, square, distances, patterns):  # type: ignore[no-untyped-def]
    """Position of the nearest centroid in a list; half the squared distances to all are written to ``distances``.

    ``lists`` is (G, d, L): values of a column are contiguous, for SIMD. ``half`` holds half the squared norms
    (G, L), ``square`` is half that of the vector.
    """
    width = lists.shape[1]
    for k in range(count):
        distances[k] = square + half[cell, k]
    j = 0
    while j + 4 <= width:
        x, y, z, w = vectors[b, j], vectors[b, j + 1], vectors[b, j + 2], vectors[b, j + 3]
        for k in range(count):
            distances[k] -= (x * lists[cell, j, k] + y * lists[cell, j + 1, k]) + (
                z * lists[cell, j + 2, k] + w * lists[cell, j + 3, k]
            )
        j += 4
    while j < width:
        x = vectors[b, j]
        for k in range(count):
            distances[k] -= x * lists[cell, j, k]
        j += 1
    # Distances are nonnegative up to rounding, so their bit patterns sort in the same order; integer minima vectorize.
    smallest = _NOBODY
    for k in range(count):
        smallest = min(smallest, patterns[k])
    best = _NOBODY
    for k in range(count):
        best = min(best, np.int32(k) if patterns[k] == smallest else _NOBODY)
    return best


@njit(nogil=True, fastmath=True, cache=True)
def search(  # type: ignore[no-untyped-def]
    vectors,
    weights,
    cells,
    half_cells,
    lists,
    half_lists,
    names,
    lengths,
    centroids,
    stay,
    keep,
    rows,
    sums,
    masses,
):
    """Assigns vectors to clusters and sums the vectors of each cluster.

    Each vector is compared with the candidates of its nearest cell. A vector with ``stay ≥ 0`` is in a cluster already,
    and leaves it only for one within ``keep`` times its squared distance.

    Args:
        vectors: float32 (n, d).
        weights: float32 (n,).
        cells: float32 (1, d, G) centres of the cells in columns; G = 1 if every centroid is a candidate.
        half_cells: float32 (1, G) half their squared norms.
        lists: float32 (G, d, L) candidates of each cell.
        half_lists: float32 (G, L) half their squared norms.
        names: int32 (G, L) indices of those centroids.
        lengths: int64 (G,) number of entries of each list in use.
        centroids: float32 (K, d).
        stay: int32 (n,) present clusters, -1 for none, -2 for vectors to skip; empty if no vector has one.
        keep: 1 - hysteresis.
        rows: int32 (n,) cluster of each vector; overwritten.
        sums: float64 (K, d), added to.
        masses: float64 (K,), added to.

    Returns:
        Sums of weight times squared distance, and of weight times squared norm.
    """
    num_cells, width, length = lists.shape
    most_cells = half_cells.shape[1]
    distances = np.empty(max(length, most_cells), np.float32)
    patterns = distances.view(np.int32)
    total, power = 0.0, 0.0
    for b in range(vectors.shape[0]):
        before = stay[b] if stay.size else np.int32(-1)
        if before == -2:
            continue
        square = np.float32(0.0)
        for j in range(width):
            square += vectors[b, j] * vectors[b, j]
        square *= np.float32(0.5)
        cell = 0
        if num_cells > 1:
            cell = _nearest(vectors, b, cells, half_cells, 0, most_cells, square, distances, patterns)
        place = _nearest(vectors, b, lists, half_lists, cell, lengths[cell], square, distances, patterns)
        best, distance = names[cell, place], distances[place]
        if before >= 0 and before != best:
            here = np.float32(0.0)
            for j in range(width):
                here += (vectors[b, j] - centroids[before, j]) * (vectors[b, j] - centroids[before, j])
            here *= np.float32(0.5)
            if distance >= keep * here:
                best, distance = before, here
        rows[b] = best
        weight = np.float64(weights[b])
        total += weight * 2.0 * max(np.float64(distance), 0.0)
        power += weight * 2.0 * np.float64(square)
        masses[best] += weight
        for j in range(width):
            sums[best, j] += weight * vectors[b, j]
    return total, power


@njit(nogil=True, cache=True)
def add_up(vectors, weights, rows, sums, masses):  # type: ignore[no-untyped-def]
    """Sums the vectors of each cluster, skipping negative ones; returns the sum of weight times squared norm."""
    power = 0.0
    for b in range(vectors.shape[0]):
        k = rows[b]
        if k < 0:
            continue
        weight = np.float64(weights[b])
        masses[k] += weight
        for j in range(vectors.shape[1]):
            x = np.float64(vectors[b, j])
            sums[k, j] += weight * x
            power += weight * x * x
    return power


@njit(nogil=True, cache=True)
def threshold(weights, wanted):  # type: ignore[no-untyped-def]
    """The τ for which ``Σ min(1, weight / τ)`` equals ``wanted``; 0 if no more rows than that have a weight."""
    tau = np.inf
    while True:  # τ decreases to the solution, since weights above the last τ count as only 1
        above, below = 0, 0.0
        for b in range(weights.size):
            if weights[b] >= tau:
                above += 1
            else:
                below += np.float64(weights[b])
        if above >= wanted:  # only by rounding
            return tau
        found = below / (wanted - above)
        if found == 0.0 or found >= tau * (1.0 - 1e-6):
            return found
        tau = found


@njit(nogil=True, cache=True)
def systematic(weights, tau, start, chosen):  # type: ignore[no-untyped-def]
    """Samples rows at even steps of the running sum of ``min(1, weight / τ)`` into ``chosen``; returns their number."""
    reached, count, wanted = 0.0, 0, start
    for b in range(weights.size):
        if weights[b] <= 0:
            continue
        reached += min(1.0, np.float64(weights[b]) / tau) if tau > 0 else 1.0
        if reached > wanted and count < chosen.size:
            chosen[count] = b
            count += 1
            wanted += 1.0
    return count
