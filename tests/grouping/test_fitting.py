"""Merging groups until a budget of rows is kept."""

from __future__ import annotations

import numpy as np
import pytest

from slimtable.grouping.fitting import fit_rows
from slimtable.grouping.graph import InteractionGraph
from slimtable.grouping.grouping import Labels, group
from slimtable.grouping.row_map import RowMap
from tests.grouping.graphs import power_law, two_bicliques


def _alone(graph: InteractionGraph) -> Labels:
    users = np.arange(graph.num_users)
    return Labels(users, graph.num_users + np.arange(graph.num_items))


@pytest.mark.parametrize("num_rows", [2, 3, 10, 150, 299])
def test_any_budget_is_kept_exactly(num_rows) -> None:
    graph = power_law()
    labels = fit_rows(graph, _alone(graph), num_rows)
    assert labels.num_rows == num_rows
    assert len(np.unique(labels.users)) >= 1 <= len(np.unique(labels.items))


def test_labels_within_the_budget_stay_as_they_are() -> None:
    graph = power_law()
    labels = _alone(graph)
    assert fit_rows(graph, labels, graph.num_nodes) is labels


def test_a_group_joins_the_one_with_the_same_neighbours() -> None:
    graph = two_bicliques()
    labels = fit_rows(graph, _alone(graph), graph.num_nodes - 2)
    first = len(labels.users) // 2
    for side, half in ((labels.users, first), (labels.items, len(labels.items) // 2)):
        assert not set(side[:half]) & set(side[half:])


def test_second_groups_follow_and_stay_groups_of_their_side() -> None:
    graph = power_law()
    alone = _alone(graph)
    second = np.roll(alone.users, 1)
    second[0] = -1
    labels = fit_rows(graph, Labels(alone.users, alone.items, secondary_users=second), 20)
    assert labels.secondary_users is not None
    assert labels.secondary_users[0] == -1
    assert RowMap.from_labels(labels.users, labels.secondary_users).num_rows <= 18


def test_a_grouping_that_misses_its_budget_is_merged(monkeypatch) -> None:
    from slimtable.grouping.algorithms.louvain import Louvain

    monkeypatch.setattr(Louvain, "for_rows", lambda self, graph, num_rows, seed: Louvain(resolution=30.0))
    graph = power_law()
    assert Louvain(resolution=30.0).labels(graph, 0).num_rows > 40
    assert group(graph, "louvain", num_rows=40).num_rows == 40
