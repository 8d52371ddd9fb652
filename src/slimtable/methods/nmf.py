"""Non-negative matrix factorization of a trained table without negative values (Lee and Seung 1999, Nature 401)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from slimtable.codecs.low_rank import largest_rank
from slimtable.codecs.nmf import NonNegative, refuse_negative
from slimtable.config import PositiveInt
from slimtable.embeddings.base import CodecConfig, FitContext, register
from slimtable.embeddings.post_training import PostTraining


@dataclass(frozen=True)
class NMFConfig(CodecConfig):
    """Options of non-negative matrix factorization.

    Attributes:
        rank: inner width r, at most embedding_dim; None for half of it. A budget sets this option.
        factor_bits: bits per value of the factors, 32 or 16.
    """

    rank: PositiveInt | None = None
    factor_bits: Literal[32, 16] = 32

    def codec(self, num_embeddings: int, embedding_dim: int) -> NonNegative:
        rank = self.rank if self.rank is not None else max(1, embedding_dim // 2)
        if rank > embedding_dim:
            raise ValueError(f"`NMFConfig.rank` must be 1 to embedding_dim={embedding_dim}, got {rank}.")
        return NonNegative(rank, self.factor_bits)

    def sizes(self, num_embeddings: int, embedding_dim: int) -> Sequence[Self]:
        ranks = range(1, largest_rank(num_embeddings, embedding_dim) + 1)
        return [replace(self, rank=rank) for rank in ranks]


@register("nmf")
class NMF(PostTraining):
    """Trains the magnitudes of a dense table; when packed, row ``i`` is ``P[i] @ Q``, both without negative values.

    Bits: factor_bits·(N·r + r·d). For tables without negative values only, such as counts and rates.
    """

    config_class = NMFConfig
    config: NMFConfig
    signed = False

    def fit_(self, table: Tensor, context: FitContext) -> None:
        refuse_negative(table.detach().float().cpu().numpy())
        super().fit_(table, context)

    def trained_rows(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.table, sparse=self.sparse).abs()

    @torch.no_grad()
    def trained_table(self) -> Tensor:
        return self.table.abs()
