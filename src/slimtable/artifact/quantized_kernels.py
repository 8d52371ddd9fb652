"""Compiled kernels of the ``quantized`` layout: centroids joined or summed, times a gain, rotated back.

Rows are made in blocks that stay in the fastest cache, step by step for all rows of a block. A row that was just
written in small pieces cannot be read at once in large ones without waiting.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped, call-arg, assignment"
# numba compiles these functions from the types of their arguments, which mypy cannot follow.

from __future__ import annotations

import numpy as np
from numba import njit

from slimtable.artifact.coded_kernels import place_centroids
from slimtable.artifact.kernels import (
    AHEAD,
    BLOCK,
    borrowed,
    copy_floats,
    prefetch,
    prefetch_bytes,
    three_bytes,
    unpack_rows,
)
from slimtable.artifact.lanes import LANES, TILE, scale_at, sum_16, sum_64
from slimtable.artifact.rotation_kernels import unrotate_rows

ONE = np.float32(1)


@njit(cache=True, nogil=True)
def summed_rows(codes, width, block, begins, book, stride, gains, gain_table, signs, size, offset, ids, out):
    """``out[i] = Rᵀ · (gain · sum) + offset`` in float32, every step rounded, never fused.

    Args:
        codes: uint8 stream of M codes of ``width`` bits per id.
        width: bits of a code.
        block: uint16 (BLOCK, M), overwritten.
        begins: int64 (M,), overwritten.
        book: float32 centroids of width d, flat; each codebook has at least 2**width, so that no code points outside.
        stride: floats from one codebook to the next.
        gains: (N,) gains, see :func:`slimtable.artifact.lanes.scale_at`; empty for none.
        gain_table: float32 (256,), the gain of each code of 4 to 8 bits.
        signs: float32 (transforms · p,) of the rotation, flat; empty for none.
        size: size of a transform, p.
        offset: float32 (d,), or empty for none.
        ids: int64 (n,), all in range.
        out: float32 (n, d).
    """
    codes, block, begins, book = borrowed(codes), borrowed(block), borrowed(begins), borrowed(book)
    gains, gain_table, signs, offset = borrowed(gains), borrowed(gain_table), borrowed(signs), borrowed(offset)
    ids, flat, dim = borrowed(ids), borrowed(out).reshape(-1), out.shape[1]
    for start in range(0, ids.size, BLOCK):
        stop = min(start + BLOCK, ids.size)
        _prefetch_gains(gains, ids, start, stop)
        unpack_rows(codes, width, block.shape[1], ids, start, stop, block, flat, dim)
        _sum_centroids(block, begins, book, stride, gains, gain_table, ids, start, stop, flat, dim)
        _turn_rows(signs, size, offset, start, stop, flat, dim)


@njit(cache=True, nogil=True)
def joined_rows(codes, width, block, slots, book, stride, gains, gain_table, signs, size, offset, ids, out):
    """As :func:`summed_rows` for centroids of width d / M that are joined.

    ``slots`` is int64 (0,); ``stride`` is 0 if all codes use one codebook.
    """
    codes, block, slots, book = borrowed(codes), borrowed(block), borrowed(slots), borrowed(book)
    gains, gain_table, signs, offset = borrowed(gains), borrowed(gain_table), borrowed(signs), borrowed(offset)
    ids, flat, dim = borrowed(ids), borrowed(out).reshape(-1), out.shape[1]
    for start in range(0, ids.size, BLOCK):
        stop = min(start + BLOCK, ids.size)
        _prefetch_gains(gains, ids, start, stop)
        unpack_rows(codes, width, block.shape[1], ids, start, stop, block, flat, dim)
        place_centroids(block, book, stride, start, stop, slots, flat, dim)
        _scale_rows(gains, gain_table, ids, start, stop, flat, dim)
        _turn_rows(signs, size, offset, start, stop, flat, dim)


@njit(cache=True, nogil=True)
def scalar_rows(codes, width, group, values, gains, gain_table, signs, size, offset, ids, out):
    """As :func:`joined_rows` for one code per column and one codebook, of which several codes are looked up at once.

    Args:
        codes: uint8 stream of d codes of ``width`` bits per id; rows begin with a byte.
        width: bits of a code: 1, 2, 3 or 4.
        group: codes that are looked up at once: 8, 4, 2, 2.
        values: float32 (2**(width · group) · group,), the values of each such group of codes.
        gains: as in :func:`summed_rows`.
        gain_table: as in :func:`summed_rows`.
        signs: as in :func:`summed_rows`.
        size: as in :func:`summed_rows`.
        offset: as in :func:`summed_rows`.
        ids: int64 (n,), all in range.
        out: float32 (n, d).
    """
    codes, values = borrowed(codes), borrowed(values)
    gains, gain_table, signs, offset = borrowed(gains), borrowed(gain_table), borrowed(signs), borrowed(offset)
    ids, flat, dim = borrowed(ids), borrowed(out).reshape(-1), out.shape[1]
    for start in range(0, ids.size, BLOCK):
        stop = min(start + BLOCK, ids.size)
        _prefetch_gains(gains, ids, start, stop)
        _place_groups(codes, width, group, values, ids, start, stop, flat, dim)
        _scale_rows(gains, gain_table, ids, start, stop, flat, dim)
        _turn_rows(signs, size, offset, start, stop, flat, dim)


@njit(cache=True, nogil=True)
def _sum_centroids(codes, begins, book, stride, gains, gain_table, ids, start, stop, flat, dim):
    """The rows ``start`` to ``stop`` = the gain of each times the sum of the centroids of its ``codes`` (BLOCK, M).

    ``begins`` is int64 (M,), overwritten.
    """
    number = codes.shape[1]
    for i in range(start, stop):
        for m in range(number):
            begins[m] = m * stride + np.int64(codes[i - start, m]) * dim
        gain = scale_at(gains, gain_table, ids[i]) if gains.size > 0 else ONE
        target = i * dim
        tiles, lanes = dim - dim % TILE, dim - dim % LANES
        for column in range(0, tiles, TILE):
            sum_64(flat, target + column, book, column, begins, number, gain)
        for column in range(tiles, lanes, LANES):
            sum_16(flat, target + column, book, column, begins, number, gain)
        for j in range(lanes, dim):
            total = book[begins[0] + j]
            for m in range(1, number):
                total += book[begins[m] + j]
            flat[target + j] = gain * total


@njit(cache=True, nogil=True)
def _place_groups(codes, width, group, values, ids, start, stop, flat, dim):
    """The rows ``start`` to ``stop`` = the values of their groups of codes; see :func:`scalar_rows`."""
    row_bits = dim * width
    size = row_bits >> 3
    for i in range(start, stop):
        if i + AHEAD < ids.size:
            ahead = ids[i + AHEAD] * row_bits >> 3
            prefetch_bytes(codes, ahead, ahead + size)
        prefetch_bytes(flat, i * dim, (i + 1) * dim)
        byte = ids[i] * row_bits >> 3
        target = i * dim
        if group == 4:
            for k in range(size):
                copy_floats(flat, target + 4 * k, values, 4 * np.int64(codes[np.uint64(byte + k)]), 4)
        elif group == 8:
            for k in range(size):
                copy_floats(flat, target + 8 * k, values, 8 * np.int64(codes[np.uint64(byte + k)]), 8)
        elif width == 4:
            for k in range(size):
                copy_floats(flat, target + 2 * k, values, 2 * np.int64(codes[np.uint64(byte + k)]), 2)
        else:
            for k in range(size // 3):  # 3 bytes hold 8 codes
                first, place = byte + 3 * k, target + 8 * k
                word = three_bytes(codes, np.uint64(first))
                for pair in range(4):
                    copy_floats(flat, place + 2 * pair, values, 2 * (word >> 6 * pair & 63), 2)


@njit(cache=True, nogil=True)
def _prefetch_gains(gains, ids, start, stop):
    """Prefetch the gains of ``ids[start:stop]``."""
    if gains.size > 0:
        for i in range(start, stop):
            prefetch(gains, ids[i])


@njit(cache=True, nogil=True)
def _scale_rows(gains, gain_table, ids, start, stop, flat, dim):
    """Multiply the rows ``start`` to ``stop`` by the gains of their ids."""
    if gains.size > 0:
        for i in range(start, stop):
            gain = scale_at(gains, gain_table, ids[i])
            for j in range(i * dim, (i + 1) * dim):
                flat[np.uint64(j)] = gain * flat[np.uint64(j)]


@njit(cache=True, nogil=True)
def _turn_rows(signs, size, offset, start, stop, flat, dim):
    """Rotate the rows ``start`` to ``stop`` back, and add the offset."""
    if signs.size > 0:
        unrotate_rows(signs, size, flat, dim, start, stop)
    if offset.size > 0:
        for i in range(start, stop):
            for j in range(dim):
                flat[np.uint64(i * dim + j)] += offset[j]
