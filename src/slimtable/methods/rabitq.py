"""RaBitQ after training: rotated rows as codes of 1 to 4 bits per value (Gao & Long 2024, arXiv 2405.12497)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal, Self

from slimtable.artifact.rotation import MAX_ROUNDS, MAX_SEED
from slimtable.codecs.base import Codec
from slimtable.codecs.rabitq import Rabitq as RabitqCodec
from slimtable.config import Bounds
from slimtable.embeddings.base import CodecConfig, register
from slimtable.embeddings.post_training import PostTraining


@dataclass(frozen=True)
class RabitqConfig(CodecConfig):
    """Options of RaBitQ.

    Attributes:
        bits: bits per value, 1 to 4.
        grid: "gaussian" for the levels with the least error for normal values (Max 1960), or "uniform" for the even
            ones of RaBitQ (arXiv 2409.09913). The scale of each row is searched on both.
        gain: "unbiased" keeps the product of a row and its decoded row, as in RaBitQ; "least_squares" has the least
            squared error, but shortens rows.
        gain_bits: bits of the gain of a row: 8 on a logarithmic scale, or 16.
        rounds: rounds of the rotation, up to 3; 0 for none.
        seed: seed of the rotation.
    """

    bits: Annotated[int, Bounds(1, 4)] = 4
    grid: Literal["gaussian", "uniform"] = "gaussian"
    gain: Literal["unbiased", "least_squares"] = "unbiased"
    gain_bits: Literal[8, 16] = 8
    rounds: Annotated[int, Bounds(0, MAX_ROUNDS)] = 1
    seed: Annotated[int, Bounds(0, MAX_SEED)] = 0

    def codec(self, num_embeddings: int, embedding_dim: int) -> Codec:
        return RabitqCodec(self.bits, self.grid, self.gain, self.gain_bits, self.rounds, self.seed)

    def sizes(self, num_embeddings: int, embedding_dim: int) -> Sequence[Self]:
        return [replace(self, bits=bits) for bits in range(1, 5)]


@register("rabitq")
class Rabitq(PostTraining):
    """Trains as a dense table; when packed, a rotated row is a gain times levels of a fixed grid.

    Bits: N·(d·bits + gain_bits), and the grid. No codebook is learned: rows are coded alone.
    """

    config_class = RabitqConfig
    config: RabitqConfig
