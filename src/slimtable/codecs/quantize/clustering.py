"""The result of a clustering, and the checks of its input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slimtable.codecs.vectors import Vectors, as_vectors

_MAX_VALUE = 1e12
_MIN_HIGHEST, _MAX_HIGHEST = 1e-20, 1e20  # of frequencies; others are scaled, so that weights fit into float32


@dataclass(frozen=True, eq=False)
class Clustering:
    """Centroids, and the centroid of each vector.

    Attributes:
        centroids: float32 (K, d).
        rows: int32 (n,) the centroid of each vector.
        default: index of the centroid that vectors below `min_frequency` share; None without one.
        distortion: mean squared distance of a vector to its centroid, weighted by frequency.
    """

    centroids: np.ndarray
    rows: np.ndarray
    default: int | None
    distortion: float


def checked(vectors: np.ndarray | Vectors, num_rows: int, frequencies: np.ndarray | None) -> tuple[Vectors, np.ndarray]:
    """Vectors, and weights as float32 with mean 1 (all 1 if every frequency is zero).

    Raises:
        ValueError: shapes do not match or a value is out of range.
    """
    vectors = as_vectors(vectors)
    if not 1 <= num_rows <= len(vectors):
        raise ValueError(f"`num_rows` must be in 1..{len(vectors)}, the number of vectors, got {num_rows}.")
    largest = vectors.largest()
    if not largest <= _MAX_VALUE:
        raise ValueError(
            f"Vectors to cluster must be finite and at most {_MAX_VALUE:g}, since their squares are summed in float32; "
            f"the largest is {largest:g}. Repair or scale them."
        )
    if frequencies is None:
        return vectors, np.ones(len(vectors), np.float32)
    frequencies = np.asarray(frequencies)
    if frequencies.shape != (len(vectors),):
        raise ValueError(f"`frequencies` must have shape ({len(vectors)},), got {frequencies.shape}.")
    highest, least = float(frequencies.max()), float(frequencies.min())
    if not np.isfinite(highest) or least < 0:
        raise ValueError("`frequencies` must be finite and not negative.")
    if highest == 0:
        return vectors, np.ones(len(vectors), np.float32)
    if not _MIN_HIGHEST < highest < _MAX_HIGHEST:
        frequencies = frequencies / highest
    mean = float(np.mean(frequencies, dtype=np.float64))
    weights = frequencies.astype(np.float32)
    weights *= np.float32(1.0 / mean)
    return vectors, weights
