from __future__ import annotations

import numpy as np
import pytest

from slimtable.data.datasets import load_dataset
from slimtable.data.interactions.split import split
from slimtable.grouping import InteractionGraph, get_grouping, group
from tests.grouping.graphs import power_law


@pytest.mark.parametrize("name", ["louvain", "leiden"])
def test_rows_grow_with_the_resolution(name) -> None:
    rows = [get_grouping(name, {"resolution": r}).labels(power_law(), 0).num_rows for r in (0.5, 4, 40)]
    assert rows == sorted(set(rows))


@pytest.mark.parametrize("name", ["louvain", "leiden"])
def test_isolated_nodes_are_groups_of_their_own(name) -> None:
    graph = power_law()
    labels = get_grouping(name).labels(graph, 0)
    both = np.concatenate([labels.users, labels.items])
    for alone in (graph.num_users - 1, graph.num_nodes - 1):
        assert (both == both[alone]).sum() == 1


def test_the_seed_matters_where_nodes_are_shuffled() -> None:
    shuffled = get_grouping("louvain", {"resolution": 5, "shuffle_nodes": True})
    one, other, again = (shuffled.labels(power_law(), seed).users for seed in (0, 1, 0))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_beauty_at_the_published_resolution_has_the_published_rows(real_data, monkeypatch) -> None:
    monkeypatch.setenv("SLIMTABLE_DATA", str(real_data))
    graph = InteractionGraph.from_interactions(split(load_dataset("beauty"), "random").train)
    assert 8000 <= group(graph, "louvain").num_rows <= 8500
