"""Exact nearest centroids: a sorted search for one-dimensional subspaces, all distances otherwise.

All functions take rows (B, d), a codebook (M, K, d/M), a tier per row and the number of centroids that each
tier may use; a row of tier ``-1``, or of the padding id, is skipped. The NumPy functions are compiled by numba and
run on one core; :mod:`slimtable.embeddings.nearest_torch` serves other devices and precisions.
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import numpy as np
from numba import njit

_MAX_CELLS = 1 << 16  # of the table of start positions of a sorted codebook
_CELLS_PER_CENTROID = 2
_BATCHES_PER_TABLE = 8  # repeated ids are merged if a table has at most this many rows per id of a batch
_STEPS_OF_CELLS = 8  # training steps for which the table of start positions is reused
_MOST_MOVES = 16  # moves per centroid; a subspace that needs more is sorted from scratch


class Lookup(NamedTuple):
    """The rows of a table to quantize.

    Attributes:
        table: float32 (N, d).
        ids: integer (B,), rows of the table.
        tiers: int8 (N,), tier of each row of the table.
        padding: id that is quantized to zeros, or -1.
    """

    table: np.ndarray
    ids: np.ndarray
    tiers: np.ndarray
    padding: int


class SortedCodebook:
    """Finds the nearest of the centroids of one-dimensional subspaces, also while they are being trained.

    The centroids of a subspace are kept sorted, with the boundaries between neighbours and a table of even cells
    that gives the position at which a search starts. The order hardly changes between two training steps, so the
    last one is updated by an insertion sort in about K moves. Each tier has its own order, over the first ``sizes[t]``
    centroids.

    Args:
        sizes: number of centroids that each tier may use, (T,).
    """

    def __init__(self, sizes: tuple[int, ...]) -> None:
        self.sizes = np.asarray(sizes, dtype=np.int64)
        self._index: tuple[np.ndarray, ...] | None = None
        self._lock = threading.Lock()  # the index is updated in place, so threads take turns

    def __getstate__(self) -> dict[str, Any]:
        """State of a copy or a pickle: the sizes only; the copy builds its own index."""
        return {"sizes": self.sizes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["sizes"])  # type: ignore[misc]

    def encode(self, rows: np.ndarray, codebook: np.ndarray, tiers: np.ndarray) -> np.ndarray:
        """Nearest centroid of every value; of two equally near ones the smaller value wins.

        Args:
            rows: float32 (B, M).
            codebook: float32 (M, K).
            tiers: int8 (B,).

        Returns:
            int32 (B, M); 0 for rows of tier -1.
        """
        codes = np.zeros(rows.shape, dtype=np.int32)
        with self._lock:
            _encode_scalars(rows, tiers, codebook, self.sizes, *self._index_for(codebook), codes)
        return codes

    def quantize(self, lookup: Lookup, codebook: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Looks up rows, replaces values by their nearest centroids and sums the pull on each centroid, in one pass.

        Args:
            lookup: the rows to quantize.
            codebook: float32 (M, K).

        Returns:
            As :func:`quantize_subvectors`; if an id is out of range, nothing is computed and the sum is NaN.
        """
        quantized, pull = np.empty((len(lookup.ids), lookup.table.shape[1]), np.float32), np.zeros_like(codebook)
        with self._lock:
            total = _quantize_scalars(*lookup, codebook, self.sizes, *self._index_for(codebook), quantized, pull)
        return quantized, pull, total

    def _index_for(self, codebook: np.ndarray) -> tuple[np.ndarray, ...]:
        """The arrays of the index, which the kernels update to the centroids (M, K).

        Returns:
            For each tier t and subspace m: the centroids in sorted order, uint16 (T, M, K), their values and the
            largest value that is nearest to each, float32 (T, M, K); then the start position of each cell, uint16
            (T, M, cells), the lower edge of the cells and the cells per unit (T, M), and the number of steps for
            which the cells are still reused, int64 (1,).
        """
        shape = (len(self.sizes), *codebook.shape)
        if self._index is None or self._index[0].shape != shape:
            order = np.zeros(shape, dtype=np.uint16)
            for tier, size in enumerate(self.sizes):
                order[tier, :, :size] = np.argsort(codebook[:, :size], axis=1, kind="stable")
            values, bounds = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32)
            # As small as possible: between two steps, the optimizer evicts all of it from the CPU's fast caches.
            cells = np.empty((*shape[:2], min(_CELLS_PER_CENTROID * shape[2], _MAX_CELLS)), dtype=np.uint16)
            edge, per_unit = np.empty(shape[:2], dtype=np.float32), np.empty(shape[:2], dtype=np.float32)
            self._index = (order, values, bounds, cells, edge, per_unit, np.zeros(1, dtype=np.int64))
        return self._index


