from __future__ import annotations

from pathlib import Path

import pytest

from slimtable.bench.grids import Grid
from slimtable.bench.jobs import Source
from slimtable.grouping import InteractionGraph, group
from studies import BACO
from studies.baco.experiments import COMPARED, FULL_PANELS, QUICK_PANELS, describe_training, entry_of
from studies.baco.items import COMPARISON, QUARTILES, SIZES
from studies.baco.size import matched_size
from studies.baco.timing import time_grouping
from studies.series import Want
from studies.study import Place
from tests.studies.baco_samples import DATA, SIZE, write_sizes


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sizes(tmp_path_factory.mktemp("baco"))


def wanted(item: str, study: BACO, out: Path) -> list[Want]:
    return study.items[item].wanted(Place(study, out))


def grids(item: str, study: BACO, out: Path) -> list[Grid]:
    return study.grids([item], Place(study, out, data_root=Path("data")))


def test_paper_values() -> None:
    assert COMPARISON["beauty"]["BACO"] == {"R@10": 6.308, "N@10": 3.733, "R@50": 14.036, "N@50": 5.643}
    assert COMPARISON["gowalla"]["Leiden"]["N@50"] == 12.152
    assert [len(rows) for rows in COMPARISON.values()] == [20, 20]
    assert QUARTILES["BACO"]["0–25 %"] == 18.9
    assert [list(values) for values in SIZES.values()] == [[f"γ = {gamma}" for gamma in range(4, 11)]] * 4


def test_all_rows_of_the_paper_are_compared() -> None:
    assert list(COMPARISON["beauty"]) == [entry.name for entry in COMPARED][:20]


def test_the_matched_size_is_that_of_louvain_and_found_once(tmp_path: Path) -> None:
    source = Source(DATA, None, "random")
    size = matched_size("beauty", source, 16, tmp_path)
    graph = InteractionGraph.from_interactions(source.load()[0].train)
    groups = group(graph, "louvain")
    assert (size.user_rows, size.item_rows) == (groups.users.num_rows, groups.items.num_rows)
    assert (size.num_users, size.num_items) == (graph.num_users, graph.num_items)
    assert matched_size("beauty", Source("no such data"), 16, tmp_path) == size


def test_groupings_are_timed_and_stopped_at_the_limit() -> None:
    done = time_grouping(Source(DATA, None, "random"), "baco", 150, limit=120.0)
    assert (done.ended, done.limit) == ("done", 120.0)
    assert 2 <= (done.rows or 0) <= 150
    assert (done.seconds or 0) > 0
    stopped = time_grouping(Source(DATA, None, "random"), "baco", 150, limit=0.01)
    assert (stopped.ended, stopped.rows, stopped.seconds) == ("stopped", None, None)
    failed = time_grouping(Source(DATA, None, "random"), "baco", 2, limit=120.0)
    assert failed.ended.startswith("BudgetError: ")


def test_the_budget_of_baco_is_less_by_what_second_clusters_cost() -> None:
    assert (SIZE.rows, SIZE.second_rows) == (8267, 7917)


def test_a_seed_is_that_of_the_grouping_too(out: Path) -> None:
    found = [(grid.methods[0], grid.seeds) for grid in grids("beauty", BACO.of(), out)]
    seeded = [(method, seeds[0]) for method, seeds in found if hasattr(method, "grouping_seed")]
    assert all(method.grouping_seed == seed for method, seed in seeded)
    budgets = {method.rows for method, _ in seeded if method.grouping == "baco"}
    assert budgets == {"7917"}


def test_leading_rows_come_first_and_slow_ones_last(out: Path) -> None:
    found = grids("beauty", BACO.of(), out)
    seeds = [grid.seeds[0] for grid in found]
    leading = len([want for want in wanted("beauty", BACO.of(), out) if entry_of(want).leading])
    fast = leading - 1  # SCC takes minutes
    ordered = 2  # rows that are close have two more seeds
    assert seeds[: 3 * fast + 2 * ordered] == [seed for seed in range(5) for _ in range(fast if seed < 3 else ordered)]
    rest = found[3 * fast + 2 * ordered :]
    assert [grid.methods[0].grouping for grid in rest[:3]] == ["scc"] * 3
    assert {grid.seeds for grid in rest[3:]} == {(0,)}
    assert {tuple(want.configs) for want in wanted("beauty", BACO.of(seeds=2), out)} == {(0, 1), (0,)}


def test_quick_leaves_out_what_takes_minutes(out: Path) -> None:
    wants = wanted("beauty", BACO.of(quick=True), out)
    assert not {"SCC", "SBC", "ITCC"} & {want.name for want in wants}
    assert {tuple(want.configs) for want in wants} == {(0,)}


def test_gowalla_is_split_as_a_whole(out: Path) -> None:
    assert [panel.split for panel in (*FULL_PANELS, *QUICK_PANELS)] == ["random", "random", "pooled"] * 2
    (first, *_) = grids("gowalla", BACO.of(), out)
    assert (first.source.data, first.source.split, first.seeds) == ("gowalla", "pooled", (0,))


def test_captions_say_where_training_is_not_the_papers() -> None:
    text = describe_training(
        BACO.of(changes={"beauty": {"batch_size": 4096, "epochs": 300, "patience": 50}}).panel("beauty")
    )
    assert "at most 300 epochs (paper: 1000)" in text
    assert "batch size 4096 (paper: 1024)" in text
    assert "weight decay 1e-08," in text
    assert "patience of 50 epochs," in text
    assert "rows drawn with standard deviation 1; " in text
    assert "the presets best and compact draw theirs with 0.1" in text


def test_captions_say_what_presets_draw_where_others_differ(out: Path) -> None:
    for panel in FULL_PANELS:
        stds = {
            want.config.init_std
            for item in ("beauty", "small_start", "gowalla")
            for want in wanted(item, BACO.of(), out)
            if want.panel.name == panel.name
        }
        assert stds == {panel.init_std, 0.1}
        assert ("presets best and compact draw" in describe_training(panel)) == (len(stds) > 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0}, "at least 1, got 0"),
        ({"changes": {"yelp": {"epochs": 3}}}, "'yelp'.*beauty, small_start, gowalla"),
        ({"changes": {"beauty": {"epochs": 0}}}, "epochs"),
    ],
)
def test_bad_profiles_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BACO.of(**options)  # type: ignore[arg-type]
