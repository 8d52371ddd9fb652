"""Vectors like those of trained embeddings, with frequencies."""

from __future__ import annotations

import numpy as np


def make_vectors(count: int, width: int = 8, centres: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Float32 (n, d) around centres, frequent ones further out, and their Zipf frequencies, in no order."""
    generator = np.random.default_rng(seed)
    rank = generator.permutation(count) + 1.0
    counts = np.maximum(1, np.rint((count / rank) ** 1.1)).astype(np.int64)
    middles = generator.standard_normal((centres, width))
    vectors = middles[generator.integers(centres, size=count)] + 0.5 * generator.standard_normal((count, width))
    vectors *= (0.05 + 0.05 * np.log2(1 + counts))[:, None]
    return vectors.astype(np.float32), counts


def measured(vectors: np.ndarray, counts: np.ndarray, centroids: np.ndarray, rows: np.ndarray) -> float:
    """Distortion by its definition."""
    squares = ((vectors.astype(np.float64) - centroids[rows]) ** 2).sum(axis=1)
    return float((squares * counts).sum() / counts.sum())
