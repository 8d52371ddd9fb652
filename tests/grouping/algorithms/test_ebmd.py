from __future__ import annotations

import numpy as np
import pytest

from slimtable.errors import BudgetError
from slimtable.grouping import get_grouping, group
from slimtable.grouping.algorithms.ebmd import score_of
from tests.grouping.graphs import graph_of, power_law


def test_score_by_hand() -> None:
    # ρ = (3 + 2) / ((9 + 1)·4) = 0.125, g = 0.125 − 0.025 = 0.1; 0.1·2 − 0.5·0.01·6·4/20
    score = score_of.py_func(2, 3, 9, 4, 6, 20.0, 0.025, 0.5)
    assert score == pytest.approx(0.2 - 0.006)


def _spelled_out(graph, seed, gamma, sweeps):
    users, nodes = graph.num_users, graph.num_nodes
    edges = [
        (u, v + users) for u in range(users) for v in graph.user_items[graph.user_starts[u] : graph.user_starts[u + 1]]
    ]
    adjacent = [[v for u, v in edges if u == x] + [u for u, v in edges if v == x] for x in range(nodes)]
    degree = [len(neighbours) for neighbours in adjacent]
    labels, generator = list(range(nodes)), np.random.default_rng(seed)
    for _ in range(sweeps):
        for x in generator.permutation(np.arange(nodes, dtype=np.int32)):
            scores = {}
            for k in (labels[y] for y in adjacent[x]):
                e = sum(labels[y] == k for y in adjacent[x])
                within = sum(labels[u] == labels[v] == k for u, v in edges)
                sums = [0, 0]  # of degrees on x's side and on the other, with the label's first node on both
                for y in range(nodes):
                    sums[int((y < users) != (x < users))] += degree[y] * (labels[y] == k)
                sums[int((k < users) == (x < users))] += degree[k]
                g = (within + e) / ((sums[0] + 1) * sums[1]) - 2 * len(edges) / (users * (nodes - users))
                scores[k] = g * e - gamma * g * g * degree[x] * sums[1] / (2 * len(edges))
            if scores:
                labels[x] = max(scores, key=scores.__getitem__)
    return labels


@pytest.mark.parametrize("gamma", [0.0, 3.0])
def test_sweeps_equal_the_formula_spelled_out(gamma) -> None:
    graph = power_law(14, 10, 60)
    labels = get_grouping("ebmd", {"gamma": gamma, "sweeps": 3}).labels(graph, 2)
    assert [*labels.users, *labels.items] == _spelled_out(graph, 2, gamma, 3)


def test_sweeps_count_their_rows() -> None:
    labels = get_grouping("ebmd").labels(power_law(), 0)
    assert len(labels.sweeps) == 5
    assert labels.sweeps[-1] == labels.num_rows


def test_a_budget_stops_it_early_or_lets_it_go_on() -> None:
    five = get_grouping("ebmd").labels(power_law(), 0).num_rows
    assert len(group(power_law(), "ebmd", num_rows=five + 30).statistics.sweeps) <= 5
    longer = group(power_law(), "ebmd[sweeps=1]", num_rows=five)
    assert len(longer.statistics.sweeps) == longer.grouping.sweeps > 1


def test_too_few_rows_are_refused() -> None:
    pairs = graph_of([(x, x) for x in range(20)])
    with pytest.raises(BudgetError, match="there are 40"):
        group(pairs, "ebmd", num_rows=10)
