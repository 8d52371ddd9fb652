from __future__ import annotations

import numpy as np
import pytest

from slimtable.errors import BudgetError
from slimtable.grouping import group
from slimtable.grouping.algorithms.sbc import bistochastic, most_piecewise
from slimtable.grouping.matrix import interaction_matrix
from tests.grouping.graphs import graph_of, power_law


def test_scaled_rows_and_columns_have_equal_sums() -> None:
    full = interaction_matrix(graph_of([(u, v) for u in range(4) for v in range(4) if u != v or u < 2]))
    scaled = bistochastic(full)
    for axis in (0, 1):
        sums = np.asarray(scaled.sum(axis=axis)).ravel()
        assert sums == pytest.approx(np.full(4, sums[0]), abs=1e-4)


def test_the_vector_of_few_values_is_taken() -> None:
    generator = np.random.default_rng(0)
    steps, noise = np.repeat([0.0, 5.0, 1.0], 20), 3 * generator.standard_normal(60)
    assert most_piecewise(np.stack([noise, steps, noise[::-1]]), 1, 3).tolist() == [steps.tolist()]


def test_isolated_nodes_have_rows_within_the_budget() -> None:
    found = group(power_law(), "sbc[user_rows=28;item_rows=20]")
    assert (found.users.num_rows, found.items.num_rows) == (28, 20)
    for row_map in (found.users, found.items):
        assert (row_map.rows == row_map.rows[-1]).sum() == 1
    with pytest.raises(BudgetError, match="The minimum is 24"):
        group(power_law(), "sbc[user_rows=23;item_rows=20]")


def test_mini_batches_group_too() -> None:
    assert group(power_law(), "sbc[user_rows=28;item_rows=20;mini_batch=true]").num_rows <= 48
