"""Product quantization: each part of the shape of a row is the nearest centroid of its subspace (Jégou et al. 2011)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slimtable.codecs.base import NOTHING_KNOWN, FitContext, Rows
from slimtable.codecs.gain_shape import FittedGainShape, GainShape, factors_of_parts
from slimtable.codecs.product import subspace_width
from slimtable.codecs.quantize.parts import kmeans_parts, nearest_parts


@dataclass(frozen=True)
class Pq(GainShape):
    """Rows are cut into M parts, each coded on its own.

    Attributes:
        share_subspaces: True for one set of centroids for all subspaces instead of one for each.
        iterations: rounds of k-means.
    """

    share_subspaces: bool = False
    iterations: int = 16

    def fit(self, rows: Rows, context: FitContext = NOTHING_KNOWN) -> FittedPq:
        return FittedPq(self, rows, context)

    def codebook_shape(self, embedding_dim: int) -> tuple[int, int, int]:
        width = subspace_width(self.num_codebooks, embedding_dim)
        return 1 if self.share_subspaces else self.num_codebooks, self.codebook_size, width


class FittedPq(FittedGainShape):
    """A set of centroids for every subspace, or one for all."""

    combine = "concat"
    codec: Pq

    def fit_books(self, shapes: np.ndarray, weights: np.ndarray, size: int) -> np.ndarray:
        codec = self.codec
        return kmeans_parts(
            shapes,
            weights,
            codec.num_codebooks,
            min(size, len(shapes) * (codec.num_codebooks if codec.share_subspaces else 1)),
            share=codec.share_subspaces,
            iterations=codec.iterations,
            seed=codec.seed,
        )

    def codes_of(self, shapes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        codes, factors = nearest_parts(shapes, self.books), np.ones(len(shapes))
        if self.codec.gain_bits:  # nobody asks for the factors of rows without gains
            factors_of_parts(shapes, self.books, codes, factors)
        return codes, factors
