"""The inner loops of BACO: sweeps of label propagation and the choice of second clusters."""

from __future__ import annotations

import numpy as np
from numba import njit, prange


@njit(cache=True, nogil=True)
def sweep(  # type: ignore[no-untyped-def]
    order,
    user_starts,
    user_items,
    item_starts,
    item_users,
    labels,
    weights,
    volumes,
    members,
    gamma,
    forced,
    stop_rows,
    rows,
):
    """Moves every node, in an order, to the best label among its neighbours'; later nodes see earlier moves.

    Args:
        order: int32 (n,) nodes; users are 0 … U-1 and items follow.
        user_starts: int64 (num_users + 1,), with the next three the graph.
        user_items: int32 (E,).
        item_starts: int64 (num_items + 1,).
        item_users: int32 (E,).
        labels: int32 (n,) label of each node; changed in place.
        weights: float64 (n,).
        volumes: float64 (2, n) sum of the weights of users and of items with each label; changed in place.
        members: int32 (2, n) number of users and of items with each label; changed in place.
        gamma: weight of the balance.
        forced: move even where staying is better.
        stop_rows: stop as soon as no more rows than these are left; 0 for never.
        rows: rows at the start: labels with users and labels with items.

    Returns:
        Rows at the end.
    """
    num_users = user_starts.size - 1
    counts = np.zeros(labels.size, np.int32)
    widest = 0
    for side in (user_starts, item_starts):
        for i in range(side.size - 1):
            widest = max(widest, side[i + 1] - side[i])
    found = np.empty(widest, np.int32)
    for x in order:
        if rows <= stop_rows:
            break
        if x < num_users:
            own, first, last, neighbours, offset = 0, user_starts[x], user_starts[x + 1], user_items, num_users
        else:
            own, first, last, neighbours, offset = (
                1,
                item_starts[x - num_users],
                item_starts[x - num_users + 1],
                item_users,
                0,
            )
        if first == last:
            continue
        num_found = 0
        for j in range(first, last):
            label = labels[neighbours[j] + offset]
            if counts[label] == 0:
                found[num_found] = label
                num_found += 1
            counts[label] += 1
        cost, current = gamma * weights[x], labels[x]
        best, best_score = current, -np.inf
        if not forced:
            best_score = counts[current] - cost * volumes[1 - own, current]
        for i in range(num_found):
            label = found[i]
            score = counts[label] - cost * volumes[1 - own, label]
            counts[label] = 0
            if score > best_score:
                best, best_score = label, score
        if best != current:
            volumes[own, current] -= weights[x]
            volumes[own, best] += weights[x]
            members[own, current] -= 1
            rows -= members[own, current] == 0
            rows += members[own, best] == 0
            members[own, best] += 1
            labels[x] = best
    return rows


@njit(cache=True, nogil=True, parallel=True)
def half_sweep(  # type: ignore[no-untyped-def]
    starts, neighbours, own_labels, neighbour_labels, weights, volumes, gamma, forced, num_labels, bounds
):
    """Moves all nodes of one side at once; they do not see each other, so threads share the work.

    Args:
        starts: int64 (m + 1,) where the neighbours of each of the side's m nodes begin.
        neighbours: int32 (E,).
        own_labels: int32 (m,).
        neighbour_labels: int32, label of each node of the other side.
        weights: float64 (m,).
        volumes: float64 (num_labels,) of the other side.
        gamma: weight of the balance.
        forced: as in :func:`sweep`.
        num_labels: labels lie below it.
        bounds: int64 (threads + 1,) which nodes each thread takes.

    Returns:
        int32 (m,) new labels.
    """
    moved = own_labels.copy()
    for part in prange(bounds.size - 1):
        counts = np.zeros(num_labels, np.int32)
        widest = 0
        for x in range(bounds[part], bounds[part + 1]):
            widest = max(widest, starts[x + 1] - starts[x])
        found = np.empty(widest, np.int32)
        for x in range(bounds[part], bounds[part + 1]):
            num_found = 0
            for j in range(starts[x], starts[x + 1]):
                label = neighbour_labels[neighbours[j]]
                if counts[label] == 0:
                    found[num_found] = label
                    num_found += 1
                counts[label] += 1
            if num_found == 0:
                continue
            cost, current = gamma * weights[x], own_labels[x]
            best, best_score = current, -np.inf
            if not forced:
                best_score = counts[current] - cost * volumes[current]
            for i in range(num_found):
                label = found[i]
                score = counts[label] - cost * volumes[label]
                counts[label] = 0
                if score > best_score:
                    best, best_score = label, score
            moved[x] = best
    return moved


@njit(cache=True, nogil=True)
def second_labels(starts, neighbours, own_labels, neighbour_labels, weights, volumes, members, gamma):  # type: ignore[no-untyped-def]
    """The best label of each node among its neighbours' that is not its own and that its side uses; -1 if none.

    Args:
        starts: int64 (m + 1,) where the neighbours of each of the side's m nodes begin.
        neighbours: int32 (E,).
        own_labels: int32 (m,).
        neighbour_labels: int32, label of each node of the other side.
        weights: float64 (m,).
        volumes: float64 (num_labels,) of the other side.
        members: int32 (num_labels,) nodes of this side with each label.
        gamma: weight of the balance.

    Returns:
        int32 (m,).
    """
    second = np.full(own_labels.size, -1, np.int32)
    counts = np.zeros(volumes.size, np.int32)
    widest = 0
    for x in range(own_labels.size):
        widest = max(widest, starts[x + 1] - starts[x])
    found = np.empty(widest, np.int32)
    for x in range(own_labels.size):
        num_found = 0
        for j in range(starts[x], starts[x + 1]):
            label = neighbour_labels[neighbours[j]]
            if counts[label] == 0:
                found[num_found] = label
                num_found += 1
            counts[label] += 1
        cost, best_score = gamma * weights[x], -np.inf
        for i in range(num_found):
            label = found[i]
            score = counts[label] - cost * volumes[label]
            counts[label] = 0
            if label != own_labels[x] and members[label] > 0 and score > best_score:
                second[x], best_score = label, score
    return second
