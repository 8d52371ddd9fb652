"""Positive scales in 8 bits: code 0 is zero, the codes 1 to 255 are a geometric series.

A scale such as the norm of a row needs a small relative error. 255 steps between the smallest and the largest scale
of a table give one of at most ``(ratio - 1) / 2``. All arithmetic is multiplication and addition in float64, so
the same table gives the same codes, and the same codes the same scales, on every machine.
"""

from __future__ import annotations

import numpy as np

NUM_CODES = 256
_HALVINGS = 60


def scale_table(smallest: float, ratio: float) -> np.ndarray:
    """The scale of each code.

    Args:
        smallest: scale of code 1.
        ratio: scale of a code over that of the code before.

    Returns:
        float32 (256,): 0, then ``smallest · ratio**(code - 1)`` by repeated multiplication in float64.

    Example:
        >>> scale_table(0.5, 2.0)[:4].tolist()
        [0.0, 0.5, 1.0, 2.0]
    """
    scales = np.full(NUM_CODES, ratio, np.float64)
    scales[:2] = 0, smallest
    with np.errstate(over="ignore", invalid="ignore"):
        scales[1:] = np.multiply.accumulate(scales[1:])
        return scales.astype(np.float32)


def scale_range(scales: np.ndarray, num_codes: int = NUM_CODES) -> np.ndarray:
    """The range of codes that holds all scales of a table.

    Args:
        scales: (n,) finite, >= 0. Zeros do not count: they have a code of their own.
        num_codes: number of codes in use, 3 to 256.

    Returns:
        float64 (2,): the smallest scale, and the smallest ratio that reaches the largest scale; (1, 1) without a
        positive scale.

    Raises:
        ValueError: if a scale is negative or not finite.
    """
    scales = np.asarray(scales, np.float32)
    if not (np.isfinite(scales) & (scales >= 0)).all():
        raise ValueError("scales must be finite and >= 0.")
    scales = scales[scales > 0]
    if scales.size == 0:
        return np.ones(2)
    smallest, largest = float(scales.min()), scales.max()
    last = num_codes - 1
    low, high = 1.0, 2.0 ** (508 / (last - 1))  # its powers span more than float32
    if scale_table(smallest, low)[last] >= largest:
        return np.array([smallest, low])
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        if scale_table(smallest, middle)[last] >= largest:
            high = middle
        else:
            low = middle
    return np.array([smallest, high])


def scale_codes(scales: np.ndarray, smallest: float, ratio: float, num_codes: int = NUM_CODES) -> np.ndarray:
    """The nearest code of each scale.

    Args:
        scales: (n,) >= 0; those outside the range get its first or last code.
        smallest: scale of code 1.
        ratio: scale of a code over that of the code before.
        num_codes: number of codes in use.

    Returns:
        uint8 (n,): 0 for zeros only; of two codes equally near, the lower.

    Example:
        >>> scale_codes(np.array([0, 0.1, 0.8, 7]), 0.5, 2.0).tolist()
        [0, 1, 2, 5]
    """
    table = scale_table(smallest, ratio)[1:num_codes].astype(np.float64)
    scales = np.asarray(scales, np.float32)
    codes = 1 + np.searchsorted(0.5 * (table[1:] + table[:-1]), scales)
    return np.where(scales > 0, codes, 0).astype(np.uint8)
