"""The grids of :mod:`slimtable.codecs.quantize.scalar` for tensors on any device, with the same result."""

from __future__ import annotations

import torch
from torch import Tensor

from slimtable.codecs.quantize.scalar import SMALLEST_HALF, TOO_SMALL, refusal


def make_grid(table: Tensor, bits: int, scale_bits: int, dim: int, advice: str = "") -> tuple[Tensor, Tensor]:
    """Offset (the smallest value) and step of every line of a table, as stored.

    Args:
        table: float (N, d).
        bits: bits per value.
        scale_bits: bits of each offset and step, 16 or 32.
        dim: 0 for a line per column, 1 for a line per row.
        advice: what to do if the values do not fit, for the error message.

    Returns:
        Offset and step in float32, (d,) each, or (N, 1) for lines that are rows.

    Raises:
        ValueError: the values do not fit scales of ``scale_bits``: too large or too close together.
    """
    table = table.float()
    low, high = table.aminmax(dim=0) if dim == 0 else table.aminmax(dim=1, keepdim=True)
    step = (high - low) / (2**bits - 1)
    if scale_bits == 16:
        low = (low - low.abs() * 2.0**-11).half().float()
        low = torch.where(low > high, low - SMALLEST_HALF, low)
        step = ((high - low) / (2**bits - 1) * (1 + 2.0**-11)).half().float()
        if float(table.abs().max()) > TOO_SMALL:
            step = torch.where(high > low, step.clamp(min=SMALLEST_HALF), step)
    if not bool((torch.isfinite(low) & torch.isfinite(step) & ((step > 0) | (high == low))).all()):
        raise ValueError(refusal(scale_bits, advice))
    return low, step


def codes_of(rows: Tensor, offset: Tensor, step: Tensor, bits: int) -> Tensor:
    """Nearest grid point of each value, as integral floats 0 … 2^bits − 1; a step of zero (a constant line) gives 0."""
    safe = torch.where(step > 0, step, torch.ones_like(step))
    return ((rows.float() - offset) / safe).round().clamp_(0, 2**bits - 1)
