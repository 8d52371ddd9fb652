"""The uncompressed table: float32 values as they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slimtable.codecs.base import NOTHING_KNOWN, Block, Codec, FitContext, Fitted, Rows


@dataclass(frozen=True)
class Dense(Codec):
    """Keeps every value: 32·N·d bits."""

    def fit(self, rows: Rows, context: FitContext = NOTHING_KNOWN) -> Fitted:
        return _FittedDense(rows)

    def bits_of(self, num_embeddings: int, embedding_dim: int, frequencies: np.ndarray | None = None) -> int:
        return 32 * num_embeddings * embedding_dim


class _FittedDense(Fitted):
    layout = "dense"

    def encode(self, rows: np.ndarray, first_id: int) -> Block:
        return Block(first_id, len(rows), {"table": rows})
