"""The inner loops of BACO: sweeps of label propagation and the choice of secondary clusters.

On large graphs these loops are bound by memory latency: nodes come in random order, and labels of neighbours are
scattered. Therefore the data of a label is adjacent, as (count, volume) pairs in one array, and memory is prefetched
some nodes ahead, which does not affect results.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from slimtable.grouping.prefetch import prefetch

# Prefetch distances in nodes: for list starts, neighbours, their labels, and the data of the labels.
_START, _NEIGHBOURS, _LABELS, _PAIRS = 32, 24, 16, 8
SHORT = 64  # neighbours prefetched ahead of their node; the rest of a longer list is prefetched while reading it
_LINE = 16  # int32 in a cache line
HINTS = 1 << 15  # number of nodes above which prefetching pays


def pairs_of(volumes: np.ndarray) -> np.ndarray:
    """Interleaves a count of 0 and the volume of each label, float64 (2 · labels,).

    Allocated here, not in compiled code, since NumPy requests huge pages, which speed up sweeps over large graphs.

    Args:
        volumes: float64 (labels,).
    """
    pairs = np.empty(2 * len(volumes))
    pairs[::2], pairs[1::2] = 0.0, volumes
    return pairs


@njit(cache=True, nogil=True)
def sweep(  # type: ignore[no-untyped-def]
    order,
    user_starts,
    user_items,
    item_starts,
    item_users,
    labels,
    weights,
    for_users,
    for_items,
    members,
    gamma,
    forced,
    stop_rows,
    rows,
):
    """Moves every node, in the given order, to the best label of its neighbours; later nodes see earlier moves.

    Args:
        order: int32 (n,) nodes; users are 0 … U-1 and items follow.
        user_starts: int64 (num_users + 1,); this and the next three are the graph.
        user_items: int32 (E,).
        item_starts: int64 (num_items + 1,).
        item_users: int32 (E,).
        labels: int32 (n,) label of each node; changed in place.
        weights: float64 (n,).
        for_users: float64 (2 · n,) read by users: for each label a counter, 0, and the sum of the weights of its items,
            from :func:`pairs_of`; changed in place.
        for_items: float64 (2 · n,) likewise with the weights of users.
        members: int32 (2, n) number of users and of items with each label; changed in place.
        gamma: weight of the balance.
        forced: move even if staying is better.
        stop_rows: stop once at most this many rows are left; 0 for never.
        rows: initial number of rows: labels with users plus labels with items.

    Returns:
        Final number of rows.
    """
    num_users = user_starts.size - 1
    user_labels, item_labels = labels[:num_users], labels[num_users:]
    found = np.empty(max(_widest(user_starts), _widest(item_starts)), np.int32)
    hints = order.size > HINTS
    for place in range(order.size):
        if rows <= stop_rows:
            break
        if hints and place + _START < order.size:
            node = order[place + _START]
            prefetch(labels, node)
            prefetch(weights, node)
            if node < num_users:
                prefetch(user_starts, node)
            else:
                prefetch(item_starts, node - num_users)
            node = order[place + _NEIGHBOURS]
            if node < num_users:
                _ask_neighbours(user_starts, user_items, node)
            else:
                _ask_neighbours(item_starts, item_users, node - num_users)
            node = order[place + _LABELS]
            if node < num_users:
                _ask_labels(user_starts, user_items, item_labels, node)
            else:
                _ask_labels(item_starts, item_users, user_labels, node - num_users)
            node = order[place + _PAIRS]
            if node < num_users:
                _ask_pairs(user_starts, user_items, item_labels, for_users, node)
            else:
                _ask_pairs(item_starts, item_users, user_labels, for_items, node - num_users)
        x = order[place]
        if x < num_users:
            own, pairs, others = 0, for_users, for_items
            num_found = _count(user_starts[x], user_starts[x + 1], user_items, item_labels, pairs, found)
        else:
            own, pairs, others = 1, for_items, for_users
            i = x - num_users
            num_found = _count(item_starts[i], item_starts[i + 1], item_users, user_labels, pairs, found)
        if num_found == 0:
            continue
        cost, current = gamma * weights[x], labels[x]
        best, best_score = current, -np.inf
        if not forced:
            best_score = pairs[2 * current] - cost * pairs[2 * current + 1]
        for i in range(num_found):
            label = found[i]
            score = pairs[2 * label] - cost * pairs[2 * label + 1]
            pairs[2 * label] = 0.0
            if score > best_score:
                best, best_score = label, score
        if best != current:
            others[2 * current + 1] -= weights[x]
            others[2 * best + 1] += weights[x]
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
    """Moves all nodes of one side at once; they are independent, so threads share the work.

    Args:
        starts: int64 (m + 1,) start of the neighbours of each of the m nodes of this side.
        neighbours: int32 (E,).
        own_labels: int32 (m,).
        neighbour_labels: int32, label of each node of the other side.
        weights: float64 (m,).
        volumes: float64 (num_labels,) of the other side.
        gamma: weight of the balance.
        forced: as in :func:`sweep`.
        num_labels: upper bound of labels.
        bounds: int64 (threads + 1,) range of nodes of each thread.

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
def secondary_labels(starts, neighbours, own_labels, neighbour_labels, weights, pairs, members, gamma):  # type: ignore[no-untyped-def]
    """The best label of each node among its neighbours, other than its own, that its side uses; -1 if none.

    Args:
        starts: int64 (m + 1,) start of the neighbours of each of the m nodes of this side.
        neighbours: int32 (E,).
        own_labels: int32 (m,).
        neighbour_labels: int32, label of each node of the other side.
        weights: float64 (m,).
        pairs: float64 (2 · num_labels,) of the volumes of the other side, from :func:`pairs_of`.
        members: int32 (num_labels,) nodes of this side with each label.
        gamma: weight of the balance.

    Returns:
        int32 (m,).
    """
    secondary = np.full(own_labels.size, -1, np.int32)
    found = np.empty(_widest(starts), np.int32)
    hints = members.size > HINTS
    for x in range(own_labels.size):
        if hints and x + _LABELS < own_labels.size:
            _ask_labels(starts, neighbours, neighbour_labels, x + _LABELS)
            _ask_pairs(starts, neighbours, neighbour_labels, pairs, x + _PAIRS)
        num_found = _count(starts[x], starts[x + 1], neighbours, neighbour_labels, pairs, found)
        cost, best_score = gamma * weights[x], -np.inf
        for i in range(num_found):
            label = found[i]
            score = pairs[2 * label] - cost * pairs[2 * label + 1]
            pairs[2 * label] = 0.0
            if score > best_score and label != own_labels[x] and members[label] > 0:
                secondary[x], best_score = label, score
    return secondary


