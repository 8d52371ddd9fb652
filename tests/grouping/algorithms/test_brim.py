from __future__ import annotations

import numpy as np
import pytest

from slimtable.grouping import get_grouping
from slimtable.grouping.algorithms.brim import modularity
from slimtable.grouping.matrix import interaction_matrix
from tests.grouping.graphs import graph_of, power_law


@pytest.mark.parametrize("resolution", [0.5, 1.0, 20.0])
def test_a_half_sweep_is_the_argmax_over_all_communities(resolution) -> None:
    graph, generator = power_law(), np.random.default_rng(0)
    users, items = generator.integers(12, size=300), generator.integers(12, size=200)
    dense = interaction_matrix(graph).toarray()
    dense -= resolution * np.outer(dense.sum(axis=1), dense.sum(axis=0)) / graph.num_edges
    scores = dense @ np.eye(12)[items]
    best = get_grouping("brim", {"resolution": resolution})._best(
        graph.user_starts, graph.user_items, users, items, graph.item_degrees()
    )
    linked = graph.user_degrees() > 0
    assert scores[np.arange(300), best] == pytest.approx(scores.max(axis=1))
    assert np.array_equal(best[~linked], users[~linked])


def test_modularity_is_the_sum_over_pairs() -> None:
    graph, generator = power_law(40, 30, 200), np.random.default_rng(1)
    users, items = generator.integers(3, size=40), generator.integers(3, size=30)
    dense = interaction_matrix(graph).toarray()
    surplus = dense - 2.5 * np.outer(dense.sum(axis=1), dense.sum(axis=0)) / graph.num_edges
    wanted = (surplus * (users[:, None] == items)).sum() / graph.num_edges
    assert modularity(graph, users, items, 2.5) == pytest.approx(wanted)


@pytest.mark.parametrize("start", ["leiden", "louvain"])
def test_modularity_does_not_fall_below_the_start(start) -> None:
    graph = power_law()
    first = get_grouping(start, {"resolution": 2.0}).labels(graph, 0)
    brim = get_grouping("brim", {"resolution": 2.0, "start": start}).labels(graph, 0)
    gain = modularity(graph, brim.users, brim.items, 2.0) - modularity(graph, first.users, first.items, 2.0)
    assert gain >= -1e-12


def test_an_only_edge() -> None:
    labels = get_grouping("brim").labels(graph_of([(0, 0)], 2, 2), 0)
    assert labels.users[0] == labels.items[0]
