"""Small graphs for the tests of groupings."""

from __future__ import annotations

import numpy as np

from slimtable.data.interactions.interactions import Interactions
from slimtable.grouping import InteractionGraph


def graph_of(edges, num_users: int | None = None, num_items: int | None = None) -> InteractionGraph:
    """The graph of (user, item) pairs; more users or items than occur are isolated."""
    users, items = np.array(edges, dtype=np.int64).T
    num_users = num_users or int(users.max()) + 1
    num_items = num_items or int(items.max()) + 1
    return InteractionGraph.from_interactions(Interactions(users, items, np.arange(num_users), np.arange(num_items)))


def two_bicliques(users: int = 6, items: int = 5) -> InteractionGraph:
    """Two groups of users and items; all edges within, none between."""
    edges = [(u + side * users, v + side * items) for side in (0, 1) for u in range(users) for v in range(items)]
    return graph_of(edges)


def power_law(num_users: int = 300, num_items: int = 200, num_edges: int = 3000, seed: int = 0) -> InteractionGraph:
    """Both sides heavy-tailed, with four loose communities and an isolated user and item."""
    generator = np.random.default_rng(seed)
    users = ((num_users - 1) * generator.random(num_edges) ** 2).astype(np.int64)  # the last one is isolated
    items = ((num_items - 1) * generator.random(num_edges) ** 3).astype(np.int64)
    kept = (users % 4 == items % 4) | (generator.random(num_edges) < 0.2)
    return graph_of(np.stack([users[kept], items[kept]], axis=1), num_users, num_items)
