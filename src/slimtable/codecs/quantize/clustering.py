"""What a clustering is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slimtable.codecs.vectors import Vectors, as_vectors

_LARGEST = 1e12


@dataclass(frozen=True, eq=False)
class Clustering:
    """Shared rows and who has which.

    Attributes:
        centroids: float32 (K, d).
        rows: int32 (n,) the centroid of each vector.
        default: the row that values below `min_frequency` share; None without one.
        distortion: mean squared distance of a vector to its centroid, weighted by frequency.
    """

    centroids: np.ndarray
    rows: np.ndarray
    default: int | None
    distortion: float


def checked(vectors: np.ndarray | Vectors, num_rows: int, frequencies: np.ndarray | None) -> tuple[Vectors, np.ndarray]:
    """Vectors to read and weights as float32 with mean 1 (one each where nothing has a frequency).

    Raises:
        ValueError: shapes or numbers are not those of a clustering.
    """
    vectors = as_vectors(vectors)
    if not 1 <= num_rows <= len(vectors):
        raise ValueError(f"`num_rows` must lie in 1..{len(vectors)}, the number of vectors, got {num_rows}.")
    # Without a copy of absolute values, and NaN where there is one.
    largest = float(np.max([(block.max(), -block.min()) for _, block in vectors.blocks()]))
    if not largest <= _LARGEST:
        raise ValueError(
            f"Vectors to cluster must be finite and at most {_LARGEST:g}, since their squares are summed in float32; "
            f"the largest is {largest:g}. Repair or scale them."
        )
    if frequencies is None:
        return vectors, np.ones(len(vectors), np.float32)
    frequencies = np.asarray(frequencies)
    if frequencies.shape != (len(vectors),):
        raise ValueError(f"`frequencies` must have shape ({len(vectors)},), got {frequencies.shape}.")
    mean, least = float(np.mean(frequencies, dtype=np.float64)), float(frequencies.min())
    if not np.isfinite(mean) or least < 0:
        raise ValueError("`frequencies` must be finite and not negative.")
    if mean == 0:
        return vectors, np.ones(len(vectors), np.float32)
    weights = frequencies.astype(np.float32)
    weights *= np.float32(1.0 / mean)
    return vectors, weights
