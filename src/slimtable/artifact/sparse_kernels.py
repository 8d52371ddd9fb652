"""Compiled kernels of the ``sparse`` layout: the values at the set bits of a row."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped, call-arg, assignment"
# numba compiles these functions from the types of their arguments, which mypy cannot follow.

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from slimtable.artifact.kernels import AHEAD, borrowed, prefetch, prefetch_bytes
from slimtable.artifact.tier_kernels import ones

BLOCK_BYTES = 64  # bytes of the bitmap per entry of the directory


@intrinsic
def trailing_zeros(_typing: Any, word: Any) -> Any:
    """Number of zero bits below the lowest one bit of a uint64 that is not zero."""

    def emit(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), emit


@njit(cache=True, nogil=True)
def word_at(stream, byte, end):
    """The bytes ``stream[byte : min(byte + 8, end)]`` as a little-endian uint64."""
    word = np.uint64(0)
    if byte + 8 <= end:
        for k in range(8):
            word |= np.uint64(stream[byte + k]) << np.uint64(8 * k)
    else:
        for k in range(end - byte):
            word |= np.uint64(stream[byte + k]) << np.uint64(8 * k)
    return word


@njit(cache=True, nogil=True)
def count_ones(bitmap, directory):
    """Fill ``directory`` (blocks,) with the number of ones before each block; returns that of all."""
    total = np.int64(0)
    for block in range(directory.size):
        directory[block] = total
        begin = block * BLOCK_BYTES
        end = min(begin + BLOCK_BYTES, bitmap.size)
        for byte in range(begin, end, 8):
            total += ones(word_at(bitmap, byte, end))
    return total


@njit(cache=True, nogil=True)
def first_values(bitmap, directory, dim, ids, firsts):
    """``firsts[i]`` = number of ones before row ``ids[i]``, which begins at bit ``ids[i] · dim``."""
    bitmap, directory = borrowed(bitmap), borrowed(directory)
    for i in range(ids.size):
        if i + AHEAD < ids.size:
            ahead = ids[i + AHEAD] * dim >> 3
            prefetch_bytes(bitmap, ahead // BLOCK_BYTES * BLOCK_BYTES, ahead + (dim + 7 >> 3) + 1)
            prefetch(directory, ahead // BLOCK_BYTES)
        bit = ids[i] * dim
        last = bit >> 3
        block = last // BLOCK_BYTES
        total = np.int64(directory[block])
        for byte in range(block * BLOCK_BYTES, last, 8):
            total += ones(word_at(bitmap, byte, last))
        if bit & 7:
            total += ones(np.uint64(bitmap[last]) & ((np.uint64(1) << np.uint64(bit & 7)) - np.uint64(1)))
        firsts[i] = total


@njit(cache=True, nogil=True)
def sparse_rows(bitmap, values, steps, ids, firsts, out):
    """Write ``step · (value - 128)`` to the columns whose bit is set, zeros to the others.

    Args:
        bitmap: uint8 stream of one bit per value of the table.
        values: uint8 (nnz,).
        steps: float32 (n,), gathered for the ids.
        ids: int64 (n,), all in range.
        firsts: int64 (n,), index of the first value of each row.
        out: float32 (n, d).
    """
    bitmap, values, dim = borrowed(bitmap), borrowed(values), out.shape[1]
    for i in range(ids.size):
        if i + AHEAD < ids.size:
            prefetch(values, firsts[i + AHEAD])
        for j in range(dim):
            out[i, j] = np.float32(0)
        place = firsts[i]
        bit = ids[i] * dim
        column = 0
        while column < dim:
            shift = bit + column & 7
            size = min(64 - shift, dim - column)  # bits of this row in the next 8 bytes
            byte = bit + column >> 3
            word = word_at(bitmap, byte, byte + (shift + size + 7 >> 3)) >> np.uint64(shift)
            if size < 64:
                word &= (np.uint64(1) << np.uint64(size)) - np.uint64(1)
            while word:
                if place >= values.size:  # the bitmap changed after it was opened
                    return False
                out[i, column + trailing_zeros(word)] = steps[i] * np.float32(np.int64(values[place]) - 128)
                place += 1
                word &= word - np.uint64(1)
            column += size
    return True
