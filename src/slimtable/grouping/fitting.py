"""The last step of a budget: small groups are merged into larger ones until the rows fit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from slimtable.grouping.graph import InteractionGraph

if TYPE_CHECKING:
    from slimtable.grouping.grouping import Labels


def fit_rows(graph: InteractionGraph, labels: Labels, num_rows: int) -> Labels:
    """Merges groups of one side until both sides together have at most ``num_rows`` rows.

    The smallest groups are merged first, each into the group of its side that shares the most edges to the same groups
    of the other side, or into the smallest group if none shares any.

    Args:
        graph: the graph.
        labels: its groups; returned unchanged if they fit.
        num_rows: maximum number of rows, 2 or more.

    Returns:
        The labels, with at most ``num_rows`` rows.
    """
    excess = labels.num_rows - num_rows
    if excess <= 0:
        return labels
    used, places = zip(*(np.unique(side, return_inverse=True) for side in (labels.users, labels.items)), strict=True)
    sizes = [np.bincount(place) for place in places]
    # The largest group of each side always stays; the others are merged from the smallest on.
    leaving = [np.argsort(size, kind="stable")[:-1] for size in sizes]
    order = np.argsort(np.concatenate([sizes[side][leaving[side]] for side in (0, 1)]), kind="stable")[:excess]
    from_users = order[order < len(leaving[0])]
    from_items = order[order >= len(leaving[0])] - len(leaving[0])
    links = _edges_between(graph, places, sizes)
    users = _joined(links, sizes[0], leaving[0][from_users])
    items = _joined(links.T.tocsr(), sizes[1], leaving[1][from_items])
    merged = replace(
        labels,
        users=used[0][users][places[0]],
        items=used[1][items][places[1]],
        secondary_users=_follow(labels.secondary_users, used[0], users),
        secondary_items=_follow(labels.secondary_items, used[1], items),
    )
    assert merged.num_rows <= num_rows
    return merged


def _edges_between(graph: InteractionGraph, places: tuple[np.ndarray, ...], sizes: list[np.ndarray]):  # type: ignore[no-untyped-def]
    """Number of edges between groups, sparse (groups of users, groups of items)."""
    from scipy.sparse import coo_matrix

    users = places[0][np.repeat(np.arange(graph.num_users), graph.user_degrees())]
    items = places[1][graph.user_items]
    return coo_matrix((np.ones(len(users)), (users, items)), shape=(len(sizes[0]), len(sizes[1]))).tocsr()


def _joined(links, sizes: np.ndarray, leaving: np.ndarray) -> np.ndarray:  # type: ignore[no-untyped-def]
    """The group that each group of a side is merged into, integer (groups,)."""
    target = np.arange(len(sizes))
    if len(leaving) == 0:
        return target
    staying = np.setdiff1d(target, leaving)
    smallest = staying[np.argmin(sizes[staying])]
    shared = (links[leaving] @ links[staying].T).tocsr()
    for row, group in enumerate(leaving):
        begin, end = shared.indptr[row : row + 2]
        found, weights = shared.indices[begin:end], shared.data[begin:end]
        best = found[weights == weights.max()].min() if end > begin else None
        target[group] = smallest if best is None else staying[best]
    return target


def _follow(secondary: np.ndarray | None, used: np.ndarray, target: np.ndarray) -> np.ndarray | None:
    """Secondary groups after the merge; -1 stays -1."""
    if secondary is None:
        return None
    place = np.searchsorted(used, secondary).clip(max=len(used) - 1)
    return np.where((secondary >= 0) & (used[place] == secondary), used[target[place]], secondary)
