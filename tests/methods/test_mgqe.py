from __future__ import annotations

import pytest
import torch

from slimtable.embeddings.base import get_config
from slimtable.methods.dpq import DPQ, DPQConfig
from slimtable.methods.mgqe import MGQE, MGQEConfig
from slimtable.models.base import build


def test_one_tier_is_dpq() -> None:
    torch.manual_seed(1)
    mgqe = MGQE(30, 6, MGQEConfig(codebook_sizes=(8,), tier_fractions=(1.0,), num_codebooks=3))
    torch.manual_seed(1)
    dpq = DPQ(30, 6, DPQConfig(codebook_size=8, num_codebooks=3))
    assert torch.equal(mgqe.weight, dpq.weight)
    assert mgqe.bits() == dpq.bits()


def test_head_rows_are_kept_better_than_tail_rows() -> None:
    table = torch.randn(1000, 8)
    embedding = MGQE.from_table(table, MGQEConfig(codebook_sizes=(64, 4)))
    error = (embedding.weight - table).square().mean(1)
    assert error[:100].mean() < 0.25 * error[100:].mean()


def test_frequencies_choose_the_head() -> None:
    table = torch.randn(1000, 8)
    frequencies = torch.arange(1000)
    embedding = MGQE.from_table(table, MGQEConfig(codebook_sizes=(64, 4)), frequencies=frequencies)
    error = (embedding.weight - table).square().mean(1)
    assert error[-100:].mean() < 0.25 * error[:-100].mean()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"codebook_sizes": [256]}, "one codebook size per tier"),
        ({"codebook_sizes": []}, "one codebook size per tier"),
        ({"tier_fractions": [0.5, 0.6]}, "sum to 1"),
        ({"tier_fractions": [1.5, -0.5]}, "positive"),
        ({"num_codebooks": [4, 2]}, "share_codebook to false"),
        ({"num_codebooks": [4, 2, 1]}, "one per tier"),
        ({"codebook_sizes": [256, 1]}, "2 to 65536"),
    ],
)
def test_impossible_options(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        MGQEConfig.from_dict(options)


def test_wrong_types_are_named() -> None:
    with pytest.raises(TypeError, match=r"codebook_sizes.*a list of an integer"):
        MGQEConfig.from_dict({"codebook_sizes": "many"})
    assert MGQEConfig.from_dict({"codebook_sizes": [256.0, 64]}) == MGQEConfig()


@pytest.mark.parametrize(("model_name", "bits"), [("gmf", 1_760_128), ("neumf", 3_520_256), ("sasrec", 645_120)])
def test_the_compact_preset_is_a_tenth_of_the_tables_of_movielens(model_name, bits) -> None:
    model = build(model_name, 6040, 3416, 64, get_config("mgqe", {"preset": "compact"}))
    tables = model.embeddings().values()
    assert sum(table.bits() for table in tables) == bits
    assert bits <= 0.1 * sum(table.dense_bits for table in tables)


def test_presets_are_overridden_and_unknown_ones_refused() -> None:
    config = get_config("mgqe", {"preset": "compact", "dense_epochs": 30})
    assert (config.codebook_sizes, config.dense_epochs) == ((32, 8, 4), 30)
    with pytest.raises(ValueError, match=r"mgqe has no preset 'tiny'\. Its presets: compact"):
        get_config("mgqe", {"preset": "tiny"})
    with pytest.raises(ValueError, match=r"full has no preset 'compact'\. Its presets: none"):
        get_config("full", {"preset": "compact"})
