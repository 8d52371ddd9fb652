"""The bipartite graph of users and items, the input of groupings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from slimtable.data.interactions.interactions import Interactions, without_duplicates
from slimtable.errors import DatasetError


@dataclass(frozen=True, eq=False)
class InteractionGraph:
    """A bipartite graph without duplicate edges, as neighbour lists of both sides; arrays may be memory-mapped.

    Attributes:
        user_starts: int64 (num_users + 1,) start of the items of each user in ``user_items``.
        user_items: int32 (E,), ascending within a user.
        item_starts: int64 (num_items + 1,), likewise.
        item_users: int32 (E,), ascending within an item.

    Example:
        >>> data = Interactions.from_raw(np.array([1, 0, 1, 1]), np.array([5, 5, 3, 3]))
        >>> graph = InteractionGraph.from_interactions(data)
        >>> graph.num_edges, graph.user_items.tolist(), graph.item_users.tolist()
        (3, [1, 0, 1], [1, 0, 1])
    """

    user_starts: np.ndarray
    user_items: np.ndarray
    item_starts: np.ndarray
    item_users: np.ndarray

    @classmethod
    def from_interactions(cls, interactions: Interactions) -> Self:
        """The graph of interactions; repeated interactions are one edge.

        Raises:
            DatasetError: there are no interactions.
        """
        if len(interactions) == 0:
            raise DatasetError("There is nothing to group by: the data has no interactions.")
        starts, items = without_duplicates(*interactions.csr())
        users = np.repeat(np.arange(interactions.num_users, dtype=np.int32), np.diff(starts))
        order = np.argsort(items, kind="stable")  # keeps users ascending within an item
        item_starts = np.concatenate([[0], np.cumsum(np.bincount(items, minlength=interactions.num_items))])
        return cls(starts.astype(np.int64), items, item_starts.astype(np.int64), users[order])

    @property
    def num_users(self) -> int:
        """Number of users, those without edges included."""
        return len(self.user_starts) - 1

    @property
    def num_items(self) -> int:
        """Number of items, those without edges included."""
        return len(self.item_starts) - 1

    @property
    def num_nodes(self) -> int:
        """Number of users and items, which is the number of rows of the uncompressed tables."""
        return self.num_users + self.num_items

    @property
    def num_edges(self) -> int:
        """Number of distinct (user, item) pairs, E."""
        return len(self.user_items)

    def user_degrees(self) -> np.ndarray:
        """Number of edges of each user, int64 (num_users,)."""
        return np.diff(self.user_starts)

    def item_degrees(self) -> np.ndarray:
        """Number of edges of each item, int64 (num_items,)."""
        return np.diff(self.item_starts)
