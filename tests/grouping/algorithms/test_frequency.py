from __future__ import annotations

import numpy as np

from slimtable.grouping import group
from tests.grouping.graphs import graph_of

# Degrees of the users: 1, 3, 0, 2, 1, 1; of the items: 4, 3, 1.
_EDGES = [(0, 0), (1, 0), (1, 1), (1, 2), (3, 0), (3, 1), (4, 1), (5, 0)]


def test_frequent_ids_have_rows_of_their_own() -> None:
    found = group(graph_of(_EDGES), "frequency[user_rows=4;item_rows=2]")
    assert found.users.rows.tolist() == [2, 0, 2, 1, 2, 3]  # users 1 and 3, then 2 + id mod 2
    assert found.users.computed is None
    assert found.users.bits() == 6 * 2


def test_ids_sorted_by_degree_need_no_map() -> None:
    found = group(graph_of(_EDGES), "frequency[user_rows=4;item_rows=2]")
    assert found.items.computed is not None
    assert found.items.bits() == 0
    assert found.items.rows.tolist() == [0, 1, 1]


def test_the_computed_rows_are_the_labels() -> None:
    graph = graph_of([(user, item) for user in range(40) for item in range(30) if user * item < 200])
    found = group(graph, "frequency[user_rows=11;item_rows=8;head_share=0.3]")
    labels = found.grouping.labels(graph, 0)
    assert found.users.computed is not None
    assert found.items.computed is not None
    assert np.array_equal(found.users.rows, labels.users)
    assert np.array_equal(found.items.rows, labels.items)
