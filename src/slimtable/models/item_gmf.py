"""GMF for pairs of items: item-to-item similarity (Kang et al. 2020, arXiv 2002.08530, §5.2, task 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimtable.config import Config
from slimtable.data.interactions.interactions import Interactions
from slimtable.data.interactions.pairs import Pairs
from slimtable.embeddings.base import CompressedEmbedding
from slimtable.errors import DatasetError
from slimtable.models.base import Batch, Ranker, Selection, TableSpec, register_model


@dataclass(frozen=True)
class ItemGMFConfig(Config):
    """The model has no options."""


@register_model("item_gmf")
class ItemGMF(Ranker):
    """Score of items i and j: ``h · (q_i ⊙ q_j) + b``, with one table for both; a pair has no direction.

    It is trained on the squared error of the scores of pairs, in the unit of the data. The offset b starts at their
    mean: from 0, Adam would take epochs to reach it, and the table would overfit meanwhile.

    Args:
        item_embedding: table of the items, (num_items, d).
        config: no options.
    """

    config_class = ItemGMFConfig
    task = "regression"
    selection = Selection("all", "rmse", lower_is_better=True)

    def __init__(self, item_embedding: CompressedEmbedding, config: ItemGMFConfig | None = None) -> None:
        super().__init__()
        self.config = config if config is not None else ItemGMFConfig()
        self.item_embedding = item_embedding
        self.output = nn.Linear(item_embedding.embedding_dim, 1)
        limit = (3.0 / item_embedding.embedding_dim) ** 0.5  # LeCun uniform, as GMF
        nn.init.uniform_(self.output.weight, -limit, limit)
        nn.init.zeros_(self.output.bias)

    @classmethod
    def table_specs(cls, num_users: int, num_items: int, embedding_dim: int, config: Config) -> list[TableSpec]:
        return [TableSpec("item", "item", num_items, embedding_dim)]

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Predicted scores (B,) of items (B,) with other items (B,)."""
        first, second = self.item_embedding(torch.stack([users, items]))  # both sides at once: (2, B, d)
        scores: Tensor = self.output(first * second).squeeze(1)
        return scores

    def loss(self, batch: Batch) -> Tensor:
        """Mean squared error of a batch of (items, other items, scores)."""
        items, others, scores = batch
        return F.mse_loss(self(items, others), scores)

    def scorer(self, history: Interactions | None = None) -> Callable[[Tensor], Tensor]:
        """A function from items (B,) to their predicted scores with all items, (B, num_items)."""
        table = self.item_embedding.weight
        weighted = (table * self.output.weight).T.contiguous()  # (d, num_items)

        def score(users: Tensor) -> Tensor:
            return torch.addmm(self.output.bias, F.embedding(users, table), weighted)

        return score

    def init_from_data(self, train: Interactions) -> None:
        if train.ratings is not None and len(train):
            nn.init.constant_(self.output.bias, float(train.ratings.mean(dtype=np.float64)))

    def batch_sampler(self, train: Interactions) -> PairSampler:
        return PairSampler(train)


class PairSampler:
    """All training pairs, shuffled, without negatives.

    Args:
        train: the training pairs.

    Raises:
        DatasetError: the data does not consist of pairs of items.
    """

    def __init__(self, train: Interactions) -> None:
        if not isinstance(train, Pairs):
            raise DatasetError(
                "item_gmf learns from pairs of items with scores, but the data is interactions of users. Use the "
                "dataset ml-1m-npmi, or read a table of pairs with `read_pairs`."
            )
        self._train = train

    def epoch(self, generator: np.random.Generator, batch_size: int, negatives: int) -> tuple[int, Iterator[Batch]]:
        """The number of batches, and items int32 (B,), other items int32 (B,) and scores float32 (B,) of each."""
        order = generator.permutation(len(self._train))
        columns = (self._train.users, self._train.items, self._train.ratings)
        tensors = [torch.from_numpy(column[order]) for column in columns if column is not None]
        steps = -(-len(order) // batch_size)
        return steps, zip(*(tensor.split(batch_size) for tensor in tensors), strict=True)
