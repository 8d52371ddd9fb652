"""Compiled scalar quantization: the codes of whole blocks, one pass over the values."""

from __future__ import annotations

import numpy as np
from numba import njit

WHOLE = np.float32(12582912.0)
"""Adding and subtracting it rounds float32 numbers below 2^22 to whole ones, halves to even, as ``np.rint`` does."""


@njit(nogil=True, cache=True)
def code_columns(rows, offset, step, top, codes):  # type: ignore[no-untyped-def]
    """Nearest grid points with an offset and a step per column; a step of zero gives 0.

    Args:
        rows: float32 (n, d).
        offset: float32 (d,).
        step: float32 (d,).
        top: float32, the largest code.
        codes: uint8 (n, d), overwritten.
    """
    safe = np.where(step > 0, step, np.float32(1))
    for i in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            place = (rows[i, j] - offset[j]) / safe[j]
            place = place if place > 0 else np.float32(0)
            place = place if place < top else top
            codes[i, j] = np.uint8(np.int32((place + WHOLE) - WHOLE))


@njit(nogil=True, cache=True)
def code_rows(rows, offset, step, top, codes):  # type: ignore[no-untyped-def]
    """As :func:`code_columns`, with an offset and a step per row, float32 (n,)."""
    for i in range(rows.shape[0]):
        start, safe = offset[i], step[i] if step[i] > 0 else np.float32(1)
        for j in range(rows.shape[1]):
            place = (rows[i, j] - start) / safe
            place = place if place > 0 else np.float32(0)
            place = place if place < top else top
            codes[i, j] = np.uint8(np.int32((place + WHOLE) - WHOLE))


@njit(nogil=True, cache=True)
def row_ends(bits, low, high):  # type: ignore[no-untyped-def]
    """Smallest and largest value of each row, as integers of the same order, whose loops are vectorised.

    Args:
        bits: int32 (n, d), the bits of float32 rows.
        low: int32 (n,), overwritten with the bits of the smallest values.
        high: int32 (n,), overwritten with those of the largest.
    """
    magnitude = np.int32(0x7FFF_FFFF)
    for i in range(bits.shape[0]):
        least, most = magnitude, -magnitude
        for j in range(bits.shape[1]):
            ordered = bits[i, j] ^ ((bits[i, j] >> np.int32(31)) & magnitude)
            least = min(least, ordered)
            most = max(most, ordered)
        low[i] = least ^ ((least >> np.int32(31)) & magnitude)
        high[i] = most ^ ((most >> np.int32(31)) & magnitude)
