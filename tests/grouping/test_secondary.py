from __future__ import annotations

import numpy as np
import pytest

from slimtable.data import Interactions
from slimtable.grouping import InteractionGraph, Labels, group
from slimtable.grouping.algorithms.baco import PropagationState
from slimtable.grouping.secondary import with_secondary


def random_graph(seed: int = 0) -> InteractionGraph:
    generator = np.random.default_rng(seed)
    return InteractionGraph.from_interactions(
        Interactions.from_raw(generator.integers(60, size=500), generator.integers(40, size=500))
    )


def by_hand(graph: InteractionGraph, labels: Labels, weights: tuple[np.ndarray, np.ndarray], gamma: float) -> list[int]:
    """The secondary group of each user, counted in Python."""
    volumes: dict[int, float] = {}
    for item, label in enumerate(labels.items):
        volumes[int(label)] = volumes.get(int(label), 0.0) + float(weights[1][item])
    found = []
    for user, own in enumerate(labels.users):
        edges: dict[int, int] = {}
        for item in graph.user_items[graph.user_starts[user] : graph.user_starts[user + 1]]:
            label = int(labels.items[item])
            edges[label] = edges.get(label, 0) + 1
        scores = {
            label: count - gamma * weights[0][user] * volumes[label]
            for label, count in edges.items()
            if label != own and label in labels.users
        }
        found.append(max(scores, key=scores.__getitem__) if scores else -1)
    return found


def test_the_second_group_is_the_best_other_one() -> None:
    graph = random_graph()
    generator = np.random.default_rng(1)
    labels = Labels(generator.integers(9, size=graph.num_users), generator.integers(12, size=graph.num_items))
    weights = generator.random(graph.num_users), generator.random(graph.num_items)
    found = with_secondary(graph, labels, weights, 0.7, "users")
    assert found.secondary_users.tolist() == by_hand(graph, labels, weights, 0.7)
    assert found.secondary_items is None
    assert with_secondary(graph, labels, weights, 0.7, "none").secondary_users is None


def test_it_is_the_rule_of_baco() -> None:
    graph, gamma = random_graph(2), 1 / 64
    weights = graph.user_degrees().astype(np.float64), graph.item_degrees().astype(np.float64)  # sums are exact
    state = PropagationState(graph, weights, clean_volumes=True)
    state.run(gamma, 3, "mixed", True, 0)
    users, items = state.split(state.labels)
    found = with_secondary(graph, Labels(users, items), weights, gamma, "both")
    users, items = state.secondary_labels(gamma, "both")
    np.testing.assert_array_equal(found.secondary_users, users)
    np.testing.assert_array_equal(found.secondary_items, items)


def test_louvain_has_second_clusters_where_asked_for() -> None:
    pytest.importorskip("sknetwork")
    graph = random_graph(3)
    usual, seconds = group(graph, "louvain[resolution=3]"), group(graph, "louvain[resolution=3;secondary=users]")
    np.testing.assert_array_equal(usual.users.rows, seconds.users.rows)
    assert usual.users.secondary is None
    assert seconds.users.num_secondary > 0
    assert seconds.items.secondary is None
