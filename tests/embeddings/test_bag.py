"""Bags of every method are sums of its rows, as torch's EmbeddingBag and the reader make them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from slimtable.artifact.layouts import decode_bag
from slimtable.embeddings.bag import embedding_bag
from slimtable.embeddings.base import create, get_config, method_names
from tests.contract.cases import without_graph

IDS, OFFSETS = torch.tensor([4, 1, 4, 0, 9, 3, 3]), torch.tensor([0, 0, 3, 4, 4])


@pytest.mark.parametrize("mode", ["sum", "mean"])
@pytest.mark.parametrize("padding_idx", [None, 0, 4])
@pytest.mark.parametrize("method", method_names())
def test_as_torch_and_as_served(method, mode, padding_idx) -> None:
    embedding = create(without_graph(method), 10, 4, padding_idx=padding_idx).eval()
    weights = torch.rand(len(IDS)) if mode == "sum" else None
    pooled = embedding_bag(embedding, IDS, OFFSETS, mode, weights)
    expected = F.embedding_bag(
        IDS, embedding.weight, OFFSETS, mode=mode, per_sample_weights=weights, padding_idx=padding_idx
    )
    torch.testing.assert_close(pooled, expected)
    served = decode_bag(
        embedding.pack(), IDS.numpy(), OFFSETS.numpy(), mode, None if weights is None else weights.numpy()
    )
    np.testing.assert_allclose(served, pooled.detach(), rtol=1e-5, atol=1e-7)
    last = torch.cat([OFFSETS, torch.tensor([len(IDS)])])
    assert torch.equal(embedding_bag(embedding, IDS, last, mode, weights, include_last_offset=True), pooled)


def test_trains() -> None:
    embedding = create(get_config("mgqe", {"codebook_sizes": [8, 4]}), 10, 4)
    (embedding_bag(embedding, IDS, OFFSETS, "mean").sum() + embedding.penalty()).backward()
    assert embedding.table.grad[IDS].abs().sum(1).all()
    assert not embedding.table.grad[[2, 5]].any()


def test_no_bags_and_no_ids() -> None:
    embedding = create(get_config("full"), 10, 4)
    none = torch.zeros(0, dtype=torch.int64)
    assert embedding_bag(embedding, none, none).shape == (0, 4)
    assert not embedding_bag(embedding, none, torch.tensor([0, 0])).any()


@pytest.mark.parametrize(
    ("offsets", "options", "message"),
    [
        ([1, 3], {}, "begin with 0"),
        ([0, 5, 3], {}, "never fall"),
        ([0, 99], {}, "never fall"),
        ([0, 3], {"include_last_offset": True}, "end with the number"),
        ([0], {"mode": "max"}, "'sum' or 'mean'"),
        ([0], {"mode": "mean", "per_sample_weights": torch.ones(7)}, "mode 'sum' only"),
        ([0], {"per_sample_weights": torch.ones(3)}, "shape of the ids"),
        ([[0]], {}, "flat"),
    ],
)
def test_impossible_bags(offsets, options, message) -> None:
    embedding = create(get_config("full"), 10, 4)
    with pytest.raises(ValueError, match=message):
        embedding_bag(embedding, IDS, torch.tensor(offsets), **options)
