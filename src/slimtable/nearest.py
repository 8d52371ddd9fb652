"""Exact nearest centroids: a sorted search for one-dimensional subspaces, every distance otherwise.

All functions take rows (B, d), a codebook (M, K, d/M), a tier per row and the number of centroids that each
tier may use; a row of tier ``-1`` is left out. The NumPy functions are compiled by numba and run on one core;
``nearest_codes_torch`` serves other devices and precisions and gives codes of equal distance.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

_MOST_CELLS = 1 << 16  # of the starting table of a sorted codebook
_MOST_MOVES = 16  # per centroid, before a line is sorted anew
_CHUNK_ELEMENTS = 1 << 24  # distances held at a time by the PyTorch path


class SortedCodebook:
    """Finds the nearest of the centroids of one-dimensional subspaces, also while they are being trained.

    The centroids of a subspace are kept sorted, with the boundaries between neighbours and a table of even cells
    that says where in the order to start looking. Between two training steps they hardly change places, so the
    last order is repaired by an insertion sort in about K moves. Each tier has an order of its own, over the first
    ``sizes[t]`` centroids.

    Args:
        sizes: number of centroids that each tier may use, (T,).
    """

    def __init__(self, sizes: tuple[int, ...]) -> None:
        self.sizes = np.asarray(sizes, dtype=np.int64)
        self._index: tuple[np.ndarray, ...] | None = None
        self._lock = threading.Lock()  # the index is repaired in place, so threads take turns

    def __getstate__(self) -> dict[str, Any]:
        """What a copy takes along: the sizes; it makes an index of its own."""
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

    def quantize(
        self, rows: np.ndarray, codebook: np.ndarray, tiers: np.ndarray, weights: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Nearest values and what draws them to the rows, in one pass; as :func:`quantize_subvectors`.

        Args:
            rows: float32 (B, M).
            codebook: float32 (M, K).
            tiers: int8 (B,).
            weights: float32 (B,).

        Returns:
            Quantized rows (B, M), pull (M, K) and the weighted sum of squared differences.
        """
        quantized, pull = np.empty_like(rows), np.zeros_like(codebook)
        with self._lock:
            index = self._index_for(codebook)
            total = _quantize_scalars(rows, tiers, weights, codebook, self.sizes, *index, quantized, pull)
        return quantized, pull, total

    def _index_for(self, codebook: np.ndarray) -> tuple[np.ndarray, ...]:
        """The arrays of the index, still to be brought up to date with the centroids (M, K).

        Returns:
            For each tier t and subspace m: the centroid at each place of the order, int32 (T, M, K), its value and
            the largest number that still belongs to it, float32 (T, M, K); then the place to start from for each
            cell, counted over the whole tier, int32 (T, M, cells), the lower edge and the cells per unit (T, M).
        """
        shape = (len(self.sizes), *codebook.shape)
        if self._index is None or self._index[0].shape != shape:
            order = np.zeros(shape, dtype=np.int32)
            for tier, size in enumerate(self.sizes):
                order[tier, :, :size] = np.argsort(codebook[:, :size], axis=1, kind="stable")
            values, bounds = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32)
            cells = np.empty((*shape[:2], min(4 * shape[2], _MOST_CELLS)), dtype=np.int32)
            edge, per_unit = np.empty(shape[:2], dtype=np.float32), np.empty(shape[:2], dtype=np.float32)
            self._index = (order, values, bounds, cells, edge, per_unit)
        return self._index


@njit(cache=True, nogil=True)
def _update_order(codebook, sizes, order, values, bounds):  # type: ignore[no-untyped-def]
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
                # Equal values stand in order of their index, so that the order does not depend on the past.
                while hole > 0 and (
                    ascending[hole - 1] > value or (ascending[hole - 1] == value and places[hole - 1] > centroid)
                ):
                    ascending[hole] = ascending[hole - 1]
                    places[hole] = places[hole - 1]
                    hole -= 1
                ascending[hole], places[hole] = value, centroid
                moves += place - hole
                if moves > _MOST_MOVES * size:  # much has changed: sort anew
                    places[:size] = np.argsort(codebook[m, :size], kind="mergesort")
                    for i in range(size):
                        ascending[i] = codebook[m, places[i]]
                    break
            for place in range(size - 1):
                exact = 0.5 * (np.float64(ascending[place]) + np.float64(ascending[place + 1]))
                bound[place] = np.float32(exact)
                # Where rounding went up, take the float below: a number is past the middle only if truly so.
                bound_bits[place] -= (bound[place] > exact) * (1 if bound[place] > 0 else -1)
            bound[size - 1] = np.inf


