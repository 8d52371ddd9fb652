"""Product quantization after a rotation that is fitted to the table (Ge et al. 2013), of gains and shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from slimtable.codecs.opq import Opq as OPQCodec
from slimtable.embeddings.base import register
from slimtable.embeddings.post_training import PostTraining
from slimtable.embeddings.shape_config import Shape
from slimtable.methods.pq import PQConfig


@dataclass(frozen=True)
class OPQConfig(PQConfig):
    """Options of product quantization after a rotation.

    Attributes:
        rotation_bits: bits per value of the rotation.
    """

    rotation_bits: Literal[32, 16] = 16

    def codec_of(self, shape: Shape) -> OPQCodec:
        return OPQCodec(
            *shape,
            power=self.power,
            seed=self.seed,
            share_subspaces=self.share_subspaces,
            iterations=self.iterations,
            rotation_bits=self.rotation_bits,
        )


@register("opq")
class OPQ(PostTraining):
    """As ``pq``, but shapes are rotated before they are cut into parts.

    Bits: those of ``pq``, and rotation_bits·d² for the rotation.
    """

    config_class = OPQConfig
    config: OPQConfig
