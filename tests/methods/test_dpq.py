from __future__ import annotations

import pytest
import torch

from slimtable.methods.dpq import DPQ, DPQConfig


def test_rows_are_centroids() -> None:
    embedding = DPQ(30, 6, DPQConfig(num_codebooks=3, codebook_size=4))
    codebook = embedding.quantizers[0].codebook
    rows = embedding.weight.reshape(30, 3, 2)
    for m in range(3):
        assert (rows[:, m].unsqueeze(1) == codebook[m]).all(2).any(1).all()


def test_subspaces_must_divide_the_dimension() -> None:
    with pytest.raises(ValueError, match=r"must divide embedding_dim=50, got 8\. Use 1, 2, 5, 10, 25 or 50\."):
        DPQ(10, 50, DPQConfig(num_codebooks=8))


@pytest.mark.parametrize("size", [0, 1, 65_537])
def test_codebook_size_limits(size) -> None:
    with pytest.raises(ValueError, match="2 to 65536"):
        DPQConfig(codebook_size=size)


def test_large_codebooks_use_wide_codes() -> None:
    embedding = DPQ.from_table(torch.randn(700, 4), DPQConfig(num_codebooks=2, codebook_size=600))
    assert embedding.bits() == 700 * 2 * 10 + 32 * 600 * 4
    assert (embedding.weight - embedding.table).square().mean() < 0.02


def test_sharing_subspaces_stores_one_set_of_centroids() -> None:
    one = DPQ(30, 6, DPQConfig(num_codebooks=3, codebook_size=4, share_subspaces=True))
    many = DPQ(30, 6, DPQConfig(num_codebooks=3, codebook_size=4))
    assert many.bits() - one.bits() == 32 * 2 * 4 * 2