@njit(cache=True, nogil=True)
def _update_order(codebook, sizes, order, values, bounds):  # type: ignore[no-untyped-def]
    up = np.empty(codebook.shape[1], dtype=np.int32)
    for tier in range(sizes.size):
        size = sizes[tier]
        for m in range(codebook.shape[0]):
            places, ascending, bound = order[tier, m], values[tier, m], bounds[tier, m]
            bound_bits = bound.view(np.int32)
            for place in range(size):
                ascending[place] = codebook[m, places[place]]
            moves = 0
            for place in range(1, size):
                value, centroid, hole = ascending[place], places[place], place
                # Equal values are sorted by index, so that the order does not depend on earlier steps.
                while hole > 0 and (
                    ascending[hole - 1] > value or (ascending[hole - 1] == value and places[hole - 1] > centroid)
                ):
                    ascending[hole] = ascending[hole - 1]
                    places[hole] = places[hole - 1]
                    hole -= 1
                ascending[hole], places[hole] = value, centroid
                moves += place - hole
                if moves > _MOST_MOVES * size:  # much has changed: sort from scratch
                    places[:size] = np.argsort(codebook[m, :size], kind="mergesort")
                    for i in range(size):
                        ascending[i] = codebook[m, places[i]]
                    break
            for place in range(size - 1):
                exact = 0.5 * (np.float64(ascending[place]) + np.float64(ascending[place + 1]))
                bound[place] = np.float32(exact)
                up[place] = bound[place] > exact
            # If rounding went up, take the next float below, so that no value below the midpoint counts as above it.
            for place in range(size - 1):
                bound_bits[place] -= up[place] * (np.int32(1) | (bound_bits[place] >> np.int32(31)))
            bound[size - 1] = np.inf


@njit(cache=True, nogil=True)
def _update_cells(sizes, values, bounds, cells, edge, per_unit, age):  # type: ignore[no-untyped-def]
    age[0] -= 1
    if age[0] > 0:  # cells only say where to start, so they may be some steps old
        return
    age[0] = _STEPS_OF_CELLS
    num_subspaces, num_cells = cells.shape[1:]
    for tier in range(sizes.size):
        last = sizes[tier] - 1
        for m in range(num_subspaces):
            starts, bound = cells[tier, m], bounds[tier, m]
            low, span = values[tier, m, 0], values[tier, m, last] - values[tier, m, 0]
            scale = np.float32(num_cells / span) if span > 0 else np.float32(0.0)
            edge[tier, m], per_unit[tier, m] = low, scale
            # The search of a cell starts at the number of boundaries in the cells before it.
            starts[:] = 0
            for place in range(last):
                starts[_cell(bound[place], low, scale, num_cells)] += 1
            before = 0
            for cell in range(num_cells):
                here = starts[cell]
                starts[cell] = before
                before += here


@njit(inline="always")
def _cell(x, low, scale, num_cells):  # type: ignore[no-untyped-def]
    """The cell of a value; the comparisons put NaN into cell 0."""
    place = (x - low) * scale
    place = place if place > np.float32(0.0) else np.float32(0.0)
    last = np.float32(num_cells - 1)
    return np.int32(place if place < last else last)


