"""Secondary groups for the users or items of any grouping, by BACO's rule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from slimtable.grouping import baco_kernels as kernels
from slimtable.grouping.graph import InteractionGraph
from slimtable.grouping.grouping import Labels


def with_secondary(
    graph: InteractionGraph, labels: Labels, weights: tuple[np.ndarray, np.ndarray], gamma: float, sides: str
) -> Labels:
    """Assigns each user or item the second-best group among those of its neighbours.

    It is the group k other than its own, used on its side, with the largest ``e(x, k) − γ · w_x · W(k)``: e counts
    its edges into the group, W sums the weights of the group's members on the other side.

    Args:
        graph: the graph.
        labels: its groups; equal labels of a user and an item mean the same group.
        weights: w of the users, float (num_users,), and of the items, float (num_items,).
        gamma: weight of the balance, γ.
        sides: "users", "items", "both" or "none".

    Returns:
        The groups with secondary ones; -1 for a node without a candidate.
    """
    sides_of = tuple(np.ascontiguousarray(side, dtype=np.int32) for side in (labels.users, labels.items))
    size = int(max(side.max() for side in sides_of)) + 1
    volumes = tuple(np.bincount(side, own, minlength=size) for side, own in zip(sides_of, weights, strict=True))
    secondary_users, secondary_items = secondary_groups(graph, sides_of, weights, volumes, gamma, sides)
    return replace(labels, secondary_users=secondary_users, secondary_items=secondary_items)


def secondary_groups(
    graph: InteractionGraph,
    labels: tuple[np.ndarray, ...],
    weights: tuple[np.ndarray, ...],
    volumes: tuple[np.ndarray, ...],
    gamma: float,
    sides: str,
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The same rule for given volumes.

    Args:
        graph: the graph.
        labels: int32 groups of the users and of the items, below ``size``.
        weights: w of both sides, float64.
        volumes: W of each group, float64 (size,), of users and of items.
        gamma: as above.
        sides: as above.

    Returns:
        Secondary groups of users and of items, int32 with -1 for none; None for a side that gets none.
    """
    lists = (graph.user_starts, graph.user_items), (graph.item_starts, graph.item_users)
    found: list[np.ndarray | None] = [None, None]
    for own, name in enumerate(("users", "items")):
        if sides in (name, "both"):
            members = np.bincount(labels[own], minlength=len(volumes[own])).astype(np.int32)
            pairs = kernels.pairs_of(volumes[1 - own])
            found[own] = kernels.secondary_labels(
                *lists[own], labels[own], labels[1 - own], weights[own], pairs, members, gamma
            )
    return found[0], found[1]
