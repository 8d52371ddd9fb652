"""Compiled kernels of the ``scaled`` layout: codes times steps."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped, call-arg, assignment"
# numba compiles these functions from the types of their arguments, which mypy cannot follow.

from __future__ import annotations

import numpy as np
from numba import njit

from slimtable.artifact.kernels import AHEAD, BLOCK, borrowed, prefetch, prefetch_bytes, unpack_rows
from slimtable.artifact.lanes import (
    LANES,
    codes_1,
    codes_2,
    codes_3,
    codes_4,
    codes_5,
    codes_6,
    codes_7,
    scale_at,
)


@njit(cache=True, nogil=True)
def code_rows(codes, width, ids, start, stop, scratch, flat):
    """The codes of the rows ``ids[start:stop]`` of a stream of d codes per row, as float32.

    Args:
        codes: uint8 stream.
        width: bits of a code, 1 to 8.
        ids: int64 (n,).
        start: the first row.
        stop: one after the last, at most ``BLOCK`` later.
        scratch: uint16 (BLOCK, d), overwritten.
        flat: float32 (n · d,); rows ``start`` to ``stop`` of width d are written.
    """
    dim = scratch.shape[1]
    row_bits = dim * width
    if width == 8 or dim % LANES:
        unpack_rows(codes, width, dim, ids, start, stop, scratch, flat, dim)
        for i in range(start, stop):
            for j in range(dim):
                flat[np.uint64(i * dim + j)] = np.float32(scratch[i - start, j])
        return
    step = LANES * width >> 3  # bytes of 16 codes; rows begin with a byte
    for i in range(start, stop):
        if i + AHEAD < ids.size:
            ahead = ids[i + AHEAD] * row_bits >> 3
            prefetch_bytes(codes, ahead, ahead + (row_bits >> 3))
        prefetch_bytes(flat, i * dim, (i + 1) * dim)
        byte = ids[i] * row_bits >> 3
        target = i * dim
        for k in range(dim // LANES):
            begin, place = byte + k * step, target + k * LANES
            if width == 2:
                codes_2(codes, begin, flat, place)
            elif width == 4:
                codes_4(codes, begin, flat, place)
            elif width == 3:
                codes_3(codes, begin, flat, place)
            elif width == 1:
                codes_1(codes, begin, flat, place)
            elif width == 6:
                codes_6(codes, begin, flat, place)
            elif width == 5:
                codes_5(codes, begin, flat, place)
            else:
                codes_7(codes, begin, flat, place)


@njit(cache=True, nogil=True)
def rows_scaled_by_column(codes, width, offset, step, ids, scratch, out):
    """``out[i] = offset + step · code`` in float32: a multiplication, then an addition, never fused.

    Args:
        codes: uint8 stream of d codes of ``width`` bits per row.
        width: bits of a code.
        offset: float32 (d,).
        step: float32 (d,).
        ids: int64 (n,) rows, all in range.
        scratch: uint16 (BLOCK, d), overwritten.
        out: float32 (n, d).
    """
    codes, ids, scratch, flat = borrowed(codes), borrowed(ids), borrowed(scratch), borrowed(out).reshape(-1)
    dim = out.shape[1]
    if width == 8:  # a byte is a code: no need to unpack first
        for i in range(ids.size):
            if i + AHEAD < ids.size:
                prefetch_bytes(codes, ids[i + AHEAD] * dim, (ids[i + AHEAD] + 1) * dim)
            begin, target = np.uint64(ids[i] * dim), np.uint64(i * dim)
            for j in range(np.uint64(dim)):
                flat[target + j] = offset[j] + step[j] * np.float32(codes[begin + j])
        return
    for start in range(0, ids.size, BLOCK):
        stop = min(start + BLOCK, ids.size)
        code_rows(codes, width, ids, start, stop, scratch, flat)
        for i in range(start, stop):
            for j in range(dim):
                flat[np.uint64(i * dim + j)] = offset[j] + step[j] * flat[np.uint64(i * dim + j)]


@njit(cache=True, nogil=True)
def rows_scaled_by_row(codes, width, offset, step, ids, scratch, out):
    """As :func:`rows_scaled_by_column`, with ``offset`` and ``step`` (N,) per row: float32, or float16 as uint16."""
    codes, ids, scratch, flat = borrowed(codes), borrowed(ids), borrowed(scratch), borrowed(out).reshape(-1)
    dim = out.shape[1]
    for start in range(0, ids.size, BLOCK):
        stop = min(start + BLOCK, ids.size)
        for i in range(start, stop):
            prefetch(offset, ids[i])
            prefetch(step, ids[i])
        code_rows(codes, width, ids, start, stop, scratch, flat)
        for i in range(start, stop):
            first, each = scale_at(offset, flat, ids[i]), scale_at(step, flat, ids[i])
            for j in range(dim):
                flat[np.uint64(i * dim + j)] = first + each * flat[np.uint64(i * dim + j)]


@njit(cache=True, nogil=True)
def rows_scaled_shortly(codes, width, steps, step_table, zeros, points, ids, scratch, out):
    """``out[i] = step · (code - point)`` in float32: a subtraction, then a multiplication.

    Args:
        codes: uint8 stream of d codes of ``width`` bits per id.
        width: bits of a code.
        steps: uint8 (N,), codes of the steps.
        step_table: float32 (256,), the step of each code.
        zeros: uint8 (N,), zero points.
        points: float32 (256,), the code that each zero point stands for.
        ids: int64 (n,), all in range.
        scratch: uint16 (BLOCK, d), overwritten.
        out: float32 (n, d).
    """
    codes, ids, scratch, flat = borrowed(codes), borrowed(ids), borrowed(scratch), borrowed(out).reshape(-1)
    dim = out.shape[1]
    for start in range(0, ids.size, BLOCK):
        stop = min(start + BLOCK, ids.size)
        for i in range(start, stop):
            prefetch(steps, ids[i])
            prefetch(zeros, ids[i])
        code_rows(codes, width, ids, start, stop, scratch, flat)
        for i in range(start, stop):
            step, point = step_table[steps[ids[i]]], points[zeros[ids[i]]]
            for j in range(dim):
                flat[np.uint64(i * dim + j)] = step * (flat[np.uint64(i * dim + j)] - point)
