from __future__ import annotations

import pytest

from slimtable.errors import BudgetError
from slimtable.grouping import get_grouping, group
from tests.grouping.graphs import graph_of, power_law


def test_isolated_nodes_are_groups_of_their_own() -> None:
    labels = get_grouping("scc", {"n_clusters": 4}).labels(power_law(), 0)
    assert labels.users[-1] not in labels.users[:-1]
    assert labels.items[-1] not in labels.items[:-1]
    assert len({*labels.users, *labels.items}) == 4 + 23 + 16


def test_mini_batches_group_too() -> None:
    labels = get_grouping("scc", {"n_clusters": 4, "mini_batch": True}).labels(power_law(), 0)
    assert len({*labels.users, *labels.items}) <= 4 + 23 + 16


def test_it_needs_clusters_or_a_budget_it_can_keep() -> None:
    with pytest.raises(BudgetError, match="needs `n_clusters`"):
        group(power_law(), "scc")
    with pytest.raises(BudgetError, match="the smallest found is 41"):
        group(power_law(), "scc", num_rows=30)  # one cluster has two rows, and 23 + 16 nodes are isolated


def test_more_clusters_than_users_are_found_among_items() -> None:
    graph = power_law(num_users=30, num_items=300)
    assert 0.9 * 180 <= group(graph, "scc", num_rows=180).num_rows <= 180
    most = get_grouping("scc", {"n_clusters": 1000}).labels(graph, 0)
    assert most.items[-1] not in most.items[:-1]


def test_a_side_of_one_node_is_one_cluster() -> None:
    labels = get_grouping("scc", {"n_clusters": 2}).labels(graph_of([(0, 0), (1, 0), (2, 0)]), 0)
    assert {*labels.users, *labels.items} == {0}
