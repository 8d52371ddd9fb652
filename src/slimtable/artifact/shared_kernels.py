"""Compiled kernels of the ``shared`` layout: the row of each id, and weighted rows written to their columns."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped, call-arg, assignment"
# numba compiles these functions from the types of their arguments, which mypy cannot follow.

from __future__ import annotations

import numpy as np
from numba import njit

from slimtable.artifact.kernels import AHEAD, copy_floats, prefetch, prefetch_bytes

PRIME = (1 << 31) - 1  # Mersenne; products of two residues stay below 2**62


@njit(cache=True, nogil=True)
def stored_rows(stream, width, num_rows, ids, rows):
    """``rows[i]`` = the code of ``ids[i]`` in a stream of ``width``-bit codes, limited to ``num_rows - 1``.

    The limit is free and keeps lookups inside the table even if the file changes.
    """
    mask = (np.int64(1) << width) - 1
    for i in range(ids.size):
        if i + AHEAD < ids.size:
            prefetch(stream, ids[i + AHEAD] * width >> 3)
        bit = ids[i] * width
        byte = bit >> 3
        filled = 8 - (bit & 7)
        word = np.int64(stream[byte]) >> (bit & 7)
        while filled < width:
            byte += 1
            word |= np.int64(stream[byte]) << filled
            filled += 8
        rows[i] = min(word & mask, num_rows - 1)


@njit(cache=True, nogil=True)
def hashed_rows(a, b, head, first, count, ids, rows):
    """``rows[i]`` = the id itself below ``head``, else ``first + ((a·id + b) mod PRIME) mod count``."""
    prime, size = np.uint64(PRIME), np.uint64(count)
    factor, summand = np.uint64(a), np.uint64(b)
    for i in range(ids.size):
        if ids[i] < head:
            rows[i] = ids[i]
        else:
            mixed = (factor * (np.uint64(ids[i]) % prime) + summand) % prime
            rows[i] = first + np.int64(mixed % size)


@njit(cache=True, nogil=True)
def place_rows(source, width, rows, weights, column, assign, out):
    """``out[i, column : column + width]`` = or += ``weight · source[rows[i]]``: a product, then a sum, not fused.

    Args:
        source: float32 rows of ``width`` values, flat.
        width: width of a row.
        rows: int64 (n,) rows of the source, all in range.
        weights: float32 (n,), or (1,) for one common weight; a common weight of 1 copies or adds rows unchanged.
        column: first column of the row in the output.
        assign: overwrite these columns instead of adding to them.
        out: float32 (n, d).
    """
    dim = out.shape[1]
    flat = out.reshape(-1)
    plain = weights.size == 1 and weights[0] == np.float32(1)
    each = 0 if weights.size == 1 else 1
    for i in range(rows.size):
        if i + AHEAD < rows.size:
            prefetch_bytes(source, rows[i + AHEAD] * width, (rows[i + AHEAD] + 1) * width)
        begin = rows[i] * width
        target = i * dim + column
        if plain and assign:
            if width == 64:  # a constant size becomes wide moves
                copy_floats(flat, target, source, begin, 64)
            else:
                copy_floats(flat, target, source, begin, width)
            continue
        row = source[begin : begin + width]
        place = flat[target : target + width]
        weight = weights[i * each]
        if assign:
            for j in range(width):
                place[j] = weight * row[j]
        elif plain:
            for j in range(width):
                place[j] += row[j]
        else:
            for j in range(width):
                place[j] += weight * row[j]


@njit(cache=True, nogil=True)
def multiply_rows(source, width, rows, weights, column, out):
    """``out[i, column : column + width]`` *= ``weight · source[rows[i]]``, as two separate products.

    Args:
        source: float32 rows of ``width`` values, flat.
        width: width of a row.
        rows: int64 (n,) rows of the source, all in range.
        weights: float32 (n,), or (1,) for one common weight.
        column: first column of the row in the output.
        out: float32 (n, d).
    """
    each = 0 if weights.size == 1 else 1
    for i in range(rows.size):
        if i + AHEAD < rows.size:
            prefetch_bytes(source, rows[i + AHEAD] * width, (rows[i + AHEAD] + 1) * width)
        begin = rows[i] * width
        row = source[begin : begin + width]
        place = out[i, column : column + width]
        weight = weights[i * each]
        for j in range(width):
            place[j] *= weight * row[j]
