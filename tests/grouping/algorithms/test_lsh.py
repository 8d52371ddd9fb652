from __future__ import annotations

import numpy as np
import pytest

from slimtable.grouping import group
from slimtable.grouping.algorithms.lsh import hash_codes
from slimtable.grouping.matrix import interaction_matrix
from tests.grouping.graphs import graph_of, power_law


def test_codes_are_the_signs_of_projections() -> None:
    matrix = interaction_matrix(power_law())
    codes = hash_codes(matrix, 10**6, np.random.default_rng(4))
    generator = np.random.default_rng(4)
    planes = np.stack([generator.standard_normal(matrix.shape[1]) for _ in range(64)])
    signs = matrix.toarray() @ planes.T > 0
    assert len(np.unique(codes)) == len(np.unique(signs, axis=0)) > 100
    for code in np.unique(codes):
        assert len(np.unique(signs[codes == code], axis=0)) == 1


@pytest.mark.parametrize("rows", [1, 2, 37, 64, 100])
def test_every_row_is_used(rows) -> None:
    assert group(power_law(), f"lsh[user_rows={rows};item_rows=5]").users.num_rows == rows


def test_ids_with_the_same_interactions_share_a_row_always() -> None:
    found = group(graph_of([(0, 0), (1, 0), (2, 1), (0, 2), (1, 2)], num_users=5), "lsh[user_rows=5;item_rows=3]")
    rows = found.users.rows
    assert rows[0] == rows[1] != rows[2]
    assert rows[3] == rows[4]  # both without interactions
