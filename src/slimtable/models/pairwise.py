"""Recommenders that learn from pairs: what a user took should score higher than what was drawn at random (BPR)."""

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
    """Base of recommenders with a row per user and item whose dot product ranks, trained with BPR.

    The protocol is that of GraphHash and BACO (arXiv 2604.18351): ``−mean log σ(s⁺ − s⁻)`` with negatives drawn from
    all items, and the epoch with the best validation recall@20, capped at what 20 places can hold.

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
        """What is multiplied for users (B,) and items (C,): float (B, d) and (C, d); each table is looked up once."""

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        left, right = self.vectors(users, items)
        return (left * right).sum(dim=1)

    def loss(self, batch: Batch) -> Tensor:
        """Mean of ``−log σ(s⁺ − s⁻)``.

        Args:
            batch: users, items that they took, and items drawn at random, each integer (B,).
        """
        users, positives, negatives = batch
        left, right = self.vectors(users, torch.cat([positives, negatives]))
        taken, drawn = right.split(len(users))  # (B, d) each
        return F.softplus(-(left * (taken - drawn)).sum(dim=1)).mean()

    def batch_sampler(self, train: Interactions) -> PairwiseSampler:
        return PairwiseSampler(train)


class PairwiseSampler:
    """Every training interaction, shuffled, with items drawn from all: batches of (users, taken, drawn).

    What is drawn may be an item that the user took, as in the protocol of GraphHash and BACO.

    Args:
        train: the training interactions.
    """

    def __init__(self, train: Interactions) -> None:
        self._train = train

    def epoch(self, generator: np.random.Generator, batch_size: int, negatives: int) -> tuple[int, Iterator[Batch]]:
        """The number of batches, and users, taken and drawn items of each, all int32 (B,).

        An interaction stands in as many pairs as there are ``negatives``.
        """
        order = generator.permutation(len(self._train) * negatives) % len(self._train)
        users, items = torch.from_numpy(self._train.users[order]), torch.from_numpy(self._train.items[order])
        drawn = torch.from_numpy(generator.integers(self._train.num_items, size=len(order), dtype=np.int32))
        steps = -(-len(order) // batch_size)
        return steps, zip(*(column.split(batch_size) for column in (users, items, drawn)), strict=True)
