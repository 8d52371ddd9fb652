"""Neural matrix factorization (He et al. 2017, "Neural Collaborative Filtering", §3.4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimtable.config import Config
from slimtable.data.interactions.interactions import Interactions
from slimtable.embeddings.base import CompressedEmbedding
from slimtable.models.base import Ranker, TableSpec, register_model

_ACTIVATIONS_AT_A_TIME = 1 << 20  # of the first hidden layer, so that a block of scores fits into the cache


@dataclass(frozen=True)
class NeuMFConfig(Config):
    """Options of NeuMF.

    Attributes:
        layers: widths of the perceptron: its input (a user row and an item row, concatenated), then its hidden layers.
            None for [2d, d, d/2, d/4], NCF's [64,32,16,8] at the width d of the other tables.
    """

    layers: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layers is not None and (len(self.layers) < 2 or min(self.layers) < 1 or self.layers[0] % 2):
            raise ValueError(
                "`NeuMFConfig.layers` must be an even input width and at least one hidden layer, such as "
                f"[128,64,32,16]; got {list(self.layers)}."
            )

    def widths(self, embedding_dim: int) -> tuple[int, ...]:
        """The widths of the layers for tables of a given width.

        Raises:
            ValueError: the width is not divisible by 4.
        """
        if self.layers is not None:
            return self.layers
        if embedding_dim % 4:
            raise ValueError(
                f"NeuMF's default layers need an embedding_dim divisible by 4, got {embedding_dim}. Set "
                "`NeuMFConfig.layers`."
            )
        return 2 * embedding_dim, embedding_dim, embedding_dim // 2, embedding_dim // 4


@register_model("neumf")
class NeuMF(Ranker):
    """Logit of user u and item i: ``h · [p_u ⊙ q_i, mlp(p'_u, q'_i)] + b``, with separate tables for both parts.

    Args:
        user_gmf_embedding: the users' table of the product part, (num_users, d).
        item_gmf_embedding: the items' table of the product part, (num_items, d).
        user_mlp_embedding: the users' table of the perceptron, (num_users, layers[0] / 2).
        item_mlp_embedding: the items' table of the perceptron, (num_items, layers[0] / 2).
        config: the options.
    """

    config_class = NeuMFConfig
    config: NeuMFConfig

    def __init__(
        self,
        user_gmf_embedding: CompressedEmbedding,
        item_gmf_embedding: CompressedEmbedding,
        user_mlp_embedding: CompressedEmbedding,
        item_mlp_embedding: CompressedEmbedding,
        config: NeuMFConfig | None = None,
    ) -> None:
        super().__init__()
        self.config = config if config is not None else NeuMFConfig()
        width = user_gmf_embedding.embedding_dim
        if item_gmf_embedding.embedding_dim != width:
            raise ValueError(
                f"NeuMF multiplies rows elementwise, so its GMF tables must be equally wide; got {width} and "
                f"{item_gmf_embedding.embedding_dim}."
            )
        layers = self.config.widths(width)
        entering = user_mlp_embedding.embedding_dim + item_mlp_embedding.embedding_dim
        if entering != layers[0]:
            raise ValueError(f"NeuMF's MLP tables must be {layers[0]} wide together, got {entering}.")
        self.user_gmf_embedding = user_gmf_embedding
        self.item_gmf_embedding = item_gmf_embedding
        self.user_mlp_embedding = user_mlp_embedding
        self.item_mlp_embedding = item_mlp_embedding
        self.hidden = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(layers))
        self.output = nn.Linear(width + layers[-1], 1)
        for linear in self._hidden():  # Keras' defaults, as NCF
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
        limit = (3.0 / self.output.in_features) ** 0.5  # LeCun uniform, as NCF
        nn.init.uniform_(self.output.weight, -limit, limit)
        nn.init.zeros_(self.output.bias)

    @classmethod
    def table_specs(cls, num_users: int, num_items: int, embedding_dim: int, config: Config) -> list[TableSpec]:
        assert isinstance(config, NeuMFConfig)
        half = config.widths(embedding_dim)[0] // 2
        return [
            TableSpec("user_gmf", "user", num_users, embedding_dim),
            TableSpec("item_gmf", "item", num_items, embedding_dim),
            TableSpec("user_mlp", "user", num_users, half),
            TableSpec("item_mlp", "item", num_items, half),
        ]

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        product = self.user_gmf_embedding(users) * self.item_gmf_embedding(items)  # (B, d)
        hidden = torch.cat([self.user_mlp_embedding(users), self.item_mlp_embedding(items)], dim=1)
        for linear in self._hidden():
            hidden = F.relu(linear(hidden))
        logits: Tensor = self.output(torch.cat([product, hidden], dim=1)).squeeze(1)
        return logits

    def scorer(self, history: Interactions | None = None) -> Callable[[Tensor], Tensor]:
        first, *others = self._hidden()
        by_product, by_hidden = self.output.weight.split(
            [self.user_gmf_embedding.embedding_dim, (others or [first])[-1].out_features], dim=1
        )
        weighted = (self.item_gmf_embedding.weight * by_product).T.contiguous()  # (d, num_items)
        # The first layer is linear in user and item, so it is split and computed once for each of them.
        of_user, of_item = first.weight.split(
            [self.user_mlp_embedding.embedding_dim, self.item_mlp_embedding.embedding_dim], dim=1
        )
        from_items = F.linear(self.item_mlp_embedding.weight, of_item, first.bias)  # (num_items, layers[1])
        users_at_a_time = max(1, _ACTIVATIONS_AT_A_TIME // from_items.numel())

        def score(users: Tensor) -> Tensor:
            scores = torch.addmm(self.output.bias, self.user_gmf_embedding(users), weighted)  # (B, num_items)
            from_users = F.linear(self.user_mlp_embedding(users), of_user)  # (B, layers[1])
            for some, out in zip(from_users.split(users_at_a_time), scores.split(users_at_a_time), strict=True):
                hidden = (some.unsqueeze(1) + from_items).relu_()  # (b, num_items, layers[1])
                for linear in others:
                    hidden = linear(hidden).relu_()
                out += (hidden @ by_hidden.T).squeeze(2)
            return scores

        return score

    def _hidden(self) -> list[nn.Linear]:
        return list(self.hidden)  # type: ignore[arg-type]
