"""One compressed table per field of a click log, looked up together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from slimtable.data.clicks.clicks import Bags, Clicks
from slimtable.embeddings.bag import embedding_bag
from slimtable.embeddings.table import EmbeddingTable
from slimtable.models.parts.field_lookup import gather_fields


@dataclass(frozen=True, eq=False)
class CTRBatch:
    """A batch as tensors.

    Attributes:
        labels: float (B,).
        numeric: float (B, I).
        ids: for each field int32 (B,), or int32 ids (T,) with int64 offsets (B,) if it has several values.
    """

    labels: Tensor
    numeric: Tensor
    ids: tuple[Tensor | tuple[Tensor, Tensor], ...]

    @classmethod
    def from_clicks(cls, clicks: Clicks, device: str | torch.device = "cpu") -> Self:
        """Tensors of clicks; on the CPU they share memory."""

        def tensor(array: np.ndarray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(array)).to(device)

        ids = tuple(
            (tensor(field.values), tensor(field.offsets[:-1])) if isinstance(field, Bags) else tensor(field)
            for field in clicks.ids
        )
        return cls(tensor(clicks.labels), tensor(clicks.numeric), ids)


class FieldTables(nn.Module):
    """The tables of all fields, in the order of the schema; methods may differ between fields.

    Args:
        tables: a table for each field, all of one width.

    Raises:
        ValueError: there is no table, or their widths differ.
    """

    def __init__(self, tables: Mapping[str, EmbeddingTable]) -> None:
        super().__init__()
        widths = {table.embedding_dim for table in tables.values()}
        if len(widths) != 1:
            raise ValueError(f"The tables of the fields must be of one width, got {sorted(widths)}.")
        self.width = widths.pop()
        self.names = tuple(tables)
        # Not by name: fields may have names that modules cannot have, such as "type" or "user.age".
        self.tables = nn.ModuleList(tables.values())

    def forward(self, batch: CTRBatch) -> Tensor:
        """Rows (B, F, width); the mean if a field has several values, zeros if it has none."""
        gathered = gather_fields(list(self.embeddings().values()), batch.ids)
        if gathered is not None:
            return gathered
        rows = []
        for table, ids in zip(self.embeddings().values(), batch.ids, strict=True):
            rows.append(embedding_bag(table, *ids, mode="mean") if isinstance(ids, tuple) else table(ids))
        return torch.stack(rows, dim=1)

    def embeddings(self) -> dict[str, EmbeddingTable]:
        """The tables by field."""
        return dict(zip(self.names, self.tables, strict=True))  # type: ignore[arg-type]

    def bits(self) -> int:
        """All bits served of the tables."""
        return sum(table.bits() for table in self.embeddings().values())

    def dense_bits(self) -> int:
        """Bits of the same tables in float32."""
        return sum(table.dense_bits for table in self.embeddings().values())
