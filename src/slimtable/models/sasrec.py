"""Self-attentive sequential recommendation (Kang and McAuley 2018, arXiv 1808.09781)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch
from numba import njit
from torch import Tensor, nn
from torch.nn import functional as F

from slimtable.config import Config, PositiveInt, Share
from slimtable.data.interactions.interactions import Interactions
from slimtable.data.interactions.negatives import NegativeSampler
from slimtable.embeddings.base import CompressedEmbedding
from slimtable.errors import DatasetError
from slimtable.models.base import Batch, Ranker, TableSpec, register_model
from slimtable.models.parts.dropout import Dropout

_PADDING = 0
_LAYER_NORM_EPSILON = 1e-8  # as the reference code
_NEVER = -1e9  # attention logit of masked positions


@dataclass(frozen=True)
class SASRecConfig(Config):
    """Options of SASRec; the defaults are MGQE's (§5.2).

    Attributes:
        max_length: number of most recent interactions to use.
        num_blocks: self-attention blocks.
        dropout: share of activations that training drops.
    """

    max_length: PositiveInt = 50
    num_blocks: PositiveInt = 2
    dropout: Share = 0.2


class _Block(nn.Module):
    """Causal self-attention and a two-layer perceptron; the residual of the attention adds the normalised query."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.query_norm = nn.LayerNorm(width, eps=_LAYER_NORM_EPSILON)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.inner_norm = nn.LayerNorm(width, eps=_LAYER_NORM_EPSILON)
        self.inner = nn.Linear(width, width)
        self.outer = nn.Linear(width, width)
        self.dropout = Dropout(dropout)
        self.scale = width**-0.5
        key, value = self.key_value.weight.chunk(2)
        for weight in (self.query.weight, key, value, self.inner.weight, self.outer.weight):
            nn.init.xavier_uniform_(weight.data)
        for linear in (self.query, self.key_value, self.inner, self.outer):
            nn.init.zeros_(linear.bias)

    def forward(self, states: Tensor, unseen: Tensor, present: Tensor) -> Tensor:
        """One block.

        Args:
            states: float (B, L, d).
            unseen: float (B, L, L), mask added to the attention logits.
            present: float (B, L, 1), 0 for padding.

        Returns:
            float (B, L, d).
        """
        normal = self.query_norm(states)
        keys, values = self.key_value(states).chunk(2, dim=2)
        attention = torch.baddbmm(unseen, self.query(normal), keys.transpose(1, 2), alpha=self.scale)
        weights = self.dropout(attention.softmax(dim=2))  # (B, L, L)
        states = torch.baddbmm(normal, weights, values)
        normal = self.inner_norm(states)
        inner = self.dropout(F.relu(self.inner(normal)))
        return (normal + self.dropout(self.outer(inner))) * present


