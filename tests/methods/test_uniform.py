from __future__ import annotations

import pytest
import torch

from slimtable.embeddings.base import get_config
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


@pytest.mark.parametrize(
    "options", [{"bits": 0}, {"bits": 9}, {"scale_bits": 16}, {"axis": "diagonal"}, {"clip": True}]
)
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


@pytest.mark.parametrize("options", [{}, {"axis": "row"}, {"axis": "row", "scale_bits": 16}, {"preset": "int4"}])
def test_a_range_that_overflows_is_refused(options) -> None:
    embedding = Uniform.from_table(torch.tensor([[3e38, -3e38], [-3.4e38, 3.4e38]]), get_config("uniform", options))
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


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("scale_bits", [32, 16])
def test_clipping_never_raises_the_error_of_a_row_and_lowers_it_with_few_bits(bits, scale_bits) -> None:
    table = torch.randn(300, 32) * torch.logspace(-1, 1, 300).unsqueeze(1)
    errors = []
    for clip in (False, True):
        config = UniformConfig(bits=bits, axis="row", scale_bits=scale_bits, clip=clip)
        errors.append((Uniform.from_table(table, config).weight.double() - table).square().sum(dim=1))
    assert (errors[1] <= errors[0] * (1 + 1e-6)).all()
    assert errors[1].sum() < {1: 0.5, 2: 0.6, 3: 0.8, 4: 0.9, 8: 1.0}[bits] * errors[0].sum()


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("clip", [False, True])
def test_scales_of_8_bits_cost_little(bits, clip) -> None:
    table = torch.randn(500, 64) * torch.logspace(-2, 2, 500).unsqueeze(1)
    errors = []
    for scale_bits in (32, 8):
        config = UniformConfig(bits=bits, axis="row", scale_bits=scale_bits, clip=clip)
        error = (Uniform.from_table(table, config).weight - table).square().sum(dim=1)
        errors.append((error / table.square().sum(dim=1)).mean())
    assert errors[1] < 1.2 * errors[0]


def test_scales_of_8_bits_and_odd_rows() -> None:
    rows = [[0.0] * 4, [5.0] * 4, [-2.0] * 4, [-2.0, 0.0, 1.0, -1.0], [0.0, 0.0, 0.0, 3.0], [1e-9, 0, 0, -1e-9]]
    table = torch.tensor(rows)
    for clip in (False, True):
        config = UniformConfig(bits=4, axis="row", scale_bits=8, clip=clip)
        weight = Uniform.from_table(table, config).weight
        torch.testing.assert_close(weight, table, rtol=0.05, atol=0.05)
        assert not weight[0].any()
        assert not Uniform.from_table(torch.zeros(3, 2), config).weight.any()
        for scale in (3e38, 1e-44):
            with pytest.raises(ValueError, match="too large or too close together for scales of 8 bits"):
                Uniform.from_table(scale * torch.randn(9, 4).sign(), config).pack()


def test_clipping_finds_about_the_least_error_of_all_clips() -> None:
    """No pair of ends on a grid ten times as fine has a visibly lower error."""
    table = torch.randn(40, 16) ** 3
    low, high = (edge[:, None, None, None] for edge in table.aminmax(dim=1))
    places = torch.linspace(0, 0.45, 80)
    start = low + (high - low) * places[:, None, None]
    step = (high - (high - low) * places[:, None] - start) / 3
    codes = ((table[:, None, None] - start) / step).round().clamp(0, 3)
    least = (start + step * codes - table[:, None, None]).square().sum(dim=3).amin(dim=(1, 2))
    weight = Uniform.from_table(table, UniformConfig(bits=2, axis="row", clip=True)).weight
    assert (weight - table).square().sum() < 1.03 * least.sum()


def test_clipping_keeps_constant_rows_and_rows_that_a_grid_holds() -> None:
    table = torch.tensor([[0.0] * 4, [5.0] * 4, [-2.0, 0.0, 1.0, -1.0], [0.0, 0.0, 0.0, 3.0], [1e-42, 0, 0, 0]])
    for scale_bits in (32, 16):
        config = UniformConfig(bits=2, axis="row", scale_bits=scale_bits, clip=True)
        weight = Uniform.from_table(table, config).weight
        torch.testing.assert_close(weight, table, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("preset", ["int8", "int4", "int3", "int2"])
def test_presets_code_rows_with_scales_of_16_bits(preset) -> None:
    config = get_config("uniform", {"preset": preset})
    assert config.table_bits(1000, 64) == 1000 * (64 * config.bits + 32)
