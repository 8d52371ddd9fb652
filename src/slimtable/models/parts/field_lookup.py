"""A compiled lookup over all fields at once, for tables that store whole rows, with sparse gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.autograd.function import once_differentiable

from slimtable.embeddings.shared_rows_kernels import sparse_rows
from slimtable.embeddings.table import EmbeddingTable, stored_rows

_IDS_ARE_ROWS = np.zeros(0, np.int32)  # the identity map
_ONE_EACH = np.zeros(0, np.int64)  # the offsets of a field with one id per row


class FieldRows(NamedTuple):
    """The ids and row map of a field.

    Attributes:
        ids: int32 or int64 (T,).
        offsets: int64 (B,) start of the ids of each row of the batch; empty if each has one.
        row_map: int32 (N,) row of each id; empty if ids are rows.
        num_embeddings: number of ids, N.
        sparse: true if the gradient of the table is sparse.
    """

    ids: np.ndarray
    offsets: np.ndarray
    row_map: np.ndarray
    num_embeddings: int
    sparse: bool


def gather_fields(embeddings: Sequence[EmbeddingTable], ids: Sequence[Tensor | tuple[Tensor, Tensor]]) -> Tensor | None:
    """Looks up rows (B, F, width) of all fields at once.

    Args:
        embeddings: the table of each field, all of one width.
        ids: ids of each field, as in :class:`slimtable.models.parts.fields.CTRBatch`.

    Returns:
        The rows; the mean if a field has several values, zeros if it has none. None if not supported: a table
        computes its rows, or is not float32 on the CPU.

    Raises:
        IndexError: an id is out of range.
        ValueError: fields differ in their numbers of rows.
    """
    if torch.compiler.is_compiling():
        return None
    tables, sources = [], []
    for embedding, of_field in zip(embeddings, ids, strict=True):
        stored = stored_rows(embedding)
        if stored is None:
            return None
        table, row_map = stored
        flat, offsets = of_field if isinstance(of_field, tuple) else (of_field, None)
        if table.dtype != torch.float32 or table.device.type != "cpu" or flat.device.type != "cpu":
            return None
        tables.append(table)
        sources.append(
            FieldRows(
                flat.numpy(),
                _ONE_EACH if offsets is None else offsets.numpy(),
                _IDS_ARE_ROWS if row_map is None else row_map.numpy(),
                embedding.num_embeddings,
                getattr(embedding, "sparse", False),
            )
        )
    counts = {len(of_field[1] if isinstance(of_field, tuple) else of_field) for of_field in ids}
    if len(counts) != 1:  # compiled loops would read beyond the end of the shorter ones
        raise ValueError(f"The fields of a batch must have equal numbers of rows, got {sorted(counts)}.")
    return _GatherFields.apply(sources, *tables)  # type: ignore[no-untyped-call]


class _GatherFields(torch.autograd.Function):
    """Autograd function for rows (B, F, width) of the tables."""

    @staticmethod
    def forward(ctx: Any, sources: Sequence[FieldRows], *tables: Tensor) -> Tensor:
        """Args: ids and row map of each field, and its table."""
        first = sources[0]
        batch = len(first.offsets) if len(first.offsets) else len(first.ids)
        out = torch.empty(batch, len(tables), tables[0].shape[1])
        target = out.numpy()
        places = []
        for field, (source, table) in enumerate(zip(sources, tables, strict=True)):
            rows = np.empty(len(source.ids), np.int64)
            inside = _gather(
                target, field, table.detach().numpy(), source.ids, source.offsets, source.row_map,
                source.num_embeddings, rows,
            )  # fmt: skip
            if not inside:
                raise IndexError(f"An id is out of range: ids are in 0..{source.num_embeddings - 1}.")
            places.append(rows)
        ctx.places, ctx.offsets = places, [source.offsets for source in sources]
        ctx.sparse, ctx.shapes = [source.sparse for source in sources], [table.shape for table in tables]
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        """The gradient of every table: sparse and not coalesced, or dense sums per row."""
        grad = grads[0].contiguous().numpy()
        found: list[Tensor | None] = []
        for field, (rows, offsets, sparse, shape) in enumerate(
            zip(ctx.places, ctx.offsets, ctx.sparse, ctx.shapes, strict=True)
        ):
            if not ctx.needs_input_grad[1 + field]:
                found.append(None)
                continue
            values = torch.empty(len(rows), shape[1])
            _spread(values.numpy(), grad, field, offsets)
            if sparse:
                found.append(sparse_rows(torch.from_numpy(rows), values, shape))
            else:
                found.append(torch.zeros(shape).index_add_(0, torch.from_numpy(rows), values))
        return (None, *found)


@njit(cache=True, nogil=True)
def _gather(out, field, table, ids, offsets, row_map, num_embeddings, rows):  # type: ignore[no-untyped-def]
    """Fills ``out[:, field]`` and the row of each id; returns False if an id is out of range."""
    for i in range(ids.shape[0]):
        if ids[i] < 0 or ids[i] >= num_embeddings:
            return False
        rows[i] = row_map[ids[i]] if row_map.shape[0] else ids[i]
    width = table.shape[1]
    if offsets.shape[0] == 0:
        for b in range(out.shape[0]):
            source, target = table[rows[b]], out[b, field]
            for j in range(width):
                target[j] = source[j]
        return True
    for b in range(out.shape[0]):
        begin, end = offsets[b], (offsets[b + 1] if b + 1 < offsets.shape[0] else ids.shape[0])
        target = out[b, field]
        target[:] = np.float32(0.0)
        for i in range(begin, end):
            source = table[rows[i]]
            for j in range(width):
                target[j] += source[j]
        if end > begin:
            count = np.float32(end - begin)
            for j in range(width):
                target[j] /= count
    return True


@njit(cache=True, nogil=True)
def _spread(values, grad, field, offsets):  # type: ignore[no-untyped-def]
    """Gradient of the row of each id, from the gradient of the field's means."""
    width = values.shape[1]
    if offsets.shape[0] == 0:
        for b in range(values.shape[0]):
            source, target = grad[b, field], values[b]
            for j in range(width):
                target[j] = source[j]
        return
    for b in range(grad.shape[0]):
        begin, end = offsets[b], (offsets[b + 1] if b + 1 < offsets.shape[0] else values.shape[0])
        count = np.float32(max(1, end - begin))
        for i in range(begin, end):
            for j in range(width):
                values[i, j] = grad[b, field, j] / count
