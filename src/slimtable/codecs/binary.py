"""One bit per value: on which side of its column's mean it lies, with a gain per row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from slimtable.codecs.base import NOTHING_KNOWN, Codec, FitContext, Fitted, Rows
from slimtable.codecs.quantize.levels import FittedLevels, LevelsForm, levels_bits

_SIGNS = np.array([-1, 1], np.float32)


@dataclass(frozen=True)
class Binary(Codec):
    """Row = column means + gain · signs; the gain is the mean distance from the means, the best in squared error.

    Attributes:
        gain_bits: bits of the gain of a row, 8 or 16.
    """

    gain_bits: Literal[8, 16] = 8

    def fit(self, rows: Rows, context: FitContext = NOTHING_KNOWN) -> Fitted:
        return _FittedBinary(rows, LevelsForm(_SIGNS, self.gain_bits, offset=column_means(rows)))

    def bits_of(self, num_embeddings: int, embedding_dim: int, frequencies: np.ndarray | None = None) -> int:
        return levels_bits(2, self.gain_bits, num_embeddings, embedding_dim, offset=True)


class _FittedBinary(FittedLevels):
    def shapes(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (rows >= 0).astype(np.uint8), np.abs(rows).mean(axis=1, dtype=np.float64).astype(np.float32)


def column_means(rows: Rows) -> np.ndarray:
    """Mean of each column over all rows but that of the padding id, float32 (d,)."""
    total = np.zeros(rows.embedding_dim)
    for _, block in rows.blocks():
        total += block.sum(axis=0, dtype=np.float64)  # the padding row is zeros
    count = rows.num_embeddings - (rows.padding_idx is not None)
    return (total / max(1, count)).astype(np.float32)
