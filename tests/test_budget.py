"""The grammar of budgets and rows, and what is found for them."""

from __future__ import annotations

import numpy as np
import pytest

from slimtable.budget import bits_of_budget, is_relative, largest, rows_of_text, rows_within
from slimtable.embeddings.base import create, get_config, get_method, method_names
from slimtable.embeddings.fitting import fit_budget
from slimtable.errors import BudgetError
from slimtable.specs import format_spec, parse_spec

_IN_ORDER, _MIXED = np.arange(500, 0, -1), np.random.default_rng(0).permutation(500)


@pytest.mark.parametrize(
    ("text", "bits"),
    [("25%", 250), ("0.5 %", 5), ("16x", 62.5), (" 1.5 × ", 1000 / 1.5), ("1MB", 8e6), ("100B", 800), ("2 kB", 16_000)],
)
def test_budgets_are_bytes_served(text, bits) -> None:
    assert bits_of_budget(text, 1000) == pytest.approx(bits)
    assert is_relative(text) == (not text.endswith("B"))


@pytest.mark.parametrize(
    "text", ["", "25", "-3%", "1e3B", "3 mb", "12rows", "some", "101%", "0.5x", "٢٥%", "nan%", "1 000B", "0x"]
)
def test_what_is_no_budget_is_refused(text) -> None:
    with pytest.raises(ValueError, match=r"is not a budget|more than the float32 table"):
        bits_of_budget(text, 1000)


@pytest.mark.parametrize(
    ("text", "rows"), [("25%", 250), ("12000", 12_000), ("12 rows", 12), ("1row", 1), ("100%", 1000)]
)
def test_rows_are_a_number_or_a_share(text, rows) -> None:
    assert rows_of_text(text, 1000) == rows


@pytest.mark.parametrize("text", ["", "3MB", "101%", "2.5", "-1", "1.5rows", "many", "16x"])
def test_what_is_no_number_of_rows_is_refused(text) -> None:
    with pytest.raises(ValueError, match=r"not a number of rows|more rows than ids"):
        rows_of_text(text, 1000)


@pytest.mark.parametrize("limit", [-1, 0, 3, 10, 11])
def test_largest_is_the_last_that_fits(limit) -> None:
    assert largest(lambda number: number <= limit, 0, 10) == min(max(limit, -1), 10)


def test_too_small_a_budget_says_the_smallest() -> None:
    with pytest.raises(BudgetError, match="smallest budget is 20B"):
        rows_within("10B", 0, lambda rows: 80 * rows, 2, 100)


def _alone(name: str):  # type: ignore[no-untyped-def]
    """Options of a method for a table without interactions."""
    options = {"legcf": {"initialization": "random"}, "cce": {"recluster_epochs": 0}}.get(name, {})
    if "grouping" in get_config(name).to_dict():
        options = {"grouping": "random"}
    return get_config(name, options)


@pytest.mark.parametrize("counts", [_IN_ORDER, _MIXED], ids=["in order", "mixed"])
@pytest.mark.parametrize("name", method_names())
def test_bits_of_a_configuration_are_those_of_its_table(name, counts) -> None:
    for config in (_alone(name), fit_budget(_alone(name), "100%", 500, 16, counts)):
        table = create(config, 500, 16, frequencies=counts)
        slack = 500 if name == "legcf" else 0
        assert 0 <= config.table_bits(500, 16, counts) - table.bits() <= slack


@pytest.mark.parametrize("budget", ["12%", "5x", "9kB"])
@pytest.mark.parametrize("name", method_names())
def test_a_fitted_table_keeps_its_budget(name, budget) -> None:
    config, limit = _alone(name), bits_of_budget(budget, 32 * 500 * 16)
    if config.sizes(500, 16)[0].table_bits(500, 16, _MIXED) > limit:
        with pytest.raises(BudgetError, match="too small for this method"):
            fit_budget(config, budget, 500, 16, _MIXED)
        return
    fitted = fit_budget(config, budget, 500, 16, _MIXED)
    assert create(fitted, 500, 16, frequencies=_MIXED).bits() <= limit
    sizes = [other.table_bits(500, 16, _MIXED) for other in config.sizes(500, 16)]
    assert fitted.table_bits(500, 16, _MIXED) == max(bits for bits in sizes if bits <= limit)


def test_earlier_versions_meant_rows_by_budget() -> None:
    saved = get_method("shared").config_class.from_saved
    assert (saved({"budget": "25%"}).rows, saved({"budget": "25%"}).budget) == ("25%", "")  # type: ignore[attr-defined]
    assert (saved({"budget": "3MB"}).rows, saved({"budget": "3MB"}).budget) == ("", "3MB")  # type: ignore[attr-defined]
    now = get_config("shared", {"budget": "16x"})
    assert saved(now.to_dict()) == now


def test_rows_may_be_a_number_and_stand_bare_in_brackets() -> None:
    assert get_config("shared", {"rows": 12}).rows == "12"  # type: ignore[attr-defined]
    for options in ({"rows": "12"}, {"rows": "40%"}, {"budget": "16x"}, {"budget": "3MB"}):
        config = get_config("shared", options)
        text = format_spec("shared", config.non_defaults())
        assert get_config(*parse_spec(text)) == config
    assert format_spec("shared", {"rows": "40%", "budget": "16x"}) == "shared[rows=40%;budget=16x]"
