"""What auto promises: tables within a budget that it fills, by methods that suit the shape and the side."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from slimtable.embeddings.base import MethodConfig, get_config
from slimtable.embeddings.policy import Policy, Side, TableFacts
from slimtable.errors import BudgetError
from slimtable.methods.auto import Auto, AutoConfig, _guesses

SHAPES = {  # users, items
    "gowalla": (29_858, 40_981),
    "ml-1m": (6_040, 3_416),
    "beauty": (22_363, 12_101),
    "lastfm": (1_892, 4_489),
    "movietweetings": (15_000, 9_000),
}
SIDES: tuple[Side, Side] = ("item", "user")
RATIOS = (2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 48, 64)


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("num_embeddings", [rows for shape in SHAPES.values() for rows in shape])
def test_budgets_are_filled_and_never_exceeded(num_embeddings, ratio) -> None:
    limit = 32 * num_embeddings * 64 / ratio
    for side in SIDES:
        sizes = [config.table_bits(num_embeddings, 64) for config in candidates_for(num_embeddings, limit, side)]
        assert 0.9 * limit <= sizes[0] <= max(sizes) <= limit
        assert max(sizes) >= 0.97 * limit


def candidates_for(num_embeddings: int, bits: float, side: Side) -> list[MethodConfig]:
    return AutoConfig().candidates(num_embeddings, 64, bits, TableFacts(side))


def test_sides_differ_where_they_should() -> None:
    assert isinstance(AutoConfig(), Policy)
    few, many = 2.0 * 5000 * 64, 3.5 * 5000 * 64
    assert [next(_guesses(5000, 64, few, side)) for side in SIDES] == [
        ("rq", {"power": 1.0}),
        ("rq", {"power": 0.0, "num_codebooks": 9}),
    ]
    assert [next(_guesses(5000, 64, many, side))[0] for side in SIDES] == ["rq", "tiered"]
    assert len({next(_guesses(5000, 64, 6.0 * 5000 * 64, side))[0] for side in SIDES}) == 1


def test_a_table_is_within_its_budget_and_more_bits_are_closer() -> None:
    table = torch.randn(3000, 32) * torch.rand(3000, 1)
    errors = []
    for budget in ("24x", "12x", "6x", "3x"):
        embedding = Auto.from_table(table, AutoConfig(budget=budget))
        packed = embedding.eval().pack()
        assert packed.nbytes <= table.numel() * 4 / float(budget[:-1])
        errors.append(float((embedding.weight - table).square().mean()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-4


def test_too_small() -> None:
    smallest = AutoConfig().smallest_bits(1000, 16)
    with pytest.raises(BudgetError, match=f"smallest possible is {-(-smallest // 8)}B"):
        AutoConfig(budget="2000x").table_bits(1000, 16)
    assert AutoConfig(budget=f"{-(-smallest // 8)}B").table_bits(1000, 16) == smallest
    with pytest.raises(ValueError, match="not a budget"):
        get_config("auto", {"budget": "4 rows"})
    table = np.zeros((1000, 16), np.float32)
    assert not Auto.from_table(torch.from_numpy(table), AutoConfig(budget="10x")).eval().weight.any()
