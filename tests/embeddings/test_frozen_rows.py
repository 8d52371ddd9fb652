"""Rows of packed tables by PyTorch; that they are those of the kernels is a test of the contract."""

from __future__ import annotations

from slimtable.artifact import LAYOUTS
from slimtable.embeddings.frozen_rows import ROWS_OF_LAYOUT


def test_every_layout_has_rows_by_torch() -> None:
    assert set(ROWS_OF_LAYOUT) == set(LAYOUTS)
