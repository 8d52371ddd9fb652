"""A budget of bits for several tables: each gets what lowers the error of the scores most.

The error of a dot product is, relative to the product, about the sum of the relative errors of its two vectors. How
fast the error of a table falls with its bits is estimated from the spectrum of its rows, by the rate-distortion
function of a Gaussian source ("reverse water-filling", Cover and Thomas, Elements of Information Theory, section 10.3).
At the best division, one more bit lowers the error as much wherever it is spent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from slimtable.codecs.base import Rows

_SAMPLE = 1 << 15
_HALVINGS = 60


@dataclass(frozen=True)
class Demand:
    """What a table asks of a budget.

    Attributes:
        num_embeddings: number of rows.
        spectrum: float64 (d,) variances of the directions of its rows along their principal axes.
        least: bits that it needs at least.
        most: bits beyond which there is nothing to gain.
    """

    num_embeddings: int
    spectrum: np.ndarray
    least: float
    most: float


def allocate(budget: float, demands: Sequence[Demand], tilts: Sequence[float] | None = None) -> list[float]:
    """Divides a budget among tables.

    Args:
        budget: bits of all tables together, at least the sum of what they need.
        demands: of each table.
        tilts: bits per value by which a table's share is shifted at the expense of the others; zeros if None.

    Returns:
        Bits of each table; together at most the budget.

    Example:
        >>> flat = np.full(4, 0.25)
        >>> [round(bits) for bits in allocate(1000, [Demand(10, flat, 0, 1e9), Demand(10, flat, 0, 1e9)])]
        [500, 500]
    """
    tilts = [0.0] * len(demands) if tilts is None else tilts

    def bits_at(log_level: float) -> list[float]:
        found = []
        for demand, tilt in zip(demands, tilts, strict=True):
            # One more bit for each row of a table lowers its error by the water level.
            log_water = log_level + np.log2(demand.num_embeddings) - 2 * tilt
            positive = demand.spectrum[demand.spectrum > 0]
            bits = demand.num_embeddings * np.maximum(0.5 * (np.log2(positive) - log_water), 0).sum()
            found.append(float(min(max(bits, demand.least), demand.most)))
        return found

    low, high = -200.0, 50.0  # of the logarithm of the level: everything is stored, nothing is stored
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(bits_at(middle)) > budget else (low, middle)
    return bits_at(high)


def spectrum(rows: Rows, frequencies: np.ndarray | None = None, seed: int = 0) -> np.ndarray:
    """Variances of the directions of rows along their principal axes, from a sample; they add up to 1.

    Args:
        rows: of the table.
        frequencies: (N,) how often each id occurs; frequent rows count more. None if all count alike.
        seed: seed of the sample.

    Returns:
        float64 (d,), descending; all equal for a table of zeros.
    """
    count, width = rows.shape
    ids = np.arange(count)
    if count > _SAMPLE:
        ids = np.sort(np.random.default_rng([seed, count]).choice(count, _SAMPLE, replace=False))
    sample = rows.take(ids).astype(np.float64)
    weights = np.ones(len(ids)) if frequencies is None else np.asarray(frequencies, np.float64)[ids]
    lengths = np.sqrt((sample**2).sum(axis=1))
    weights = np.where(lengths > 0, weights, 0)
    if not weights.any():
        return np.full(width, 1 / width)
    sample /= np.where(lengths > 0, lengths, 1)[:, None]
    moments = (sample * weights[:, None]).T @ sample / weights.sum()
    return np.clip(np.linalg.eigvalsh(moments)[::-1], 0, None)
