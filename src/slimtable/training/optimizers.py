"""Optimizers whose steps cost only what a batch touches: state per row, compiled updates of sparse gradients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.optim import Optimizer


class RowOptimizer(Optimizer, ABC):
    """Base class of optimizers of rows.

    Each parameter is a matrix, or a vector of rows with one value. Rows without a gradient (missing from a sparse one,
    or zeros in a dense one) do not change, and neither does their state, weight decay included. Duplicate rows of a
    gradient are summed first, in batch order, so that a step is deterministic. The update is compiled for float32 on
    the CPU, and uses PyTorch operations otherwise.

    Args:
        params: the parameters, or groups of them.
        defaults: options of the groups.
    """

    state_columns: dict[str, bool]
    """Names of the state tensors; True if as wide as a row, False for one number per row."""

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        for name in ("lr", "eps", "weight_decay"):
            if defaults[name] < 0:
                raise ValueError(f"`{name}` must not be negative, got {defaults[name]}.")
        super().__init__(params, defaults)
        self._slots = np.zeros(0, np.int32)  # index of a row among the distinct ones of a batch, or -1

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Updates all parameters that have a gradient.

        Args:
            closure: recomputes the loss, as in PyTorch; may be None.

        Returns:
            The result of the closure.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self._state_of(parameter)
                if parameter.device.type == "cpu" and parameter.dtype == torch.float32 and parameter.is_contiguous():
                    self._step_compiled(parameter, parameter.grad, state, group)
                else:
                    self._step_torch(parameter, parameter.grad, state, group)
        return loss

    def grow_(self, old: Tensor, new: Tensor) -> None:
        """Replaces a parameter by a longer one, with fresh state for the rows at its end.

        Args:
            old: a parameter of this optimizer.
            new: its replacement, beginning with the rows of ``old``.

        Raises:
            ValueError: ``old`` is not a parameter of this optimizer, or ``new`` is shorter.
        """
        if len(new) < len(old):
            raise ValueError(f"A parameter of {len(old)} rows cannot become one of {len(new)}.")
        for group in self.param_groups:
            for place, parameter in enumerate(group["params"]):
                if parameter is old:
                    group["params"][place] = new
                    state = self.state.pop(old, None)
                    if state:
                        self.state[new] = {
                            name: _longer(value, len(new)) if isinstance(value, Tensor) and value.ndim else value
                            for name, value in state.items()
                        }
                    return
        raise ValueError("The parameter to grow does not belong to this optimizer.")

    def _state_of(self, parameter: Tensor) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            for name, wide in self.state_columns.items():
                shape = parameter.shape if wide else parameter.shape[:1]
                state[name] = torch.zeros(shape, dtype=torch.float32, device=parameter.device)
        return state

    def _touched(self, parameter: Tensor, gradient: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Distinct rows int64 (n,) and their gradients float32 (n, w)."""
        width = parameter.numel() // max(1, len(parameter))
        if not gradient.is_sparse:
            values = gradient.reshape(len(parameter), width).numpy()
            rows = np.flatnonzero(_any_value(values))
            return rows, values[rows]
        rows = gradient._indices()[0].numpy()
        values = gradient._values().reshape(len(rows), width).contiguous().numpy()
        if gradient.is_coalesced():
            return rows, values
        if len(self._slots) < len(parameter):
            self._slots = np.full(len(parameter), -1, np.int32)
        merged, sums = np.empty(len(rows), np.int64), np.empty_like(values)
        count = _merge(rows, values, self._slots, merged, sums)
        return merged[:count], sums[:count]

    @abstractmethod
    def _step_compiled(
        self, parameter: Tensor, gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]
    ) -> None:
        """Updates a parameter on the CPU, in compiled code."""

    @abstractmethod
    def _step_torch(self, parameter: Tensor, gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> None:
        """Updates a parameter on any device, by PyTorch operations."""


class RowwiseAdagrad(RowOptimizer):
    """Adagrad with one accumulator per row, like FBGEMM's exact rowwise Adagrad.

    ``s_r += mean_j g_rj²`` and ``x_r −= lr · g_r / (√s_r + eps)`` for the rows r of the batch.

    Args:
        params: the parameters, or groups of them.
        lr: learning rate.
        eps: added to the denominator.
        weight_decay: L2 penalty on the rows that a batch touches.

    Raises:
        ValueError: an option is negative.

    Example:
        >>> table = torch.nn.Embedding.from_pretrained(torch.zeros(4, 2), freeze=False, sparse=True)
        >>> optimizer = RowwiseAdagrad(table.parameters(), lr=0.5)
        >>> table(torch.tensor([1, 1])).sum().backward()
        >>> optimizer.step()
        >>> table.weight[:2].tolist()
        [[0.0, 0.0], [-0.5, -0.5]]
    """

    state_columns = {"sums": False}  # noqa: RUF012

    def __init__(self, params: Iterable[Any], lr: float = 0.05, eps: float = 1e-8, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "eps": eps, "weight_decay": weight_decay})

    def _step_compiled(
        self, parameter: Tensor, gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]
    ) -> None:
        rows, values = self._touched(parameter, gradient)
        table = parameter.detach().reshape(len(parameter), -1).numpy()
        _adagrad(table, state["sums"].numpy(), rows, values, group["lr"], group["eps"], group["weight_decay"])

    def _step_torch(self, parameter: Tensor, gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> None:
        rows, values = _touched_by_torch(parameter, gradient)
        table = parameter.detach().reshape(len(parameter), -1)
        if group["weight_decay"]:
            values = values + group["weight_decay"] * table[rows].float()
        sums = state["sums"][rows] + values.square().mean(dim=1)
        state["sums"][rows] = sums
        step = group["lr"] * values / (sums.sqrt() + group["eps"]).unsqueeze(1)
        table.index_add_(0, rows, -step.to(table.dtype))


class RowAdam(RowOptimizer):
    """Adam that updates moments only for the rows of a batch, with a step count per row.

    Each row is updated as by Adam on the batches that touch it, with bias correction by its own step count. (PyTorch's
    SparseAdam corrects by the global step count, which makes the first steps of rare rows large.)

    Args:
        params: the parameters, or groups of them.
        lr: learning rate.
        betas: decay rates of the first and the second moment.
        eps: added to the denominator.
        weight_decay: L2 penalty on the rows that a batch touches.

    Raises:
        ValueError: an option is negative, or a decay is not below 1.
    """

    state_columns = {"first": True, "second": True, "steps": False}  # noqa: RUF012

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"`betas` must be at least 0 and below 1, got {betas}.")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def _step_compiled(
        self, parameter: Tensor, gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]
    ) -> None:
        rows, values = self._touched(parameter, gradient)
        shape = (len(parameter), parameter.numel() // max(1, len(parameter)))
        _adam(
            parameter.detach().reshape(shape).numpy(),
            state["first"].reshape(shape).numpy(),
            state["second"].reshape(shape).numpy(),
            state["steps"].numpy(),
            rows,
            values,
            group["lr"],
            *group["betas"],
            group["eps"],
            group["weight_decay"],
        )

    def _step_torch(self, parameter: Tensor, gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> None:
        rows, values = _touched_by_torch(parameter, gradient)
        table = parameter.detach().reshape(len(parameter), -1)
        if group["weight_decay"]:
            values = values + group["weight_decay"] * table[rows].float()
        one, two = group["betas"]
        first, second = (state[name].reshape(table.shape) for name in ("first", "second"))
        steps = state["steps"][rows] + 1
        state["steps"][rows] = steps
        first[rows] = moment = one * first[rows] + (1 - one) * values
        second[rows] = square = two * second[rows] + (1 - two) * values.square()
        moment = moment / (1 - one**steps).unsqueeze(1)
        square = square / (1 - two**steps).unsqueeze(1)
        table.index_add_(0, rows, -(group["lr"] * moment / (square.sqrt() + group["eps"])).to(table.dtype))


def _longer(value: Tensor, length: int) -> Tensor:
    return torch.cat([value, value.new_zeros(length - len(value), *value.shape[1:])])


def _touched_by_torch(parameter: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct rows (n,) and their gradients (n, w) in float32, on any device."""
    if gradient.is_sparse:
        gradient = gradient.coalesce()
        rows = gradient.indices()[0]
        return rows, gradient.values().reshape(len(rows), -1).float()
    values = gradient.reshape(len(parameter), -1)
    rows = values.any(dim=1).nonzero().squeeze(1)
    return rows, values[rows].float()


@njit(cache=True, nogil=True)
def _any_value(values):  # type: ignore[no-untyped-def]
    """True for each row that is not all zeros."""
    found = np.zeros(values.shape[0], np.bool_)
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            if values[i, j] != 0:
                found[i] = True
                break
    return found


@njit(cache=True, nogil=True)
def _merge(rows, values, slots, merged, sums):  # type: ignore[no-untyped-def]
    """Sums gradients of equal rows, in order of first occurrence; returns the number of distinct rows."""
    count = 0
    width = values.shape[1]
    for i in range(rows.shape[0]):
        slot = slots[rows[i]]
        if slot < 0:
            slots[rows[i]] = count
            merged[count] = rows[i]
            for j in range(width):
                sums[count, j] = values[i, j]
            count += 1
        else:
            for j in range(width):
                sums[slot, j] += values[i, j]
    for i in range(count):
        slots[merged[i]] = -1
    return count


@njit(cache=True, nogil=True)
def _adagrad(table, sums, rows, values, rate, eps, decay):  # type: ignore[no-untyped-def]
    width = table.shape[1]
    for i in range(rows.shape[0]):
        row, gradient = table[rows[i]], values[i]
        squares = np.float32(0.0)
        for j in range(width):
            g = gradient[j] + np.float32(decay) * row[j]
            squares += g * g
        sums[rows[i]] += squares / np.float32(width)
        scale = np.float32(rate / (np.sqrt(np.float64(sums[rows[i]])) + eps))
        kept = np.float32(1.0) - scale * np.float32(decay)
        for j in range(width):
            row[j] = kept * row[j] - scale * gradient[j]


@njit(cache=True, nogil=True)
def _adam(table, first, second, steps, rows, values, rate, one, two, eps, decay):  # type: ignore[no-untyped-def]
    one32, two32 = np.float32(one), np.float32(two)
    rest_one, rest_two = np.float32(1 - one), np.float32(1 - two)
    for i in range(rows.shape[0]):
        r = rows[i]
        steps[r] += np.float32(1.0)
        scale = np.float32(rate / (1 - one ** np.float64(steps[r])))
        correction = np.float32(1 / np.sqrt(1 - two ** np.float64(steps[r])))
        for j in range(table.shape[1]):
            g = values[i, j] + np.float32(decay) * table[r, j]
            m = one32 * first[r, j] + rest_one * g
            v = two32 * second[r, j] + rest_two * g * g
            first[r, j], second[r, j] = m, v
            table[r, j] -= scale * m / (np.sqrt(v) * correction + np.float32(eps))