@njit(cache=True, nogil=True)
def _encode_scalars(  # type: ignore[no-untyped-def]
    rows, tiers, codebook, sizes, order, values, bounds, cells, edge, per_unit, age, codes
):
    _update_order(codebook, sizes, order, values, bounds)
    _update_cells(sizes, values, bounds, cells, edge, per_unit, age)
    num_cells = cells.shape[2]
    for b in range(rows.shape[0]):
        if tiers[b] < 0:
            continue
        tier = tiers[b]
        starts, bound, centroids = cells[tier].ravel(), bounds[tier].ravel(), order[tier].ravel()
        for m in range(rows.shape[1]):
            x = rows[b, m]
            line = m * values.shape[2]
            place = line + starts[m * num_cells + _cell(x, edge[tier, m], per_unit[tier, m], num_cells)]
            while bound[place] < x:
                place += 1
            while place > line and bound[place - 1] >= x:
                place -= 1
            codes[b, m] = centroids[place]


@njit(cache=True, nogil=True, fastmath={"reassoc"})
def _quantize_scalars(  # type: ignore[no-untyped-def]
    table,
    ids,
    tiers,
    padding,
    codebook,
    sizes,
    order,
    values,
    bounds,
    cells,
    edge,
    per_unit,
    age,
    quantized,
    pull,
):
    if _first_outside(ids, table.shape[0]) >= 0:
        return np.nan
    _update_order(codebook, sizes, order, values, bounds)
    _update_cells(sizes, values, bounds, cells, edge, per_unit, age)
    first_of, counts = _merge_repeated(ids, table.shape[0])
    num_subspaces, num_cells = cells.shape[1:]
    num_centroids = values.shape[2]
    first = np.empty(num_subspaces, dtype=np.int32)
    drawn = pull.ravel()
    total = 0.0
    for b in range(ids.size):
        row, out = table[ids[b]], quantized[b]
        if ids[b] == padding:
            out[:] = np.float32(0.0)
            continue
        if first_of[b] != b:
            out[:] = quantized[first_of[b]]
            continue
        tier, count = np.uintp(tiers[ids[b]]), counts[b]
        starts, bound = cells[tier].ravel(), bounds[tier].ravel()
        value, centroids = values[tier].ravel(), order[tier].ravel()
        low, scale = edge[tier], per_unit[tier]
        for m in range(num_subspaces):  # separate from the search, so that it vectorizes
            first[m] = m * num_cells + _cell(row[m], low[m], scale[m], num_cells)
        for m in range(num_subspaces):  # two steps without a branch, so that the branches of the next loop are rare
            place32 = np.int32(m * num_centroids) + np.int32(starts[np.uint32(first[m])])
            place32 += np.int32(bound[np.uint32(place32)] < row[m])
            place32 += np.int32(bound[np.uint32(place32)] < row[m])
            first[m] = place32
        squares = np.float32(0.0)
        for m in range(num_subspaces):
            x = row[m]
            place = np.uintp(first[m])
            while bound[place] < x:
                place += np.uintp(1)
            while place > np.uintp(m * num_centroids) and bound[place - np.uintp(1)] >= x:
                place -= np.uintp(1)
            difference = value[place] - x
            out[m] = value[place]
            drawn[np.uintp(m * num_centroids) + np.uintp(centroids[place])] += count * difference
            squares += difference * difference
        total += count * squares
    return total


@njit(cache=True, nogil=True)
def _merge_repeated(ids, num_embeddings):  # type: ignore[no-untyped-def]
    """Position of the first occurrence of each id, and the count there; nothing is merged if few ids would repeat."""
    first_of, counts = np.arange(ids.size), np.ones(ids.size, dtype=np.float32)
    if _BATCHES_PER_TABLE * ids.size < num_embeddings:
        return first_of, counts
    position = np.full(num_embeddings, -1, dtype=np.int32)
    for b in range(ids.size):
        first = position[ids[b]]
        if first < 0:
            position[ids[b]] = b
        else:
            first_of[b] = first
            counts[first] += np.float32(1.0)
    return first_of, counts


@njit(inline="always")
def _first_outside(ids, num_embeddings):  # type: ignore[no-untyped-def]
    """Position of the first id that is out of range, or -1."""
    for b in range(ids.size):
        if ids[b] < 0 or ids[b] >= num_embeddings:
            return b
    return -1


