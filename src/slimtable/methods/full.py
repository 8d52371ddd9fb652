"""The uncompressed table: the baseline of every other method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimtable.artifact.packed import Packed
from slimtable.codecs.base import Codec
from slimtable.codecs.dense import Dense
from slimtable.embeddings.base import CompressedEmbedding, FitContext, MethodConfig, register
from slimtable.embeddings.tensors import float_bits, to_array


@dataclass(frozen=True)
class FullConfig(MethodConfig):
    """The uncompressed table has no options of its own."""

    def codec(self, num_embeddings: int, embedding_dim: int) -> Codec:
        return Dense()

    def table_bits(self, num_embeddings: int, embedding_dim: int, frequencies: Any = None) -> int:
        return 32 * num_embeddings * embedding_dim


@register("full")
class Full(CompressedEmbedding):
    """A dense table, as ``nn.Embedding``: 32·N·d bits in float32."""

    config_class = FullConfig

    def build(self, frequencies: Tensor | None, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        self.table = nn.Parameter(torch.empty(self.num_embeddings, self.embedding_dim, device=device, dtype=dtype))

    def reset_parameters(self) -> None:
        nn.init.normal_(self.table, std=self.config.init_std)

    def fit_(self, table: Tensor, context: FitContext) -> None:
        self.table.copy_(table)

    def rows(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.table, sparse=self.sparse)

    def stored_rows(self) -> tuple[Tensor, Tensor | None] | None:
        return (self.table, None) if self.padding_idx is None else None

    @torch.no_grad()
    def grow_(self, num_embeddings: int, rows: Tensor | None = None) -> None:
        added = num_embeddings - self.num_embeddings
        if added < 0:
            raise ValueError(f"A table of {self.num_embeddings} ids cannot shrink to {num_embeddings}.")
        if rows is None:
            rows = self.table.new_empty(added, self.embedding_dim).normal_(std=self.config.init_std)
        if rows.shape != (added, self.embedding_dim):
            raise ValueError(f"New rows must have shape ({added}, {self.embedding_dim}), got {tuple(rows.shape)}.")
        self.table = nn.Parameter(torch.cat([self.table, rows.to(self.device, self.dtype)]))
        self.num_embeddings = num_embeddings

    def bits(self) -> int:
        return self.num_embeddings * self.embedding_dim * float_bits(self.table)

    def pack(self) -> Packed:
        return self.packed("dense", {"table": to_array(self.table)})
