"""Uniform scalar quantization after training: values become one of 2^bits evenly spaced ones (MGQE §5.4, "SQ")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimtable.artifact.bits import pack_bits
from slimtable.artifact.packed import Packed
from slimtable.codecs.base import Codec
from slimtable.codecs.uniform import Uniform as UniformCodec
from slimtable.config import Bounds
from slimtable.embeddings.base import CompressedEmbedding, FitContext, MethodConfig, register
from slimtable.embeddings.scalar_grid import codes_of, make_grid

_ADVICE = "Use scale_bits=32"


@dataclass(frozen=True)
class UniformConfig(MethodConfig):
    """Options of uniform scalar quantization.

    Attributes:
        bits: bits per value, 1 to 8.
        axis: "column" keeps an offset (the smallest value) and a step per dimension, as in the paper; "row" keeps them
            per id, which suits tables whose row norms differ widely.
        scale_bits: bits of each offset and step: 32, or 16 with axis "row", where they take more space.
    """

    bits: Annotated[int, Bounds(1, 8)] = 8
    axis: Literal["column", "row"] = "column"
    scale_bits: Literal[32, 16] = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scale_bits == 16 and self.axis == "column":
            raise ValueError("`UniformConfig.scale_bits=16` needs axis='row'; per column, scales take almost no space.")

    def codec(self, num_embeddings: int, embedding_dim: int) -> Codec:
        return UniformCodec(self.bits, self.axis, self.scale_bits)

    def table_bits(self, num_embeddings: int, embedding_dim: int, frequencies: Any = None) -> int:
        return self.codec(num_embeddings, embedding_dim).bits_of(num_embeddings, embedding_dim)

    def sizes(self, num_embeddings: int, embedding_dim: int) -> Sequence[Self]:
        return [replace(self, bits=bits) for bits in range(1, 9)]


@register("uniform")
class Uniform(CompressedEmbedding):
    """Trains as a dense table; in evaluation mode, and when packed, values are ``offset + step · code``.

    Bits: N·d·bits, plus an offset and a step for each of the d columns, or for each of the N rows.
    """

    config_class = UniformConfig
    config: UniformConfig
    post_training = True

    def build(self, frequencies: Tensor | None, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        self.table = nn.Parameter(torch.empty(self.num_embeddings, self.embedding_dim, device=device, dtype=dtype))
        self._grid: tuple[tuple[int, int], Tensor, Tensor] | None = None  # state of the table, offset, step

    def reset_parameters(self) -> None:
        nn.init.normal_(self.table, std=self.config.init_std)

    def fit_(self, table: Tensor, context: FitContext) -> None:
        self.table.copy_(table)

    def rows(self, ids: Tensor) -> Tensor:
        rows = F.embedding(ids, self.table, sparse=self.sparse)
        if self.training:
            return rows
        offset, step = self._offset_and_step()
        if self.config.axis == "row":
            offset, step = offset[ids], step[ids]
        return (offset + step * codes_of(rows, offset, step, self.config.bits)).to(rows.dtype)

    def stored_rows(self) -> tuple[Tensor, Tensor | None] | None:
        return (self.table, None) if self.training and self.padding_idx is None else None

    def bits(self) -> int:
        return self.config.table_bits(self.num_embeddings, self.embedding_dim)

    @torch.no_grad()
    def pack(self) -> Packed:
        offset, step = self._make_grid()
        codes = codes_of(self.table.detach(), offset, step, self.config.bits).to("cpu", torch.uint8).numpy()
        scale_dtype = torch.float16 if self.config.scale_bits == 16 else torch.float32
        arrays = {
            "codes": pack_bits(codes, self.config.bits),
            "offset": offset.flatten().to("cpu", scale_dtype).numpy(),
            "step": step.flatten().to("cpu", scale_dtype).numpy(),
        }
        return self.packed("scaled", arrays, {"bits": self.config.bits, "axis": self.config.axis})

    def train(self, mode: bool = True) -> Self:
        self._grid = None  # fused optimizers change the table without increasing its version
        return super().train(mode)

    def _offset_and_step(self) -> tuple[Tensor, Tensor]:
        """Offset and step, float32 (d,) or (N, 1) each; cached in evaluation mode while the table is unchanged."""
        key = (self.table._version, self.table.data_ptr())
        if self._grid is None or self._grid[0] != key or self.training:
            with torch.no_grad():
                self._grid = (key, *self._make_grid())
        return self._grid[1], self._grid[2]

    def _make_grid(self) -> tuple[Tensor, Tensor]:
        """Offset and step of every line, ignoring the padding row, which is always decoded as zeros."""
        table = self.table.float()
        if self.padding_idx is not None and self.num_embeddings > 1:
            other = 0 if self.padding_idx else 1
            table = table.index_copy(0, torch.tensor([self.padding_idx], device=table.device), table[other : other + 1])
        return make_grid(
            table, self.config.bits, self.config.scale_bits, 0 if self.config.axis == "column" else 1, _ADVICE
        )
