"""Compiled sums of shared rows, and their gradients, without the intermediate copies of PyTorch operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.autograd.function import once_differentiable

_ALIKE = np.zeros(0, np.float32)  # for terms with one weight for all ids


class Summand(NamedTuple):
    """A term of :mod:`slimtable.embeddings.shared_rows` as arrays.

    Attributes:
        table: index of the table.
        column: first column in the row.
        rows: int32 (N,) row of each id.
        weights: float32 (N,) weight of each id; empty if all have ``weight``.
        weight: float32 weight of all ids.
        assigned: True if it is the first term of its columns, which is assigned rather than added.
    """

    table: int
    column: int
    rows: np.ndarray
    weights: np.ndarray
    weight: np.float32
    assigned: bool


class CombineRows(torch.autograd.Function):
    """Rows (B, d) of ids (B,): the sum of the terms, in their order, in float32 on the CPU."""

    @staticmethod
    def forward(
        ctx: Any, ids: Tensor, width: int, summands: Sequence[Summand], sparse: bool, *tables: Tensor
    ) -> Tensor:
        """Rows (B, d) from ids (B,), the width d, the terms, a flag for sparse gradients, and the tables."""
        out = torch.empty(len(ids), width)
        numbers = ids.numpy()
        for term in summands:
            table = tables[term.table].detach().numpy()
            inside = _add_rows(
                out.numpy(), table, numbers, term.rows, term.weights, term.weight, term.column, term.assigned
            )
            if not inside:
                raise IndexError(f"An id is out of range: ids are in 0..{len(term.rows) - 1}.")
        ctx.summands, ctx.numbers, ctx.sparse = summands, numbers, sparse
        ctx.shapes = [table.shape for table in tables]
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        """The gradient of every table: sums over the ids that use each row."""
        grad = grads[0].contiguous().numpy()
        if ctx.sparse:
            return (None, None, None, None, *_sparse_gradients(grad, ctx.numbers, ctx.summands, ctx.shapes))
        sums = [torch.zeros(shape) for shape in ctx.shapes]
        for term in ctx.summands:
            _add_gradients(
                sums[term.table].numpy(), grad, ctx.numbers, term.rows, term.weights, term.weight, term.column
            )
        return (None, None, None, None, *sums)


def summand(table: int, column: int, rows: Tensor, weight: float | Tensor, assigned: bool) -> Summand:
    """A term as arrays that share memory with its tensors."""
    if isinstance(weight, Tensor):
        return Summand(table, column, rows.numpy(), weight.numpy(), np.float32(1), assigned)
    return Summand(table, column, rows.numpy(), _ALIKE, np.float32(weight), assigned)


def _sparse_gradients(
    grad: np.ndarray, ids: np.ndarray, summands: Sequence[Summand], shapes: Sequence[torch.Size]
) -> list[Tensor]:
    """Uncoalesced gradients of all tables: an entry for each id and term."""
    entries: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in shapes]
    for term in summands:
        values = grad[:, term.column : term.column + shapes[term.table][1]]
        scale = term.weights[ids][:, None] if len(term.weights) else term.weight
        entries[term.table].append((term.rows[ids], values * scale))
    gradients = []
    for shape, parts in zip(shapes, entries, strict=True):
        rows = np.concatenate([part[0] for part in parts]).astype(np.int64)
        values = np.concatenate([part[1] for part in parts])
        gradients.append(sparse_rows(torch.from_numpy(rows), torch.from_numpy(values), shape))
    return gradients


def sparse_rows(rows: Tensor, values: Tensor, shape: torch.Size) -> Tensor:
    """A sparse matrix with values (n, w) in rows int64 (n,), not coalesced: repeated rows are summed."""
    return torch.sparse_coo_tensor(rows.unsqueeze(0), values, shape, check_invariants=False, is_coalesced=False)


@njit(cache=True, nogil=True)
def _add_rows(out, table, ids, rows, weights, weight, column, assigned):  # type: ignore[no-untyped-def]
    """Adds a term to the rows; returns False if an id is out of range."""
    count, width = rows.shape[0], table.shape[1]
    for i in range(ids.shape[0]):
        if ids[i] < 0 or ids[i] >= count:
            return False
        source = table[rows[ids[i]]]
        target = out[i, column : column + width]
        scale = weights[ids[i]] if weights.shape[0] else weight
        if assigned:
            for j in range(width):
                target[j] = scale * source[j]
        else:
            for j in range(width):
                target[j] += scale * source[j]
    return True


@njit(cache=True, nogil=True)
def _add_gradients(sums, grad, ids, rows, weights, weight, column):  # type: ignore[no-untyped-def]
    width = sums.shape[1]
    for i in range(ids.shape[0]):
        target = sums[rows[ids[i]]]
        source = grad[i, column : column + width]
        scale = weights[ids[i]] if weights.shape[0] else weight
        for j in range(width):
            target[j] += scale * source[j]
