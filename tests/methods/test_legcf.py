"""LEGCF: mixtures of two meta-embeddings, assigned by the parts of the graph and then anew."""

from __future__ import annotations

import numpy as np
import torch

from slimtable.embeddings.base import create
from slimtable.grouping.row_map import RowMap
from slimtable.methods.legcf import LEGCFConfig
from slimtable.models.base import build


def test_rows_are_tanh_of_two_weighted_meta_embeddings() -> None:
    table = create(LEGCFConfig(anchor_weight=0.9, init_std=1.0), 60, 8, row_maps=[RowMap(np.arange(60) % 6, 6)])
    meta, first, second = table.tables()[0].detach(), table.row_map(0).long(), table.row_map(1).long()
    assert torch.equal(first, torch.arange(60) % 6)
    assert (first != second).all()
    torch.testing.assert_close(table.weight, torch.tanh(0.9 * meta[first] + 0.1 * meta[second]))
    assert table.bits() == 32 * 6 * 8 + 2 * 60 * 3 + 64 * 60


def test_metis_cuts_between_communities(communities) -> None:
    model = build("gmf", 80, 40, 8, LEGCFConfig(num_rows=2), train=communities.train)
    for table, vocabulary in (
        (model.user_embedding, communities.train.user_vocabulary),
        (model.item_embedding, communities.train.item_vocabulary),
    ):
        half = np.asarray(vocabulary) >= len(vocabulary) // 2
        assert abs(np.corrcoef(half, table.row_map(0).numpy())[0, 1]) > 0.99


def test_after_an_epoch_ids_choose_their_largest_coefficients_once() -> None:
    table = create(LEGCFConfig(initialization="random", init_std=0.3), 100, 16)
    before = table.weight
    table.end_epoch()
    coefficients = before @ torch.linalg.pinv(table.tables()[0].detach())
    best = coefficients.topk(2, dim=1)
    assert torch.equal(table.row_map(0).long(), best.indices[:, 0])
    assert torch.equal(table.row_map(1).long(), best.indices[:, 1])
    positive = best.values.clamp(min=0)
    torch.testing.assert_close(table.weights_0, positive[:, 0] / positive.sum(1))
    chosen = table.row_map(0).clone()
    with torch.no_grad():
        table.tables()[0].normal_()
    table.end_epoch()
    assert torch.equal(table.row_map(0), chosen)
