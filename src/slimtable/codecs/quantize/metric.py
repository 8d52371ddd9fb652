"""Distances in which each direction is weighted by the cost of an error in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

_FLOOR = 1e-3  # eigenvalue floor, relative to the largest, so that the transform can be inverted


@dataclass(frozen=True, eq=False)
class Metric:
    """Coordinates in which the squared distance is the cost of an error, and the way back.

    Clustering works the same in any coordinates; in these, it spends centroids where errors change predictions largest.

    Attributes:
        root: float32 (d, d), from vectors to coordinates: ``vectors @ root``.
        inverse: float32 (d, d), from coordinates to vectors.

    Example:
        >>> metric = Metric.of(np.diag([4.0, 1.0]))
        >>> float(np.square(metric.apply(np.array([[1.0, 0.0]]))).sum())
        4.0
    """

    root: np.ndarray
    inverse: np.ndarray

    @classmethod
    def of(cls, matrix: np.ndarray) -> Self:
        """The coordinates of the cost ``eᵀ · matrix · e``; float (d, d), symmetric, positive semi-definite.

        Eigenvalues below a thousandth of the largest are raised to that; a matrix of zeros weights all directions
        equally.
        """
        values, vectors = np.linalg.eigh(np.asarray(matrix, np.float64))
        largest = float(values[-1])
        values = np.maximum(values, _FLOOR * largest) if largest > 0 else np.ones_like(values)
        scales = np.sqrt(values)
        # Rotated back after scaling, so that equal costs leave vectors unchanged.
        root, inverse = vectors * scales @ vectors.T, vectors / scales @ vectors.T
        return cls(root.astype(np.float32), inverse.astype(np.float32))

    def apply(self, vectors: np.ndarray) -> np.ndarray:
        """Coordinates float32 (n, d) of vectors (n, d)."""
        coordinates: np.ndarray = np.asarray(vectors, np.float32) @ self.root
        return coordinates

    def undo(self, coordinates: np.ndarray) -> np.ndarray:
        """Vectors float32 (n, d) of coordinates (n, d)."""
        vectors: np.ndarray = coordinates @ self.inverse
        return vectors
