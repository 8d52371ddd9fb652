"""Matrix factorization trained with BPR (Rendle et al. 2009, arXiv 1205.2618)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from slimtable.config import Config
from slimtable.data.interactions.interactions import Interactions
from slimtable.embeddings.base import CompressedEmbedding
from slimtable.models.base import register_model
from slimtable.models.pairwise import PairwiseRanker


@dataclass(frozen=True)
class BPRMFConfig(Config):
    """The model has no options."""


@register_model("bprmf")
class BPRMF(PairwiseRanker):
    """Score of user u and item i: ``p_u · q_i``.

    Args:
        user_embedding: table of the users, (num_users, d).
        item_embedding: table of the items, (num_items, d).
        config: no options.
    """

    config_class = BPRMFConfig

    def __init__(
        self,
        user_embedding: CompressedEmbedding,
        item_embedding: CompressedEmbedding,
        config: BPRMFConfig | None = None,
    ) -> None:
        super().__init__(user_embedding, item_embedding)
        self.config = config if config is not None else BPRMFConfig()

    def vectors(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        return self.user_embedding(users), self.item_embedding(items)

    def scorer(self, history: Interactions | None = None) -> Callable[[Tensor], Tensor]:
        items = self.item_embedding.weight.T.contiguous()  # (d, num_items)

        def score(users: Tensor) -> Tensor:
            return self.user_embedding(users) @ items

        return score
