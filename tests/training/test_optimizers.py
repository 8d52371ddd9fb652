"""Optimizers of rows against their formulas in NumPy, one row at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from slimtable.training.optimizers import RowAdam, RowOptimizer, RowwiseAdagrad

ROWS, WIDTH = 12, 3


def batches(count: int = 15) -> list[tuple[np.ndarray, np.ndarray]]:
    """Row ids with repetitions, and gradients."""
    generator = np.random.default_rng(3)
    return [(generator.integers(ROWS, size=6), generator.normal(size=(6, WIDTH))) for _ in range(count)]


def sparse(ids: np.ndarray, values: np.ndarray, rows: int = ROWS) -> torch.Tensor:
    numbers = torch.from_numpy(values.astype(np.float32))
    return torch.sparse_coo_tensor(torch.from_numpy(ids)[None], numbers, (rows, WIDTH), check_invariants=True)


def reference(optimizer: type[RowOptimizer], start: np.ndarray, decay: float) -> np.ndarray:
    """Where the table is after all batches, in float64."""
    table = start.astype(np.float64).copy()
    sums, first, second, steps = np.zeros(ROWS), np.zeros_like(table), np.zeros_like(table), np.zeros(ROWS)
    for ids, values in batches():
        for row in np.unique(ids):
            gradient = values[ids == row].sum(axis=0) + decay * table[row]
            if optimizer is RowwiseAdagrad:
                sums[row] += np.mean(gradient**2)
                table[row] -= 0.1 * gradient / (np.sqrt(sums[row]) + 1e-8)
                continue
            steps[row] += 1
            first[row] = 0.9 * first[row] + 0.1 * gradient
            second[row] = 0.99 * second[row] + 0.01 * gradient**2
            root = np.sqrt(second[row] / (1 - 0.99 ** steps[row]))
            table[row] -= 0.1 * first[row] / (1 - 0.9 ** steps[row]) / (root + 1e-8)
    return table


def make(optimizer: type[RowOptimizer], parameter: nn.Parameter, decay: float = 0.0) -> RowOptimizer:
    options = {"betas": (0.9, 0.99)} if optimizer is RowAdam else {}
    return optimizer([parameter], lr=0.1, weight_decay=decay, **options)


def train(optimizer: RowOptimizer, parameter: nn.Parameter, part: slice = slice(None), dense: bool = False) -> None:
    for ids, values in batches()[part]:
        gradient = sparse(ids, values).to(parameter.dtype)
        parameter.grad = gradient.to_dense() if dense else gradient
        optimizer.step()


@pytest.mark.parametrize("way", ["sparse", "dense", "coalesced", "torch"])
@pytest.mark.parametrize("decay", [0.0, 0.2])
@pytest.mark.parametrize("optimizer", [RowwiseAdagrad, RowAdam])
def test_formula(optimizer, decay: float, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "torch":
        monkeypatch.setattr(optimizer, "_step_compiled", optimizer._step_torch)
    parameter = nn.Parameter(torch.randn(ROWS, WIDTH))
    start = parameter.detach().numpy().copy()
    subject = make(optimizer, parameter, decay)
    for ids, values in batches():
        gradient = sparse(ids, values)
        parameter.grad = {"dense": gradient.to_dense, "coalesced": gradient.coalesce}.get(way, lambda g=gradient: g)()
        subject.step()
    np.testing.assert_allclose(parameter.detach().numpy(), reference(optimizer, start, decay), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("optimizer", [RowwiseAdagrad, RowAdam])
def test_rows_without_gradient_rest(optimizer) -> None:
    parameter = nn.Parameter(torch.randn(ROWS, WIDTH))
    before = parameter.detach().clone()
    subject = make(optimizer, parameter, decay=0.5)
    for gradient in (sparse(np.array([2, 2]), np.ones((2, WIDTH))), torch.zeros(ROWS, WIDTH)):
        parameter.grad = gradient
        subject.step()
    changed = (parameter.detach() != before).any(dim=1)
    assert changed.tolist() == [row == 2 for row in range(ROWS)]


@pytest.mark.parametrize("optimizer", [RowwiseAdagrad, RowAdam])
def test_state_round_trip(optimizer) -> None:
    whole, halves = nn.Parameter(torch.ones(ROWS, WIDTH)), nn.Parameter(torch.ones(ROWS, WIDTH))
    train(make(optimizer, whole), whole)
    first = make(optimizer, halves)
    train(first, halves, slice(0, 7))
    second = make(optimizer, halves)
    second.load_state_dict(first.state_dict())
    train(second, halves, slice(7, None))
    assert torch.equal(whole, halves)


@pytest.mark.parametrize("optimizer", [RowwiseAdagrad, RowAdam])
def test_growth_keeps_old_rows_and_starts_new_ones(optimizer) -> None:
    plain, grown = nn.Parameter(torch.ones(ROWS, WIDTH)), nn.Parameter(torch.ones(ROWS, WIDTH))
    train(make(optimizer, plain), plain)
    subject = make(optimizer, grown)
    train(subject, grown, slice(0, 7))
    longer = nn.Parameter(torch.cat([grown.detach(), torch.ones(4, WIDTH)]))
    subject.grow_(grown, longer)
    for ids, values in batches()[7:]:
        longer.grad = sparse(ids, values, ROWS + 4)
        subject.step()
    assert torch.equal(longer[:ROWS], plain)
    assert (longer[ROWS:] == 1).all()
    longer.grad = sparse(np.array([ROWS + 3]), np.ones((1, WIDTH)), ROWS + 4)
    subject.step()
    assert longer[ROWS + 3].tolist() == pytest.approx([0.9] * WIDTH)  # the first step of a fresh row is lr
    with pytest.raises(ValueError, match="does not belong"):
        subject.grow_(grown, longer)
    with pytest.raises(ValueError, match="cannot become"):
        subject.grow_(longer, plain)


def test_vectors_are_rows_of_one_value() -> None:
    parameter = nn.Parameter(torch.zeros(4))
    parameter.grad = torch.tensor([0.0, 2.0, 0.0, -0.5])
    RowwiseAdagrad([parameter], lr=0.1).step()
    assert parameter.tolist() == pytest.approx([0.0, -0.1, 0.0, 0.1])


def test_half_precision_takes_the_path_of_other_devices() -> None:
    parameter = nn.Parameter(torch.ones(ROWS, WIDTH, dtype=torch.bfloat16))
    subject = RowwiseAdagrad([parameter], lr=0.1)
    parameter.grad = torch.ones(ROWS, WIDTH, dtype=torch.bfloat16)
    subject.step()
    assert parameter.float().flatten().tolist() == pytest.approx([0.9] * ROWS * WIDTH, abs=4e-3)


def test_bad_options_are_refused() -> None:
    parameter = nn.Parameter(torch.zeros(2, 2))
    with pytest.raises(ValueError, match="weight_decay"):
        RowwiseAdagrad([parameter], weight_decay=-1.0)
    with pytest.raises(ValueError, match="betas"):
        RowAdam([parameter], betas=(0.9, 1.0))
