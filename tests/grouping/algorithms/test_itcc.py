from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from slimtable.grouping import get_grouping
from slimtable.grouping.algorithms.itcc import information_loss
from slimtable.grouping.matrix import interaction_matrix
from tests.grouping.graphs import power_law, two_bicliques


def _clusters(generator, graph, users, items):
    return generator.integers(users, size=graph.num_users), generator.integers(items, size=graph.num_items)


def _information(joint):
    joint = joint / joint.sum()
    expected = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    return (joint[joint > 0] * np.log(joint[joint > 0] / expected[joint > 0])).sum()


def test_loss_is_the_difference_of_mutual_informations() -> None:
    graph = power_law()
    users, items = _clusters(np.random.default_rng(0), graph, 6, 5)
    dense = interaction_matrix(graph).toarray()
    joint = np.eye(6)[users].T @ dense @ np.eye(5)[items]
    assert information_loss(graph, users, items) == pytest.approx(_information(dense) - _information(joint))
    assert information_loss(graph, np.arange(300), np.arange(200)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_half_sweep_takes_the_nearest_cluster(smoothing) -> None:
    graph = power_law()
    users, items = _clusters(np.random.default_rng(1), graph, 6, 5)
    itcc = get_grouping("itcc", {"smoothing": smoothing})
    nearest = itcc._nearest(graph.user_starts, graph.user_items, users, items, 6, 5)
    of_user = interaction_matrix(graph).toarray() @ np.eye(5)[items]  # edges of a user into each item cluster
    joint = np.eye(6)[users].T @ of_user
    profiles = (1 - smoothing) * joint / joint.sum(axis=1, keepdims=True) + smoothing * joint.sum(axis=0) / joint.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        likelihood = np.where(of_user[:, None] > 0, of_user[:, None] * np.log(profiles), 0).sum(axis=2)  # (users, 6)
    linked = np.flatnonzero(graph.user_degrees())
    assert likelihood[linked, nearest[linked]] == pytest.approx(likelihood[linked].max(axis=1))


@pytest.mark.parametrize("rows", [(3, 3), (8, 6), (60, 40)])
def test_loss_never_rises(rows) -> None:
    graph, losses = power_law(), []
    for sweeps in range(1, 6):
        options = {"user_rows": rows[0], "item_rows": rows[1], "sweeps": sweeps, "tolerance": -1.0}
        labels = get_grouping("itcc", options).labels(graph, 0)
        losses.append(information_loss(graph, labels.users, labels.items))
    assert all(after <= before + 1e-12 for before, after in pairwise(losses))
    assert losses[-1] < losses[0] or rows == (60, 40)


def test_two_bicliques_lose_nothing_from_a_start_that_tells_them_apart() -> None:
    graph = two_bicliques()
    users, items = np.repeat([0, 1], 6), np.repeat([0, 1], 5)
    assert information_loss(graph, users, items) == pytest.approx(0, abs=1e-12)
    users[0] = 1  # one in the wrong cluster goes home
    itcc = get_grouping("itcc", {"smoothing": 0.01})
    home = itcc._nearest(graph.user_starts, graph.user_items, users, items, 2, 2)
    assert home.tolist() == [0] * 6 + [1] * 6
