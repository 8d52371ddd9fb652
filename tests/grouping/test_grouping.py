"""Graphs, row maps, budgets and statistics."""

from __future__ import annotations

import numpy as np
import pytest

from slimtable.budget import rows_within
from slimtable.data.interactions.interactions import Interactions
from slimtable.errors import BudgetError, DatasetError
from slimtable.grouping import (
    Hash,
    InteractionGraph,
    Labels,
    RowMap,
    format_grouping,
    get_grouping,
    group,
    grouping_names,
    parse_grouping,
)
from slimtable.grouping.grouping import bits_of_maps
from slimtable.grouping.statistics import edges_within, gini_of, measure
from slimtable.grouping.tuning import tune
from tests.grouping.graphs import graph_of, power_law, two_bicliques


def test_graph_holds_every_edge_once_from_both_sides() -> None:
    graph = graph_of([(2, 0), (0, 1), (2, 0), (1, 1), (2, 1)], num_users=4)
    assert graph.user_starts.tolist() == [0, 1, 2, 4, 4]
    assert graph.user_items.tolist() == [1, 1, 0, 1]
    assert graph.item_starts.tolist() == [0, 1, 4]
    assert graph.item_users.tolist() == [2, 0, 1, 2]
    assert (graph.num_edges, graph.num_nodes) == (4, 6)


def test_empty_graph_is_refused() -> None:
    nothing = Interactions(np.zeros(0, np.int32), np.zeros(0, np.int32), np.arange(3), np.arange(2))
    with pytest.raises(DatasetError, match="nothing to group"):
        InteractionGraph.from_interactions(nothing)


def test_row_map_counts_its_bits() -> None:
    row_map = RowMap.from_labels(np.array([4, 4, 9, 1, 1]), np.array([-1, 9, 4, -1, 4]))
    assert row_map.rows.tolist() == [1, 1, 2, 0, 0]
    assert row_map.secondary.tolist() == [1, 2, 1, 0, 1]
    assert (row_map.num_rows, row_map.num_secondary, row_map.bits()) == (3, 3, 2 * 5 * 2)
    assert RowMap.from_labels(np.array([3, 3]), np.array([-1, -1])).secondary is None


@pytest.mark.parametrize(
    "wrong", [{"rows": [0, 3]}, {"rows": [-1, 0]}, {"secondary": [0]}, {"secondary": [0, 5]}, {"secondary_weight": 1.0}]
)
def test_row_map_refuses_nonsense(wrong) -> None:
    given = {"rows": [0, 1], "num_rows": 3, "secondary": [0, 2], "secondary_weight": 0.5, **wrong}
    given |= {name: np.array(given[name]) for name in ("rows", "secondary")}
    with pytest.raises(ValueError, match="RowMap"):
        RowMap(**given)
    with pytest.raises(ValueError, match="primary group of some id"):
        RowMap.from_labels(np.array([1, 2]), np.array([3, -1]))


def test_own_rows_leave_their_groups() -> None:
    row_map = RowMap.from_labels(np.array([0, 0, 1, 2, 2]), np.array([1, 2, -1, 1, 0])).with_dedicated_rows(
        np.array([2, 4])
    )
    assert row_map.num_rows == 4  # two own rows, and the groups of 0, 1 and of 3; that of 2 is empty
    assert row_map.rows.tolist() == [2, 2, 0, 3, 1]
    # secondary group 1 has nobody left, so the ids that had it have no secondary row; nor have ids with own rows
    assert row_map.secondary.tolist() == [2, 3, 0, 3, 1]


def test_padding_takes_a_place_of_its_own() -> None:
    row_map = RowMap.from_labels(np.array([1, 0]), np.array([0, -1])).with_padding(0)
    assert row_map.rows.tolist() == [0, 1, 0]
    assert row_map.secondary.tolist() == [0, 0, 0]


