"""Merging of whole co-clusters while that raises the objective, which moving single nodes cannot do."""

from __future__ import annotations

import numpy as np
from numba import njit

from slimtable.grouping.graph import InteractionGraph

_SETTLED = 1e-3  # share of clusters that move in the last pass of a level
_PASSES = 20  # of a level, at most


def merge_clusters(
    graph: InteractionGraph,
    labels: np.ndarray,
    weights: np.ndarray,
    gamma: float,
    generator: np.random.Generator,
    stop_rows: int = 0,
) -> np.ndarray:
    """Merges co-clusters in levels, like Louvain's method (Blondel et al. 2008), for BACO's objective.

    Moving cluster x into a set C of clusters changes ``Q = Σ_k [e(C_k) − γ · W_U(C_k) · W_V(C_k)]`` by ``e(x, C) − γ ·
    (W_U(x) · W_V(C) + W_V(x) · W_U(C))``, e counting the edges between the two, both ways. In random order each
    cluster moves to the set with the largest change, or stays if no move is better. Sets are the clusters of the next
    level, until no cluster moves; empty sets are not used again, so each level has fewer clusters. Clusters without
    edges to others do not change.

    Unlike sweeps, this lists all edges between clusters in memory: up to 100 bytes per edge of the graph (10 GB for 100
    million edges) if few edges join the same pair of clusters, and less than half of that if most do.

    Args:
        graph: the graph.
        labels: int32 (n,) label of each node, users first.
        weights: float64 (n,) of the nodes.
        gamma: weight of the balance, γ.
        generator: random generator of the orders.
        stop_rows: stop once at most this many rows are left; 0 for never.

    Returns:
        int32 (n,) labels after merging, from 0.
    """
    kept, place = _numbered(labels)
    users, items = place[: graph.num_users], place[graph.num_users :]
    of_users, of_items = weights[: graph.num_users], weights[graph.num_users :]
    volumes = _sums(((users, of_users), (items, of_items)), len(kept))
    members = _sums(((users, None), (items, None)), len(kept)) > 0
    first = np.repeat(users, graph.user_degrees())
    edges = _between(first, items[graph.user_items], None, len(kept))
    del first
    while True:
        size = len(kept)
        kept, sets = _numbered(_level(edges, volumes, members, gamma, generator, stop_rows))
        place = sets[place]
        if len(kept) == size:
            return place
        volumes = _sums(((sets, volumes[0]), (sets, volumes[1])), len(kept))
        members = _sums(((sets, members[0]), (sets, members[1])), len(kept)) > 0
        starts, second, counts = edges
        first = np.repeat(np.arange(size, dtype=np.int32), np.diff(starts))
        above = first < second  # each pair once
        edges = _between(sets[first[above]], sets[second[above]], counts[above], len(kept))


def _numbered(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The labels in use, ascending, and the index of each label among them, int32."""
    kept, place = np.unique(labels, return_inverse=True)
    return kept, place.astype(np.int32)


def _sums(sides: tuple[tuple[np.ndarray, np.ndarray | None], ...], size: int) -> np.ndarray:
    """Sums over the clusters on each side, float64 (2, size)."""
    return np.stack([np.bincount(clusters, values, minlength=size) for clusters, values in sides])


def _between(first: np.ndarray, second: np.ndarray, counts: np.ndarray | None, size: int) -> tuple[np.ndarray, ...]:
    """Edges between different clusters as neighbour lists: starts int64, clusters int32 and counts float64.

    Args:
        first: first cluster of each pair, int32.
        second: second cluster of each pair, int32.
        counts: number of edges of each pair, float64; None for one each.
        size: number of clusters.
    """
    different = first != second
    keys = np.minimum(first, second)[different].astype(
        np.int64
    )  # both directions have the same key, so that edges are sorted once
    keys *= size
    keys += np.maximum(first, second)[different]
    if counts is None:
        keys, sums = np.unique(keys, return_counts=True)
    else:
        keys, place = np.unique(keys, return_inverse=True)
        sums = np.bincount(place, counts[different], minlength=len(keys))
    low, high = np.divmod(keys, size)
    keys = np.concatenate([keys, high * size + low])
    order = np.argsort(keys)
    starts = np.searchsorted(keys, np.arange(size + 1, dtype=np.int64) * size, sorter=order)
    return starts, np.concatenate([high, low])[order].astype(np.int32), np.tile(sums, 2)[order].astype(np.float64)


def _level(
    edges: tuple[np.ndarray, ...],
    volumes: np.ndarray,
    members: np.ndarray,
    gamma: float,
    generator: np.random.Generator,
    stop_rows: int,
) -> np.ndarray:
    """The set of each cluster after several passes, int32."""
    size = volumes.shape[1]
    sets, totals, clusters = np.arange(size, dtype=np.int32), volumes.copy(), members.astype(np.int32)
    rows = int(np.count_nonzero(members))
    for _ in range(_PASSES):
        order = generator.permutation(size).astype(np.int32)
        moved, rows = _move(order, *edges, sets, volumes, totals, members, clusters, gamma, stop_rows, rows)
        if moved <= _SETTLED * size or rows <= stop_rows:
            break
    return sets


@njit(cache=True, nogil=True)
def _move(  # type: ignore[no-untyped-def]
    order, starts, neighbours, counts, sets, volumes, totals, members, clusters, gamma, stop_rows, rows
):
    """Moves each cluster into the best set; returns the number of moves, and the number of rows left.

    ``members`` marks clusters with users and with items, ``clusters`` counts them in each set.
    """
    moved = 0
    shared = np.zeros(sets.size)
    found = np.empty(sets.size, np.int32)
    for x in order:
        if rows <= stop_rows:
            break
        num_found = 0
        for j in range(starts[x], starts[x + 1]):
            k = sets[neighbours[j]]
            if shared[k] == 0.0:
                found[num_found] = k
                num_found += 1
            shared[k] += counts[j]
        of_users, of_items, current = volumes[0, x], volumes[1, x], sets[x]
        totals[0, current] -= of_users
        totals[1, current] -= of_items
        best = current
        best_gain = shared[current] - gamma * (of_users * totals[1, current] + of_items * totals[0, current])
        for i in range(num_found):
            k = found[i]
            gain = shared[k] - gamma * (of_users * totals[1, k] + of_items * totals[0, k])
            shared[k] = 0.0
            if gain > best_gain:
                best, best_gain = k, gain
        totals[0, best] += of_users
        totals[1, best] += of_items
        if best != current:
            sets[x] = best
            moved += 1
            for side in range(2):
                if members[side, x]:
                    clusters[side, current] -= 1
                    rows -= clusters[side, current] == 0
                    rows += clusters[side, best] == 0
                    clusters[side, best] += 1
    return moved, rows
