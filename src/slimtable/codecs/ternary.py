"""Three levels per value, -1, 0 and 1, with a gain per row (Li et al. 2016, arXiv 1605.04711)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from slimtable.codecs.base import NOTHING_KNOWN, Codec, FitContext, Fitted, Rows
from slimtable.codecs.quantize.levels import FittedLevels, LevelsForm, levels_bits

_LEVELS = np.array([-1, 0, 1], np.float32)


@dataclass(frozen=True)
class Ternary(Codec):
    """Row = gain · levels, with the least squared error; a code takes 2 bits.

    The values of a row that are kept are its largest ones. Their number is found exactly, where the source takes those
    above 0.7 times the mean; the gain is their mean size, as in the source.

    Attributes:
        gain_bits: bits of the gain of a row, 8 or 16.
    """

    gain_bits: Literal[8, 16] = 8

    def fit(self, rows: Rows, context: FitContext = NOTHING_KNOWN) -> Fitted:
        return _FittedTernary(rows, LevelsForm(_LEVELS, self.gain_bits))

    def bits_of(self, num_embeddings: int, embedding_dim: int, frequencies: np.ndarray | None = None) -> int:
        return levels_bits(3, self.gain_bits, num_embeddings, embedding_dim)


class _FittedTernary(FittedLevels):
    def shapes(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        sizes = np.abs(rows)
        ordered = np.sort(sizes, axis=1)[:, ::-1]
        sums, counts = ordered.cumsum(axis=1, dtype=np.float64), np.arange(1, rows.shape[1] + 1)
        # With the k largest values kept at their mean, the squared error falls by (sum of them)² / k.
        last = (sums * sums / counts).argmax(axis=1)[:, None]
        kept = sizes >= np.take_along_axis(ordered, last, axis=1)
        kept &= sizes > 0
        codes = np.where(kept, np.where(rows > 0, 2, 0), 1).astype(np.uint8)
        total = np.where(kept, sizes, np.float32(0)).sum(axis=1, dtype=np.float64)
        return codes, (total / np.maximum(1, kept.sum(axis=1))).astype(np.float32)
