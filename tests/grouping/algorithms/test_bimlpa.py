from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from slimtable.grouping import get_grouping
from tests.grouping.graphs import graph_of


def test_kept_labels_by_hand() -> None:
    bimlpa = get_grouping("bimlpa", {"theta": 0.5, "max_labels": 2})
    assert bimlpa == get_grouping("bimlpa", {"theta": 0.5, "most_labels": 2})  # its name in earlier versions
    gathered = csr_matrix(np.array([[4.0, 0, 1.9, 2.0], [1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 7]]))
    kept = bimlpa._kept(gathered.copy(), 2)
    assert kept.toarray() == pytest.approx(
        np.array([[2 / 3, 0, 0, 1 / 3], [0.5, 0.5, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]])
    )
    assert bimlpa._kept(gathered.copy(), 1).indices.tolist() == [0, 0, 3]


@pytest.mark.parametrize("sides", [(4, 3), (3, 4)])
def test_isolated_nodes_are_groups_of_their_own(sides) -> None:
    users, items = sides
    clique = [(user, item) for user in range(users) for item in range(items)]
    labels = get_grouping("bimlpa").labels(graph_of(clique, users + 2, items + 2), 0)
    assert len({*labels.users[:users], *labels.items[:items]}) == 1
    assert len({*labels.users, *labels.items}) == 1 + 4
