"""Numba kernels for strings that are concatenated in one array."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped"
# numba compiles these functions from the types of their arguments, which mypy cannot follow.

from __future__ import annotations

import numpy as np
from numba import njit


def first_repeated(data: np.ndarray, offsets: np.ndarray) -> int:
    """Index of the first string that occurs again later, or -1 if all are different.

    Args:
        data: uint8 (bytes,).
        offsets: int64 (n + 1,), start of each string and end of the last one.
    """
    codes = _hashes(data, offsets)
    order = np.argsort(codes, kind="stable")
    return int(_first_repeated(data, offsets, codes, order))


@njit(cache=True, nogil=True)
def _hashes(data, offsets):  # pragma: no cover
    """FNV-1a of each string."""
    codes = np.empty(offsets.size - 1, np.uint64)
    for row in range(codes.size):
        state = np.uint64(0xCBF29CE484222325)
        for place in range(offsets[row], offsets[row + 1]):
            state = (state ^ np.uint64(data[place])) * np.uint64(0x100000001B3)
        codes[row] = state
    return codes


@njit(cache=True, nogil=True)
def _first_repeated(data, offsets, codes, order):  # pragma: no cover
    """The first repeated string among those with equal hashes, compared byte by byte."""
    found = -1
    for place in range(order.size):
        row = order[place]
        later = place + 1
        while later < order.size and codes[order[later]] == codes[row]:
            other = order[later]
            later += 1
            length = offsets[row + 1] - offsets[row]
            if offsets[other + 1] - offsets[other] != length:
                continue
            same = True
            for i in range(length):
                if data[offsets[row] + i] != data[offsets[other] + i]:
                    same = False
                    break
            if same:
                if found < 0 or row < found:
                    found = row
                break
    return found