@register_model("sasrec")
class SASRec(Ranker):
    """Logit of item i after a sequence: ``state · q_i``, with one table for input and output.

    Ids of the table are those of the items plus one; row 0 is the padding, always zeros. In a training step each
    row is looked up, and so quantized, only once, for input and output.

    Args:
        item_embedding: table of the items after a padding row, (1 + num_items, d).
        config: the options.
    """

    config_class = SASRecConfig
    config: SASRecConfig
    causal: Tensor
    sequential = True
    adam_betas = (0.9, 0.98)
    train_defaults: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {"epochs": 200, "batch_size": 128, "negatives": 1, "evaluate_every": 20}
    )

    def __init__(self, item_embedding: CompressedEmbedding, config: SASRecConfig | None = None) -> None:
        super().__init__()
        self.config = config if config is not None else SASRecConfig()
        if item_embedding.padding_idx != _PADDING:
            raise ValueError(f"SASRec's table must have padding_idx={_PADDING}, got {item_embedding.padding_idx}.")
        width = item_embedding.embedding_dim
        self.item_embedding = item_embedding
        self.positions = nn.Parameter(torch.empty(self.config.max_length, width))
        nn.init.normal_(self.positions, std=item_embedding.config.init_std)
        self.blocks = nn.ModuleList(_Block(width, self.config.dropout) for _ in range(self.config.num_blocks))
        self.norm = nn.LayerNorm(width, eps=_LAYER_NORM_EPSILON)
        self.dropout = Dropout(self.config.dropout)
        causal = torch.full((self.config.max_length, self.config.max_length), _NEVER).triu(1)
        self.register_buffer("causal", causal, persistent=False)

    @classmethod
    def table_specs(cls, num_users: int, num_items: int, embedding_dim: int, config: Config) -> list[TableSpec]:
        return [TableSpec("item", "item", 1 + num_items, embedding_dim, padding_idx=_PADDING)]

    def forward(self, sequences: Tensor, items: Tensor) -> Tensor:
        """Logits of items after sequences.

        Args:
            sequences: integer (B, max_length), ids of the table, left-padded with zeros.
            items: integer (B,), ids of the items, from 0.

        Returns:
            float (B,).
        """
        look_up = self._look_up(sequences.numel() + items.numel(), sequences, items + 1)
        return (self._states(sequences, look_up)[:, -1] * look_up(items + 1)).sum(dim=1)

    def loss(self, batch: Batch) -> Tensor:
        """Binary cross-entropy of the next item and of its negatives at every position, mean over positions.

        Args:
            batch: sequences (B, L), the item that follows each position (B, L) and negatives (B, L, n), all as ids
                of the table, 0 where there is none.
        """
        sequences, following, negatives = batch
        look_up = self._look_up(negatives.numel() + 2 * sequences.numel(), sequences, following, negatives)
        states = self._states(sequences, look_up)  # (B, L, d)
        present = (following != _PADDING).to(states.dtype)  # (B, L)
        right = (states * look_up(following)).sum(dim=2)  # (B, L)
        wrong = (states.unsqueeze(2) * look_up(negatives)).sum(dim=3)  # (B, L, n)
        terms = F.softplus(-right) + F.softplus(wrong).sum(dim=2)
        return (terms * present).sum() / present.sum().clamp(min=1)

    def scorer(self, history: Interactions | None = None) -> Callable[[Tensor], Tensor]:
        if history is None:
            raise ValueError("SASRec predicts the next item of a history, but none was given.")
        if not history.chronological:
            raise ValueError("SASRec needs histories in time order. Split by leave-two-out or temporal.")
        table = self.item_embedding.weight
        sequences = torch.from_numpy(_last(*history.sequences(), self.config.max_length)).to(table.device)
        candidates = table[1:].T.contiguous()  # (d, num_items)

        def score(users: Tensor) -> Tensor:
            states = self._states(sequences[users], lambda ids: F.embedding(ids, table))
            return states[:, -1] @ candidates

        return score

    def batch_sampler(self, train: Interactions) -> SequenceSampler:
        return SequenceSampler(train, self.config.max_length)

    def _look_up(self, num_ids: int, *ids: Tensor) -> Callable[[Tensor], Tensor]:
        """A lookup function that reads each row of the table once: all rows, or the distinct ids."""
        if num_ids >= self.item_embedding.num_embeddings:
            table = self.item_embedding(torch.arange(self.item_embedding.num_embeddings, device=ids[0].device))
            return lambda wanted: F.embedding(wanted, table)
        distinct = torch.cat([part.flatten() for part in ids]).unique()  # ascending
        rows = self.item_embedding(distinct)
        return lambda wanted: F.embedding(torch.searchsorted(distinct, wanted), rows)

    def _states(self, sequences: Tensor, look_up: Callable[[Tensor], Tensor]) -> Tensor:
        """The state after each position, (B, L, d)."""
        present = (sequences != _PADDING).unsqueeze(2)  # (B, L, 1)
        rows = look_up(sequences)
        states = torch.add(self.positions, rows, alpha=rows.shape[2] ** 0.5)
        present = present.to(states.dtype)
        states = self.dropout(states) * present
        unseen = self.causal + (1.0 - present.transpose(1, 2)) * _NEVER  # (B, L, L)
        for block in self.blocks:
            states = block(states, unseen, present)
        return self.norm(states)


class SequenceSampler:
    """The most recent training interactions of every user, shuffled.

    The reference code instead samples users with replacement, as many as there are, in full batches.

    Args:
        train: training interactions in time order.
        max_length: positions of a sequence.

    Raises:
        DatasetError: the interactions are not in time order, or no user has two.
    """

    def __init__(self, train: Interactions, max_length: int) -> None:
        if not train.chronological:
            raise DatasetError(
                "SASRec learns from sequences, but the interactions are not in time order. Use data with times, or "
                "another model."
            )
        starts, items = train.sequences()
        self._users = np.flatnonzero(np.diff(starts) >= 2)
        if not len(self._users):
            raise DatasetError("SASRec learns from sequences, but no user has two training interactions.")
        recent = _last(starts, items, max_length + 1)[self._users]
        self._sequences = np.ascontiguousarray(recent[:, :-1])
        # As in the reference code, the first item of a short sequence is never predicted.
        self._following = np.where(self._sequences != _PADDING, recent[:, 1:], _PADDING)
        self._sampler = NegativeSampler(train)

    def epoch(self, generator: np.random.Generator, batch_size: int, negatives: int) -> tuple[int, Iterator[Batch]]:
        """The number of batches, and sequences (B, L), next items (B, L) and negatives (B, L, n) of each."""
        order = generator.permutation(len(self._users))
        following = self._following[order]
        drawn = np.zeros((*following.shape, negatives), dtype=np.int32)
        places = following != _PADDING
        owners = np.repeat(self._users[order], places.sum(axis=1) * negatives)
        drawn[places] = 1 + self._sampler.sample(owners, generator).reshape(-1, negatives)
        tensors = [torch.from_numpy(array) for array in (self._sequences[order], following, drawn)]
        steps = -(-len(order) // batch_size)
        return steps, zip(*(tensor.split(batch_size) for tensor in tensors), strict=True)


@njit(cache=True, nogil=True)
def _last(starts: np.ndarray, items: np.ndarray, length: int) -> np.ndarray:  # pragma: no cover
    """The last items of each user as ids of the table, int32 (num_users, length), left-padded with zeros."""
    sequences = np.zeros((starts.size - 1, length), dtype=np.int32)
    for user in range(starts.size - 1):
        first = max(starts[user], starts[user + 1] - length)
        count = starts[user + 1] - first
        for i in range(count):
            sequences[user, length - count + i] = items[first + i] + 1
    return sequences
