"""Residual quantization of gains and shapes after training: a row is a gain times a sum of centroids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from slimtable.codecs.rq import Rq as RQCodec
from slimtable.config import Bounds
from slimtable.embeddings.base import register
from slimtable.embeddings.post_training import PostTraining
from slimtable.embeddings.shape_config import ErrorLaw, Shape, ShapeConfig, next_power

_MOST = 1 << 12  # centroids of all stages that the rule chooses at most; in large tables up to twice as many
_WORK = 1 << 32  # distances that encoding a table may take, unless stages of 256, or 512, need more
_PLAIN, _HUGE = 512, 1 << 24  # from this number of rows on, half of it
_SEARCH = 1 << 18  # stages squared times centroids of each: the search adds an inner product for every two stages


@dataclass(frozen=True)
class RQConfig(ShapeConfig):
    """Options of residual quantization: those of all shapes, where a codebook is a stage.

    Attributes:
        beam: number of sums that the search for a row keeps from stage to stage.
    """

    law: ClassVar[ErrorLaw] = ErrorLaw(2.2, 0.46, 2.3, 0.25, 0.02, 200_000, summed=True)

    beam: Annotated[int, Bounds(1, 256)] = 8

    def codec_of(self, shape: Shape) -> RQCodec:
        return RQCodec(*shape, power=self.power, seed=self.seed, beam=self.beam)

    def numbers(self, embedding_dim: int) -> Sequence[int]:
        return range(1, 129)

    def largest_codebook(self, number: int, num_embeddings: int) -> int:
        plain = _PLAIN if num_embeddings < _HUGE else _PLAIN // 2
        affordable = min(max(min(_MOST, _WORK // num_embeddings) // number, plain), _MOST // number)
        if num_embeddings > self.law.few:  # codebooks weigh little there, and codes are as wide for the next power
            affordable = next_power(affordable)
        return min(affordable, _SEARCH // number**2, num_embeddings // 2)


@register("rq")
class RQ(PostTraining):
    """Trains as a dense table; in evaluation mode, and when packed, a row is a gain times a sum of M centroids.

    Bits: N·(M·⌈log2 K⌉ + gain_bits) and M·K·d·codebook_bits, with 16 more per centroid for its scale if its values take
    8 bits or fewer.
    """

    config_class = RQConfig
    config: RQConfig
