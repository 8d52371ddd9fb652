"""Saec: ids whose trained rows are alike share a row, within a budget, and keep it from window to window."""

from __future__ import annotations

import pytest
import torch

from slimtable.embeddings.base import create, get_config
from slimtable.errors import BudgetError
from slimtable.methods.full import Full
from slimtable.methods.saec import Saec, SaecConfig
from tests.codecs.quantize.samples import make_vectors

VECTORS, COUNTS = (torch.from_numpy(each) for each in make_vectors(3000, width=8))


def error(table: Saec, vectors: torch.Tensor = VECTORS, counts: torch.Tensor = COUNTS) -> float:
    squares = (table.weight - vectors).square().sum(dim=1).double()
    return float((squares * counts).sum() / counts.sum())


def taken(config: SaecConfig, vectors: torch.Tensor = VECTORS, counts: torch.Tensor = COUNTS, **options) -> Saec:
    return Saec.from_table(vectors, config, frequencies=counts, **options)


def test_rows_that_are_alike_share_one() -> None:
    kinds = torch.randn(12, 8)
    table = kinds[torch.randint(12, (400,))]
    found = Saec.from_table(table, SaecConfig(num_rows=12))
    torch.testing.assert_close(found.weight, table)


@pytest.mark.parametrize(
    "options",
    [{}, {"stages": 2}, {"row_bits": 8}, {"stages": 3, "row_bits": 4, "head": 0.2}, {"min_frequency": 4}],
    ids=str,
)
@pytest.mark.parametrize("budget", ["6%", "7kB"])
def test_the_budget_is_used_up_and_never_passed(options, budget) -> None:
    config = SaecConfig(budget=budget, **options)
    table = taken(config)
    allowed = 0.06 * 32 * VECTORS.numel() if budget == "6%" else 8 * 7000
    rows = sum(len(shared) for shared in table.tables())
    assert table.bits() == config.bits_of_rows(rows, 3000, 8) <= allowed
    assert config.bits_of_rows(rows + 1, 3000, 8) > allowed
    assert create(config, 3000, 8).bits() == table.bits()


def test_frequent_ids_are_served_better_by_frequency() -> None:
    weighted, even = taken(SaecConfig(num_rows=60)), Saec.from_table(VECTORS, SaecConfig(num_rows=60))
    assert error(weighted) < 0.8 * error(even)


def test_the_head_has_rows_of_its_own() -> None:
    table = taken(SaecConfig(num_rows=100, head=0.3))
    top = COUNTS.argsort(descending=True)[:25]
    torch.testing.assert_close(table.weight[top], VECTORS[top])
    own = table.row_map(0)[top]
    assert (torch.isin(table.row_map(0), own).sum()) == 25


def test_the_head_is_exact_with_stages_too() -> None:
    table = taken(SaecConfig(num_rows=100, head=0.3, stages=2))
    top = COUNTS.argsort(descending=True)[:12]
    torch.testing.assert_close(table.weight[top], VECTORS[top], rtol=1e-4, atol=1e-5)


def test_stages_say_more_with_as_many_rows() -> None:
    errors = [error(taken(SaecConfig(num_rows=120, stages=stages))) for stages in (1, 2)]
    assert errors[1] < 0.7 * errors[0]


@pytest.mark.parametrize("row_bits", [32, 8, 4])
def test_stages_that_are_improved_together_say_more(row_bits: int) -> None:
    options = {"num_rows": 40, "stages": 10, "row_bits": row_bits}
    tables = [taken(SaecConfig(beam=beam, **options)).eval() for beam in (1, 16)]
    assert tables[0].bits() == tables[1].bits()
    assert error(tables[1]) < 0.85 * error(tables[0])


def test_rare_ids_share_a_row() -> None:
    table = taken(SaecConfig(num_rows=50, min_frequency=3))
    rows = table.row_map(0)[COUNTS < 3]
    assert (rows == 0).all()
    assert (table.row_map(0)[COUNTS >= 3] > 0).all()
    with pytest.raises(ValueError, match="needs frequencies"):
        Saec.from_table(VECTORS, SaecConfig(num_rows=50, min_frequency=3))


def test_padding_takes_no_part() -> None:
    vectors = VECTORS[:200] + 20
    vectors[5] = 0
    found = Saec.from_table(vectors, SaecConfig(num_rows=10), padding_idx=5)
    assert not found.weight[5].any()
    assert min(float(shared.detach().min()) for shared in found.tables()) > 5  # no centroid near its zeros


@pytest.mark.parametrize("options", [{}, {"head": 0.3}, {"stages": 2}, {"min_frequency": 2}], ids=str)
def test_a_later_table_keeps_what_was_published(options) -> None:
    config = SaecConfig(num_rows=100, hysteresis=0.2, **options)
    first = taken(config, VECTORS[:2500], COUNTS[:2500])
    later = VECTORS + 0.02 * VECTORS.std() * torch.randn(VECTORS.shape)
    again, anew = taken(config, later, previous=first), taken(config, later)
    for stage in range(config.stages):
        kept = (again.row_map(stage)[:2500] == first.row_map(stage)).float().mean()
        assert kept > (0.9 if stage == 0 else 0.7)
        assert kept > (anew.row_map(stage)[:2500] == first.row_map(stage)).float().mean() + 0.3
    assert error(again, later) < 1.4 * error(anew, later)


