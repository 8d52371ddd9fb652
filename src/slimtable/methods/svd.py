"""Singular value decomposition of a trained table; the rank is given, or follows from the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal, Self

from slimtable.codecs.low_rank import LowRank, largest_rank
from slimtable.config import Bounds, Positive, PositiveInt
from slimtable.embeddings.base import CodecConfig, register
from slimtable.embeddings.post_training import PostTraining


@dataclass(frozen=True)
class SVDConfig(CodecConfig):
    """Options of the singular value decomposition.

    Attributes:
        rank: number of singular values r; None for half of embedding_dim. A budget sets this option.
        select: how the rank is chosen: "rank" as given; "energy" the smallest that keeps a share of the sum of squares;
            "nuclear" by the weighted nuclear norm (Gu et al. 2017, IJCV 121), which drops weak singular values. The
            last two never take a rank whose factors are larger than the table.
        energy: that share, for "energy".
        strength: for "nuclear": singular values whose square is below 4 · strength times the mean square are dropped.
        factor_bits: bits per value of the factors, 32 or 16.
    """

    rank: PositiveInt | None = None
    select: Literal["rank", "energy", "nuclear"] = "rank"
    energy: Annotated[float, Bounds(0, 1, open_low=True)] = 0.9
    strength: Positive = 0.1
    factor_bits: Literal[32, 16] = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rank is not None and self.select != "rank":
            raise ValueError(f"`SVDConfig.rank` is chosen by select={self.select!r}. Drop one of them.")

    def codec(self, num_embeddings: int, embedding_dim: int) -> LowRank:
        if self.select != "rank":
            energy = self.energy if self.select == "energy" else None
            return LowRank(None, energy, self.strength, self.factor_bits)
        rank = self.rank if self.rank is not None else max(1, embedding_dim // 2)
        if rank > embedding_dim:
            raise ValueError(f"`SVDConfig.rank` must be 1 to embedding_dim={embedding_dim}, got {rank}.")
        return LowRank(rank, factor_bits=self.factor_bits)

    def sizes(self, num_embeddings: int, embedding_dim: int) -> Sequence[Self]:
        ranks = range(1, largest_rank(num_embeddings, embedding_dim) + 1)
        return [replace(self, rank=rank, select="rank") for rank in ranks]


@register("svd")
class SVD(PostTraining):
    """Trains as a dense table; when packed, row ``i`` is ``P[i] @ Q`` with P (N, r) and Q (r, d).

    Bits: factor_bits·(N·r + r·d). A baseline, and a diagnostic: trained tables hardly have a low rank. `low_rank`
    trains the factors instead.
    """

    config_class = SVDConfig
    config: SVDConfig
