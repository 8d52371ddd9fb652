"""Double hashing: sums of two hashed rows tell more ids apart than there are rows."""

from __future__ import annotations

import numpy as np
import torch

from slimtable.embeddings.base import create
from slimtable.methods.double_hash import DoubleHashConfig


def test_rows_are_sums_of_two_and_nothing_else_is_stored() -> None:
    table = create(DoubleHashConfig(init_std=1.0), 4000, 8)
    rows = table.tables()[0].detach()
    first, second = table.row_map(0).long(), table.row_map(1).long()
    assert torch.equal(table.weight, rows[first] + rows[second])
    assert table.bits() == 32 * 1000 * 8
    # One hash leaves 1000 different rows; two leave all but a few pairs of ids apart.
    assert len(torch.unique(table.weight, dim=0)) > 3950


def test_hashes_spread_evenly_and_follow_the_seed() -> None:
    maps = [create(DoubleHashConfig(hash_seed=seed), 4000, 4).row_map(0).numpy() for seed in (0, 0, 1)]
    assert np.array_equal(maps[0], maps[1])
    assert not np.array_equal(maps[0], maps[2])
    assert np.bincount(maps[0], minlength=1000).max() < 20
