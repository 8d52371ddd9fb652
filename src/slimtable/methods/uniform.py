"""Uniform scalar quantization after training: values become one of 2^bits evenly spaced ones (MGQE §5.4, "SQ")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Annotated, Literal, Self

from slimtable.codecs.base import Codec
from slimtable.codecs.uniform import Uniform as UniformCodec
from slimtable.config import Bounds
from slimtable.embeddings.base import CodecConfig, register
from slimtable.embeddings.post_training import PostTraining


@dataclass(frozen=True)
class UniformConfig(CodecConfig):
    """Options of uniform scalar quantization.

    Attributes:
        bits: bits per value, 1 to 8.
        axis: "column" keeps an offset (the smallest value) and a step per dimension, as in the paper; "row" keeps them
            per id, which suits tables whose row norms differ widely.
        scale_bits: bits of each offset and step: 32, or 16 or 8 with axis "row", where they take more space. With 8 the
            step is on a logarithmic scale, and rows should have values of both signs or near zero.
        clip: with axis "row", search the offset and the step with the least squared error of each row (Guan et al.
            2019, arXiv 1911.02079), which may clip outliers, instead of covering all values.
    """

    presets = MappingProxyType(
        {f"int{bits}": {"bits": bits, "axis": "row", "scale_bits": 16, "clip": True} for bits in (8, 4, 3, 2)}
    )

    bits: Annotated[int, Bounds(1, 8)] = 8
    axis: Literal["column", "row"] = "column"
    scale_bits: Literal[32, 16, 8] = 32
    clip: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scale_bits < 32 and self.axis == "column":
            raise ValueError(
                f"`UniformConfig.scale_bits={self.scale_bits}` needs axis='row'; per column, scales take little space."
            )
        if self.clip and self.axis == "column":
            raise ValueError("`UniformConfig.clip` needs axis='row': the search is for the grid of a row.")

    def codec(self, num_embeddings: int, embedding_dim: int) -> Codec:
        return UniformCodec(self.bits, self.axis, self.scale_bits, self.clip)

    def sizes(self, num_embeddings: int, embedding_dim: int) -> Sequence[Self]:
        return [replace(self, bits=bits) for bits in range(1, 9)]


@register("uniform")
class Uniform(PostTraining):
    """Trains as a dense table; in evaluation mode, and when packed, values are ``offset + step · code``.

    Bits: N·d·bits, plus an offset and a step for each of the d columns, or for each of the N rows.
    """

    config_class = UniformConfig
    config: UniformConfig
