"""Compiled Walsh-Hadamard transforms of rows."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped, call-arg, assignment"
# numba compiles these functions from the types of their arguments, which mypy cannot follow.

from __future__ import annotations

import numpy as np
from numba import njit

from slimtable.artifact.lanes import LANES, TILE, transform_16, transform_64


@njit(cache=True, nogil=True)
def transform_rows(flat, dim, start, stop, column, size, signs, s):
    """The Walsh-Hadamard transform of the ``size`` columns from ``column`` on, then times ``signs[s : s + size]``.

    Stages ``half = size / 2, …, 2, 1`` replace each pair ``a, b`` that is ``half`` apart by ``a + b, a - b``.

    Args:
        flat: float32 rows of width ``dim``, flat; rows ``start`` to ``stop`` are changed in place.
        dim: width of a row.
        start: the first row.
        stop: one after the last row.
        column: the first column.
        size: number of columns, a power of two.
        signs: float32, flat.
        s: the first sign.
    """
    last = TILE if size >= TILE else LANES if size >= LANES else 1  # size of the stages in registers
    for i in range(start, stop):
        begin = i * dim + column
        half = size >> 1
        while half >= last:
            for first in range(begin, begin + size, 2 * half):
                for j in range(first, first + half):
                    a, b = flat[j], flat[j + half]
                    flat[j] = a + b
                    flat[j + half] = a - b
            half >>= 1
        if last == TILE:
            for first in range(0, size, TILE):
                transform_64(flat, begin + first, signs, s + first)
        elif last == LANES:
            for first in range(0, size, LANES):
                transform_16(flat, begin + first, signs, s + first)
        else:
            for j in range(size):
                flat[begin + j] *= signs[s + j]


@njit(cache=True, nogil=True)
def rotate_rows(signs, rows):
    """Rotate rows (n, d) in place: for each transform, multiply by ``signs`` (transforms, p), then transform."""
    flat, size = rows.reshape(-1), signs.shape[1]
    ones = np.ones(size, np.float32)
    for t in range(signs.shape[0]):
        column = rows.shape[1] - size if t & 1 else 0  # the same if the transforms cover the row
        for i in range(rows.shape[0]):
            for j in range(size):
                rows[i, column + j] *= signs[t, j]
        transform_rows(flat, rows.shape[1], 0, rows.shape[0], column, size, ones, 0)


@njit(cache=True, nogil=True)
def unrotate_rows(signs, size, flat, dim, start, stop):
    """Undo :func:`rotate_rows` for the rows ``start`` to ``stop``: the transforms in reverse order, then their signs.

    Args:
        signs: float32 (transforms · p,), flat.
        size: of a transform, p.
        flat: float32 rows of width ``dim``, flat.
        dim: width of a row.
        start: the first row.
        stop: one after the last row.
    """
    for t in range(signs.size // size - 1, -1, -1):
        transform_rows(flat, dim, start, stop, dim - size if t & 1 else 0, size, signs, t * size)
