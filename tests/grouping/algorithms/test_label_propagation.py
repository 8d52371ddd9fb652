from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from slimtable.grouping import get_grouping, group
from tests.grouping.graphs import power_law


def _spelled_out(graph, seed, sweeps):
    """Label propagation with lists and a counter: it remembers labels in the order it first sees them."""
    users = graph.num_users
    neighbours = [graph.user_items[a:b] + users for a, b in zip(graph.user_starts, graph.user_starts[1:], strict=False)]
    neighbours += [graph.item_users[a:b] for a, b in zip(graph.item_starts, graph.item_starts[1:], strict=False)]
    labels, generator = list(range(graph.num_nodes)), np.random.default_rng(seed)
    for _ in range(sweeps):
        order = generator.permutation(np.arange(graph.num_nodes, dtype=np.int32))
        generator.random(graph.num_nodes)
        for x in order:
            if len(neighbours[x]):
                labels[x] = Counter(labels[y] for y in neighbours[x]).most_common(1)[0][0]
    return labels


@pytest.mark.parametrize("sweeps", [1, 3])
def test_where_all_are_visited_it_is_plain_label_propagation(sweeps) -> None:
    graph = power_law()
    labels = get_grouping("label_propagation", {"alpha": 1, "sweeps": sweeps}).labels(graph, 5)
    assert [*labels.users, *labels.items] == _spelled_out(graph, 5, sweeps)


def test_fewer_visits_leave_more_groups() -> None:
    rows = [get_grouping("label_propagation", {"alpha": a}).labels(power_law(), 0).num_rows for a in (0, 0.3, 1)]
    assert rows[0] == power_law().num_nodes > rows[1] > rows[2]


def test_sweeps_count_their_rows() -> None:
    labels = get_grouping("label_propagation", {"alpha": 0.5}).labels(power_law(), 0)
    assert len(labels.sweeps) == 5
    assert labels.sweeps[-1] == labels.num_rows


def test_alpha_is_what_a_budget_sets() -> None:
    found = group(power_law(), "label_propagation", num_rows=200)
    assert 0 < found.grouping.alpha < 1


def test_it_stops_within_a_sweep_where_asked() -> None:
    labels = get_grouping("label_propagation", {"alpha": 1, "stop_rows": 200}).labels(power_law(), 0)
    assert labels.num_rows == labels.sweeps[-1] == 200
