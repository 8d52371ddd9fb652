"""The kernels on a graph that is large enough for their look-ahead, against the same steps in plain Python."""

from __future__ import annotations

import numpy as np
import pytest

from slimtable.grouping import InteractionGraph
from slimtable.grouping.algorithms.baco import BACO, PropagationState
from slimtable.grouping.baco_kernels import HINTS, SHORT
from tests.grouping.graphs import graph_of

GAMMA, SWEEPS = 40.0, 2


@pytest.fixture(scope="module")
def large() -> InteractionGraph:
    generator = np.random.default_rng(1)
    users, items = generator.random((2, 60_000))
    edges = np.stack([(22_000 * users**2).astype(np.int64), (13_000 * items**4).astype(np.int64)], axis=1)
    return graph_of(edges, 22_000, 13_000)


def neighbours(graph: InteractionGraph) -> list[list[int]]:
    """Of every node, users first; items are numbered after the users."""
    lists = np.split(graph.user_items + graph.num_users, graph.user_starts[1:-1])
    lists += np.split(graph.item_users, graph.item_starts[1:-1])
    return [each.tolist() for each in lists]


def scores(
    node: int, lists: list[list[int]], labels: list[int], weight: float, volumes: list[float]
) -> dict[int, float]:
    """Of each label among the neighbours', the first seen first."""
    counts: dict[int, int] = {}
    for other in lists[node]:
        counts[labels[other]] = counts.get(labels[other], 0) + 1
    return {label: count - GAMMA * weight * volumes[label] for label, count in counts.items()}


def test_looking_ahead_changes_nothing(large: InteractionGraph) -> None:
    assert large.num_nodes > HINTS
    assert large.user_degrees().max() > SHORT
    weights = BACO().weights(large)
    state = PropagationState(large, weights)
    after = state.run(GAMMA, SWEEPS, "mixed", True, seed=4)

    lists, every = neighbours(large), np.concatenate(weights).tolist()
    labels, volumes = list(range(large.num_nodes)), [list(every), list(every)]
    generator = np.random.default_rng(4)
    for _ in range(SWEEPS):
        for node in generator.permutation(np.arange(large.num_nodes, dtype=np.int32)).tolist():
            own = int(node >= large.num_users)
            found = scores(node, lists, labels, every[node], volumes[1 - own])
            if not found:
                continue
            best = max(found, key=found.__getitem__)  # the first of equals
            if best != labels[node]:
                volumes[own][labels[node]] -= every[node]
                volumes[own][best] += every[node]
                labels[node] = best
    np.testing.assert_array_equal(state.labels, labels)
    np.testing.assert_array_equal(state.volumes, volumes)
    users, items = labels[: large.num_users], labels[large.num_users :]
    assert after[-1] == len(set(users)) + len(set(items)) < 0.8 * large.num_nodes

    seconds = state.secondary_labels(GAMMA, "users")[0]
    used = set(users)
    for user in range(large.num_users):
        found = scores(user, lists, labels, every[user], volumes[1])
        others = {label: score for label, score in found.items() if label in used and label != labels[user]}
        assert seconds[user] == (max(others, key=others.__getitem__) if others else -1)
