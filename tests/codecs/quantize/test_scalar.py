"""Even grids: what they reach, in 16 bits too, and that both ways to make them agree."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from slimtable import Saec, SaecConfig, Uniform, UniformConfig
from slimtable.codecs.quantize.scalar import codes_of, ends_of, make_grid
from slimtable.embeddings import scalar_grid

_ROWS = UniformConfig(axis="row", scale_bits=16)


@pytest.mark.parametrize("table", [[[0.02], [1e-5]], [[0.02, -0.1, 0.3, 0.1], [1e-5] * 4]])
@pytest.mark.parametrize("bits", [1, 4, 8])
def test_a_row_of_tiny_equal_values_beside_larger_ones(table, bits: int) -> None:
    config = UniformConfig(bits=bits, axis="row", scale_bits=16)
    weight = Uniform.from_table(torch.tensor(table), config).weight
    assert (weight[1] - 1e-5).abs().max() <= 3e-8


@pytest.mark.parametrize("seed", range(20))
def test_tables_of_one_column_fit_into_16_bit_scales(seed: int) -> None:
    table = 0.01 * torch.randn(5000, 1, generator=torch.Generator().manual_seed(seed))
    weight = Uniform.from_table(table, _ROWS).weight
    assert ((weight - table).abs() <= 2.0**-11 * table.abs() + 3e-8).all()


def test_shared_rows_of_one_column_are_served_in_8_bits() -> None:
    table = 0.01 * torch.randn(3000, 1, generator=torch.Generator().manual_seed(0))
    found = Saec.from_table(table, SaecConfig(num_rows=200, row_bits=8))
    assert (found.weight - table).abs().max() < 2e-3


def test_advice_names_an_option_that_the_method_has() -> None:
    table = 1e6 * torch.randn(100, 4, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="Use row_bits=32, or scale the table"):
        Saec.from_table(table, SaecConfig(num_rows=10, row_bits=8)).eval().pack()
    with pytest.raises(ValueError, match="Use scale_bits=32, or scale the table"):
        Uniform.from_table(table, _ROWS).eval().pack()
    assert Saec.from_table(table, SaecConfig(num_rows=10, row_bits=32)).eval().pack()


@pytest.mark.parametrize("scale_bits", [16, 32])
@pytest.mark.parametrize("bits", [1, 3, 8])
def test_arrays_and_tensors_give_the_same_grid(bits: int, scale_bits: int) -> None:
    table = (0.1 * np.random.default_rng(bits).standard_normal((300, 7))).astype(np.float32)
    table[5] = 0.25
    low, high = table.min(axis=1, keepdims=True), table.max(axis=1, keepdims=True)
    offset, step = make_grid(low, high, bits, scale_bits, float(np.abs(table).max()))
    by_torch = scalar_grid.make_grid(torch.from_numpy(table), bits, scale_bits, 1)
    assert np.array_equal(offset, by_torch[0].numpy())
    assert np.array_equal(step, by_torch[1].numpy())
    codes = scalar_grid.codes_of(torch.from_numpy(table), *by_torch, bits)
    assert np.array_equal(codes_of(table, offset, step, bits), codes.numpy())


def test_ends_and_codes_are_those_of_plain_arithmetic() -> None:
    generator = np.random.default_rng(0)
    rows = (generator.standard_normal((500, 13)) * 10.0 ** generator.integers(-30, 30, (500, 1))).astype(np.float32)
    rows[3], rows[4] = 0, -2.5
    low, high = ends_of(rows)
    np.testing.assert_array_equal(low, rows.min(axis=1))
    np.testing.assert_array_equal(high, rows.max(axis=1))
    for bits in (1, 4, 8):
        step = (high - low) / np.float32(2**bits - 1)
        for offset, width in ((low[:, None], step[:, None]), (rows[7], np.abs(rows[8])), (low[9], step[9])):
            safe = np.where(width > 0, width, np.float32(1))
            with np.errstate(over="ignore"):
                expected = np.rint((rows - offset) / safe).clip(0, 2**bits - 1)
            np.testing.assert_array_equal(codes_of(rows, offset, width, bits), expected)
