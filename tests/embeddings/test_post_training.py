"""The module of a post-training codec, with a codec made for these tests."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from slimtable.artifact.layouts import decode, exact_bits
from slimtable.codecs.base import NOTHING_KNOWN, Codec, FitContext, Fitted, Rows
from slimtable.codecs.uniform import Uniform
from slimtable.embeddings.base import MethodConfig
from slimtable.embeddings.post_training import PostTraining
from slimtable.embeddings.table import stored_rows

SEEN: list[np.ndarray | None] = []
"""The frequencies of each fit."""


@dataclass(frozen=True)
class Spy(Codec):
    """Four bits per value, or eight if the first id is frequent: a size that the shape does not tell."""

    exact_size = False

    def fit(self, rows: Rows, context: FitContext = NOTHING_KNOWN) -> Fitted:
        SEEN.append(context.frequencies)
        known = context.frequencies is not None and context.frequencies[0] > 9
        return Uniform(8 if known else 4).fit(rows, context)

    def bits_of(self, num_embeddings: int, embedding_dim: int, frequencies: np.ndarray | None = None) -> int:
        return Uniform(8).bits_of(num_embeddings, embedding_dim)


@dataclass(frozen=True)
class SpiedConfig(MethodConfig):
    def codec(self, num_embeddings: int, embedding_dim: int) -> Codec:
        return Spy()

    def table_bits(self, num_embeddings: int, embedding_dim: int, frequencies: Any = None) -> int:
        return Spy().bits_of(num_embeddings, embedding_dim)


class Spied(PostTraining):
    config_class = SpiedConfig
    method = "spied"


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    SEEN.clear()


def test_trains_like_a_dense_table_and_serves_what_the_codec_makes() -> None:
    embedding, ids = Spied(20, 4), torch.arange(20)
    assert torch.equal(embedding(ids), embedding.table)
    embedding(ids).sum().backward()
    assert torch.equal(embedding.table.grad, torch.ones(20, 4))
    assert stored_rows(embedding) == (embedding.table, None)
    assert not SEEN
    served = embedding.eval()(ids)
    assert stored_rows(embedding) is None
    assert not torch.equal(served, embedding.table)
    np.testing.assert_array_equal(
        served.numpy(), decode(Uniform(4).compress(Rows(embedding.table.detach().numpy())), ids)
    )


def test_a_table_is_compressed_once_and_again_after_a_change() -> None:
    embedding = Spied(20, 4).eval()
    for _ in range(3):
        embedding(torch.arange(20))
        embedding.pack()
        embedding.bits()
    assert len(SEEN) == 1
    with torch.no_grad():
        embedding.table.mul_(3)
    embedding(torch.arange(20))
    assert len(SEEN) == 2


def test_sees_the_steps_of_a_fused_optimizer() -> None:
    embedding = Spied(20, 4)
    optimizer = torch.optim.Adam(embedding.parameters(), lr=1.0, fused=True)
    embedding.eval()(torch.arange(20))
    embedding.train()(torch.arange(20)).sum().backward()
    optimizer.step()
    assert (embedding.eval()(torch.arange(20)) < -0.9).all()


@pytest.mark.parametrize("counts", [torch.arange(20) + 10, torch.rand(20).double() + 10])
def test_frequencies_survive_half_precision_and_a_state_dict(counts) -> None:
    embedding = Spied(20, 4, frequencies=counts).half().float()
    restored = Spied(20, 4)
    restored.load_state_dict(embedding.state_dict())
    for table in (embedding, restored, copy.deepcopy(restored)):
        assert table.bits() == exact_bits(table.pack()) == 20 * 4 * 8 + 64 * 4
        np.testing.assert_array_equal(SEEN[-1], counts.double().numpy())
    restored.load_state_dict(Spied(20, 4).state_dict())
    assert restored.bits() == 20 * 4 * 4 + 64 * 4
    assert SEEN[-1] is None


def test_a_state_dict_without_frequencies_is_restored() -> None:
    restored = Spied(20, 4, frequencies=torch.arange(20))
    restored.load_state_dict({"table": torch.ones(20, 4)})
    assert restored.bits() == 20 * 4 * 4 + 64 * 4


def test_a_state_dict_of_another_number_of_ids_is_refused() -> None:
    with pytest.raises(RuntimeError, match="size mismatch for frequencies"):
        Spied(20, 4).load_state_dict(Spied(21, 4, frequencies=torch.ones(21)).state_dict())


def test_from_table_takes_frequencies_and_a_padding_row() -> None:
    table = torch.randn(20, 4)
    table[3] = 0
    embedding = Spied.from_table(table, padding_idx=3, frequencies=torch.full((20,), 10))
    assert torch.equal(embedding.table, table)
    assert not embedding.eval()(torch.tensor(3)).any()
    torch.testing.assert_close(embedding.weight, table, rtol=0, atol=0.02)


def test_a_compiled_lookup_serves_the_same() -> None:
    embedding = Spied(20, 4).eval()
    compiled = torch.compile(embedding, backend="eager")
    assert torch.equal(compiled(torch.arange(20)), embedding(torch.arange(20)))


def test_a_method_without_a_codec_is_refused() -> None:
    class Config(SpiedConfig):
        def codec(self, num_embeddings: int, embedding_dim: int) -> None:
            return None

    class Method(PostTraining):
        config_class = Config

    with pytest.raises(ValueError, match="Config has no codec"):
        Method(3, 4)
