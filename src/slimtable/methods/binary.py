"""One bit per value after training: the side of its column's mean, with a gain per row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from slimtable.codecs.base import Codec
from slimtable.codecs.binary import Binary as BinaryCodec
from slimtable.embeddings.base import CodecConfig, register
from slimtable.embeddings.post_training import PostTraining


@dataclass(frozen=True)
class BinaryConfig(CodecConfig):
    """Options of binary codes.

    Attributes:
        gain_bits: bits of the gain of a row: 8 on a logarithmic scale, or 16.
    """

    gain_bits: Literal[8, 16] = 8

    def codec(self, num_embeddings: int, embedding_dim: int) -> Codec:
        return BinaryCodec(self.gain_bits)


@register("binary")
class Binary(PostTraining):
    """Trains as a dense table; when packed, a row is the column means plus a gain times signs.

    Bits: N·(d + gain_bits), and 32·d for the means. :mod:`slimtable.serve.binary_scores` scores such tables by counting
    bits.
    """

    config_class = BinaryConfig
    config: BinaryConfig
