"""QR: remainder and quotient tell ids apart with few rows; products, sums and joins of two rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from slimtable.data.interactions.interactions import Interactions
from slimtable.embeddings.base import create
from slimtable.errors import BudgetError
from slimtable.grouping.row_map import Hash, Quotient
from slimtable.methods.qr import QR, QRConfig
from slimtable.models.base import build

WAYS = ("mult", "sum", "concat")


def pairs_of(table: QR) -> int:
    """How many different pairs of rows there are."""
    return len(torch.unique(torch.stack([table.row_map(0), table.row_map(1)]), dim=1).T)


@pytest.mark.parametrize("num_embeddings", [1, 2, 3, 7, 50, 997, 5000])
@pytest.mark.parametrize("options", [{}, {"rows": "1%"}, {"rows": "60%", "combine": "concat"}, {"divisor": 1}])
def test_every_id_has_its_own_pair(num_embeddings, options) -> None:
    table = create(QRConfig(**options), num_embeddings, 4)
    assert pairs_of(table) == num_embeddings
    for term in (0, 1):  # no row is idle
        assert len(torch.unique(table.row_map(term))) == len(table.tables()[term])


def test_other_divisors_lose_pairs() -> None:
    remainders = Hash(count=10).rows(100)
    for divisor, pairs in ((10, 100), (20, 50), (11, 91)):
        quotients = Quotient(divisor).rows(100)
        assert len(np.unique(np.stack([remainders, quotients]), axis=1).T) == pairs


@pytest.mark.parametrize("num_embeddings", [5, 60, 1001, 4096])
def test_rows_are_as_many_as_allowed_and_the_divisor_the_largest(num_embeddings) -> None:
    fewest = min(m + math.ceil(num_embeddings / m) for m in range(1, num_embeddings + 1))
    for num_rows in {fewest, num_embeddings // 2, num_embeddings}:
        if num_rows < fewest:
            with pytest.raises(ValueError, match=f"num_rows`={num_rows} is too few .* Use at least {fewest}"):
                create(QRConfig(num_rows=num_rows), num_embeddings, 4)
        elif num_rows <= num_embeddings:
            fits = [m for m in range(1, num_embeddings + 1) if m + math.ceil(num_embeddings / m) <= num_rows]
            table = create(QRConfig(num_rows=num_rows), num_embeddings, 4)
            assert len(table.tables()[0]) == max(fits)
            assert table.bits() <= 32 * 4 * num_rows
    assert sum(QRConfig().shapes(num_embeddings, 1)) == fewest


@pytest.mark.parametrize("combine", WAYS)
def test_rows_are_what_two_rows_make(combine) -> None:
    table = create(QRConfig(combine=combine, divisor=20, init_std=1.0), 100, 8).eval()
    remainders, quotients = (rows.detach() for rows in table.tables())
    ids = torch.arange(100)
    left, right = remainders[ids % 20], quotients[ids // 20]
    made = {"mult": left * right, "sum": left + right, "concat": torch.cat([left, right], 1)}
    assert torch.equal(table.weight, made[combine])
    assert table.bits() == 32 * 25 * (4 if combine == "concat" else 8)


def test_products_begin_at_the_scale_of_a_full_table() -> None:
    torch.manual_seed(0)
    weight = create(QRConfig(init_std=0.1), 20_000, 8).weight
    assert abs(float(weight.std()) / 0.1 - 1) < 0.05
    assert abs(float(weight.mean())) < 0.01


def test_a_table_of_products_is_recovered() -> None:
    torch.manual_seed(1)
    made = create(QRConfig(divisor=12, init_std=1.0), 100, 6).weight
    taken = QR.from_table(made, QRConfig(divisor=12))
    torch.testing.assert_close(taken.weight, made, rtol=1e-3, atol=1e-4)


def test_frequent_ids_are_fitted_better_and_alternating_beats_one_round() -> None:
    torch.manual_seed(2)
    table, counts = torch.randn(400, 8), torch.ones(400)
    counts[:40] = 1000
    order = torch.randperm(400)
    table, counts = table[order], counts[order]

    def error(weights: torch.Tensor | None) -> torch.Tensor:
        fitted = QR.from_table(table, QRConfig(num_rows=100), frequencies=weights)
        return (fitted.weight - table).square().mean(1)

    plain, weighted = error(None), error(counts)
    assert weighted[counts > 1].mean() < 0.7 * plain[counts > 1].mean()
    means = torch.zeros(95, 8).index_add_(0, torch.arange(400) % 95, table)
    means /= torch.bincount(torch.arange(400) % 95).unsqueeze(1)
    assert plain.mean() < (means[torch.arange(400) % 95] - table).square().mean()


@pytest.mark.parametrize("sparse", [False, True])
def test_gradients_are_those_of_the_product(sparse) -> None:
    table = create(QRConfig(divisor=20, init_std=1.0), 100, 4).train()
    table.sparse = sparse
    ids, wanted = torch.tensor([3, 3, 23, 99]), torch.randn(4, 4)
    (table(ids) * wanted).sum().backward()
    quotients = table.tables()[1].detach()
    expected = torch.zeros(20, 4).index_add_(0, ids % 20, wanted * quotients[ids // 20])
    got = table.tables()[0].grad
    assert got is not None
    assert got.is_sparse == sparse
    torch.testing.assert_close(got.to_dense(), expected)


@pytest.mark.parametrize("combine", WAYS)
def test_a_state_brings_its_sizes_and_maps(combine) -> None:
    trained = create(QRConfig(combine=combine, divisor=30), 100, 4).eval()
    other = create(QRConfig(combine=combine), 100, 4).eval()
    other.load_state_dict(trained.state_dict())
    assert torch.equal(other.weight, trained.weight)
    broken = trained.state_dict()
    broken["terms"] = broken["terms"].clone()
    broken["terms"][1, -1] = 3  # quotients by 3 lead beyond the 4 rows
    with pytest.raises(RuntimeError, match="names row 33 of 4"):
        other.load_state_dict(broken)


@pytest.mark.parametrize("combine", WAYS)
def test_byte_budgets_are_never_passed(combine) -> None:
    users, items = np.arange(6000) % 900, np.arange(6000) * 7 % 400
    data = Interactions.from_raw(users, items)
    counts = {"user": data.user_counts(), "item": data.item_counts()}

    def bits(budget: str) -> int:
        model = build("bprmf", 900, 400, 16, QRConfig(combine=combine, budget=budget), counts=counts, train=data)
        return sum(table.bits() for table in model.embeddings().values())

    assert 0.9 * 8 * 20_000 < bits("20kB") <= 8 * 20_000
    with pytest.raises(BudgetError):
        bits("2kB")


@pytest.mark.parametrize(
    ("options", "dim", "message"),
    [
        ({"combine": "concat"}, 7, "embedding_dim=7 is odd"),
        ({"divisor": 101}, 8, "divisor` must be at most num_embeddings=100"),
        ({"divisor": 0}, 8, "divisor` must be at least 1"),
        ({"divisor": 5, "num_rows": 30}, 8, "set one"),
        ({"combine": "concat", "num_rows": 9}, 8, "Use at least 10"),
        ({"combine": "times"}, 8, "combine"),
    ],
)
def test_bad_options_say_what_to_do(options, dim, message) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        create(QRConfig(**options), 100, dim)
