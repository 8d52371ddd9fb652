"""DoubleGraphHash: the row of the group, and a hashed one of the same rows."""

from __future__ import annotations

import numpy as np
import torch

from slimtable.embeddings.base import create
from slimtable.grouping.row_map import RowMap
from slimtable.methods.double_graph_hash import DoubleGraphHashConfig
from slimtable.models.base import build


def test_rows_are_those_of_group_and_hash() -> None:
    groups = RowMap(np.arange(300) % 20, 20)
    table = create(DoubleGraphHashConfig(init_std=1.0), 300, 8, row_maps=[groups])
    rows, hashed = table.tables()[0].detach(), table.row_map(1).long()
    assert torch.equal(table.weight, rows[torch.arange(300) % 20] + rows[hashed])
    assert len(torch.unique(table.weight, dim=0)) > 150
    assert table.bits() == 32 * 20 * 8 + 5 * 300


def test_groups_are_communities(communities) -> None:
    """At a low resolution the groups are the two communities, numbered alike for all of their members."""
    config = DoubleGraphHashConfig(grouping="louvain[resolution=1.0]", rows="")
    model = build("gmf", 80, 40, 8, config, train=communities.train)
    for table, vocabulary in (
        (model.user_embedding, communities.train.user_vocabulary),
        (model.item_embedding, communities.train.item_vocabulary),
    ):
        half = np.asarray(vocabulary) >= len(vocabulary) // 2
        rows = table.row_map(0).numpy()
        assert not set(rows[half]) & set(rows[~half])
