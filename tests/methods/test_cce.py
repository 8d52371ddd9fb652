"""CCE: after an epoch, ids with like rows share a centroid."""

from __future__ import annotations

import numpy as np
import torch

from slimtable.embeddings.base import create
from slimtable.methods.cce import CCEConfig


def test_clustering_keeps_rows_that_lie_in_clusters() -> None:
    """Rows of 5 kinds are exactly what 5 centroids give; hashes alone could not hold them."""
    kinds = torch.randn(5, 8)
    table = kinds[torch.randint(5, (300,))]
    taken = type(create(CCEConfig(num_rows=20, chunks=2), 300, 8)).from_table(table, CCEConfig(num_rows=20, chunks=2))
    assert (taken.weight - table).square().mean() < 0.05 * table.square().mean()


def test_an_epoch_clusters_once_and_keeps_the_parameters() -> None:
    embedding = create(CCEConfig(chunks=2, init_std=1.0), 200, 8)
    assert embedding.bits() == 32 * 50 * 8
    parameters, before = list(embedding.parameters()), embedding.weight
    embedding.end_epoch()
    clustered = embedding.weight
    assert all(a is b for a, b in zip(parameters, embedding.parameters(), strict=True))  # and so their moments
    assert embedding.bits() == 32 * 50 * 8 + 2 * 200 * 5
    kept = torch.corrcoef(torch.stack([before.flatten(), clustered.flatten()]))[0, 1]
    assert kept > 0.7
    embedding.end_epoch()
    assert torch.equal(embedding.weight, clustered)


def test_ids_get_their_nearest_centroid_and_the_mean_of_what_is_left() -> None:
    embedding = create(CCEConfig(chunks=1, num_rows=10, init_std=1.0), 100, 4)
    before = embedding.weight
    embedding.end_epoch()
    centroids, left = (table.detach() for table in embedding.tables())
    nearest = torch.cdist(before, centroids).argmin(1)
    assert torch.equal(embedding.row_map(0).long(), nearest)
    hashed = embedding.row_map(1).long()
    for row in range(5):
        members = hashed == row
        if members.any():
            torch.testing.assert_close(left[row], (before - centroids[nearest])[members].mean(0))


def test_the_seed_decides() -> None:
    maps = []
    for seed in (0, 0, 1):
        torch.manual_seed(0)
        embedding = create(CCEConfig(hash_seed=seed), 200, 8)
        embedding.end_epoch()
        maps.append(embedding.row_map(0).numpy())
    assert np.array_equal(maps[0], maps[1])
    assert not np.array_equal(maps[0], maps[2])