def test_hash_is_the_formula() -> None:
    hashed = Hash(a=2_000_000_011, b=77, head=3, first=3, count=10)
    expected = [i if i < 3 else 3 + (2_000_000_011 * i + 77) % (2**31 - 1) % 10 for i in range(1000)]
    assert hashed.rows(1000).tolist() == expected
    row_map = RowMap.from_hash(1000, hashed)
    assert (row_map.num_rows, row_map.bits()) == (13, 0)


@pytest.mark.parametrize("size", [20_000, 63_000, 100_000, 250_000])
def test_budget_in_bytes_holds_rows_and_maps_however_rows_are_split(size) -> None:
    rows = rows_within(f"{size}B", 0, lambda count: 512 * count + bits_of_maps((6000, 4000), (2, 1), count), 2, 10_000)

    def bits(of_users: int) -> int:
        return 32 * 16 * rows + 2 * 6000 * (of_users - 1).bit_length() + 4000 * (rows - of_users - 1).bit_length()

    splits = range(max(1, rows - 4000), min(6000, rows - 1) + 1)
    assert max(bits(of_users) for of_users in splits) <= 8 * size
    assert bits(round(0.6 * rows)) > 0.85 * 8 * size  # of 20 kB, one bit of every code is a tenth


@pytest.mark.parametrize("wanted", [5, 100, 1999, 70_000])
def test_tune_comes_near_from_below(wanted) -> None:
    value, rows = tune(lambda x: int(100 * x**0.7), wanted, 1.0, low=1e-6, high=1e9)
    assert 0.95 * wanted <= rows <= wanted
    assert rows == int(100 * value**0.7)
    with pytest.raises(BudgetError, match="smallest found is 50"):
        tune(lambda x: 50 + int(x), 20, 1.0, low=0.1, high=10.0)


def test_every_grouping_has_a_spelling() -> None:
    for name in grouping_names():
        assert parse_grouping(name) == get_grouping(name)
        assert format_grouping(get_grouping(name)) == name
    grouping = get_grouping("baco", {"gamma": 7.57, "item_weight": "cpm"})
    assert format_grouping(grouping) == "baco[gamma=7.57;item_weight=cpm]"
    with pytest.raises(ValueError, match="Known groupings: baco"):
        get_grouping("bacon")


def test_statistics_by_hand() -> None:
    graph = graph_of([(0, 0), (0, 1), (1, 0), (2, 2), (2, 1)])
    labels = Labels(np.array([5, 5, 8]), np.array([5, 8, 8]), secondary_users=np.array([8, -1, -1]))
    found = measure(
        graph, labels, RowMap.from_labels(labels.users, labels.secondary_users), RowMap.from_labels(labels.items), True
    )
    assert (found.rows, found.rows_percent) == (4, pytest.approx(66.67, abs=0.01))
    assert found.intra_edges_percent == 80  # all but user 0 with item 1
    assert found.accl == 1  # one edge between the one pair of clusters
    assert found.users.largest == 2
    assert found.users.singletons_percent == 50
    assert found.second_integers == 1
    assert found.map_bits == 2 * 3 + 3


def test_gini_of_known_sizes() -> None:
    assert gini_of(np.array([2, 2, 2, 2])) == 0
    sizes = np.array([1, 3, 6])
    assert gini_of(sizes) == pytest.approx(2 / 3 * ((1 / 3 - 0.1) + (2 / 3 - 0.4)))


def test_edges_within_in_chunks(monkeypatch) -> None:
    graph = power_law()
    labels = np.random.default_rng(0).integers(4, size=graph.num_nodes)
    users, items = labels[: graph.num_users], labels[graph.num_users :]
    owners = np.repeat(np.arange(graph.num_users), graph.user_degrees())
    assert edges_within(graph, users, items) == int((users[owners] == items[graph.user_items]).sum())


def test_group_times_itself_and_measures() -> None:
    groups = group(two_bicliques(), "baco[gamma=0.3]")
    assert groups.num_rows == groups.statistics.rows == 4
    assert groups.map_of("item") is groups.items
    assert groups.statistics.to_dict()["sweeps"] == list(groups.statistics.sweeps)
