"""Low-rank factorization: the best product of two thin matrices, by the singular value decomposition."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slimtable.codecs.base import NOTHING_KNOWN, Block, Codec, FitContext, Fitted, Rows


@dataclass(frozen=True)
class LowRank(Codec):
    """Row ``i`` is ``P[i] @ Q`` with P (N, r) and Q (r, d), with the least squared error.

    Attributes:
        rank: inner width r, 1 to d.
    """

    rank: int

    def fit(self, rows: Rows, context: FitContext = NOTHING_KNOWN) -> Fitted:
        return _FittedLowRank(self, rows)

    def bits_of(self, num_embeddings: int, embedding_dim: int, frequencies: np.ndarray | None = None) -> int:
        return 32 * self.rank * (num_embeddings + embedding_dim)


class _FittedLowRank(Fitted):
    layout = "low_rank"

    def __init__(self, codec: LowRank, rows: Rows) -> None:
        super().__init__(rows)
        if not 1 <= codec.rank <= self.embedding_dim:
            raise ValueError(f"`rank` must be 1 to embedding_dim={self.embedding_dim}, got {codec.rank}.")
        gram = np.zeros((self.embedding_dim, self.embedding_dim))
        for _, block in rows.blocks():
            wide = block.astype(np.float64)
            gram += wide.T @ wide
        self._basis = principal_directions(gram, codec.rank)

    def encode(self, rows: np.ndarray, first_id: int) -> Block:
        with np.errstate(over="ignore", invalid="ignore"):  # refused below
            left = rows @ self._basis
        if not np.isfinite(left).all():
            raise ValueError("Products of the rows are too large for float32. Scale the table.")
        return Block(first_id, len(rows), {"left": left})

    def shared_arrays(self) -> dict[str, np.ndarray]:
        return {"right": np.ascontiguousarray(self._basis.T)}


def principal_directions(gram: np.ndarray, rank: int) -> np.ndarray:
    """The eigenvectors of a Gram matrix with the largest eigenvalues, float32 (d, rank), the strongest first.

    The sign of each is such that its largest entry is positive, since libraries differ in signs.

    Args:
        gram: float64 (d, d), TᵀT of a table T.
        rank: number of eigenvectors.
    """
    _, vectors = np.linalg.eigh(gram)
    basis = vectors[:, ::-1][:, :rank]
    largest = np.abs(basis).argmax(axis=0)
    signs = np.where(np.take_along_axis(basis, largest[None, :], axis=0) < 0, -1.0, 1.0)
    return np.ascontiguousarray((basis * signs).astype(np.float32))
