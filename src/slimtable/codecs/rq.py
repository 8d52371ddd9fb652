"""Residual quantization: the shape of a row is a sum of one centroid per stage (Chen et al. 2010), fitted jointly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slimtable.codecs.base import NOTHING_KNOWN, FitContext, Rows
from slimtable.codecs.gain_shape import FittedGainShape, GainShape, rounded, served
from slimtable.codecs.quantize import fast_kmeans
from slimtable.codecs.quantize.residual import cluster_stages
from slimtable.codecs.quantize.sums import nearest_sums

MAX_CENTROIDS = 1 << 14
"""Centroids of several stages together: the search keeps their inner products, 1 GB."""
_ITERATIONS = 20  # of k-means, if there is one stage


@dataclass(frozen=True)
class Rq(GainShape):
    """Each stage codes what the stages before it left.

    Codes are found by a beam search. Centroids start as a clustering of the residuals, stage by stage, and are then
    computed together by least squares for the codes that the search finds, in turns.

    Attributes:
        beam: number of sums that the search keeps from stage to stage.
    """

    beam: int = 8

    def fit(self, rows: Rows, context: FitContext = NOTHING_KNOWN) -> FittedRq:
        return FittedRq(self, rows, context)

    def codebook_shape(self, embedding_dim: int) -> tuple[int, int, int]:
        if self.num_codebooks > 1 and self.num_codebooks * self.codebook_size > MAX_CENTROIDS:
            raise ValueError(
                f"{self.num_codebooks} stages of {self.codebook_size} centroids are more than {MAX_CENTROIDS:,} in "
                "all. Use fewer centroids or stages."
            )
        return self.num_codebooks, self.codebook_size, embedding_dim


class FittedRq(FittedGainShape):
    """Stages of centroids, all as wide as a row."""

    combine = "sum"
    codec: Rq

    def fit_books(self, shapes: np.ndarray, weights: np.ndarray, size: int) -> np.ndarray:
        codec, size = self.codec, min(size, len(shapes))
        if codec.num_codebooks == 1:
            found = fast_kmeans(shapes, size, weights, iterations=_ITERATIONS, rows_per_centroid=256, seed=codec.seed)
            return found.centroids[None]

        def stored(_: int, centroids: np.ndarray) -> np.ndarray:
            return served(rounded(centroids[None], codec.codebook_bits, codec.scale_bits), codec.codebook_bits)[0]

        stages = cluster_stages(
            shapes, [size] * codec.num_codebooks, weights, beam=codec.beam, seed=codec.seed, serve=stored
        )
        return np.stack(stages.centroids)

    def codes_of(self, shapes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return nearest_sums(shapes, self.books, self.codec.beam, by_angle=self.codec.gain_bits > 0)
