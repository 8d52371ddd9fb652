from __future__ import annotations

import torch

from slimtable.methods.binary import Binary, BinaryConfig


def test_values_are_on_their_side_of_the_mean_at_the_mean_distance() -> None:
    table = 3 * torch.randn(8) + torch.randn(100, 8)
    weight = Binary.from_table(table, BinaryConfig(gain_bits=16)).weight
    means = table.mean(dim=0)
    assert torch.equal((weight - means) > 0, (table - means) > 0)
    gains = (table - means).abs().mean(dim=1, keepdim=True)
    torch.testing.assert_close((weight - means).abs(), gains.expand(-1, 8), rtol=1e-3, atol=1e-4)


def test_the_padding_row_does_not_move_the_means_or_the_range_of_gains() -> None:
    table = 100 + torch.randn(20, 8)
    table[4] = 0
    weight = Binary.from_table(table, padding_idx=4).weight
    others = torch.arange(20) != 4
    assert not weight[4].any()
    assert (weight - table)[others].abs().max() < 4
    torch.testing.assert_close(weight[others].mean(dim=0), table[others].mean(dim=0), rtol=0, atol=0.5)


def test_constant_rows() -> None:
    table = torch.full((5, 4), 2.0)
    assert torch.equal(Binary.from_table(table).weight, table)


def test_a_padding_row_far_from_the_means_has_no_gain() -> None:
    table = torch.full((3, 4), 1e6) + torch.randn(3, 4)
    table[1] = 0
    embedding = Binary.from_table(table, BinaryConfig(gain_bits=16), padding_idx=1).eval()
    assert embedding.pack().arrays["gain"][1] == 0  # 1e6 is infinite in 16 bits
    assert not embedding(torch.tensor([1])).any()
