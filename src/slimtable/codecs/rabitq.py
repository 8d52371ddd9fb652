"""Rotated scalar codes: a random rotation makes all dimensions alike, so that one fixed grid suits every table.

Gao and Long (2024, arXiv 2405.12497) with 1 bit, Gao et al. (2024, arXiv 2409.09913) with more. Nothing is learned from
the table but the range of the gains, so that a new row can be coded alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from slimtable.codecs.base import NOTHING_KNOWN, Codec, FitContext, Fitted, Rows
from slimtable.codecs.quantize.level_kernels import LEAST_SQUARES, UNBIASED, code_rows
from slimtable.codecs.quantize.levels import FittedLevels, LevelsForm, levels_bits

GAUSSIAN_LEVELS = {
    1: (0.797884561,),
    2: (0.452780035, 1.51041761),
    3: (0.245094179, 0.756005281, 1.34390928, 2.1519457),
    4: (0.12839503, 0.388048299, 0.656759119, 0.942340456, 1.2562312, 1.61804639, 2.06901723, 2.73258957),
}
"""Positive levels of the grid with the least squared error for normal values (Max 1960), by bits."""
_SCALES = 8
_LEAST_SCALE, _LARGEST_SCALE = 0.8, 1.3
"""Rows are scaled before they are coded, and the best of these scales is kept: with few values per row, the spread of
a row's values differs from that of the normal distribution."""


@dataclass(frozen=True)
class Rabitq(Codec):
    """Row = Rᵀ·gain·levels, with a rotation R that its seed describes.

    Attributes:
        bits: bits per value, 1 to 4.
        grid: "gaussian" for the levels with the least error for normal values, or "uniform" for RaBitQ's even ones.
        gain: "unbiased" keeps ⟨row, decoded row⟩ = ‖row‖²; "least_squares" has the least squared error.
        gain_bits: bits of the gain of a row, 8 or 16.
        rounds: rounds of the rotation, up to 3; 0 for none.
        seed: seed of the rotation.
    """

    bits: int = 4
    grid: Literal["gaussian", "uniform"] = "gaussian"
    gain: Literal["unbiased", "least_squares"] = "unbiased"
    gain_bits: Literal[8, 16] = 8
    rounds: int = 1
    seed: int = 0

    def fit(self, rows: Rows, context: FitContext = NOTHING_KNOWN) -> Fitted:
        return _FittedRabitq(self, rows)

    def bits_of(self, num_embeddings: int, embedding_dim: int, frequencies: np.ndarray | None = None) -> int:
        return levels_bits(2**self.bits, self.gain_bits, num_embeddings, embedding_dim)

    def positive_levels(self) -> np.ndarray:
        """The positive half of the grid, float32 (2^bits / 2,), for values with a mean square of 1."""
        levels = np.array(GAUSSIAN_LEVELS[self.bits], np.float32)
        if self.grid == "gaussian":
            return levels
        # Even levels are centred like the Gaussian ones; the scale of each row is searched.
        even = np.arange(2 ** (self.bits - 1), dtype=np.float32) + np.float32(0.5)
        return even * (levels.mean(dtype=np.float64) / even.mean(dtype=np.float64)).astype(np.float32)


class _FittedRabitq(FittedLevels):
    margin = (0.95 * _LEAST_SCALE, 1.05 * _LARGEST_SCALE)

    def __init__(self, codec: Rabitq, rows: Rows) -> None:
        self._positive = codec.positive_levels()
        self._rule = UNBIASED if codec.gain == "unbiased" else LEAST_SQUARES
        count = _SCALES if codec.bits > 1 else 1  # the sign does not depend on the scale
        self._scales = np.linspace(_LEAST_SCALE, _LARGEST_SCALE, count, dtype=np.float32)
        levels = np.concatenate([-self._positive[::-1], self._positive])
        super().__init__(rows, LevelsForm(levels, codec.gain_bits, codec.seed, codec.rounds))

    def shapes(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._coded(rows, self._scales)

    def rough_gains(self, rows: np.ndarray) -> np.ndarray:
        return self._coded(rows, np.ones(1, np.float32))[1]

    def _coded(self, rows: np.ndarray, scales: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        codes, gains = np.empty(rows.shape, np.uint8), np.empty(len(rows), np.float32)
        code_rows(rows, self._positive, scales, self._rule, codes, gains)
        return codes, gains
