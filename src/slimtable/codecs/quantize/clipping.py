"""The grid of a row with the least error: outliers are clipped where that makes the steps of all others finer.

The search is that of Guan et al. (2019, arXiv 1911.02079), who move the ends of the grid inwards step by step, with all
pairs of a few positions in place of their walk, followed by least squares: with the codes fixed, the best offset and
step are a linear regression.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numba import njit

from slimtable.codecs.quantize.scalar_kernels import WHOLE

_FURTHEST = 0.45
"""How far either end moves at most, as a share of the range of the row."""
_POSITIONS = 8
"""Positions of either end; quadratic, since most rows need little clipping."""
_FINE = 6
"""From this number of bits on clipping gains nothing, and only least squares are used."""
_ROUNDS = 4
"""Rounds of least squares."""


def search_grid(rows: np.ndarray, low: np.ndarray, high: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Offset and step of each row with about the least squared error.

    Args:
        rows: float32 (n, d).
        low: float32 (n,) the lowest value that the grid may start from.
        high: float32 (n,) the highest value that it may end at, before least squares.
        bits: bits per value, 1 to 8.

    Returns:
        Offset and step, float32 (n,) each; the step is 0 where ``low`` equals ``high``.
    """
    places = np.linspace(0, 1, _POSITIONS) if bits < _FINE else np.zeros(1)
    positions = (_FURTHEST * places**2).astype(np.float32)
    offset, step = np.empty(len(rows), np.float32), np.empty(len(rows), np.float32)
    _search(np.ascontiguousarray(rows), low, high, positions, np.float32(2**bits - 1), offset, step)
    return offset, step


def least_error(
    rows: np.ndarray, grids: Iterable[tuple[np.ndarray, np.ndarray]], bits: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of several grids of each row that with the least squared error, the first of equals.

    Args:
        rows: float32 (n, d).
        grids: offset and step, float32 (n,) each, as they are decoded.
        bits: bits per value.

    Returns:
        The place of the grid among ``grids``, int64 (n,), its offset, and its step, float32 (n,).
    """
    rows, top = np.ascontiguousarray(rows), np.float32(2**bits - 1)
    least, error = np.full(len(rows), np.inf), np.empty(len(rows))
    places, offset, step = (np.zeros(len(rows), dtype) for dtype in (np.int64, np.float32, np.float32))
    for place, (start, width) in enumerate(grids):
        _errors(rows, start, width, top, error)
        better = error < least
        least[better], places[better] = error[better], place
        offset[better], step[better] = start[better], width[better]
    return places, offset, step


@njit(nogil=True, cache=True)
def _search(rows, low, high, positions, top, offset, step):  # type: ignore[no-untyped-def]
    """All pairs of positions, then least squares from the best; values are outside, so that grids are vectorised."""
    count = positions.size * positions.size
    start, width = np.empty(count, np.float32), np.empty(count, np.float32)
    inverse, error = np.empty(count, np.float32), np.empty(count, np.float32)
    for i in range(rows.shape[0]):
        reach = high[i] - low[i]
        if not (reach > 0 and reach / top > 0 and np.float32(1) / (reach / top) < np.inf):
            offset[i], step[i] = low[i], max(reach, np.float32(0)) / top
            continue
        for a in range(positions.size):
            for b in range(positions.size):
                k = a * positions.size + b
                start[k] = low[i] + reach * positions[a]
                width[k] = (high[i] - reach * positions[b] - start[k]) / top
                inverse[k] = np.float32(1) / width[k]
                error[k] = np.float32(0)
        for j in range(rows.shape[1]):
            x = rows[i, j]
            for k in range(count):
                t = min(max((x - start[k]) * inverse[k], np.float32(0)), top)
                difference = (start[k] + width[k] * ((t + WHOLE) - WHOLE)) - x
                error[k] += difference * difference
        best = 0
        for k in range(count):
            if error[k] < error[best]:
                best = k
        offset[i], step[i] = _least_squares(rows, i, start[best], width[best], top)


@njit(nogil=True, cache=True)
def _least_squares(rows, i, offset, step, top):  # type: ignore[no-untyped-def]
    """Alternates between the nearest codes and the regression on them, until the error no longer falls."""
    width, least = rows.shape[1], np.inf
    best_offset, best_step = offset, step
    for _ in range(_ROUNDS + 1):
        inverse, error = np.float32(1) / step, 0.0
        codes, squares, values, products = 0.0, 0.0, 0.0, 0.0
        for j in range(width):
            x = rows[i, j]
            t = min(max((x - offset) * inverse, np.float32(0)), top)
            code = (t + WHOLE) - WHOLE
            difference = np.float64((offset + step * code) - x)
            error += difference * difference
            codes += code
            squares += code * code
            values += x
            products += np.float64(x) * code
        if not error < least:
            break
        least, best_offset, best_step = error, offset, step
        spread = width * squares - codes * codes
        slope = (width * products - codes * values) / spread if spread > 0 else 0.0
        offset, step = np.float32((values - slope * codes) / width), np.float32(slope)
        if not (step > 0 and np.float32(1) / step < np.inf):
            break
    return best_offset, best_step


@njit(nogil=True, cache=True)
def _errors(rows, offset, step, top, error):  # type: ignore[no-untyped-def]
    """Squared error of each row, with the codes that :func:`slimtable.codecs.quantize.scalar.codes_of` gives it."""
    for i in range(rows.shape[0]):
        safe = step[i] if step[i] > 0 else np.float32(1)
        total = 0.0
        for j in range(rows.shape[1]):
            t = min(max((rows[i, j] - offset[i]) / safe, np.float32(0)), top)
            difference = np.float64((offset[i] + step[i] * ((t + WHOLE) - WHOLE)) - rows[i, j])
            total += difference * difference
        error[i] = total
