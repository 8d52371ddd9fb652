"""Shared rows: what ids of a group have in common, and what views, heads and coarse rows add."""

from __future__ import annotations

import numpy as np
import torch

from slimtable.embeddings.base import create, get_config
from slimtable.grouping import InteractionGraph, group
from slimtable.grouping.row_map import RowMap
from slimtable.methods.shared import SharedConfig


def test_ids_of_a_group_have_one_row_and_second_rows_are_averaged() -> None:
    row_map = RowMap(np.array([0, 0, 1, 1]), 2, np.array([0, 1, 1, 0]), secondary_weight=0.25)
    table = create(get_config("baco"), 4, 3, row_maps=[row_map])
    first, second = table.tables()[0].detach()
    expected = torch.stack([first, 0.75 * first + 0.25 * second, second, 0.75 * second + 0.25 * first])
    torch.testing.assert_close(table(torch.arange(4)).detach(), expected)


def test_the_maps_are_those_of_the_grouping(communities) -> None:
    config = SharedConfig(grouping="louvain", rows="25%", views=2, grouping_seed=3)
    maps = config.row_maps(communities.train, 8)
    graph = InteractionGraph.from_interactions(communities.train)
    for view in range(2):
        groups = group(graph, "louvain", num_rows=15, seed=3 + view)  # a quarter of 120, over two views
        np.testing.assert_array_equal(maps["user"][view].rows, groups.users.rows)
        np.testing.assert_array_equal(maps["item"][view].rows, groups.items.rows)
    assert config.row_maps(communities.train, 8)["user"][0] is maps["user"][0]  # remembered


def test_views_side_by_side_have_the_whole_number_of_rows_each() -> None:
    summed = create(SharedConfig(views=2), 400, 8)
    beside = create(SharedConfig(views=2, combine="concat"), 400, 8)
    assert [tuple(table.shape) for table in summed.tables()] == [(50, 8), (50, 8)]
    assert [tuple(table.shape) for table in beside.tables()] == [(100, 4), (100, 4)]
    assert summed.trained_parameters() == beside.trained_parameters() == 800


def test_views_start_at_the_scale_of_an_uncompressed_table() -> None:
    for views in (1, 4):
        deviation = create(SharedConfig(views=views, init_std=0.5), 20_000, 16).weight.std()
        assert 0.47 < deviation < 0.53


def test_views_tell_apart_what_one_view_cannot() -> None:
    rows = [len(torch.unique(create(SharedConfig(views=views), 400, 8).weight, dim=0)) for views in (1, 2)]
    assert rows[0] == 100
    assert rows[1] > 300


def test_coarse_rows_are_served_and_evaluated_but_not_trained() -> None:
    table = create(SharedConfig(row_bits=4, init_std=1.0), 200, 16)
    ids = torch.arange(200)
    trained, served = table.train()(ids), table.eval()(ids)
    assert torch.equal(trained, table.tables()[0][ids % 50])
    step = (table.tables()[0].amax(1) - table.tables()[0].amin(1)) / 15
    assert ((served - trained).abs() <= 0.51 * step[ids % 50].unsqueeze(1) + 1e-3).all()
    assert table.bits() == 50 * (16 * 4 + 32)
    with torch.no_grad():
        table.tables()[0].mul_(2)
    torch.testing.assert_close(table(ids), 2 * served, rtol=1e-2, atol=1e-2)  # not those of before


def test_frequent_ids_have_rows_of_their_own() -> None:
    counts = torch.randperm(40)
    for frequencies, bits in ((None, 0), (counts, 40 * 4)):
        table = create(SharedConfig(rows="30%", head=0.5), 40, 8, frequencies=frequencies)
        used = np.bincount(table.row_map(0).numpy(), minlength=12)
        top = torch.arange(6) if frequencies is None else counts.argsort(descending=True)[:6]
        assert (used[table.row_map(0).numpy()[top]] == 1).all()
        assert used.sum() == 40
        assert table.bits() == 32 * 12 * 8 + bits