@njit(cache=True, nogil=True)
def _widest(starts):  # type: ignore[no-untyped-def]
    """The largest number of neighbours of a node."""
    widest = 0
    for i in range(starts.size - 1):
        widest = max(widest, starts[i + 1] - starts[i])
    return widest


@njit(cache=True, nogil=True)
def _count(first, last, neighbours, labels, pairs, found):  # type: ignore[no-untyped-def]
    """Counts the edges of a node per label in ``pairs``; lists the labels in ``found``, in order of occurrence."""
    num_found = 0
    for j in range(first, last):
        if j - first + 2 * _LINE >= SHORT and j + 2 * _LINE < last:
            prefetch(labels, neighbours[j + 2 * _LINE])
            prefetch(pairs, 2 * labels[neighbours[j + _LINE]])
        label = labels[neighbours[j]]
        found[num_found] = label
        num_found += pairs[2 * label] == 0.0
        pairs[2 * label] += 1.0
    return num_found


@njit(cache=True, nogil=True)
def _ask_neighbours(starts, neighbours, x):  # type: ignore[no-untyped-def]
    for line in range(3):
        prefetch(neighbours, starts[x] + line * _LINE)


@njit(cache=True, nogil=True)
def _ask_labels(starts, neighbours, labels, x):  # type: ignore[no-untyped-def]
    for j in range(starts[x], min(starts[x + 1], starts[x] + SHORT)):
        prefetch(labels, neighbours[j])


@njit(cache=True, nogil=True)
def _ask_pairs(starts, neighbours, labels, pairs, x):  # type: ignore[no-untyped-def]
    for j in range(starts[x], min(starts[x + 1], starts[x] + SHORT)):
        prefetch(pairs, 2 * labels[neighbours[j]])
