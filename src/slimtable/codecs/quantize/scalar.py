"""Scalar quantization: values become whole steps on an even grid between the smallest and the largest of a line."""

from __future__ import annotations

import torch
from torch import Tensor

_SMALLEST_HALF = 2.0**-24
_NOTHING = 2.0**-11  # of the largest value of a table: an error that half precision makes anyway


def make_grid(table: Tensor, bits: int, scale_bits: int, dim: int) -> tuple[Tensor, Tensor]:
    """Smallest value and step of every line of a table, as they are served.

    Args:
        table: float (N, d).
        bits: bits per value.
        scale_bits: width of each smallest value and step, 16 or 32.
        dim: 0 for a line per column, 1 for a line per row.

    Returns:
        Offset and step in float32, (d,) each, or (N, 1) for lines that are rows.

    Raises:
        ValueError: the values do not fit such scales: too large, or all of the table too small.
    """
    table = table.float()
    low, high = table.aminmax(dim=0) if dim == 0 else table.aminmax(dim=1, keepdim=True)
    step = (high - low) / (2**bits - 1)
    if scale_bits == 16:
        # Rounded so that the grid still reaches from the smallest value to the largest.
        low = (low - low.abs() * 2.0**-11).half().float()
        step = ((high - low) / (2**bits - 1) * (1 + 2.0**-11)).half().float()
        if float(table.abs().max()) > _SMALLEST_HALF / _NOTHING:  # else rounding to it would ruin the table
            step = torch.where(high > low, step.clamp(min=_SMALLEST_HALF), step)
    if not bool((torch.isfinite(low) & torch.isfinite(step) & ((step > 0) | (high == low))).all()):
        raise ValueError(
            f"Some values are too large or too close together for scales of {scale_bits} bits. "
            "Use scale_bits=32, or scale the table."
        )
    return low, step


def codes_of(rows: Tensor, offset: Tensor, step: Tensor, bits: int) -> Tensor:
    """Nearest grid point of each value, as whole floats 0 … 2^bits − 1; a step of zero (a constant line) gives 0."""
    safe = torch.where(step > 0, step, torch.ones_like(step))
    return ((rows.float() - offset) / safe).round().clamp_(0, 2**bits - 1)
