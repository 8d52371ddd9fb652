"""Recommenders trained with BPR: a positive item should score higher than a sampled negative."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from slimtable.config import Config
from slimtable.data.interactions.interactions import Interactions
from slimtable.embeddings.base import CompressedEmbedding
from slimtable.models.base import Batch, Ranker, Selection, TableSpec


class PairwiseRanker(Ranker):
    """Base class of recommenders that score by the dot product of a user row and an item row, trained with BPR.

    The protocol is that of GraphHash and BACO (arXiv 2604.18351): ``−mean log σ(s⁺ − s⁻)`` with negatives sampled
    from all items, and the epoch with the best validation recall@20, capped at 20 items.

    Args:
        user_embedding: table of the users, (num_users, d).
        item_embedding: table of the items, (num_items, d).

    Raises:
        ValueError: the tables are not equally wide.
    """

    selection = Selection("train", "capped_recall@20")
    train_defaults: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {
            "epochs": 1000,
            "batch_size": 1024,
            "learning_rate": 1e-3,
            "weight_decay": 1e-8,
            "negatives": 1,
            "evaluate_every": 10,
            "patience": 50,
            "ks": (10, 20, 50),
        }
    )

    def __init__(self, user_embedding: CompressedEmbedding, item_embedding: CompressedEmbedding) -> None:
        super().__init__()
        if user_embedding.embedding_dim != item_embedding.embedding_dim:
            raise ValueError(
                f"{type(self).__name__} multiplies rows, so both tables must be equally wide; got "
                f"{user_embedding.embedding_dim} and {item_embedding.embedding_dim}."
            )
        self.user_embedding = user_embedding
        self.item_embedding = item_embedding

    @classmethod
    def table_specs(cls, num_users: int, num_items: int, embedding_dim: int, config: Config) -> list[TableSpec]:
        return [
            TableSpec("user", "user", num_users, embedding_dim),
            TableSpec("item", "item", num_items, embedding_dim),
        ]

    @abstractmethod
    def vectors(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """The vectors of users (B,) and items (C,), float (B, d) and (C, d), with one lookup per table."""

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        left, right = self.vectors(users, items)
        return (left * right).sum(dim=1)

    def loss(self, batch: Batch) -> Tensor:
        """Mean of ``−log σ(s⁺ − s⁻)``.

        Args:
            batch: users, positive items and negative items, each integer (B,).
        """
        users, positives, negatives = batch
        left, right = self.vectors(users, torch.cat([positives, negatives]))
        positives, negatives = right.split(len(users))  # (B, d) each
        return F.softplus(-(left * (positives - negatives)).sum(dim=1)).mean()

    def batch_sampler(self, train: Interactions) -> PairwiseSampler:
        return PairwiseSampler(train)


class PairwiseSampler:
    """All training interactions, shuffled, with sampled negatives: batches of (users, positives, negatives).

    A negative may be a positive item of the user, as in the protocol of GraphHash and BACO.

    Args:
        train: the training interactions.
    """

    def __init__(self, train: Interactions) -> None:
        self._train = train

    def epoch(self, generator: np.random.Generator, batch_size: int, negatives: int) -> tuple[int, Iterator[Batch]]:
        """The number of batches, and users, positives and negatives of each, all int32 (B,).

        Each interaction occurs once per negative.
        """
        order = generator.permutation(len(self._train) * negatives) % len(self._train)
        users, items = torch.from_numpy(self._train.users[order]), torch.from_numpy(self._train.items[order])
        sampled = torch.from_numpy(generator.integers(self._train.num_items, size=len(order), dtype=np.int32))
        steps = -(-len(order) // batch_size)
        return steps, zip(*(column.split(batch_size) for column in (users, items, sampled)), strict=True)