@njit(cache=True, nogil=True)
def _update_cells(sizes, values, bounds, cells, edge, per_unit):  # type: ignore[no-untyped-def]
    num_subspaces, num_centroids = values.shape[1:]
    num_cells = cells.shape[2]
    for tier in range(sizes.size):
        last = sizes[tier] - 1
        for m in range(num_subspaces):
            starts, bound = cells[tier, m], bounds[tier, m]
            low, span = values[tier, m, 0], values[tier, m, last] - values[tier, m, 0]
            scale = np.float32(num_cells / span) if span > 0 else np.float32(0.0)
            edge[tier, m], per_unit[tier, m] = low, scale
            # The first place to look at in a cell is the number of boundaries in the cells before it.
            starts[:] = 0
            for place in range(last):
                starts[_cell(bound[place], low, scale, num_cells)] += 1
            before = m * num_centroids
            for cell in range(num_cells):
                here = starts[cell]
                starts[cell] = before
                before += here


@njit(inline="always")
def _cell(x, low, scale, num_cells):  # type: ignore[no-untyped-def]
    """The cell of a number; the comparisons are such that NaN falls into cell 0."""
    place = (x - low) * scale
    place = place if place > np.float32(0.0) else np.float32(0.0)
    last = np.float32(num_cells - 1)
    return np.int32(place if place < last else last)


@njit(cache=True, nogil=True)
def _encode_scalars(  # type: ignore[no-untyped-def]
    rows, tiers, codebook, sizes, order, values, bounds, cells, edge, per_unit, codes
):
    _update_order(codebook, sizes, order, values, bounds)
    _update_cells(sizes, values, bounds, cells, edge, per_unit)
    num_cells = cells.shape[2]
    for b in range(rows.shape[0]):
        if tiers[b] < 0:
            continue
        tier = tiers[b]
        starts, bound, centroids = cells[tier].ravel(), bounds[tier].ravel(), order[tier].ravel()
        for m in range(rows.shape[1]):
            x = rows[b, m]
            place = starts[m * num_cells + _cell(x, edge[tier, m], per_unit[tier, m], num_cells)]
            while bound[place] < x:
                place += 1
            codes[b, m] = centroids[place]


@njit(cache=True, nogil=True, fastmath={"reassoc"})
def _quantize_scalars(  # type: ignore[no-untyped-def]
    rows, tiers, weights, codebook, sizes, order, values, bounds, cells, edge, per_unit, quantized, pull
):
    _update_order(codebook, sizes, order, values, bounds)
    _update_cells(sizes, values, bounds, cells, edge, per_unit)
    pull_by_place = np.zeros(values.shape, dtype=np.float32)
    num_subspaces, num_cells = cells.shape[1:]
    first = np.empty(num_subspaces, dtype=np.int32)
    total = 0.0
    for b in range(rows.shape[0]):
        row, out = rows[b], quantized[b]
        if tiers[b] < 0:
            out[:] = np.float32(0.0)
            continue
        tier, weight = np.uintp(tiers[b]), weights[b]
        starts, bound = cells[tier].ravel(), bounds[tier].ravel()
        value, drawn = values[tier].ravel(), pull_by_place[tier].ravel()
        low, scale = edge[tier], per_unit[tier]
        for m in range(num_subspaces):  # apart from the search, so that it vectorizes
            first[m] = m * num_cells + _cell(row[m], low[m], scale[m], num_cells)
        for m in range(num_subspaces):  # two steps without a branch; more are rare, as the next loop likes it
            place32 = starts[np.uint32(first[m])]
            place32 += np.int32(bound[np.uint32(place32)] < row[m])
            place32 += np.int32(bound[np.uint32(place32)] < row[m])
            first[m] = place32
        squares = np.float32(0.0)
        for m in range(num_subspaces):
            x = row[m]
            place = np.uintp(first[m])
            while bound[place] < x:
                place += np.uintp(1)
            difference = value[place] - x
            out[m] = value[place]
            drawn[place] += weight * difference
            squares += difference * difference
        total += weight * squares
    _add_by_centroid(pull_by_place, sizes, order, pull)
    return total


@njit(cache=True, nogil=True)
def _add_by_centroid(pull_by_place, sizes, order, pull):  # type: ignore[no-untyped-def]
    for tier in range(sizes.size):
        for m in range(pull.shape[0]):
            for place in range(sizes[tier]):
                pull[m, order[tier, m, place]] += pull_by_place[tier, m, place]


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
    transposed = np.ascontiguousarray(codebook.transpose(0, 2, 1))  # (M, s, K): centroids side by side, for SIMD
    _search_all(rows, transposed, tiers, np.asarray(sizes, dtype=np.int64), codes)
    return codes


