from __future__ import annotations

import numpy as np
import pytest
import torch

from slimtable.artifact.layouts import exact_bits
from slimtable.codecs.base import Rows
from slimtable.codecs.low_rank import LowRank
from slimtable.methods.svd import SVD, SVDConfig


def of_spectrum(values: list[float]) -> torch.Tensor:
    """A table with given singular values."""
    left, _ = torch.linalg.qr(torch.randn(200, len(values)))
    right, _ = torch.linalg.qr(torch.randn(len(values), len(values)))
    return left @ torch.diag(torch.tensor(values)) @ right


SPECTRUM = [10.0, 5.0, 3.0, 2.0, 1.0, 0.1, 0.1, 0.1]


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_error_is_the_least_of_all_tables_of_the_rank(rank) -> None:
    table = of_spectrum(SPECTRUM)
    weight = SVD.from_table(table, SVDConfig(rank=rank)).weight
    lost = sum(value**2 for value in SPECTRUM[rank:])  # Eckart–Young
    assert float((weight - table).square().sum()) == pytest.approx(lost, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize(("energy", "rank"), [(0.5, 1), (0.8, 2), (0.95, 3), (0.99, 4), (0.9999, 7)])
def test_the_rank_keeps_a_share_of_the_energy_and_no_smaller_one_does(energy, rank) -> None:
    table = of_spectrum(SPECTRUM)
    embedding = SVD.from_table(table, SVDConfig(select="energy", energy=energy))
    assert embedding.pack().arrays["right"].shape == (rank, 8)
    assert embedding.weight.square().sum() >= energy * table.square().sum()
    assert embedding.bits() == exact_bits(embedding.pack()) <= embedding.config.table_bits(200, 8)


@pytest.mark.parametrize(("strength", "rank"), [(0.01, 5), (0.1, 3), (1.0, 1)])
def test_the_nuclear_norm_drops_singular_values_below_its_threshold(strength, rank) -> None:
    mean = sum(value**2 for value in SPECTRUM) / 8
    assert rank == sum(value**2 >= 4 * strength * mean for value in SPECTRUM)
    embedding = SVD.from_table(of_spectrum(SPECTRUM), SVDConfig(select="nuclear", strength=strength))
    assert embedding.pack().arrays["right"].shape == (rank, 8)


def test_chosen_ranks_never_make_a_table_larger() -> None:
    for config in (SVDConfig(select="energy", energy=1.0), SVDConfig(select="nuclear", strength=1e-9)):
        embedding = SVD.from_table(torch.randn(40, 8), config)
        assert embedding.bits() < 32 * 40 * 8
        zeros = SVD.from_table(torch.zeros(40, 8), config)
        assert not zeros.weight.any()


def test_factors_of_16_bits_are_half_as_large_and_refuse_values_that_overflow() -> None:
    table = of_spectrum(SPECTRUM)
    exact, half = (SVD.from_table(table, SVDConfig(rank=4, factor_bits=bits)) for bits in (32, 16))
    assert 2 * half.bits() == exact.bits()
    torch.testing.assert_close(half.weight, exact.weight, rtol=0, atol=0.01)
    with pytest.raises(ValueError, match="factor_bits=32"):
        SVD.from_table(1e6 * table, half.config).pack()


@pytest.mark.parametrize(
    ("options", "said"), [({"rank": 9}, "1 to embedding_dim=8, got 9"), ({"rank": 2, "select": "energy"}, "Drop one")]
)
def test_impossible_options(options, said) -> None:
    with pytest.raises(ValueError, match=said):
        SVD(20, 8, SVDConfig(**options))


@pytest.mark.parametrize("rank", [1, 9, 40])
def test_no_row_depends_on_its_block(rank) -> None:
    rows = Rows(np.random.default_rng(0).standard_normal((301, 65)).astype(np.float32))
    fitted = LowRank(rank).fit(rows)
    whole = fitted.encode(rows.read(0, 301), 0).arrays["left"]
    for size in (1, 8, 100):
        parts = [fitted.encode(block, first).arrays["left"] for first, block in rows.blocks(size=size)]
        assert np.array_equal(np.concatenate(parts), whole)
