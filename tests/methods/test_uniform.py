from __future__ import annotations

import pytest
import torch

from slimtable.methods.full import Full
from slimtable.methods.uniform import Uniform, UniformConfig


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("axis", ["column", "row"])
def test_error_is_at_most_half_a_step(bits, axis) -> None:
    table = torch.randn(60, 7) * torch.logspace(-2, 2, 60).unsqueeze(1)
    embedding = Uniform.from_table(table, UniformConfig(bits=bits, axis=axis))
    low, high = table.aminmax(dim=0 if axis == "column" else 1, keepdim=True)
    step = (high - low) / (2**bits - 1)
    assert ((embedding.weight - table).abs() <= 0.5 * step * (1 + 1e-4)).all()
    assert len(embedding.weight[:, 0].unique()) <= 2**bits or axis == "row"


def test_extremes_and_constant_lines_are_kept() -> None:
    table = torch.tensor([[-2.0, 5.0], [3.0, 5.0], [0.5, 5.0]])
    weight = Uniform.from_table(table, UniformConfig(bits=4)).weight
    torch.testing.assert_close(weight[:2, 0], table[:2, 0])
    assert torch.equal(weight[:, 1], table[:, 1])


def test_trains_exactly_like_the_full_table() -> None:
    tables = []
    for cls in (Full, Uniform):
        torch.manual_seed(5)
        embedding = cls(20, 4)
        optimizer = torch.optim.Adam(embedding.parameters(), lr=0.1)
        for _ in range(5):
            optimizer.zero_grad()
            (embedding(torch.arange(20)) - 1).square().sum().backward()
            optimizer.step()
        tables.append(embedding.table.detach())
    assert torch.equal(*tables)


def test_grid_follows_the_table() -> None:
    embedding = Uniform(20, 4, UniformConfig(bits=8)).eval()
    before = embedding(torch.arange(20))
    with torch.no_grad():
        embedding.table.mul_(100)
    torch.testing.assert_close(embedding(torch.arange(20)), 100 * before, rtol=1e-3, atol=1e-3)


def test_grid_follows_a_fused_optimizer() -> None:
    """Fused Adam leaves the version counter of the table alone; evaluation must see the new table all the same."""
    embedding = Uniform(20, 4, UniformConfig(bits=8))
    optimizer = torch.optim.Adam(embedding.parameters(), lr=1.0, fused=True)
    embedding.eval()(torch.arange(20))
    embedding.train()(torch.arange(20)).sum().backward()
    optimizer.step()
    torch.testing.assert_close(embedding.eval()(torch.arange(20)), embedding.table.detach(), rtol=0, atol=1e-3)


@pytest.mark.parametrize("options", [{"bits": 0}, {"bits": 9}, {"scale_bits": 16}, {"axis": "diagonal"}])
def test_impossible_options(options) -> None:
    with pytest.raises(ValueError, match="UniformConfig"):
        UniformConfig(**options)


@pytest.mark.parametrize("scale", [1e-7, 1e5])
def test_scales_that_16_bits_cannot_hold_are_refused(scale) -> None:
    embedding = Uniform.from_table(scale * torch.randn(30, 4), UniformConfig(axis="row", scale_bits=16))
    with pytest.raises(ValueError, match="Use scale_bits=32"):
        embedding.pack()
    embedding = Uniform.from_table(scale * torch.randn(30, 4), UniformConfig(axis="row"))
    torch.testing.assert_close(embedding.weight, embedding.table.detach(), rtol=0.1, atol=0.02 * scale)


def test_16_bit_scales_reach_the_extremes() -> None:
    table = 100 + 0.5 * torch.rand(50, 8)
    weight = Uniform.from_table(table, UniformConfig(axis="row", scale_bits=16)).weight
    # Half a step of the range, and what a 16-bit offset near 100 costs at most: 1/16.
    assert (weight - table).abs().max() < 0.5 * (0.5 + 0.15) / 255 + 1e-3


def test_a_range_that_overflows_is_refused() -> None:
    embedding = Uniform.from_table(torch.tensor([[3e38], [-3e38]]))
    with pytest.raises(ValueError, match="too large"):
        embedding.pack()


def test_the_padding_row_does_not_widen_the_grid() -> None:
    table = 5 + 0.1 * torch.randn(50, 4)
    table[0] = 0
    weight = Uniform.from_table(table, UniformConfig(bits=4), padding_idx=0).weight
    assert (weight - table).abs().max() < 0.1


def test_a_row_that_has_faded_does_not_spoil_the_others() -> None:
    table = torch.randn(6, 8)
    table[2] = 1e-9 * torch.randn(8)
    served = Uniform.from_table(table, UniformConfig(bits=8, axis="row", scale_bits=16)).weight
    assert (served - table).abs().max() < 0.02
    assert served[2].abs().max() < 1e-6
    faded = Uniform.from_table(1e-9 * table, UniformConfig(bits=8, axis="row", scale_bits=16))
    with pytest.raises(ValueError, match="too close together"):
        faded.pack()
