"""Plans: exact sizes from shapes alone, advice, and the plot."""

import io
import json

import numpy as np
import pytest
from matplotlib.image import imread

from slimtable.compress import compress_table
from slimtable.compress.advice import advice
from slimtable.compress.plan import ALL_SIZES, BUDGETS, make_plan, method_of_candidate, options_text
from slimtable.compress.plan_plot import plot_plan
from slimtable.compress.statistics import frequency_statistics, table_statistics
from slimtable.embeddings.base import get_config, method_names
from slimtable.reporting.figures import to_png, to_svg

SHAPES = {"item": (1200, 16), "user": (700, 16)}


def test_every_method_is_planned_or_left_out_with_a_reason() -> None:
    plan = make_plan(SHAPES)
    planned = {method_of_candidate(candidate) for candidate in plan.candidates}
    assert planned | set(plan.left_out) == set(method_names())
    assert not planned & set(plan.left_out)
    assert {"uniform", "low_rank", "dpq", "saec", "full"} <= planned
    assert all(plan.left_out.values())


def test_planned_bytes_are_those_of_the_packed_tables() -> None:
    """Every candidate of the smaller table is made and weighed, up to padding of less than a byte per array."""
    rows, dim = 300, 8
    table = np.abs(np.random.default_rng(0).normal(size=(rows, dim))).astype(np.float32)  # some refuse negative values
    weighed = 0
    for candidate in make_plan({"t": (rows, dim)}).candidates:
        choice = candidate.tables["t"]
        packed = compress_table(table, get_config(choice.method, dict(choice.config)))
        assert 0 <= packed.nbytes - choice.bits / 8 < len(packed.arrays), choice
        assert candidate.bytes == -(-choice.bits // 8)
        weighed += 1
    assert weighed > 20


def test_totals_ratios_and_bits() -> None:
    plan = make_plan(SHAPES, methods=["uniform"])
    assert plan.dense_bytes == 4 * 16 * 1900
    assert len(plan.candidates) == len(get_config("uniform").sizes(1200, 16)) <= ALL_SIZES
    for candidate in plan.candidates:
        assert set(candidate.tables) == set(SHAPES)
        assert candidate.bytes == sum(-(-choice.bits // 8) for choice in candidate.tables.values())
        assert plan.ratio(candidate) * plan.bits_per_value(candidate) == pytest.approx(32)
    sizes = [candidate.bytes for candidate in plan.candidates]
    assert sizes == sorted(sizes, reverse=True)


def test_methods_with_many_sizes_are_planned_at_round_ratios() -> None:
    plan = make_plan({"t": (100_000, 64)}, methods=["saec"])
    for budget, candidate in zip(BUDGETS, plan.candidates, strict=True):
        assert 1 <= plan.ratio(candidate) / float(budget[:-1]) < 1.01


def test_a_budget_is_met_from_below_in_all_tables_together() -> None:
    for budget, limit in (("8x", 4 * 16 * 1900 / 8), ("10kB", 10_000), ("12.5%", 4 * 16 * 1900 / 8)):
        plan = make_plan(SHAPES, budget=budget)
        assert plan.candidates
        assert all(candidate.bytes <= limit + len(SHAPES) for candidate in plan.candidates)
        methods = [method_of_candidate(candidate) for candidate in plan.candidates]
        assert len(methods) == len(set(methods))
    assert make_plan(SHAPES, budget="2000x").candidates == ()
    assert "larger than the budget" in make_plan(SHAPES, ["uniform"], "2000x").left_out["uniform"]


def test_frequencies_decide_the_sizes_of_tiers() -> None:
    """Ids that are not numbered by frequency need a bit each that says which tier they are in."""
    sorted_bits, bits = (
        {
            options_text(candidate.tables["t"]): candidate.tables["t"].bits
            for candidate in make_plan({"t": (1200, 16)}, ["mgqe"], frequencies={"t": counts}).candidates
        }
        for counts in (np.arange(1200)[::-1], np.arange(1200))
    )
    common = sorted_bits.keys() & bits.keys()
    assert common
    assert all(bits[options] == sorted_bits[options] + 1200 for options in common)


def test_a_billion_rows_take_no_memory_and_id_maps_are_those_of_the_page() -> None:
    plan = make_plan({"t": (10**9, 64)})
    assert plan.dense_bytes == 256 * 10**9
    assert list(plan.id_maps().values()) == [8 * 10**9, 15 * 10**9, 4 * 10**9, 1_375_000_000]
    json.dumps(plan.to_dict(), allow_nan=False)


def test_what_cannot_be_planned() -> None:
    with pytest.raises(ValueError, match="at least one table"):
        make_plan({})
    with pytest.raises(ValueError, match="0 × 4"):
        make_plan({"t": (0, 4)})
    with pytest.raises(ValueError, match="nonsense"):
        make_plan(SHAPES, ["nonsense"])
    with pytest.raises(ValueError, match="budget"):
        make_plan(SHAPES, budget="small")
    assert "only trains" in make_plan(SHAPES, ["baco"]).left_out["baco"]


def test_options_are_those_that_differ() -> None:
    texts = [options_text(candidate.tables["item"]) for candidate in make_plan(SHAPES, ["uniform"]).candidates]
    assert "bits=4" in texts


def test_advice_follows_from_the_statistics() -> None:
    rng = np.random.default_rng(0)
    table = rng.normal(size=(6000, 64)).astype(np.float32)
    plain = " ".join(advice(table_statistics(table), frequency_statistics(np.full(6000, 3))))
    assert "All directions are needed" in plain
    assert "too little for tiers" in plain
    for text in ("differ in length", "NaN", "zeros", "repeat", "mean row", "only"):
        assert text not in plain
    odd = (table[:, :8] @ rng.normal(size=(8, 64))).astype(np.float32) * rng.lognormal(0, 1, (6000, 1))
    odd[:100], odd[100:300], odd[300] = odd[5999], 0, np.nan
    told = " ".join(advice(table_statistics(odd), frequency_statistics(np.arange(6000.0) ** 9), share_of_total=0.001))
    for text in (
        "infinite values in 1 of",
        "200 rows are zeros",
        "100 rows repeat",
        "differ in length",
        "low-rank",
        "can pay",
    ):
        assert text in told, text
    assert "0.1 % of all bytes" in told
    small = " ".join(advice(table_statistics(10 + table[:50, :8])))
    for text in ("has only 50 rows", "mean row holds", "only 8 values", "Without frequencies"):
        assert text in small, text


def test_the_plot_is_a_picture_of_all_methods() -> None:
    plan = make_plan(SHAPES)
    picture = imread(io.BytesIO(to_png(plot_plan(plan))))
    assert picture.shape[1] > 1000
    assert picture[..., :3].std() > 0.05
    text = to_svg(plot_plan(plan)).decode()
    for method in {method_of_candidate(candidate) for candidate in plan.candidates}:
        assert f">{method}<" in text
    assert ">16×<" in text
    assert to_svg(plot_plan(plan)).decode() == text
    with pytest.raises(ValueError, match="nothing to plot"):
        plot_plan(make_plan(SHAPES, budget="5000x"))
