from __future__ import annotations

import numpy as np
import pytest
import torch

from slimtable.codecs.base import Rows
from slimtable.codecs.magnitude import Magnitude as MagnitudeCodec
from slimtable.embeddings.fitting import fit_budget
from slimtable.methods.magnitude import Magnitude, MagnitudeConfig


@pytest.mark.parametrize("keep", [0.01, 0.25, 0.5, 1.0])
def test_the_largest_values_are_kept_within_half_a_step(keep) -> None:
    table = torch.randn(200, 16) * torch.logspace(-1, 1, 200).unsqueeze(1)
    weight = Magnitude.from_table(table, MagnitudeConfig(keep=keep)).weight
    count = round(keep * table.numel())
    kept = table.abs() >= table.abs().flatten().sort(descending=True).values[count - 1]
    assert int(kept.sum()) == count
    assert not weight[~kept].any()
    half_step = 0.5 * (table.abs() * kept).amax(dim=1, keepdim=True) / 127 * 1.01
    assert ((weight - table).abs() <= half_step + 1e-6)[kept].all()


@pytest.mark.parametrize("keep", [0.001, 0.3, 0.7, 1.0])
def test_the_size_is_exact_with_equal_and_zero_values(keep) -> None:
    for table in (torch.ones(30, 8), torch.zeros(30, 8), torch.eye(30)):
        embedding = Magnitude.from_table(table, MagnitudeConfig(keep=keep))
        assert len(embedding.pack().arrays["values"]) == round(keep * table.numel())
        assert int((embedding.weight != 0).sum()) <= round(keep * table.numel())


def test_of_equal_values_the_first_are_kept_whatever_the_blocks() -> None:
    table = np.tile(np.array([[1, -1, 2]], np.float32), (100, 1))
    rows, codec = Rows(table), MagnitudeCodec(0.5)
    fitted = codec.fit(rows)
    packed = fitted.pack([fitted.encode(block, first) for first, block in rows.blocks(size=8)])
    bitmap = np.unpackbits(packed.arrays["bitmap"], bitorder="little")[:300].reshape(100, 3)
    assert bitmap[:, 2].all()
    assert bitmap[:25].all()
    assert not bitmap[25:, :2].any()


def test_a_budget_is_filled_closely() -> None:
    config = fit_budget(MagnitudeConfig(), "10x", 10_000, 64)
    limit = 32 * 10_000 * 64 / 10
    assert 0.97 * limit < config.table_bits(10_000, 64) <= limit


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_steps_that_16_bits_cannot_hold_are_refused(scale) -> None:
    with pytest.raises(ValueError, match="Scale the table"):
        Magnitude.from_table(scale * torch.randn(9, 4)).pack()


@pytest.mark.parametrize("keep", [0.0, 1.5])
def test_impossible_options(keep) -> None:
    with pytest.raises(ValueError, match=r"MagnitudeConfig\.keep"):
        MagnitudeConfig(keep=keep)


def test_the_largest_step_is_stored_or_refused() -> None:
    for largest in (127 * 65472, 127 * 65504):
        table = torch.full((2, 3), float(largest))
        if largest == 127 * 65504:  # rounded up, its step is infinite
            with pytest.raises(ValueError, match="Scale the table"):
                Magnitude.from_table(table).pack()
        else:
            weight = Magnitude.from_table(table, MagnitudeConfig(keep=1.0)).weight
            torch.testing.assert_close(weight, table, rtol=1e-2, atol=0)
