"""Rows of packed tables by PyTorch are those of the kernels."""

from __future__ import annotations

import pytest
import torch

from slimtable.artifact import LAYOUTS
from slimtable.embeddings.frozen import FrozenEmbedding
from slimtable.embeddings.frozen_rows import ROWS_OF_LAYOUT
from tests.artifact.artifact_samples import samples

SAMPLES = samples()
# Layouts of format version 4; for the others, the contract of methods compares the rows.
NEWER = ("quantized-", "scaled-short", "sparse", "tiered")


def test_every_layout_has_rows_by_torch() -> None:
    assert set(ROWS_OF_LAYOUT) == set(LAYOUTS)


@pytest.mark.parametrize("name", [name for name in SAMPLES if name.startswith(NEWER)])
def test_rows_by_torch_are_those_of_the_kernels(name: str) -> None:
    packed = SAMPLES[name]
    table = FrozenEmbedding(packed)
    ids = torch.arange(packed.num_embeddings)
    expected = table(ids)
    rows = ROWS_OF_LAYOUT[packed.layout](table, ids)
    if packed.padding_idx is not None:
        rows[packed.padding_idx] = 0
    if "rotation" in packed.arrays or "part.1.right" in packed.arrays:  # a matrix product has no order of its own
        torch.testing.assert_close(rows, expected)
    else:
        assert torch.equal(rows, expected)
