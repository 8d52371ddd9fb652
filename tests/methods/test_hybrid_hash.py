"""Hybrid hashing: no frequent id shares its row."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from slimtable.embeddings.base import create
from slimtable.methods.hybrid_hash import HybridHashConfig


@pytest.mark.parametrize("ids", ["sorted", "unsorted"])
def test_frequent_ids_have_their_rows_twice_and_alone(ids) -> None:
    counts = None if ids == "sorted" else torch.randperm(400)
    table = create(HybridHashConfig(init_std=1.0), 400, 8, frequencies=counts)
    top = torch.arange(50) if counts is None else counts.argsort(descending=True)[:50]
    rows, first, second = table.tables()[0].detach(), table.row_map(0), table.row_map(1)
    assert torch.equal(first[top], second[top])
    assert torch.equal(table.weight[top], 2 * rows[first[top].long()])
    others = np.setdiff1d(np.arange(400), top)
    assert not set(first[top].tolist()) & {*first[others].tolist(), *second[others].tolist()}
    assert table.bits() == 32 * 100 * 8 + (0 if counts is None else 2 * 400 * 7)
