from __future__ import annotations

import numpy as np
import pytest
import torch

from slimtable.artifact.layouts import decode
from slimtable.codecs.rabitq import GAUSSIAN_LEVELS
from slimtable.compress import compress_table
from slimtable.embeddings.base import get_config
from slimtable.methods.rabitq import Rabitq, RabitqConfig


def error(weight: torch.Tensor, table: torch.Tensor) -> float:
    return float((weight - table).square().sum() / table.square().sum())


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_levels_are_those_with_the_least_error_for_normal_values(bits) -> None:
    """Each level is the mean of the normal values that are nearest to it, which characterizes the best grid."""
    levels = torch.tensor(GAUSSIAN_LEVELS[bits], dtype=torch.float64)
    edges = torch.cat([torch.zeros(1), (levels[1:] + levels[:-1]) / 2, torch.tensor([torch.inf])])
    density, below = torch.exp(-edges.square() / 2) / (2 * torch.pi) ** 0.5, torch.special.ndtr(edges.double())
    torch.testing.assert_close((density[:-1] - density[1:]) / (below[1:] - below[:-1]), levels, rtol=0, atol=2e-6)


@pytest.mark.parametrize(("bits", "largest"), [(1, 0.37), (2, 0.12), (3, 0.035), (4, 0.0095)])
def test_error_is_at_most_that_of_a_normal_source(bits, largest) -> None:
    """Also of a table whose values are far from normal: the rotation makes them so."""
    for table in (torch.randn(2000, 64), torch.randn(2000, 64) ** 3):
        weight = Rabitq.from_table(table, RabitqConfig(bits=bits, gain="least_squares", gain_bits=16)).weight
        assert error(weight, table) < largest


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
@pytest.mark.parametrize("grid", ["gaussian", "uniform"])
def test_gains_keep_products_or_have_the_least_error(bits, grid) -> None:
    table = torch.randn(200, 48) * torch.logspace(-2, 2, 200).unsqueeze(1)
    weights = {}
    for gain in ("unbiased", "least_squares"):
        config = RabitqConfig(bits=bits, grid=grid, gain=gain, gain_bits=16)
        weights[gain] = Rabitq.from_table(table, config).weight
    unbiased = (weights["unbiased"] * table).sum(dim=1) / table.square().sum(dim=1)
    torch.testing.assert_close(unbiased, torch.ones(200), rtol=0, atol=1e-3)
    shortened = (weights["least_squares"] * table).sum(dim=1) / weights["least_squares"].square().sum(dim=1)
    torch.testing.assert_close(shortened, torch.ones(200), rtol=0, atol=1e-3)
    assert error(weights["least_squares"], table) < error(weights["unbiased"], table)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_gaussian_levels_have_a_smaller_error_than_even_ones(bits) -> None:
    table = torch.randn(2000, 64)
    errors = [error(Rabitq.from_table(table, RabitqConfig(bits=bits, grid=grid)).weight, table) for grid in GRIDS]
    assert errors[0] < errors[1]


GRIDS = ("gaussian", "uniform")


def test_gains_of_8_bits_hold_norms_of_five_decades() -> None:
    table = torch.randn(300, 64) * torch.logspace(-5, 0, 300).unsqueeze(1)
    weight = Rabitq.from_table(table).weight
    ratio = (weight * table).sum(dim=1) / table.square().sum(dim=1)
    assert (ratio - 1).abs().max() < 0.04


def test_a_row_is_coded_alone() -> None:
    """New rows with norms in the range of the others do not change these."""
    table = torch.randn(100, 16)
    table[0], table[1] = 0.01, 10
    whole, part = (Rabitq.from_table(rows, RabitqConfig(seed=3)).weight for rows in (table, table[:50]))
    assert torch.equal(whole[:50], part)


def test_seeds_and_rounds_give_other_rotations() -> None:
    table = torch.randn(500, 24) ** 3
    weights = [
        Rabitq.from_table(table, RabitqConfig(bits=2, seed=seed, rounds=rounds)).weight
        for seed, rounds in ((0, 1), (1, 1), (0, 3))
    ]
    assert len({float(weight[0, 0]) for weight in weights}) == 3
    assert all(error(weight, table) < 0.13 for weight in weights)


@pytest.mark.parametrize("gain_bits", [8, 16])
def test_odd_rows(gain_bits) -> None:
    table = torch.tensor([[0.0] * 3, [2.0] * 3, [-1.0, 0.0, 0.0], [1e-30, 0.0, 0.0]])
    weight = Rabitq.from_table(table, RabitqConfig(gain_bits=gain_bits)).weight
    assert not weight[0].any()
    assert np.isfinite(weight.numpy()).all()
    torch.testing.assert_close(weight[1:3], table[1:3], rtol=0, atol=0.4)


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_gains_that_16_bits_cannot_hold_are_refused(scale) -> None:
    table = Rabitq.from_table(scale * torch.randn(9, 4), RabitqConfig(gain_bits=16))
    with pytest.raises(ValueError, match="Use gain_bits=8"):
        table.pack()
    weight = Rabitq.from_table(scale * torch.randn(9, 4)).weight
    assert weight.abs().max() > 0.1 * scale


@pytest.mark.parametrize("name", ["rabitq", "binary", "ternary"])
@pytest.mark.parametrize("gain_bits", [8, 16])
def test_values_whose_sums_overflow_are_refused(name, gain_bits) -> None:
    table = np.full((3, 64), np.finfo(np.float32).max, np.float32)
    table[0] = -table[1]
    with pytest.raises(ValueError, match=r"overflow float32\. Scale the table|too large or too small for gains"):
        compress_table(table, get_config(name, {"gain_bits": gain_bits}))
    smaller = compress_table(np.float32(1e-3) * table, get_config(name, {"gain_bits": 8}))
    assert np.isfinite(decode(smaller, [0, 1, 2])).all()
