from __future__ import annotations

import numpy as np
import pytest
import torch

from slimtable.artifact.layouts import decode
from slimtable.codecs.base import FitContext, Rows
from slimtable.embeddings.base import get_config, method_of
from slimtable.embeddings.fitting import fit_budget
from slimtable.methods.rabitq import Rabitq, RabitqConfig
from slimtable.methods.tiered import Tiered, TieredConfig
from slimtable.specs import parse_spec

PARTS = {"head": "uniform[bits=8;axis=row]", "tail": "uniform[bits=2;axis=row]"}


def errors(weight: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    return (weight - table).square().sum(dim=1)


def test_the_most_frequent_ids_get_the_finer_method() -> None:
    table, counts = torch.randn(1000, 8), torch.randperm(1000)
    weight = Tiered.from_table(table, TieredConfig(**PARTS, head_share=0.2), frequencies=counts).weight
    head = counts >= 800
    assert errors(weight, table)[head].max() < 0.01
    assert errors(weight, table)[~head].median() > 0.1


@pytest.mark.parametrize("head_rows", [1, 3, 7, 9, 499])
@pytest.mark.parametrize("tail", ["uniform[bits=3;axis=row]", "rabitq[bits=1;gain_bits=16]", "saec[num_rows=3]"])
def test_rows_are_those_of_two_tables(head_rows, tail) -> None:
    """Parts begin inside of bytes: 7 values of 3 bits, or of 1."""
    generator = np.random.default_rng(head_rows)
    table = generator.standard_normal((500 if "saec" not in tail else 513, 7)).astype(np.float32)
    counts = generator.permutation(len(table))
    config = TieredConfig(head="uniform[bits=5;axis=row]", tail=tail, head_rows=head_rows)
    weight = Tiered.from_table(torch.from_numpy(table), config, frequencies=torch.from_numpy(counts)).weight
    head = np.isin(np.arange(len(table)), np.argsort(-counts)[:head_rows])
    for spec, ids in ((config.head, head), (config.tail, ~head)):
        part_config = get_config(*parse_spec(spec))
        part = method_of(part_config).from_table(
            torch.from_numpy(table[ids]), part_config, frequencies=torch.from_numpy(counts[ids])
        )
        torch.testing.assert_close(weight[torch.from_numpy(ids)], part.weight, rtol=0, atol=0)


def test_a_threshold_splits_by_frequency() -> None:
    table, counts = torch.randn(300, 8), torch.randint(20, (300,))
    config = TieredConfig(**PARTS, min_frequency=10)
    embedding = Tiered.from_table(table, config, frequencies=counts)
    assert errors(embedding.weight, table)[counts >= 10].max() < 0.01
    assert embedding.bits() == config.table_bits(300, 8, counts.numpy())
    with pytest.raises(ValueError, match="needs frequencies"):
        Tiered.from_table(table, config).pack()


def test_without_frequencies_the_first_ids_are_the_head_and_no_flags_are_stored() -> None:
    table = torch.randn(100, 8)
    embedding = Tiered.from_table(table, TieredConfig(**PARTS, head_share=0.1))
    assert "tiers" not in embedding.pack().arrays
    assert errors(embedding.weight, table)[:10].max() < 0.01
    flagged = Tiered.from_table(table, embedding.config, frequencies=torch.arange(100))
    assert flagged.bits() == embedding.bits() + 100


@pytest.mark.parametrize("budget", ["5x", "6x", "8x", "10x"])
def test_a_budget_is_filled_to_a_row(budget) -> None:
    frequencies = np.random.default_rng(0).zipf(1.5, 10_000).clip(max=10**6)
    config = fit_budget(TieredConfig(**PARTS), budget, 10_000, 64, frequencies)
    limit = 32 * 10_000 * 64 / float(budget[:-1])
    assert limit - 8 * 64 < config.table_bits(10_000, 64, frequencies) <= limit


def test_an_empty_head_or_tail_is_a_table_of_one_method() -> None:
    table = torch.randn(50, 8)
    for rows, spec in ((0, RabitqConfig(bits=2, gain="least_squares")), (50, RabitqConfig(bits=4))):
        embedding = Tiered.from_table(table, TieredConfig(head_rows=rows))
        assert embedding.pack().layout == "quantized"
        assert torch.equal(embedding.weight, Rabitq.from_table(table, spec).weight)
        assert embedding.bits() == spec.table_bits(50, 8)


def test_the_padding_row_may_be_in_either_part() -> None:
    for padding in (0, 99):
        table = 5 + torch.rand(100, 4)
        table[padding] = 0
        weight = Tiered.from_table(table, TieredConfig(**PARTS, head_share=0.3), padding_idx=padding).weight
        assert not weight[padding].any()
        assert (weight - table).abs().max() < 0.2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"head": "tiered"}, "without tiers"),
        ({"tail": "zip"}, "no method 'zip'"),
        ({"head": "uniform[bits=9]"}, "bits"),
        ({"head_rows": 3, "min_frequency": 2}, "not both"),
        ({"head_share": 1.0}, "head_share"),
    ],
)
def test_impossible_options(options, said) -> None:
    with pytest.raises(ValueError, match=said):
        TieredConfig(**options)


def test_parts_without_codecs_or_with_tiers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"TieredConfig.tail` must be a method with a codec"):
        Tiered(50, 8, TieredConfig(tail="double_hash"))
    table = np.random.default_rng(0).standard_normal((100, 8)).astype(np.float32)
    config = TieredConfig(tail="mgqe[codebook_sizes=[4,2];num_codebooks=2]")
    with pytest.raises(ValueError, match="tiers of its own"):
        config.codec(100, 8).compress(Rows(table), FitContext())


@pytest.mark.parametrize("tail", ["dpq[num_codebooks=1;codebook_size=8]", "svd[rank=1]", "magnitude", "ternary"])
def test_a_part_may_have_fewer_rows_than_fill_a_byte(tail) -> None:
    table = np.random.default_rng(0).standard_normal((7, 5)).astype(np.float32)
    codec = TieredConfig(head="full", tail=tail, head_share=0.3).codec(*table.shape)
    packed = codec.compress(Rows(table), FitContext(np.arange(7)))
    ids = [0, 1, 2, 3, 4]
    alone = get_config(*parse_spec(tail)).codec(5, 5).compress(Rows(table[ids]))
    assert np.array_equal(decode(packed, ids), decode(alone, ids))
    assert np.array_equal(decode(packed, [5, 6]), table[5:])


def test_a_head_coarser_than_the_tail_fills_a_budget() -> None:
    config = fit_budget(TieredConfig(head=PARTS["tail"], tail=PARTS["head"]), "6x", 10_000, 64)
    limit = 32 * 10_000 * 64 / 6
    assert limit - 8 * 64 < config.table_bits(10_000, 64) <= limit
