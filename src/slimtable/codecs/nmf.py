"""Non-negative matrix factorization: the table as a product of two thin matrices without negative values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numba import njit

from slimtable.codecs.base import NOTHING_KNOWN, Block, Codec, FitContext, Fitted, Rows
from slimtable.codecs.low_rank import as_factor

_SAMPLE = 1 << 16
"""Rows that Q is fitted to, evenly spaced; all if there are no more."""
_ROUNDS, _SWEEPS, _FINAL_SWEEPS = 60, 4, 30
_NOTHING = 1e-12


@dataclass(frozen=True)
class NonNegative(Codec):
    """Row ``i`` is ``P[i] @ Q`` with P (N, r) and Q (r, d), both without negative values (Lee and Seung 1999).

    Q is fitted by hierarchical alternating least squares (Cichocki and Phan 2009); then the row of P of each id is the
    non-negative solution for Q, which any process finds alone.

    Attributes:
        rank: inner width r, at least 1.
        factor_bits: bits per value of P and Q.
    """

    rank: int
    factor_bits: Literal[32, 16] = 32

    def fit(self, rows: Rows, context: FitContext = NOTHING_KNOWN) -> Fitted:
        return _FittedNMF(self, rows)

    def bits_of(self, num_embeddings: int, embedding_dim: int, frequencies: np.ndarray | None = None) -> int:
        return self.factor_bits * self.rank * (num_embeddings + embedding_dim)


class _FittedNMF(Fitted):
    layout = "low_rank"

    def __init__(self, codec: NonNegative, rows: Rows) -> None:
        super().__init__(rows)
        self._dtype = np.float16 if codec.factor_bits == 16 else np.float32
        for first, block in rows.blocks():
            refuse_negative(block, first)
        step = -(-self.num_embeddings // _SAMPLE)
        sample = rows.take(np.arange(0, self.num_embeddings, step)).astype(np.float64)
        scale = sample.max()
        right = _fit(sample / scale, codec.rank) if scale > 0 else np.zeros((codec.rank, self.embedding_dim))
        # Parts of unit length, so that both factors are of the size of the values.
        lengths = np.sqrt((right * right).sum(axis=1, keepdims=True))
        self._right = as_factor((right / np.where(lengths > 0, lengths, 1)).astype(np.float32), self._dtype)

    def encode(self, rows: np.ndarray, first_id: int) -> Block:
        left = np.zeros((len(rows), len(self._right)))
        _solve(rows.astype(np.float64), self._right.astype(np.float64), _FINAL_SWEEPS, left)
        with np.errstate(over="ignore"):  # refused in `as_factor`
            return Block(first_id, len(rows), {"left": as_factor(left.astype(np.float32), self._dtype)})

    def shared_arrays(self) -> dict[str, np.ndarray]:
        return {"right": self._right}


def refuse_negative(rows: np.ndarray, first_id: int = 0) -> None:
    """Raises ValueError if a value of some rows (n, d) is negative."""
    if rows.min() < 0:
        row = int((rows < 0).any(axis=1).argmax())
        raise ValueError(
            f"Method nmf needs a table without negative values, and row {first_id + row} has {rows[row].min():.3g}. "
            "Embeddings have both signs as a rule: use svd, or a quantizer."
        )


def _fit(table: np.ndarray, rank: int) -> np.ndarray:
    """Q, float64 (r, d), for a table (n, d)."""
    right, left = _start(table, rank), np.zeros((len(table), rank))
    for _ in range(_ROUNDS):
        _solve(table, right, _SWEEPS, left)
        # The same problem for the columns of the table: Qᵀ·Pᵀ.
        across = np.ascontiguousarray(right.T)
        _descend(np.ascontiguousarray(table.T @ left), left.T @ left, _SWEEPS, across)
        right = np.ascontiguousarray(across.T)
    return right


def _start(table: np.ndarray, rank: int) -> np.ndarray:
    """Rows of the table that differ: each is that with the largest residual from the parts so far (r, d)."""
    right = np.full((rank, table.shape[1]), table.mean() / 100)  # parts begin above zero, or they would stay there
    residuals = table.copy()
    for part in range(rank):
        squares = (residuals * residuals).sum(axis=1)
        worst = residuals[int(squares.argmax())]
        length = float(worst @ worst)
        if length <= _NOTHING:
            break
        right[part] += worst.clip(min=0)
        residuals -= np.outer(residuals @ worst / length, worst)
    return right


def _solve(table: np.ndarray, right: np.ndarray, sweeps: int, left: np.ndarray) -> None:
    """Improves P (n, r) in place for a table (n, d) and Q (r, d)."""
    products = np.zeros(left.shape)
    _products(table, right, products)
    gram = np.zeros((len(right), len(right)))
    _products(right, right, gram)
    _descend(products, gram, sweeps, left)


@njit(nogil=True, cache=True)
def _products(rows, parts, products):  # type: ignore[no-untyped-def]
    """``rows @ parts.T``, summed in a fixed order, so that no row depends on its batch."""
    for i in range(rows.shape[0]):
        for k in range(parts.shape[0]):
            total = 0.0
            for j in range(rows.shape[1]):
                total += rows[i, j] * parts[k, j]
            products[i, k] = total


@njit(nogil=True, cache=True)
def _descend(products, gram, sweeps, left):  # type: ignore[no-untyped-def]
    """Coordinate descent of each row p: the least ½·p·gram·p − p·products with p ≥ 0."""
    rank = gram.shape[0]
    for i in range(left.shape[0]):
        for _ in range(sweeps):
            moved = 0.0
            for k in range(rank):
                if gram[k, k] <= 0.0:
                    left[i, k] = 0.0
                    continue
                slope = products[i, k]
                for other in range(rank):
                    slope -= gram[k, other] * left[i, other]
                value = max(0.0, left[i, k] + slope / gram[k, k])
                moved = max(moved, abs(value - left[i, k]))
                left[i, k] = value
            if moved == 0.0:
                break
