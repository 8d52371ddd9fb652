from __future__ import annotations

import pytest

from slimtable.bench.measures import HIT_RATE, RMSE
from slimtable.bench.table import Difference, tabulate
from studies.verdict import judge, verdict
from tests.bench.samples import make_record


@pytest.mark.parametrize(
    ("mean", "half_width", "expected"),
    [
        (0.5, 0.4, "better"),
        (-0.5, 0.4, "worse"),
        (-0.1, 0.05, "worse"),  # however small the loss
        (0.0, 0.29, "matches"),
        (0.4, 0.6, "matches"),  # from -0.2 to 1.0
        (-0.1, 0.25, "undecided"),  # down to -0.35
        (0.0, 5.0, "undecided"),
    ],
)
def test_the_verdict_is_what_the_interval_allows(mean: float, half_width: float, expected: str) -> None:
    assert judge(Difference(mean, half_width, 3), HIT_RATE, 0.3) == expected
    assert judge(Difference(-mean, half_width, 3), RMSE, 0.3) == expected  # of an error, less is more


def test_without_an_interval_there_is_no_verdict() -> None:
    assert judge(Difference(2.0, None, 1), HIT_RATE, 0.3) == "not enough seeds"
    assert judge(None, HIT_RATE, 0.3) == "not enough seeds"


def test_rows_are_judged_by_their_leading_figure() -> None:
    records = [make_record("full", seed, 0.08 + seed / 1000, bits=4000) for seed in range(3)]
    records += [make_record("dpq", seed, 0.09 + seed / 1000) for seed in range(3)]
    full, dpq = tabulate(records)[0].rows
    assert (verdict(full, full), verdict(dpq, full)) == ("–", "better")


@pytest.mark.parametrize(("spread", "expected"), [(0.03, "matches"), (0.05, "undecided")])
def test_the_margin_of_an_error_is_one_percent_of_the_uncompressed_one(spread: float, expected: str) -> None:
    def run(method: str, seed: int, rmse: float, bits: int) -> dict[str, object]:
        metrics = {"last": {"all": {"rmse": rmse, "mae": 1.0}}, "best": None}
        return make_record(method, seed, 0.0, bits=bits, metrics=metrics, curve=[], backbone="item_gmf")

    records = [run("full", seed, 10.0, 4000) for seed in range(3)]
    records += [run("dpq", seed, 10.0 + change, 900) for seed, change in enumerate((-spread, 0.0, spread))]
    full, dpq = tabulate(records)[0].rows
    assert verdict(dpq, full) == expected  # half an interval is 4.303 / √3 · spread, 0.075 and 0.124 of 0.1
