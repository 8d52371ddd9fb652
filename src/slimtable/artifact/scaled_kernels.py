"""Compiled kernels of the ``scaled`` layout: codes times steps."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped, call-arg, assignment"
# numba compiles these functions from the types of their arguments, which mypy cannot follow.

from __future__ import annotations

import numpy as np
from numba import njit

from slimtable.artifact.kernels import AHEAD, prefetch, prefetch_bytes, unpack


@njit(cache=True, nogil=True)
def scaled_rows(codes, width, offset, step, by_row, ids, out):
    """``out[i] = offset + step · code`` in float32: a multiplication, then an addition, never fused.

    ``offset`` and ``step`` are per column (d,) or, with ``by_row``, already gathered for ``ids`` (n,).
    """
    dim = out.shape[1]
    row = np.empty(dim, np.uint16)
    for i in range(ids.size):
        if i + AHEAD < ids.size:
            bit = ids[i + AHEAD] * dim * width
            prefetch_bytes(codes, bit >> 3, (bit + dim * width + 7) >> 3)
        unpack(codes, ids[i] * dim * width, width, dim, row)
        if by_row:
            for j in range(dim):
                out[i, j] = offset[i] + step[i] * np.float32(row[j])
        else:
            for j in range(dim):
                out[i, j] = offset[j] + step[j] * np.float32(row[j])


@njit(cache=True, nogil=True)
def rows_scaled_shortly(codes, width, steps, step_table, zeros, points, ids, out):
    """``out[i] = step · (code - point)`` in float32: a subtraction, then a multiplication.

    Args:
        codes: uint8 stream of d codes of ``width`` bits per id.
        width: bits of a code.
        steps: uint8 (N,), codes of the steps.
        step_table: float32 (256,), the step of each code.
        zeros: uint8 (N,), zero points.
        points: float32 (256,), the code that each zero point stands for.
        ids: int64 (n,), all in range.
        out: float32 (n, d).
    """
    dim = out.shape[1]
    row = np.empty(dim, np.uint16)
    for i in range(ids.size):
        if i + AHEAD < ids.size:
            ahead = ids[i + AHEAD]
            bit = ahead * dim * width
            prefetch_bytes(codes, bit >> 3, (bit + dim * width + 7) >> 3)
            prefetch(steps, ahead)
            prefetch(zeros, ahead)
        unpack(codes, ids[i] * dim * width, width, dim, row)
        step, point = step_table[steps[ids[i]]], points[zeros[ids[i]]]
        for j in range(dim):
            out[i, j] = step * (np.float32(row[j]) - point)
