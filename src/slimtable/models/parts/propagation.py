"""Propagation of rows over a user-item graph, for LightGCN."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor


class Propagation:
    """``mean(E, ÂE, …, ÂᴸE)`` with ``Â = D^-½ A D^-½``, for rows E of users and of items.

    The graph is kept as two rectangular matrices in CSR form, users × items and its transpose: each is the backward
    of the other, so no product needs a transpose. On the CPU a compiled kernel multiplies, which takes about half
    the time of ``torch.sparse`` with MKL; other devices use ``torch.sparse``.

    Args:
        starts: int32 (num_users + 1,), start of the items of each user; on the compute device.
        items: int32 (E,), the items of all users, without duplicates per user.
        num_items: number of items. Users and items without edges are allowed.
    """

    def __init__(self, starts: Tensor, items: Tensor, num_items: int) -> None:
        self.device = starts.device
        user_starts, columns = starts.cpu().numpy(), items.cpu().numpy()
        user_degrees = np.diff(user_starts)
        item_degrees = np.bincount(columns, minlength=num_items)
        rows = np.repeat(np.arange(len(user_degrees), dtype=np.int32), user_degrees)
        degrees = user_degrees[rows].astype(np.float64) * item_degrees[columns]  # ≥ 1, since an edge has two ends
        values = (degrees**-0.5).astype(np.float32)  # (E,)
        item_starts = np.concatenate([[0], np.cumsum(item_degrees)]).astype(np.int32)
        order = np.argsort(columns, kind="stable")
        self._to_users = _Matrix(user_starts, columns, values, num_items, self.device)
        self._to_items = _Matrix(item_starts, rows[order], values[order], len(user_degrees), self.device)

    def __call__(self, users: Tensor, items: Tensor, num_layers: int) -> tuple[Tensor, Tensor]:
        """Means over the layers, with gradients.

        Args:
            users: float32 (num_users, d).
            items: float32 (num_items, d).
            num_layers: L.

        Returns:
            float32 (num_users, d) and (num_items, d).
        """
        means: tuple[Tensor, Tensor] = _Mean.apply(users, items, self, num_layers)  # type: ignore[no-untyped-call]
        return means

    def mean(self, users: Tensor, items: Tensor, num_layers: int) -> tuple[Tensor, Tensor]:
        """Means without gradients, by Horner's rule, ``(E + Â(E + Â(E + …))) / (L + 1)``."""
        users_out, items_out = users, items
        for layer in range(num_layers):
            scale = 1.0 if layer < num_layers - 1 else 1.0 / (num_layers + 1)
            users_out, items_out = (
                self._to_users.multiply_add(items_out, users, scale),
                self._to_items.multiply_add(users_out, items, scale),
            )
        return users_out, items_out


class _Mean(torch.autograd.Function):
    """The mean over the layers. Â is symmetric, so the backward is the forward of the gradients."""

    @staticmethod
    def forward(context: Any, users: Tensor, items: Tensor, propagation: Propagation, num_layers: int) -> Any:
        context.propagation, context.num_layers = propagation, num_layers
        return propagation.mean(users, items, num_layers)

    @staticmethod
    def backward(context: Any, *gradients: Any) -> Any:
        return (*context.propagation.mean(*gradients, context.num_layers), None, None)


class _Matrix:
    """A sparse matrix (R, C) in CSR form: int32 starts (R + 1,), int32 columns (E,), float32 values (E,)."""

    def __init__(
        self, starts: np.ndarray, columns: np.ndarray, values: np.ndarray, num_columns: int, device: torch.device
    ) -> None:
        self._arrays = (starts, columns, values)
        self._sparse: Tensor | None = None
        if device.type != "cpu":
            on_device = [torch.from_numpy(array).to(device) for array in self._arrays]
            with warnings.catch_warnings():  # PyTorch says once that its sparse tensors are in beta
                warnings.filterwarnings("ignore", message="Sparse", category=UserWarning)
                shape = (len(starts) - 1, num_columns)
                self._sparse = torch.sparse_csr_tensor(
                    on_device[0], on_device[1], on_device[2], size=shape, check_invariants=False
                )

    def multiply_add(self, right: Tensor, base: Tensor, scale: float) -> Tensor:
        """``scale · (base + self @ right)`` for float32 right (C, d) and base (R, d)."""
        if self._sparse is not None:
            return torch.addmm(base, self._sparse, right, beta=scale, alpha=scale)
        out = torch.empty_like(base, memory_format=torch.contiguous_format)
        right, base = right.contiguous(), base.contiguous()
        arguments = (*self._arrays, right.numpy(), base.numpy(), np.float32(scale), out.numpy())

        def multiply(first: int, last: int) -> None:
            _multiply_add(first, last, *arguments)

        threads = torch.get_num_threads()
        if threads == 1:
            multiply(0, len(base))
        else:
            # Rows are split so that each thread has equally many edges; the sum of a row does not depend on the split.
            starts = self._arrays[0]
            cuts = np.searchsorted(starts, np.linspace(0, starts[-1], threads + 1)[1:-1])
            bounds = [0, *cuts.tolist(), len(base)]
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(multiply, bounds[:-1], bounds[1:]))
        return out


@njit(cache=True, nogil=True, fastmath={"contract"})
def _multiply_add(  # type: ignore[no-untyped-def]  # pragma: no cover
    first, last, starts, columns, values, right, base, scale, out
):
    width = right.shape[1]
    for row in range(first, last):
        line = out[row]
        for c in range(width):
            line[c] = base[row, c]
        edge, end = starts[row], starts[row + 1]
        while edge + 4 <= end:  # four at a time, so that the line is read and written once for four rows
            a, b, c_, d = values[edge], values[edge + 1], values[edge + 2], values[edge + 3]
            row_a, row_b = right[columns[edge]], right[columns[edge + 1]]
            row_c, row_d = right[columns[edge + 2]], right[columns[edge + 3]]
            for c in range(width):
                line[c] = (((line[c] + a * row_a[c]) + b * row_b[c]) + c_ * row_c[c]) + d * row_d[c]
            edge += 4
        while edge < end:
            a, row_a = values[edge], right[columns[edge]]
            for c in range(width):
                line[c] += a * row_a[c]
            edge += 1
        for c in range(width):
            line[c] *= scale
