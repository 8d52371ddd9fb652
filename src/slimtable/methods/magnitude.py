"""Magnitude pruning after training: only the largest values are kept, in 8 bits (Han et al. 2015, arXiv 1506.02626)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Self

from slimtable.codecs.base import Codec
from slimtable.codecs.magnitude import Magnitude as MagnitudeCodec
from slimtable.config import Bounds
from slimtable.embeddings.base import CodecConfig, register
from slimtable.embeddings.post_training import PostTraining

_STEPS = 400


@dataclass(frozen=True)
class MagnitudeConfig(CodecConfig):
    """Options of magnitude pruning.

    Attributes:
        keep: share of the values of the table that are kept: those of the largest magnitude. A budget sets this option.
    """

    keep: Annotated[float, Bounds(0, 1, open_low=True)] = 0.25

    def codec(self, num_embeddings: int, embedding_dim: int) -> Codec:
        return MagnitudeCodec(self.keep)

    def sizes(self, num_embeddings: int, embedding_dim: int) -> Sequence[Self]:
        return [replace(self, keep=step / _STEPS) for step in range(1, _STEPS + 1)]


@register("magnitude")
class Magnitude(PostTraining):
    """Trains as a dense table; when packed, all but the largest values are zero.

    Bits: N·(d + 16) for the places and the steps, and 8 per kept value. A baseline: `uniform` with as many bits has a
    smaller error.
    """

    config_class = MagnitudeConfig
    config: MagnitudeConfig
