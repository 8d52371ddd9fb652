"""Scalar quantization: values become codes on an even grid between the smallest and the largest value of a line."""

from __future__ import annotations

import numpy as np

SMALLEST_HALF = 2.0**-24
"""Spacing of the smallest float16 values."""
TOO_SMALL = SMALLEST_HALF * 2.0**11
"""Steps of :data:`SMALLEST_HALF` are too coarse for a table whose values are no larger."""


def make_grid(
    low: np.ndarray, high: np.ndarray, bits: int, scale_bits: int, largest: float, advice: str = ""
) -> tuple[np.ndarray, np.ndarray]:
    """Offset and step of every line of a table, as stored.

    Args:
        low: float32, smallest value of each line.
        high: float32, largest value of each line.
        bits: bits per value.
        scale_bits: bits of each offset and step, 16 or 32.
        largest: largest absolute value of the table.
        advice: what to do if the values do not fit, for the error message.

    Returns:
        Offset and step in float32, shaped as ``low``.

    Raises:
        ValueError: the values do not fit scales of ``scale_bits``: too large or too close together.
    """
    steps = np.float32(2**bits - 1)
    with np.errstate(over="ignore"):  # an infinite step is refused below
        step = (high - low) / steps
    if scale_bits == 16:
        # Rounded so that the grid still reaches from the smallest value to the largest.
        with np.errstate(over="ignore"):  # as above
            low = round_half(low - np.abs(low) * np.float32(2.0**-11))
            low = np.where(low > high, low - np.float32(SMALLEST_HALF), low)  # tiny values may round above a line
            step = round_half((high - low) / steps * np.float32(1 + 2.0**-11))
        if largest > TOO_SMALL:
            step = np.where(high > low, np.maximum(step, np.float32(SMALLEST_HALF)), step)
    if not (np.isfinite(low) & np.isfinite(step) & ((step > 0) | (high == low))).all():
        raise ValueError(refusal(scale_bits, advice))
    return low, step


def codes_of(rows: np.ndarray, offset: np.ndarray, step: np.ndarray, bits: int) -> np.ndarray:
    """Nearest grid point of each value, uint8; a step of zero (a constant line) gives 0.

    Args:
        rows: float (n, d).
        offset: float32 (n, 1), or (d,) or a number for all rows, like ``step``.
        step: float32.
        bits: bits per value, 1 to 8.
    """
    from slimtable.codecs.quantize import scalar_kernels  # numba is imported on first use

    rows, top = np.ascontiguousarray(rows, np.float32), np.float32(2**bits - 1)
    codes = np.empty(rows.shape, np.uint8)
    if offset.shape == (len(rows), 1):
        scalar_kernels.code_rows(rows, offset[:, 0], step[:, 0], top, codes)
    else:
        scales = (np.broadcast_to(scale, rows.shape[1:]) for scale in (offset, step))
        scalar_kernels.code_columns(rows, *map(np.ascontiguousarray, scales), top, codes)
    return codes


def ends_of(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest value of each row, float32 (n,) each, of finite float32 rows (n, d)."""
    from slimtable.codecs.quantize import scalar_kernels

    low, high = np.empty((2, len(rows)), np.float32)
    scalar_kernels.row_ends(np.ascontiguousarray(rows).view(np.int32), low.view(np.int32), high.view(np.int32))
    return low, high


def refusal(scale_bits: int, advice: str) -> str:
    """Error message for values that do not fit scales of ``scale_bits``; the advice is for scales of 16 bits."""
    return (
        f"Some values are too large or too close together for scales of {scale_bits} bits. "
        f"{advice + ', or scale' if advice and scale_bits == 16 else 'Scale'} the table."
    )


def round_half(values: np.ndarray) -> np.ndarray:
    """Values as float16 holds them, in float32; infinite beyond its range."""
    with np.errstate(over="ignore"):  # the caller rejects values that overflow 16 bits
        return values.astype(np.float16).astype(np.float32)