def nearest_codes(rows: np.ndarray, codebook: np.ndarray, tiers: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """Nearest centroid of every subvector, by computing every distance.

    Args:
        rows: float32 (B, M·s).
        codebook: float32 (M, K, s).
        tiers: int8 (B,).
        sizes: number of centroids that each tier may use, (T,).

    Returns:
        int32 (B, M); 0 for rows of tier -1. Of equally near centroids the first wins.
    """
    codes = np.empty((rows.shape[0], codebook.shape[0]), dtype=np.int32)
    transposed = np.ascontiguousarray(codebook.transpose(0, 2, 1))  # (M, s, K): centroids contiguous, for SIMD
    _search_all(rows, transposed, tiers, np.asarray(sizes, dtype=np.int64), codes)
    return codes


@njit(cache=True, nogil=True)
def _search_all(rows, transposed, tiers, sizes, codes):  # type: ignore[no-untyped-def]
    num_subspaces, width, num_centroids = transposed.shape
    distances = np.empty(num_centroids, dtype=np.float32)
    # Distances are not negative, so their bit patterns sort in the same order; integer minima vectorize.
    patterns = distances.view(np.int32)
    for b in range(rows.shape[0]):
        tier = tiers[b]
        if tier < 0:
            codes[b, :] = 0
            continue
        size = sizes[tier]
        for m in range(num_subspaces):
            for k in range(size):
                distances[k] = np.float32(0.0)
            for j in range(width):
                x = rows[b, m * width + j]
                line = transposed[m, j]
                for k in range(size):
                    difference = x - line[k]
                    distances[k] += difference * difference
            smallest = patterns[0]
            for k in range(size):
                smallest = min(smallest, patterns[k])
            k = 0
            while patterns[k] != smallest:
                k += 1
            codes[b, m] = k


def quantize_subvectors(
    lookup: Lookup, codebook: np.ndarray, sizes: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, float]:
    """Looks up rows, replaces every subvector by its nearest centroid and sums the pull on each centroid.

    Args:
        lookup: the rows to quantize.
        codebook: float32 (M, K, s).
        sizes: number of centroids that each tier may use, (T,).

    Returns:
        Quantized rows (B, M·s), the pull (M, K, s), which is the sum of centroid − row over the rows that chose it,
        and the sum of squared differences. Padding becomes zeros and adds no pull. If an id is out of range, nothing
        is computed and the last sum is NaN.
    """
    table, ids, tiers_of_rows, padding = lookup
    quantized, pull = np.empty((len(ids), table.shape[1]), np.float32), np.zeros_like(codebook)
    if len(ids) and (ids.min() < 0 or ids.max() >= len(table)):
        return quantized, pull, float("nan")
    first_of, counts = _merge_repeated(ids, len(table))
    firsts = np.flatnonzero(first_of == np.arange(len(ids)))
    distinct = ids[firsts]
    rows, tiers = table[distinct], tiers_of_rows[distinct]
    if padding >= 0:
        tiers = np.where(distinct == padding, np.int8(-1), tiers)
    codes = nearest_codes(rows, codebook, tiers, sizes)
    total = _gather_and_pull(rows, codebook, codes, tiers, counts[firsts], firsts, quantized, pull)
    return quantized[first_of] if len(firsts) < len(ids) else quantized, pull, total


@njit(cache=True, nogil=True)
def _gather_and_pull(rows, codebook, codes, tiers, counts, places, quantized, pull):  # type: ignore[no-untyped-def]
    width = codebook.shape[2]
    total = 0.0
    for b in range(rows.shape[0]):
        out = quantized[places[b]]
        if tiers[b] < 0:
            out[:] = np.float32(0.0)
            continue
        for m in range(codebook.shape[0]):
            k = codes[b, m]
            for j in range(width):
                column = m * width + j
                difference = codebook[m, k, j] - rows[b, column]
                out[column] = codebook[m, k, j]
                pull[m, k, j] += counts[b] * difference
                total += counts[b] * difference * difference
    return total
