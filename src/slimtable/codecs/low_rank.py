"""Low-rank factorization: the best product of two thin matrices, by the singular value decomposition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from slimtable.codecs.base import NOTHING_KNOWN, Block, Codec, FitContext, Fitted, Rows


@dataclass(frozen=True)
class LowRank(Codec):
    """Row ``i`` is ``P[i] @ Q`` with P (N, r) and Q (r, d), with the least squared error.

    Attributes:
        rank: inner width r, 1 to d; None to choose it by ``energy`` or ``nuclear``.
        energy: the smallest rank that keeps this share of the sum of squares.
        nuclear: C of the weighted nuclear norm (:func:`rank_by_nuclear_norm`), in units of the mean squared singular
            value.
        factor_bits: bits per value of P and Q.
    """

    rank: int | None
    energy: float | None = None
    nuclear: float | None = None
    factor_bits: Literal[32, 16] = 32

    @property
    def exact_size(self) -> bool:  # type: ignore[override]
        """False if the rank depends on the values of the table."""
        return self.rank is not None

    def fit(self, rows: Rows, context: FitContext = NOTHING_KNOWN) -> Fitted:
        return _FittedLowRank(self, rows)

    def bits_of(self, num_embeddings: int, embedding_dim: int, frequencies: np.ndarray | None = None) -> int:
        rank = self.rank if self.rank is not None else largest_rank(num_embeddings, embedding_dim)
        return self.factor_bits * rank * (num_embeddings + embedding_dim)

    def rank_of(self, gram: np.ndarray, num_embeddings: int) -> int:
        """The rank for a table with the Gram matrix TᵀT, float64 (d, d)."""
        if self.rank is not None:
            return self.rank
        squares = np.linalg.eigvalsh(gram)[::-1].clip(min=0)
        if self.energy is not None:
            rank = 1 + int(np.searchsorted(squares.cumsum(), self.energy * squares.sum()))
        else:
            rank = rank_by_nuclear_norm(squares, (self.nuclear or 0.0) * float(squares.mean()))
        return max(1, min(rank, largest_rank(num_embeddings, len(gram))))


class _FittedLowRank(Fitted):
    layout = "low_rank"

    def __init__(self, codec: LowRank, rows: Rows) -> None:
        super().__init__(rows)
        if codec.rank is not None and not 1 <= codec.rank <= self.embedding_dim:
            raise ValueError(f"`rank` must be 1 to embedding_dim={self.embedding_dim}, got {codec.rank}.")
        self._dtype: Any = np.float16 if codec.factor_bits == 16 else np.float32
        gram = np.zeros((self.embedding_dim, self.embedding_dim))
        for _, block in rows.blocks():
            wide = block.astype(np.float64)
            gram += wide.T @ wide
        self._basis = principal_directions(gram, codec.rank_of(gram, self.num_embeddings))

    def encode(self, rows: np.ndarray, first_id: int) -> Block:
        from slimtable.artifact import kernels  # numba is imported on first use

        left = np.empty((len(rows), self._basis.shape[1]), np.float32)
        kernels.low_rank_rows(rows, self._basis, left)  # `@` would round a row as the size of its block has it
        return Block(first_id, len(rows), {"left": as_factor(left, self._dtype)})

    def shared_arrays(self) -> dict[str, np.ndarray]:
        return {"right": np.ascontiguousarray(self._basis.T).astype(self._dtype)}


def rank_by_nuclear_norm(squares: np.ndarray, strength: float) -> int:
    """The rank that the weighted nuclear norm chooses (Gu et al. 2017, Weighted Nuclear Norm Minimization, IJCV 121).

    Minimizing ‖T − X‖² + Σ wᵢ·σᵢ(X) with the weights wᵢ = C·√N / σᵢ(X) sets the singular values of T to zero for which
    σᵢ(T)² < 4·C·√N, and only shrinks the others. Here it selects the rank, and singular values stay as they are.

    Args:
        squares: squared singular values of T.
        strength: C·√N.

    Returns:
        Number of singular values that are not set to zero.
    """
    return int((squares >= 4 * strength).sum())


def largest_rank(num_embeddings: int, embedding_dim: int) -> int:
    """The largest rank, at least 1, whose factors have no more values than the table."""
    return max(1, num_embeddings * embedding_dim // (num_embeddings + embedding_dim))


def as_factor(values: np.ndarray, dtype: Any) -> np.ndarray:
    """Values of a factor as stored.

    Raises:
        ValueError: a value is not finite in ``dtype``.
    """
    with np.errstate(over="ignore"):
        stored = values.astype(dtype, copy=False)
    if np.isfinite(stored).all():
        return stored
    if dtype == np.float16:
        raise ValueError("A factor has values that are too large for 16 bits. Use factor_bits=32, or scale the table.")
    raise ValueError("Products of the rows are too large for float32. Scale the table.")


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
