"""Generalized matrix factorization (He et al. 2017, "Neural Collaborative Filtering", eq. 9)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from slimtable.config import Config
from slimtable.data.interactions.interactions import Interactions
from slimtable.embeddings.base import CompressedEmbedding
from slimtable.models.base import Ranker, TableSpec, register_model


@dataclass(frozen=True)
class GMFConfig(Config):
    """GMF has no options."""


@register_model("gmf")
class GMF(Ranker):
    """Logit of user u and item i: ``h · (p_u ⊙ q_i) + b``.

    Args:
        user_embedding: table of the users, (num_users, d).
        item_embedding: table of the items, (num_items, d).
        config: no options.
    """

    config_class = GMFConfig

    def __init__(
        self,
        user_embedding: CompressedEmbedding,
        item_embedding: CompressedEmbedding,
        config: GMFConfig | None = None,
    ) -> None:
        super().__init__()
        self.config = config if config is not None else GMFConfig()
        if user_embedding.embedding_dim != item_embedding.embedding_dim:
            raise ValueError(
                f"GMF multiplies rows elementwise, so both tables must be equally wide; got "
                f"{user_embedding.embedding_dim} and {item_embedding.embedding_dim}."
            )
        self.user_embedding = user_embedding
        self.item_embedding = item_embedding
        self.output = nn.Linear(user_embedding.embedding_dim, 1)
        limit = (3.0 / user_embedding.embedding_dim) ** 0.5  # LeCun uniform, as NCF
        nn.init.uniform_(self.output.weight, -limit, limit)
        nn.init.zeros_(self.output.bias)

    @classmethod
    def table_specs(cls, num_users: int, num_items: int, embedding_dim: int, config: Config) -> list[TableSpec]:
        return [
            TableSpec("user", "user", num_users, embedding_dim),
            TableSpec("item", "item", num_items, embedding_dim),
        ]

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        product = self.user_embedding(users) * self.item_embedding(items)  # (B, d)
        logits: Tensor = self.output(product).squeeze(1)
        return logits

    def scorer(self, history: Interactions | None = None) -> Callable[[Tensor], Tensor]:
        weighted = (self.item_embedding.weight * self.output.weight).T.contiguous()  # (d, num_items)

        def score(users: Tensor) -> Tensor:
            return torch.addmm(self.output.bias, self.user_embedding(users), weighted)

        return score
