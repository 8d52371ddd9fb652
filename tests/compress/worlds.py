"""A small world of two communities: trained tables, and interactions that follow from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slimtable.data.interactions.interactions import Interactions
from slimtable.data.interactions.split import Split


@dataclass(frozen=True)
class World:
    """Tables of users (U, d) and items (I, d), and held-out interactions of each user."""

    user: np.ndarray
    item: np.ndarray
    split: Split


def make_world(num_users: int = 240, num_items: int = 160, width: int = 16, seed: int = 0) -> World:
    """Users prefer items of their own community, popular ones most."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((2, width))
    centres[1] -= centres[0] * (centres[0] @ centres[1]) / (centres[0] @ centres[0])
    user = centres[np.arange(num_users) % 2] + 0.6 * random.standard_normal((num_users, width))
    item = centres[np.arange(num_items) % 2] + 0.6 * random.standard_normal((num_items, width))
    item *= (1 + np.arange(num_items)[:, None]) ** -0.25
    scores = user @ item.T / np.sqrt(width)
    liked = np.argsort(-(scores + 0.3 * random.standard_normal(scores.shape)), axis=1)[:, :24]
    liked = random.permuted(liked, axis=1)
    parts = []
    for columns in (slice(0, 16), slice(16, 18), slice(18, 24)):
        some = liked[:, columns]
        users = np.repeat(np.arange(num_users), some.shape[1])
        parts.append(Interactions(users, some.reshape(-1), np.arange(num_users), np.arange(num_items)))
    return World(user.astype(np.float32), item.astype(np.float32), Split(*parts))
