"""What every grouping promises, whatever its idea."""

from __future__ import annotations

import numpy as np
import pytest

from slimtable.errors import BudgetError
from slimtable.grouping import Grouping, get_grouping, group, grouping_names
from slimtable.grouping.sides import SidedGrouping
from tests.grouping.graphs import power_law, two_bicliques

_SIDED = [name for name in grouping_names() if isinstance(get_grouping(name), SidedGrouping)]
_NO_BUDGET = [name for name in grouping_names() if type(get_grouping(name)).for_rows is Grouping.for_rows]
_APPROXIMATE = ("leiden", "louvain", "sbc", "scc")  # the nearest that can be had on so small a graph is further off
_FINDS_COMMUNITIES = ("bimlpa", "brim", "ebmd", "infomap", "label_propagation", "leiden", "louvain", "scc")
_OPTIONS = {
    "louvain": {"resolution": 1.0},
    "leiden": {"resolution": 1.0},
    "label_propagation": {"alpha": 1.0},
    "ebmd": {"sweeps": 20},
    "scc": {"n_clusters": 2},
}


def _labels(name, graph, seed, rows=120):
    chosen = get_grouping(name)
    if name not in _NO_BUDGET:
        chosen = chosen.for_rows(graph, rows, seed)
    return chosen.labels(graph, seed)


@pytest.mark.parametrize("name", grouping_names())
def test_every_id_gets_a_group_and_a_seed_gives_one_answer(name) -> None:
    graph = power_law()  # with an isolated user and item
    labels, again = _labels(name, graph, 3), _labels(name, graph, 3)
    assert labels.users.shape == (graph.num_users,)
    assert labels.items.shape == (graph.num_items,)
    assert min(labels.users.min(), labels.items.min()) >= 0
    assert np.array_equal(labels.users, again.users)
    assert np.array_equal(labels.items, again.items)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", [name for name in grouping_names() if name not in _NO_BUDGET])
def test_budget_is_kept_and_nearly_filled(name, seed) -> None:
    rows = group(power_law(), name, num_rows=150, seed=seed).num_rows
    assert (0.85 if name in _APPROXIMATE else 0.97) * 150 <= rows <= 150


@pytest.mark.parametrize("name", _NO_BUDGET)
def test_groupings_that_choose_their_rows_refuse_a_budget(name) -> None:
    with pytest.raises(BudgetError, match=f"{name} determines its number of rows itself"):
        group(power_law(), name, num_rows=150)


@pytest.mark.parametrize("name", _FINDS_COMMUNITIES)
def test_two_bicliques_are_two_groups(name) -> None:
    labels = get_grouping(name, _OPTIONS.get(name)).labels(two_bicliques(), 0)
    for first, second in zip(np.split(labels.users, 2), np.split(labels.items, 2), strict=True):
        assert len(set(first)) == len(set(second)) == 1
    assert labels.users[0] == labels.items[0] != labels.users[-1] == labels.items[-1]


@pytest.mark.parametrize("name", ["lsh", "sbc"])
def test_two_bicliques_are_two_groups_of_each_side(name) -> None:
    found = group(two_bicliques(), f"{name}[user_rows=2;item_rows=2]", seed=1)
    for row_map in (found.users, found.items):
        first, second = np.split(row_map.rows, 2)
        assert (len(set(first)), len(set(second)), len({*first, *second})) == (1, 1, 2)


@pytest.mark.parametrize(
    "text",
    [
        "baco[gamma=1]",
        "baco[stop_rows=90]",
        "louvain[resolution=3]",
        "leiden[resolution=3]",
        "label_propagation[alpha=0.5]",
        "ebmd[stop_rows=90]",
        "scc[n_clusters=9]",
    ],
)
def test_what_a_budget_sets_cannot_be_given_with_it(text) -> None:
    name, option = text.partition("=")[0].split("[")
    with pytest.raises(ValueError, match=f"{name} determines {option} from a budget"):
        group(power_law(), text, num_rows=150)


@pytest.mark.parametrize("name", _SIDED)
def test_sided_groupings_ask_for_rows(name) -> None:
    with pytest.raises(BudgetError, match="needs `user_rows` and `item_rows`"):
        group(two_bicliques(), name)
    with pytest.raises(ValueError, match="user_rows` must be at least 1"):
        get_grouping(name, {"user_rows": 0})


def test_rows_are_shared_out_by_size_or_as_told() -> None:
    graph = power_law(num_users=300, num_items=200)
    split_evenly = get_grouping("random").for_rows(graph, 100, 0)
    assert (split_evenly.user_rows, split_evenly.item_rows) == (60, 40)
    told = get_grouping("random", {"item_rows": 70}).for_rows(graph, 100, 0)
    assert (told.user_rows, told.item_rows) == (30, 70)
    with pytest.raises(BudgetError, match="are too few"):
        get_grouping("random", {"item_rows": 100}).for_rows(graph, 100, 0)
    with pytest.raises(BudgetError, match="are too few"):
        get_grouping("random", {"user_rows": 60, "item_rows": 60}).for_rows(graph, 100, 0)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("frequency", {"head_share": 1.0}),
        ("louvain", {"resolution": 0.0}),
        ("leiden", {"modularity": "mine"}),
        ("label_propagation", {"alpha": 1.5}),
        ("label_propagation", {"sweeps": 0}),
        ("ebmd", {"gamma": -1.0}),
        ("ebmd", {"stop_rows": 1}),
        ("infomap", {"num_trials": 0}),
        ("bimlpa", {"theta": 0.0}),
        ("bimlpa", {"max_labels": 0}),
        ("brim", {"start": "infomap"}),
        ("scc", {"n_clusters": 0}),
        ("sbc", {"n_best": 7}),
        ("itcc", {"smoothing": 1.0}),
    ],
)
def test_refused_options(name, options) -> None:
    with pytest.raises(ValueError, match=f"`\\w+.{next(iter(options))}`"):
        get_grouping(name, options)
