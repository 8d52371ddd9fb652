from __future__ import annotations

import pytest
import torch

from slimtable.methods.low_rank import LowRank, LowRankConfig


def test_rows_are_a_product_of_the_rank() -> None:
    embedding = LowRank(30, 8, LowRankConfig(rank=3))
    assert torch.linalg.matrix_rank(embedding.weight) == 3


def test_rows_start_at_the_scale_of_a_full_table() -> None:
    weight = LowRank(5000, 64).weight
    assert weight.std() == pytest.approx(0.01, rel=0.1)


def test_takes_over_a_table_of_its_rank_exactly_and_others_best() -> None:
    table = torch.randn(40, 3) @ torch.randn(3, 8)
    torch.testing.assert_close(LowRank.from_table(table, LowRankConfig(rank=3)).weight, table, rtol=1e-4, atol=1e-4)
    table = torch.randn(40, 8)
    error = (LowRank.from_table(table, LowRankConfig(rank=5)).weight - table).square().sum()
    assert error == pytest.approx(float(torch.linalg.svdvals(table)[5:].square().sum()), rel=1e-3)  # Eckart–Young


def test_rank_above_the_dimension_is_refused() -> None:
    with pytest.raises(ValueError, match="1 to embedding_dim=8, got 9"):
        LowRank(4, 8, LowRankConfig(rank=9))
