"""BACO: users have the mean of the rows of two groups, items one row."""

from __future__ import annotations

import torch

from slimtable.embeddings.base import get_config
from slimtable.grouping import InteractionGraph, group
from slimtable.methods.baco import BACOConfig
from slimtable.models.base import build


def test_users_have_the_mean_of_two_rows(communities) -> None:
    config = BACOConfig(grouping="baco[gamma=3.0]", rows="", init_std=1.0)
    model = build("gmf", 80, 40, 8, config, train=communities.train)
    groups = group(InteractionGraph.from_interactions(communities.train), "baco[gamma=3.0]")
    assert groups.users.num_secondary > 10
    rows = model.user_embedding.tables()[0].detach()
    expected = (rows[groups.users.rows] + rows[groups.users.secondary]) / 2
    torch.testing.assert_close(model.user_embedding.weight, expected)
    assert torch.equal(model.item_embedding.weight, model.item_embedding.tables()[0][groups.items.rows])


def test_the_budget_counts_rows_of_both_tables(communities) -> None:
    model = build("gmf", 80, 40, 8, BACOConfig(), train=communities.train)
    values = model.user_embedding.trained_parameters() + model.item_embedding.trained_parameters()
    assert 0.9 * 30 <= values / 8 <= 30


def test_published_rows_start_wide() -> None:
    assert get_config("baco", {"preset": "published"}) == BACOConfig(init_std=1.0)
