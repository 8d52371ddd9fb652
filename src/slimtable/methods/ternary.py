"""Three levels per value after training, with a gain per row (Li et al. 2016, arXiv 1605.04711)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from slimtable.codecs.base import Codec
from slimtable.codecs.ternary import Ternary as TernaryCodec
from slimtable.embeddings.base import CodecConfig, register
from slimtable.embeddings.post_training import PostTraining


@dataclass(frozen=True)
class TernaryConfig(CodecConfig):
    """Options of ternary codes.

    Attributes:
        gain_bits: bits of the gain of a row: 8 on a logarithmic scale, or 16.
    """

    gain_bits: Literal[8, 16] = 8

    def codec(self, num_embeddings: int, embedding_dim: int) -> Codec:
        return TernaryCodec(self.gain_bits)


@register("ternary")
class Ternary(PostTraining):
    """Trains as a dense table; when packed, values are -1, 0 or 1 times a gain per row.

    Bits: N·(2·d + gain_bits). A baseline: `rabitq` with 2 bits has the same size and a smaller error.
    """

    config_class = TernaryConfig
    config: TernaryConfig
