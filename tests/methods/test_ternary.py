from __future__ import annotations

import torch

from slimtable.methods.ternary import Ternary, TernaryConfig


def test_error_is_below_that_of_the_sources_threshold() -> None:
    table = torch.randn(300, 32) * torch.logspace(-2, 2, 300).unsqueeze(1)
    kept = table.abs() > 0.7 * table.abs().mean(dim=1, keepdim=True)
    gains = (table.abs() * kept).sum(dim=1) / kept.sum(dim=1)
    of_source = (gains.unsqueeze(1) * kept * table.sign() - table).square().sum(dim=1)
    weight = Ternary.from_table(table, TernaryConfig(gain_bits=16)).weight
    assert ((weight - table).square().sum(dim=1) <= of_source * (1 + 1e-4)).all()


def test_the_number_of_kept_values_is_the_best_of_all() -> None:
    table = torch.randn(50, 6) ** 3
    weight = Ternary.from_table(table, TernaryConfig(gain_bits=16)).weight
    ordered = table.abs().sort(dim=1, descending=True).values
    counts = torch.arange(1, 7)
    least = table.square().sum(dim=1) - (ordered.cumsum(dim=1).square() / counts).amax(dim=1)
    torch.testing.assert_close((weight - table).square().sum(dim=1), least, rtol=1e-3, atol=1e-4)


def test_rows_of_one_size_are_exact() -> None:
    table = torch.tensor([[0.0, 2.0, -2.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.0, -0.5, 0.0]])
    torch.testing.assert_close(Ternary.from_table(table).weight, table, rtol=0.02, atol=0)
