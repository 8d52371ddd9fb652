"""LightGCN: rows averaged over the neighbourhoods of the training graph (He et al. 2020, arXiv 2002.02126)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from slimtable.config import Config, Count
from slimtable.data.interactions.interactions import Interactions, without_duplicates
from slimtable.embeddings.base import CompressedEmbedding
from slimtable.models.base import register_model
from slimtable.models.pairwise import PairwiseRanker
from slimtable.models.parts.propagation import Propagation

_GRAPH = ("graph_starts", "graph_items")


@dataclass(frozen=True)
class LightGCNConfig(Config):
    """Options of LightGCN; the default is that of GraphHash and BACO.

    Attributes:
        num_layers: number of propagation layers.
    """

    num_layers: Count = 2


@register_model("lightgcn")
class LightGCN(PairwiseRanker):
    """Score of user u and item i: the dot product of their rows in ``mean(E, ÂE, …, ÂᴸE)``, ``Â = D^-½ A D^-½``.

    E are the rows of both tables and A the training graph between users and items, where an interaction counts once.
    The graph belongs to the model: it is saved, packed and counted in its bits. It has no edges until
    :meth:`init_from_data` sets one.

    Args:
        user_embedding: table of the users, (num_users, d).
        item_embedding: table of the items, (num_items, d).
        config: the options.
    """

    config_class = LightGCNConfig
    config: LightGCNConfig
    graph_starts: Tensor
    graph_items: Tensor

    def __init__(
        self,
        user_embedding: CompressedEmbedding,
        item_embedding: CompressedEmbedding,
        config: LightGCNConfig | None = None,
    ) -> None:
        super().__init__(user_embedding, item_embedding)
        self.config = config if config is not None else LightGCNConfig()
        # The items of user u are graph_items[graph_starts[u] : graph_starts[u + 1]], ascending.
        self.register_buffer("graph_starts", torch.zeros(user_embedding.num_embeddings + 1, dtype=torch.int32))
        self.register_buffer("graph_items", torch.zeros(0, dtype=torch.int32))
        self._propagation: Propagation | None = None

    def init_from_data(self, train: Interactions) -> None:
        """Uses the training interactions as the graph."""
        starts, items = without_duplicates(*train.csr())
        self.load_buffers({"graph_starts": starts.astype(np.int32), "graph_items": items.astype(np.int32)})

    def extra_buffers(self) -> dict[str, np.ndarray]:
        """The graph: ``graph_starts`` int32 (num_users + 1,) and ``graph_items`` int32 (E,)."""
        return {name: getattr(self, name).cpu().numpy() for name in _GRAPH}

    def load_buffers(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Loads a graph.

        Args:
            arrays: ``graph_starts`` int32 (num_users + 1,) and ``graph_items`` int32 (E,).

        Raises:
            ValueError: they are not a graph between the users and items of the tables.
        """
        starts, items = (np.asarray(arrays[name]) for name in _GRAPH)
        _check_graph(starts, items, self.user_embedding.num_embeddings, self.item_embedding.num_embeddings)
        device = self.graph_starts.device
        self.graph_starts = torch.from_numpy(starts.copy()).to(device)
        self.graph_items = torch.from_numpy(items.copy()).to(device)
        self._propagation = None

    def vectors(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        every_user = torch.arange(self.user_embedding.num_embeddings, device=users.device)
        every_item = torch.arange(self.item_embedding.num_embeddings, device=items.device)
        left, right = self._propagate(self.user_embedding(every_user), self.item_embedding(every_item))
        # The backward of F.embedding is several times faster than that of indexing.
        return F.embedding(users, left), F.embedding(items, right)

    def scorer(self, history: Interactions | None = None) -> Callable[[Tensor], Tensor]:
        users_out, items_out = self._propagate(self.user_embedding.weight, self.item_embedding.weight)
        candidates = items_out.T.contiguous()  # (d, num_items)

        def score(users: Tensor) -> Tensor:
            return F.embedding(users, users_out) @ candidates

        return score

    def _propagate(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Mean over the layers, float32 (num_users, d) and (num_items, d)."""
        if self._propagation is None or self._propagation.device != self.graph_starts.device:
            self._propagation = Propagation(self.graph_starts, self.graph_items, len(items))
        return self._propagation(users.float(), items.float(), self.config.num_layers)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Accepts a graph of any size, since a new model has none."""
        arrays = {name: state_dict[prefix + name] for name in _GRAPH if prefix + name in state_dict}
        if len(arrays) == len(_GRAPH):
            try:
                self.load_buffers({name: tensor.detach().cpu().numpy() for name, tensor in arrays.items()})
            except ValueError as error:
                error_msgs.append(str(error))
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )


def _check_graph(starts: np.ndarray, items: np.ndarray, num_users: int, num_items: int) -> None:
    """Raises ValueError unless the arrays are a valid graph; later reads do not check bounds."""
    for name, array in zip(_GRAPH, (starts, items), strict=True):
        if array.dtype != np.int32 or array.ndim != 1:
            raise ValueError(f"{name} must be int32 with one axis, got {array.dtype} of shape {array.shape}.")
    if len(starts) != num_users + 1 or starts[0] != 0 or starts[-1] != len(items) or (starts[1:] < starts[:-1]).any():
        raise ValueError(
            f"graph_starts must be {num_users + 1} ascending numbers from 0 to {len(items)}, the number of edges."
        )
    if len(items) and (int(items.min()) < 0 or int(items.max()) >= num_items):
        raise ValueError(f"graph_items must be in 0..{num_items - 1}, got {items.min()}..{items.max()}.")
