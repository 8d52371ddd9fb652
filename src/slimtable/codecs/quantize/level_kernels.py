"""Compiled search for the codes of a row on a symmetric grid whose scale is free: the code with the least angle."""

from __future__ import annotations

import numpy as np
from numba import njit

UNBIASED, LEAST_SQUARES = 0, 1


@njit(nogil=True, cache=True)
def code_rows(rows, levels, scales, rule, codes, gains):  # type: ignore[no-untyped-def]
    """Codes each row by the nearest levels after scaling, at the scale whose levels have the least angle to the row.

    Scales are compared side by side, so that their loop is vectorised; no sum depends on the width of a vector.

    Args:
        rows: float32 (n, d).
        levels: float32 (H,) positive levels, ascending; the grid holds them and their negatives.
        scales: float32 (T,) factors of rows whose mean square is 1.
        rule: gain of a row x with levels s: ``UNBIASED`` ⟨x, x⟩ / ⟨x, s⟩, or ``LEAST_SQUARES`` ⟨x, s⟩ / ⟨s, s⟩.
        codes: uint8 (n, d), overwritten; 0 to 2H - 1.
        gains: float32 (n,), overwritten; 0 for rows of zeros.
    """
    half, width, count = levels.size, rows.shape[1], scales.size
    edges, rises = np.empty(half, np.float32), np.empty(half, np.float32)
    for e in range(half - 1):
        edges[e] = (levels[e] + levels[e + 1]) * np.float32(0.5)
        rises[e] = levels[e + 1] - levels[e]
    factor, products = np.empty(count, np.float32), np.empty(count, np.float32)
    squares, value, level = np.empty(count, np.float32), np.empty(count, np.float32), np.empty(count, np.float32)
    for i in range(rows.shape[0]):
        power = 0.0
        for j in range(width):
            power += np.float64(rows[i, j]) * np.float64(rows[i, j])
        if power == 0.0:
            for j in range(width):
                codes[i, j] = half
            gains[i] = 0
            continue
        unit, best = np.sqrt(width / power), 0
        if count > 1:
            for k in range(count):
                factor[k], products[k], squares[k] = scales[k], 0, 0
            for j in range(width):
                x = np.float32(abs(rows[i, j]) * unit)
                for k in range(count):
                    value[k], level[k] = x * factor[k], levels[0]
                for e in range(half - 1):
                    edge, rise = edges[e], rises[e]
                    for k in range(count):
                        level[k] += rise if value[k] > edge else np.float32(0)
                for k in range(count):
                    products[k] += x * level[k]
                    squares[k] += level[k] * level[k]
            for k in range(1, count):
                if products[k] * products[k] * squares[best] > products[best] * products[best] * squares[k]:
                    best = k
        scale, product, square = scales[best], 0.0, 0.0
        for j in range(width):
            x = np.float32(abs(rows[i, j]) * unit) * scale
            place = 0
            for e in range(half - 1):
                place += 1 if x > edges[e] else 0
            codes[i, j] = half + place if rows[i, j] >= 0 else half - 1 - place
            product += abs(np.float64(rows[i, j])) * np.float64(levels[place])
            square += np.float64(levels[place]) * np.float64(levels[place])
        gains[i] = power / product if rule == UNBIASED else product / square
