from __future__ import annotations

from slimtable.grouping import get_grouping
from tests.grouping.graphs import graph_of


def test_isolated_nodes_are_groups_of_their_own() -> None:
    clique = [(user, item) for user in range(4) for item in range(3)]
    labels = get_grouping("infomap").labels(graph_of(clique, num_users=6, num_items=4), 0)
    assert len({*labels.users[:4], *labels.items[:3]}) == 1
    assert len({*labels.users, *labels.items}) == 1 + 3
