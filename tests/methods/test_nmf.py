from __future__ import annotations

import numpy as np
import pytest
import torch

from slimtable.compress import compress_table
from slimtable.methods.nmf import NMF, NMFConfig


def test_finds_the_parts_of_a_table_that_has_them() -> None:
    generator = torch.Generator().manual_seed(0)
    left = torch.rand(300, 4, generator=generator) * (torch.rand(300, 4, generator=generator) < 0.5)
    right = torch.rand(4, 12, generator=generator) * (torch.rand(4, 12, generator=generator) < 0.5)
    table = left @ right
    weight = NMF.from_table(table, NMFConfig(rank=4)).weight
    assert (weight - table).square().sum() < 5e-3 * table.square().sum()


def test_factors_have_no_negative_values_and_more_parts_fit_better() -> None:
    table = torch.rand(200, 10) ** 3
    errors = []
    for rank in (1, 3, 6, 10):
        embedding = NMF.from_table(table, NMFConfig(rank=rank))
        assert all((array >= 0).all() for array in embedding.pack().arrays.values())
        errors.append(float((embedding.weight - table).square().sum()))
    assert errors == sorted(errors, reverse=True)
    best = float(torch.linalg.svdvals(table)[1:].square().sum())  # a first singular vector has one sign
    assert errors[0] == pytest.approx(best, rel=0.02)
    assert errors[-1] < 0.05 * errors[0]


def test_a_table_with_negative_values_is_refused_with_the_reason() -> None:
    table = torch.rand(20, 4)
    table[7, 2] = -0.5
    for refused in (
        lambda: NMF.from_table(table),
        lambda: compress_table(table.numpy(), NMFConfig()),
    ):
        with pytest.raises(ValueError, match=r"without negative values, and row 7 has -0\.5\. .* use svd"):
            refused()


def test_training_stays_without_negative_values() -> None:
    embedding, ids = NMF(10, 4), torch.arange(10)
    optimizer = torch.optim.SGD(embedding.parameters(), lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        (embedding(ids) + 1).square().sum().backward()
        optimizer.step()
    assert (embedding(ids) >= 0).all()
    assert (embedding.eval()(ids) >= 0).all()


@pytest.mark.parametrize("table", [np.zeros((5, 3)), np.ones((1, 1)), np.eye(4), 1e-30 * np.ones((4, 4))])
def test_odd_tables(table) -> None:
    weight = NMF.from_table(torch.from_numpy(table), NMFConfig(rank=table.shape[1])).weight
    torch.testing.assert_close(weight, torch.from_numpy(table), rtol=1e-3, atol=1e-3 * float(table.max()) + 1e-35)


def test_rank_above_the_dimension_is_refused() -> None:
    with pytest.raises(ValueError, match="1 to embedding_dim=8, got 9"):
        NMF(20, 8, NMFConfig(rank=9))
