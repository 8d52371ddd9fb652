"""Budgets over fields are kept, and well spent."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from slimtable.embeddings.base import method_of
from slimtable.errors import BudgetError
from slimtable.methods.full import FullConfig
from slimtable.methods.saec import SaecConfig
from slimtable.methods.uniform import UniformConfig
from slimtable.training.field_allocation import allocate
from tests.codecs.quantize.samples import make_vectors

SIZES = (1, 3, 40, 500, 3000)
TABLES, COUNTS = {}, {}
for _size in SIZES:
    TABLES[str(_size)], COUNTS[str(_size)] = make_vectors(_size, width=4, centres=max(1, _size // 20), seed=_size)
DENSE = sum(32 * table.size for table in TABLES.values())


def compressed(configs):
    return {
        name: method_of(config).from_table(
            torch.from_numpy(TABLES[name]), config, frequencies=torch.from_numpy(COUNTS[name])
        )
        for name, config in configs.items()
    }


@given(
    share=st.floats(0.07, 1.2),
    rule=st.sampled_from(["gain", "power"]),
    stages=st.integers(1, 2),
    row_bits=st.sampled_from([32, 16, 8]),
)
@settings(max_examples=30)
def test_never_more_than_the_budget_and_nearly_all_of_it(share, rule, stages, row_bits) -> None:
    config = SaecConfig(stages=stages, row_bits=row_bits)
    configs = allocate(TABLES, COUNTS, share * DENSE, config, rule=rule)
    sizes = {
        name: method_of(own)(*TABLES[name].shape, own, frequencies=torch.from_numpy(COUNTS[name])).bits()
        for name, own in configs.items()
    }
    spent = sum(sizes.values())
    assert spent <= share * DENSE
    # Where values are narrow, all rows there can be may cost less than the budget.
    most = all(
        not isinstance(own, SaecConfig) or own.num_rows == len(TABLES[name]) - 1 for name, own in configs.items()
    )
    assert most or spent >= 0.95 * share * DENSE
    assert all(sizes[name] <= 32 * table.size for name, table in TABLES.items())


@pytest.mark.parametrize("share", [0.06, 0.12])
def test_gain_serves_requests_better_than_power(share: float) -> None:
    errors = {}
    for rule in ("gain", "power"):
        tables = compressed(allocate(TABLES, COUNTS, share * DENSE, SaecConfig(), rule=rule))
        errors[rule] = sum(
            float(((tables[name].weight.numpy() - TABLES[name]) ** 2).sum(axis=1) @ COUNTS[name]) for name in TABLES
        )
    assert errors["gain"] < errors["power"]


def test_the_smallest_budget_is_what_the_message_says() -> None:
    with pytest.raises(BudgetError, match="smallest budget is") as caught:
        allocate(TABLES, COUNTS, 100, SaecConfig())
    least = 8 * int(str(caught.value).rsplit("is ", 1)[1].split()[0].replace(",", ""))
    assert len(allocate(TABLES, COUNTS, least, SaecConfig())) == len(TABLES)
    with pytest.raises(BudgetError):
        allocate(TABLES, COUNTS, least - 8, SaecConfig())


def test_all_that_is_asked_for_is_full() -> None:
    assert all(isinstance(own, FullConfig) for own in allocate(TABLES, COUNTS, DENSE, SaecConfig()).values())


def test_fields_that_are_seen_have_the_rows() -> None:
    """Two fields of the same vectors: the one that requests ask for a hundred times as often has more."""
    vectors, counts = make_vectors(2000, width=4)
    tables, often = {"busy": vectors, "idle": vectors}, {"busy": 100 * counts, "idle": counts}
    configs = allocate(tables, often, 0.2 * 64 * vectors.size, SaecConfig())
    assert configs["busy"].num_rows > 1.5 * configs["idle"].num_rows


def test_fields_whose_errors_cost_more_have_the_rows() -> None:
    vectors, counts = make_vectors(2000, width=4)
    tables, often = {"dear": vectors, "cheap": vectors}, {"dear": counts, "cheap": counts}
    costs = {"dear": 100 * np.eye(4), "cheap": np.eye(4)}
    configs = allocate(tables, often, 0.2 * 64 * vectors.size, SaecConfig(), sensitivity=costs)
    assert configs["dear"].num_rows > 1.5 * configs["cheap"].num_rows
    with pytest.raises(ValueError, match="cheap have no sensitivity"):
        allocate(tables, often, DENSE, SaecConfig(), sensitivity={"dear": np.eye(4)})


def test_stages_are_chosen_where_they_leave_less_error() -> None:
    """Sums of one of 12 and one of 12 vectors: two stages of 12 rows leave nothing, one stage would take 144."""
    generator = np.random.default_rng(0)
    parts = generator.standard_normal((2, 12, 8)).astype(np.float32)
    vectors = (10 * parts[0])[generator.integers(12, size=3000)] + parts[1][generator.integers(12, size=3000)]
    counts = np.ones(3000, np.int64)
    budget = 3000 * 8 + 40 * 8 * 32
    configs = allocate({"sums": vectors}, {"sums": counts}, budget, SaecConfig(), stages=(1, 2))
    assert configs["sums"].stages == 2
    again = allocate({"sums": vectors}, {"sums": counts}, budget, SaecConfig())
    assert again["sums"].stages == 1
    tiny = allocate({"few": vectors[:2]}, {"few": counts[:2]}, 10_000, SaecConfig(), stages=(1, 3, 8))
    assert tiny == {"few": FullConfig()}


def test_rows_are_capped() -> None:
    for rule in ("gain", "power"):
        configs = allocate(TABLES, COUNTS, 0.9 * DENSE, SaecConfig(), rule=rule, max_row_share=0.02)
        assert {name for name, own in configs.items() if isinstance(own, SaecConfig)} == {"500", "3000"}
        assert configs["500"].num_rows <= 10
        assert configs["3000"].num_rows <= 60


def test_narrow_rows_leave_small_fields_in_eight_bits() -> None:
    configs = allocate(TABLES, COUNTS, 0.4 * DENSE, SaecConfig(row_bits=8))
    rounded = [own for own in configs.values() if isinstance(own, UniformConfig)]
    assert rounded
    assert all(own.bits == 8 for own in rounded)
    assert not any(isinstance(own, FullConfig) for own in configs.values())


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match="500 have no frequencies"):
        allocate(TABLES, {name: counts for name, counts in COUNTS.items() if name != "500"}, DENSE, SaecConfig())
    with pytest.raises(ValueError, match="alpha"):
        allocate(TABLES, COUNTS, DENSE, SaecConfig(), rule="power", alpha=-1)
    with pytest.raises(ValueError, match="`rule` must be gain or power"):
        allocate(TABLES, COUNTS, DENSE, SaecConfig(), rule="gains")
    with pytest.raises(ValueError, match="`budget_bits` a number"):
        allocate(TABLES, COUNTS, float("nan"), SaecConfig())
    with pytest.raises(ValueError, match=r"frequencies of field 3000 must have shape \(3000,\), got \(2999,\)"):
        allocate(TABLES, {**COUNTS, "3000": COUNTS["3000"][1:]}, DENSE / 20, SaecConfig())
