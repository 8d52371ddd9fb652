"""Compiled kernels of the ``quantized`` layout: centroids joined or summed, times a gain, rotated back."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped, call-arg, assignment"
# numba compiles these functions from the types of their arguments, which mypy cannot follow.

from __future__ import annotations

import numpy as np
from numba import njit

from slimtable.artifact.kernels import AHEAD, copy_floats, prefetch, prefetch_bytes, unpack
from slimtable.artifact.rotation_kernels import unrotate_row


@njit(cache=True, nogil=True)
def quantized_rows(codes, width, num_codebooks, book, strides, summed, gains, gain_table, signs, offset, ids, out):
    """``out[i] = Rᵀ · (gain · shape) + offset`` in float32, every step rounded, never fused.

    Args:
        codes: uint8 stream of ``num_codebooks`` codes of ``width`` bits per id.
        width: bits of a code.
        num_codebooks: codes per id, M.
        book: float32 centroids, flat; each codebook has at least 2**width, so that no code points outside.
        strides: int64 (2,), floats from one codebook to the next (0 if all use one), and from a centroid to the next.
        summed: add the centroids instead of joining them.
        gains: unsigned (N,) codes of the gains; empty for none.
        gain_table: float32 gain of each code that the type of ``gains`` can hold.
        signs: float32 (transforms, p) of the rotation; no transforms for none.
        offset: float32 (d,), or empty for none.
        ids: int64 (n,), all in range.
        out: float32 (n, d).
    """
    dim = out.shape[1]
    row_bits = num_codebooks * width
    flat = out.reshape(-1)
    row_codes = np.empty(num_codebooks, np.uint16)
    for i in range(ids.size):
        if i + AHEAD < ids.size:
            bit = ids[i + AHEAD] * row_bits
            prefetch_bytes(codes, bit >> 3, (bit + row_bits + 7) >> 3)
            if gains.size > 0:
                prefetch(gains, ids[i + AHEAD])
        unpack(codes, ids[i] * row_bits, width, num_codebooks, row_codes)
        row = out[i]
        if summed:
            _sum_centroids(row_codes, book, strides[0], row)
        else:
            _join_centroids(row_codes, book, strides[0], strides[1], flat, i * dim)
        if gains.size > 0:
            gain = gain_table[gains[ids[i]]]
            for j in range(dim):
                row[j] = gain * row[j]
        if signs.shape[0] > 0:
            unrotate_row(signs, row)
        if offset.size > 0:
            for j in range(dim):
                row[j] += offset[j]


@njit(cache=True, nogil=True)
def _sum_centroids(codes, book, stride, row):
    """``row`` = the centroids of the codes, added in the order of the codebooks."""
    dim = row.size
    first = np.int64(codes[0]) * dim
    copy_floats(row, 0, book, first, dim)
    for m in range(1, codes.size):
        begin = m * stride + np.int64(codes[m]) * dim
        centroid = book[begin : begin + dim]
        for j in range(dim):
            row[j] += centroid[j]


@njit(cache=True, nogil=True)
def _join_centroids(codes, book, stride, size, flat, target):
    """Copy the centroid of each code to its ``size`` columns, from ``flat[target]`` on."""
    if size == 1:
        for m in range(codes.size):
            flat[target + m] = book[m * stride + np.int64(codes[m])]
    elif size == 4:
        for m in range(codes.size):
            copy_floats(flat, target + 4 * m, book, m * stride + 4 * np.int64(codes[m]), 4)
    elif size == 8:
        for m in range(codes.size):
            copy_floats(flat, target + 8 * m, book, m * stride + 8 * np.int64(codes[m]), 8)
    else:
        for m in range(codes.size):
            copy_floats(flat, target + size * m, book, m * stride + size * np.int64(codes[m]), size)
