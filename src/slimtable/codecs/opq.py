"""Optimized product quantization: a rotation, fitted together with the centroids, comes first (Ge et al. 2013)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from slimtable.artifact import kernels
from slimtable.codecs.base import NOTHING_KNOWN, FitContext, Rows
from slimtable.codecs.low_rank import principal_directions
from slimtable.codecs.pq import FittedPq, Pq
from slimtable.codecs.quantize.parts import kmeans_parts, nearest_parts

_ROUNDS = 12  # of rotation and centroids in turns
_STEPS = 2  # of k-means in each round


@dataclass(frozen=True)
class Opq(Pq):
    """The shape of a row is rotated, so that its parts vary alike and independently, and then coded by parts.

    Attributes:
        rotation_bits: bits per value of the rotation.
    """

    rotation_bits: Literal[32, 16] = 16

    def fit(self, rows: Rows, context: FitContext = NOTHING_KNOWN) -> FittedOpq:
        return FittedOpq(self, rows, context)

    def bits_of(self, num_embeddings: int, embedding_dim: int, frequencies: np.ndarray | None = None) -> int:
        plain = super().bits_of(num_embeddings, embedding_dim, frequencies)
        return plain + self.rotation_bits * embedding_dim**2


class FittedOpq(FittedPq):
    """Centroids of rotated shapes, and the rotation R that turns them back: shape = centroids @ R."""

    codec: Opq

    def fit_books(self, shapes: np.ndarray, weights: np.ndarray, size: int) -> np.ndarray:
        codec, parts = self.codec, self.codec.num_codebooks
        size = min(size, len(shapes) * (parts if codec.share_subspaces else 1))
        wide = shapes.astype(np.float64)
        turn = balanced_directions((wide * weights[:, None]).T @ wide, parts)
        books: np.ndarray | None = None
        for done in range(_ROUNDS + 1):
            turned = (wide @ turn.T).astype(np.float32)
            last = done == _ROUNDS
            books = kmeans_parts(
                turned,
                weights,
                parts,
                size,
                share=codec.share_subspaces,
                begin=books,
                iterations=codec.iterations if last else _STEPS,
                seed=codec.seed,
            )
            if not last:
                turn = _procrustes(turned, wide, weights, books)
        self._turn = turn.astype(np.float16 if codec.rotation_bits == 16 else np.float32)
        assert books is not None
        return books

    def codes_of(self, shapes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        turned = np.empty(shapes.shape, np.float32)
        kernels.low_rank_rows(shapes, np.ascontiguousarray(self._turn.astype(np.float32).T), turned)
        return super().codes_of(turned)

    def shared_arrays(self) -> dict[str, np.ndarray]:
        return super().shared_arrays() | {"rotation": self._turn}

    def layout_config(self) -> dict[str, Any]:
        return super().layout_config() | {"rotation": "stored"}

    def fit_nothing(self) -> None:
        self._turn = np.eye(self.embedding_dim, dtype=np.float16 if self.codec.rotation_bits == 16 else np.float32)


def balanced_directions(gram: np.ndarray, num_parts: int) -> np.ndarray:
    """Principal directions (d, d) in rows, dealt to parts so that the products of their variances are alike.

    Args:
        gram: float64 (d, d) second moments.
        num_parts: number of parts, a divisor of d.
    """
    width = len(gram)
    directions = principal_directions(gram, width).astype(np.float64).T
    variances = np.maximum(np.einsum("kd,de,ke->k", directions, gram, directions), 0.0)
    logs = np.log(np.maximum(variances, variances.max(initial=0.0) * 1e-12 + 1e-300))
    parts: list[list[int]] = [[] for _ in range(num_parts)]
    totals = np.zeros(num_parts)
    for direction in range(width):  # from the strongest to the weakest
        free = [part for part in range(num_parts) if len(parts[part]) < width // num_parts]
        part = min(free, key=lambda part: totals[part])
        parts[part].append(direction)
        totals[part] += logs[direction] - logs[-1]
    return directions[[direction for part in parts for direction in part]]


def _procrustes(turned: np.ndarray, shapes: np.ndarray, weights: np.ndarray, books: np.ndarray) -> np.ndarray:
    """The rotation that brings the coded shapes nearest to the shapes, in weighted squares."""
    codes = nearest_parts(turned, books)
    parts = np.arange(codes.shape[1]) if len(books) > 1 else np.zeros(codes.shape[1], np.int64)
    coded = books[parts, codes].reshape(len(codes), -1).astype(np.float64)
    left, _, right = np.linalg.svd((coded * weights[:, None]).T @ shapes)
    turn: np.ndarray = left @ right
    return turn
