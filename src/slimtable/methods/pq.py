"""Product quantization of gains and shapes after training: each part of a row is one of K centroids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from slimtable.codecs.pq import Pq as PQCodec
from slimtable.config import PositiveInt
from slimtable.embeddings.base import register
from slimtable.embeddings.post_training import PostTraining
from slimtable.embeddings.shape_config import ErrorLaw, Shape, ShapeConfig, next_power

_WORK, _PLAIN, _MOST = 1 << 34, 256, 1 << 12  # distances that encoding may take; centroids always and at most


@dataclass(frozen=True)
class PQConfig(ShapeConfig):
    """Options of product quantization: those of all shapes; the number of codebooks is a divisor of embedding_dim.

    Attributes:
        share_subspaces: True for one set of centroids for all subspaces instead of one for each.
        iterations: rounds of k-means.
    """

    law: ClassVar[ErrorLaw] = ErrorLaw(2.5, 0.4, 0.0, 0.0, 0.0165, 0, summed=False)

    share_subspaces: bool = False
    iterations: PositiveInt = 16

    def codec_of(self, shape: Shape) -> PQCodec:
        return PQCodec(
            *shape,
            power=self.power,
            seed=self.seed,
            share_subspaces=self.share_subspaces,
            iterations=self.iterations,
        )

    def numbers(self, embedding_dim: int) -> Sequence[int]:
        return [number for number in range(1, embedding_dim + 1) if embedding_dim % number == 0]

    def largest_codebook(self, number: int, num_embeddings: int) -> int:
        return min(next_power(min(max(_WORK // num_embeddings, _PLAIN), _MOST)), num_embeddings // 2)


@register("pq")
class PQ(PostTraining):
    """Trains as a dense table; in evaluation mode, and when packed, a row is a gain times M joined centroids.

    Bits: N·(M·⌈log2 K⌉ + gain_bits) and K·d·codebook_bits, with 16·K·M more for scales if values take 8 bits or fewer.
    """

    config_class = PQConfig
    config: PQConfig
