"""Second groups for the users or items of any grouping, by BACO's rule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from slimtable.grouping import baco_kernels as kernels
from slimtable.grouping.graph import InteractionGraph
from slimtable.grouping.grouping import Labels


def with_second(
    graph: InteractionGraph, labels: Labels, weights: tuple[np.ndarray, np.ndarray], gamma: float, sides: str
) -> Labels:
    """Gives each user or item the second-best group among those of its neighbours.

    That is the group k other than its own, used on its side, with the largest ``e(x, k) − γ · w_x · W(k)``: e counts
    its edges into the group, W sums the weights of the group's members on the other side.

    Args:
        graph: what was grouped.
        labels: its groups; equal labels of a user and an item mean the same group.
        weights: w of the users, float (num_users,), and of the items, float (num_items,).
        gamma: weight of the balance, γ.
        sides: "users", "items", "both" or "none".

    Returns:
        The same groups with second ones; -1 for a node without a candidate.
    """
    users, items = (np.ascontiguousarray(side, dtype=np.int32) for side in (labels.users, labels.items))
    size = int(max(users.max(), items.max())) + 1
    sides_of = zip((users, items), weights, strict=True)
    pairs = [kernels.pairs_of(np.bincount(side, of_side, minlength=size)) for side, of_side in sides_of]
    counts = [np.bincount(side, minlength=size).astype(np.int32) for side in (users, items)]
    second_users, second_items = None, None
    if sides in ("users", "both"):
        second_users = kernels.second_labels(
            graph.user_starts, graph.user_items, users, items, weights[0], pairs[1], counts[0], gamma
        )
    if sides in ("items", "both"):
        second_items = kernels.second_labels(
            graph.item_starts, graph.item_users, items, users, weights[1], pairs[0], counts[1], gamma
        )
    return replace(labels, second_users=second_users, second_items=second_items)
