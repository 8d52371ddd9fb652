"""The base class of trained and of packed tables: lookup, size and packing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache
from typing import Any, ClassVar, Protocol, cast, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from slimtable.artifact.packed import Packed
from slimtable.embeddings.config import MethodConfig
from slimtable.embeddings.modes import evaluating

_ROWS_PER_CHUNK = 65_536  # rows decoded at a time when a whole table is asked for


class EmbeddingTable(nn.Module, ABC):
    """A table of shape (num_embeddings, embedding_dim) kept in fewer bits. Called like ``nn.Embedding``.

    In evaluation mode a lookup returns exactly the rows that a packed file serves (in float32 on the CPU; rounded to
    the type of the parameters otherwise). The state dict holds plain tensors only.

    Attributes:
        num_embeddings: number of ids, N.
        embedding_dim: width of a row, d.
        padding_idx: id whose row is always zeros, or None.
        config: options of the method.
    """

    method: ClassVar[str]
    """Registry name: also the file stem, the name on the command line and the row in docs/methods.md."""
    serve_tolerance: ClassVar[float] = 0.0
    """Largest relative difference between a served row and a looked-up one; 0 means bit for bit."""
    num_embeddings: int
    embedding_dim: int
    padding_idx: int | None
    config: MethodConfig

    @abstractmethod
    def rows(self, ids: Tensor) -> Tensor:
        """Looks up the rows of a flat batch of ids.

        Args:
            ids: integer (B,).

        Returns:
            float (B, embedding_dim). The row of ``padding_idx`` is zeroed by the caller.

        Raises:
            IndexError: an id is out of range.
        """

    @abstractmethod
    def bits(self) -> int:
        """All bits of the packed table: codes, codebooks, maps and scales, computed without packing."""

    @abstractmethod
    def pack(self) -> Packed:
        """The table as plain arrays, decodable without PyTorch."""

    @abstractmethod
    def num_vectors(self) -> int:
        """Number of stored rows: one per id, or fewer if ids share them."""

    def forward(self, ids: Tensor) -> Tensor:
        """Looks up the rows of ids.

        Args:
            ids: int32 or int64 of any shape.

        Returns:
            float (*ids.shape, embedding_dim).

        Raises:
            TypeError: ``ids`` are not a tensor of int32 or int64.
            IndexError: an id is out of range.
        """
        if not isinstance(ids, Tensor) or ids.dtype not in (torch.int64, torch.int32):
            raise TypeError(f"ids must be a tensor of int32 or int64, got {getattr(ids, 'dtype', type(ids).__name__)}.")
        flat = ids.reshape(-1)  # (B,)
        rows = self.rows(flat)  # (B, d)
        if self.padding_idx is not None:
            rows = rows.masked_fill((flat == self.padding_idx).unsqueeze(1), 0.0)
        return rows.reshape(*ids.shape, self.embedding_dim)

    def packed(self, layout: str, arrays: dict[str, np.ndarray], layout_config: dict[str, Any] | None = None) -> Packed:
        """The arrays of :meth:`pack` together with the shape, the padding id, the method and its options."""
        return Packed(
            layout=layout,
            num_embeddings=self.num_embeddings,
            embedding_dim=self.embedding_dim,
            arrays=arrays,
            layout_config=layout_config or {},
            padding_idx=self.padding_idx,
            method=self.method,
            method_config=self.config.to_dict(),
        )

    @property
    def device(self) -> torch.device:
        """Device of the table."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the rows."""
        return next(self.parameters()).dtype

    @property
    def weight(self) -> Tensor:
        """The decoded table, (num_embeddings, embedding_dim), in evaluation mode, without gradient.

        Every access decodes the whole table.
        """
        with evaluating(self), torch.no_grad():
            chunks = torch.arange(self.num_embeddings, device=self.device).split(_ROWS_PER_CHUNK)
            return torch.cat([self(chunk) for chunk in chunks])

    @property
    def dense_bits(self) -> int:
        """Bits of the uncompressed float32 table, 32·N·d."""
        return 32 * self.num_embeddings * self.embedding_dim

    def compression_ratio(self) -> float:
        """Size of the float32 table over the size of this one: 32·N·d / bits."""
        return self.dense_bits / self.bits()

    def size_percent(self) -> float:
        """Size in percent of float32: 100 / compression_ratio."""
        return 100.0 / self.compression_ratio()

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}, {self.config}"


@runtime_checkable
class StoresRows(Protocol):
    """A table whose lookups copy whole stored rows, so that many tables can be looked up in one compiled call."""

    def stored_rows(self) -> tuple[Tensor, Tensor | None] | None:
        """The stored rows of the present mode, training or evaluation.

        Returns:
            A table (K, embedding_dim), and the row of each id in it, int32 (num_embeddings,), or None if the id is the
            row. None in place of both if rows are computed in this mode.
        """
        ...


def stored_rows(table: EmbeddingTable) -> tuple[Tensor, Tensor | None] | None:
    """The rows that lookups of a table copy, as :meth:`StoresRows.stored_rows`; None if rows are computed."""
    return cast(StoresRows, table).stored_rows() if _stores_rows(type(table)) else None


@cache
def _stores_rows(kind: type[EmbeddingTable]) -> bool:
    """True if a class has :class:`StoresRows`; cached, since the check takes longer than looking up a field."""
    return issubclass(kind, StoresRows)