def test_a_table_that_grows_under_a_share_gets_more_rows() -> None:
    config = SaecConfig(budget="20%")
    first = taken(config, VECTORS[:2500], COUNTS[:2500])
    again = taken(config, previous=first)
    assert len(again.tables()[0]) > len(first.tables()[0])
    assert (again.row_map(0)[:2500] == first.row_map(0)).float().mean() > 0.8


def test_other_tables_are_passed_over_and_larger_ones_refused() -> None:
    config = SaecConfig(num_rows=20)
    plain = taken(config)
    full = Full.from_table(VECTORS)
    assert torch.equal(taken(config, previous=full).weight, plain.weight)
    with pytest.raises(ValueError, match="added at the end"):
        taken(config, VECTORS[:100], COUNTS[:100], previous=plain)


def test_the_rows_train_on() -> None:
    table = taken(SaecConfig(num_rows=50)).train()
    maps, before = table.row_map(0).clone(), error(table)
    optimizer = torch.optim.Adam(table.parameters(), lr=0.01)
    target = VECTORS + 1
    for _ in range(50):
        optimizer.zero_grad()
        (table(torch.arange(3000)) - target).square().mean().backward()
        optimizer.step()
    assert torch.equal(table.row_map(0), maps)
    assert error(table.eval(), target) < before + 8 * 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": "12rows"}, "not a budget"),
        ({"budget": ""}, "not a budget"),
        ({"num_rows": 0}, "num_rows"),
        ({"num_rows": 2, "stages": 3}, "stages"),
        ({"stages": 33}, "must be 1 to 32"),
        ({"beam": 0}, "beam"),
        ({"head": 1.0}, "head"),
        ({"hysteresis": -0.1}, "hysteresis"),
    ],
    ids=str,
)
def test_impossible_options(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        get_config("saec", options)


def test_nothing_to_share_is_said() -> None:
    with pytest.raises(ValueError, match="Use method full"):
        create(SaecConfig(num_rows=30), 30, 8)
    with pytest.raises(BudgetError, match="smallest budget is"):
        Saec.from_table(torch.randn(5, 2), SaecConfig(budget="4%"))


def test_the_smallest_budget_that_a_message_says_is_enough() -> None:
    table = torch.randn(40, 2)
    with pytest.raises(BudgetError) as caught:
        Saec.from_table(table, SaecConfig(budget="2%"))
    least = str(caught.value).rsplit("smallest budget is ", 1)[1].split(";")[0].replace(",", "")
    assert Saec.from_table(table, SaecConfig(budget=least)).weight.shape == (40, 2)


def test_sizes_by_hand() -> None:
    """10 million ids of width 16 at 4 % have a map of 17 bits, and rows of 512 bits for what is left."""
    budget = 0.04 * 32 * 16 * 10**7
    rows = SaecConfig().rows_within(budget, 10**7, 16)
    assert rows == (budget - 17 * 10**7) // 512 == 67_968


def test_directions_that_cost_more_are_served_better() -> None:
    """Two columns vary alike, but errors of the second cost a hundred times as much."""
    table = torch.randn(2000, 2)
    metric = torch.diag(torch.tensor([1.0, 100.0]))
    config = SaecConfig(num_rows=16)
    plain = (Saec.from_table(table, config).weight - table).square().mean(0)
    weighed = (Saec.from_table(table, config, metric=metric).weight - table).square().mean(0)
    assert weighed[1] < 0.3 * plain[1]
    assert weighed @ metric.diagonal() < 0.5 * (plain @ metric.diagonal())


def test_a_metric_that_weighs_all_alike_changes_nothing() -> None:
    table = torch.randn(300, 4)
    config = SaecConfig(num_rows=20, stages=2, head=0.2)
    plain, weighed = Saec.from_table(table, config), Saec.from_table(table, config, metric=7 * torch.eye(4))
    torch.testing.assert_close(plain.weight, weighed.weight, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "metric", [torch.eye(3), torch.full((4, 4), float("nan")), torch.diag(torch.tensor([1.0, 1.0, 1.0, -1.0]))]
)
def test_what_is_no_metric_is_refused(metric: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="metric of errors"):
        Saec.from_table(torch.randn(30, 4), SaecConfig(num_rows=5), metric=metric)


def test_a_later_table_keeps_its_rows_in_the_coordinates_of_a_metric() -> None:
    table = torch.randn(500, 4)
    metric = torch.diag(torch.tensor([1.0, 5.0, 25.0, 125.0]))
    config = SaecConfig(num_rows=30)
    first = Saec.from_table(table, config, metric=metric)
    again = Saec.from_table(table, config, metric=metric, previous=first)
    moved = (first.row_map(0) != again.row_map(0)).float().mean()
    assert moved < 0.05


@pytest.mark.parametrize("head", [0.0, 0.5])
@pytest.mark.parametrize("usual", [0, 1, 4])
def test_stages_may_have_more_rows_than_there_are_ids_that_are_not_rare(usual: int, head: float) -> None:
    vectors, counts = VECTORS[:60], torch.ones(60)
    counts[:usual] = 9
    config = SaecConfig(num_rows=12, stages=2, min_frequency=5, head=head)
    table = taken(config, vectors, counts)
    torch.testing.assert_close(table.weight[:usual], vectors[:usual], rtol=0, atol=1e-5)
    again = taken(config, vectors, counts, previous=table)
    torch.testing.assert_close(again.weight[:usual], vectors[:usual], rtol=0, atol=1e-5)