@njit(cache=True, nogil=True)
def _search_all(rows, transposed, tiers, sizes, codes):  # type: ignore[no-untyped-def]
    num_subspaces, width, num_centroids = transposed.shape
    distances = np.empty(num_centroids, dtype=np.float32)
    # Distances are not negative, so their bit patterns sort as they do; integer minima vectorize.
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


def nearest_codes_torch(rows: Tensor, codebook: Tensor, tiers: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """As :func:`nearest_codes`, with PyTorch operations on any device and float type.

    Args:
        rows: float (B, M·s).
        codebook: float (M, K, s).
        tiers: int8 (B,).
        sizes: number of centroids that each tier may use, (T,).

    Returns:
        int64 (B, M); 0 for rows of tier -1.
    """
    num_subspaces, num_centroids, width = codebook.shape
    if codebook.dtype in (torch.float16, torch.bfloat16):  # their squares are too coarse, or overflow
        codebook = codebook.float()
    codes = []
    step = max(1, _CHUNK_ELEMENTS // (num_subspaces * num_centroids * width))
    for chunk, chunk_tiers in zip(rows.split(step), tiers.split(step), strict=True):
        parts = chunk.reshape(len(chunk), num_subspaces, 1, width).to(codebook.dtype)
        distances = (parts - codebook).square().sum(dim=3)  # (B, M, K)
        barred = forbidden_centroids(chunk_tiers, sizes, num_centroids).unsqueeze(1)
        codes.append(distances.masked_fill(barred, torch.inf).argmin(dim=2))
    return torch.cat(codes)


def forbidden_centroids(tiers: Tensor, sizes: tuple[int, ...], num_centroids: int) -> Tensor:
    """True where a row's tier may not use a centroid: (B, K) bool; nothing is barred for tier -1."""
    limits = torch.tensor([*sizes, num_centroids], device=tiers.device)  # the last serves tier -1
    return torch.arange(num_centroids, device=tiers.device) >= limits[tiers.long()].unsqueeze(1)


@njit(cache=True, nogil=True)
def distinct_ids(ids, num_embeddings):  # type: ignore[no-untyped-def]
    """The different ids of a batch, in order of first appearance.

    Args:
        ids: int64 (B,), each in [0, num_embeddings).
        num_embeddings: N; the work takes 4·N bytes.

    Returns:
        The U distinct ids, int64; the place of each id among them, int64 (B,); how often each occurs, float32 (U,).
        None of them if an id is out of range: three empty arrays.
    """
    place_of = np.full(num_embeddings, -1, dtype=np.int32)
    distinct, places = np.empty(ids.size, dtype=np.int64), np.empty(ids.size, dtype=np.int64)
    counts = np.zeros(ids.size, dtype=np.float32)
    found = 0
    for i in range(ids.size):
        if not 0 <= ids[i] < num_embeddings:
            return distinct[:0], places[:0], counts[:0]
        if place_of[ids[i]] < 0:
            place_of[ids[i]] = found
            distinct[found] = ids[i]
            found += 1
        places[i] = place_of[ids[i]]
        counts[places[i]] += np.float32(1.0)
    return distinct[:found], places, counts[:found]


def quantize_subvectors(
    rows: np.ndarray, codebook: np.ndarray, tiers: np.ndarray, sizes: tuple[int, ...], weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Replaces every subvector by its nearest centroid and sums what draws each centroid to the rows.

    Args:
        rows: float32 (B, M·s).
        codebook: float32 (M, K, s).
        tiers: int8 (B,); rows of tier -1 become zeros and draw nothing.
        sizes: number of centroids that each tier may use, (T,).
        weights: float32 (B,), how often each row counts.

    Returns:
        Quantized rows (B, M·s), the pull (M, K, s), which is the weighted sum of centroid − row over the rows
        that chose it, and the weighted sum of squared differences.
    """
    codes = nearest_codes(rows, codebook, tiers, sizes)
    quantized, pull = np.empty_like(rows), np.zeros_like(codebook)
    return quantized, pull, _gather_and_pull(rows, codebook, codes, tiers, weights, quantized, pull)


@njit(cache=True, nogil=True)
def _gather_and_pull(rows, codebook, codes, tiers, weights, quantized, pull):  # type: ignore[no-untyped-def]
    width = codebook.shape[2]
    total = 0.0
    for b in range(rows.shape[0]):
        if tiers[b] < 0:
            quantized[b, :] = np.float32(0.0)
            continue
        for m in range(codebook.shape[0]):
            k = codes[b, m]
            for j in range(width):
                column = m * width + j
                difference = codebook[m, k, j] - rows[b, column]
                quantized[b, column] = codebook[m, k, j]
                pull[m, k, j] += weights[b] * difference
                total += weights[b] * difference * difference
    return total
