"""Merging of whole co-clusters."""

from __future__ import annotations

import numpy as np
import pytest

from slimtable.grouping import Labels, group
from slimtable.grouping.algorithms.baco import BACO, PropagationState, objective
from slimtable.grouping.merging import merge_clusters
from tests.grouping.graphs import graph_of, power_law, two_bicliques

GRAPH = power_law()


def merged(gamma: float, grouping: BACO, stop_rows: int = 0) -> tuple[Labels, Labels, tuple[np.ndarray, np.ndarray]]:
    """Labels before and after merging, and the weights."""
    weights = grouping.weights(GRAPH)
    state = PropagationState(GRAPH, weights, clean_volumes=True)
    state.run(gamma, 2, "mixed", True, seed=0)
    before = Labels(*(side.copy() for side in state.split(state.labels)))
    generator = np.random.default_rng(0)
    after = merge_clusters(GRAPH, state.labels, state.weights, gamma, generator, stop_rows)
    return before, Labels(*state.split(after)), weights


@pytest.mark.parametrize("item_weight", ["published", "cpm"])
@pytest.mark.parametrize("factor", [0.5, 3.0, 20.0])
def test_no_merge_is_left_that_would_raise_the_objective(factor, item_weight) -> None:
    grouping = BACO(item_weight=item_weight)
    gamma = factor * grouping.neutral_gamma(GRAPH)
    before, after, weights = merged(gamma, grouping)
    assert objective(GRAPH, after, weights, gamma) > objective(GRAPH, before, weights, gamma)
    size = int(max(after.users.max(), after.items.max())) + 1
    of_users, of_items = (
        np.bincount(side, own, minlength=size) for side, own in zip((after.users, after.items), weights, strict=True)
    )
    edges = np.zeros((size, size))
    owners = np.repeat(np.arange(GRAPH.num_users), GRAPH.user_degrees())
    np.add.at(edges, (after.users[owners], after.items[GRAPH.user_items]), 1)
    gains = edges + edges.T - gamma * (np.outer(of_users, of_items) + np.outer(of_items, of_users))
    np.fill_diagonal(gains, 0)
    assert gains.max() <= 1e-9


def test_clusters_are_merged_whole() -> None:
    before, after, _ = merged(1.0, BACO())
    for side_before, side_after in ((before.users, after.users), (before.items, after.items)):
        assert len(np.unique(np.stack([side_before, side_after]), axis=1).T) == len(np.unique(side_before))
    assert after.num_rows < before.num_rows


def test_merging_stops_at_a_number_of_rows() -> None:
    everything = merged(1.0, BACO())[1].num_rows
    before = merged(1.0, BACO())[0].num_rows
    wanted = (everything + before) // 2
    assert merged(1.0, BACO(), wanted)[1].num_rows in (wanted, wanted - 1)  # a cluster may leave two rows at once


@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_clusters_without_edges_between_them_stay(gamma) -> None:
    graph = graph_of([(0, 0), (0, 1), (1, 2), (2, 3)], num_users=4, num_items=6)  # a user and two items have none
    labels = np.array([0, 1, 2, 3, 0, 0, 1, 2, 4, 5], dtype=np.int32)
    weights = np.concatenate(BACO().weights(graph))
    assert merge_clusters(graph, labels, weights, gamma, np.random.default_rng(0)).tolist() == labels.tolist()


def test_without_balance_components_come_together() -> None:
    graph = two_bicliques()
    labels = np.arange(graph.num_nodes, dtype=np.int32)
    found = merge_clusters(graph, labels, np.ones(graph.num_nodes), 0.0, np.random.default_rng(0))
    single = merge_clusters(graph, np.zeros_like(labels), np.ones(graph.num_nodes), 0.0, np.random.default_rng(0))
    assert len(np.unique(found)) == 2
    assert not single.any()


@pytest.mark.parametrize("options", ["share_isolated=true", "order=sides", "gamma=0", "secondary=both"])
def test_merging_with_other_options(options) -> None:
    gamma = "" if "gamma" in options else "gamma=2;"
    one_user = graph_of([(0, 0), (0, 1), (0, 2)], num_items=4)
    for graph in (GRAPH, one_user):
        groups = group(graph, f"baco[merge=true;{gamma}{options}]")
        plain = group(graph, f"baco[{gamma}{options}]")
        assert len(groups.users.rows) == graph.num_users
        assert groups.num_rows <= plain.num_rows
        assert groups.num_rows == len(np.unique(groups.users.rows)) + len(np.unique(groups.items.rows))


def test_halves_of_a_biclique_come_together() -> None:
    graph = two_bicliques()
    labels = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3], dtype=np.int32)
    grouping = BACO(item_weight="degree")
    weights = np.concatenate(grouping.weights(graph))
    found = merge_clusters(graph, labels, weights, 1.0, np.random.default_rng(0))
    assert len(np.unique(found)) == 2
    assert len(np.unique(found[[0, 3, 12, 14]])) == 1


@pytest.mark.parametrize("share", [0.05, 0.25, 0.6])
@pytest.mark.parametrize("seed", [0, 1])
def test_budget_is_filled_and_clusters_are_balanced(share, seed) -> None:
    wanted = int(share * GRAPH.num_nodes)
    groups, plain = (group(GRAPH, way, num_rows=wanted, seed=seed) for way in ("baco[merge=true]", "baco"))
    assert min(0.97 * wanted, wanted - 1) <= groups.num_rows <= wanted  # a cluster may leave two rows at once
    again = group(GRAPH, groups.grouping, seed=seed)
    assert (again.users.rows == groups.users.rows).all()
    assert groups.users.num_secondary > 0
    if share == 0.25:
        assert groups.statistics.users.largest < plain.statistics.users.largest
