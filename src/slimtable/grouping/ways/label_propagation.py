"""Label propagation (Raghavan, Albert & Kumara 2007), the baseline "LP" of BACO."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numba import njit

from slimtable.grouping.budget import tune
from slimtable.grouping.graph import InteractionGraph
from slimtable.grouping.grouping import Grouping, Labels, register_grouping

_LEAST_FILLED = 0.97  # of a budget; where no α reaches it, propagation stops within a sweep instead


@register_grouping("label_propagation")
@dataclass(frozen=True)
class LabelPropagation(Grouping):
    """Every node takes the label that most of its neighbours have; equal counts go to the first of them.

    Nodes start with labels of their own and are visited in random order, users and items mixed. Nothing balances the
    clusters; their number is set by how often nodes are visited at all.

    Attributes:
        alpha: probability that a node is visited in a sweep; smaller gives more clusters.
        sweeps: passes over the nodes.
        stop_rows: stop within a sweep as soon as no more rows are left; None to finish all sweeps.

    Raises:
        ValueError: a number is out of range.
    """

    alpha: float = 0.75
    sweeps: int = 5
    stop_rows: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"`LabelPropagation.alpha` must lie in 0..1, got {self.alpha}.")
        if self.sweeps < 1:
            raise ValueError(f"`LabelPropagation.sweeps` must be at least 1, got {self.sweeps}.")
        if self.stop_rows is not None and self.stop_rows < 2:
            raise ValueError(f"`LabelPropagation.stop_rows` must be at least 2, got {self.stop_rows}.")

    def labels(self, graph: InteractionGraph, seed: int) -> Labels:
        nodes, users = graph.num_nodes, graph.num_users
        generator = np.random.default_rng(seed)
        labels = np.arange(nodes, dtype=np.int32)
        members = np.zeros((2, nodes), np.int32)
        members[0, :users] = members[1, users:] = 1
        rows, stop, after = nodes, self.stop_rows or 0, []
        for _ in range(self.sweeps):
            order = generator.permutation(np.arange(nodes, dtype=np.int32))
            order = order[generator.random(nodes) < self.alpha]
            lists = (graph.user_starts, graph.user_items, graph.item_starts, graph.item_users)
            rows = int(_sweep(order, *lists, labels, members, stop, rows))
            after.append(rows)
            if rows <= stop:
                break
        return Labels(labels[:users], labels[users:], sweeps=tuple(after))

    def for_rows(self, graph: InteractionGraph, num_rows: int, seed: int) -> Self:
        def rows_at(idleness: float) -> int:
            return replace(self, alpha=1 - idleness).labels(graph, seed).num_rows

        idleness, rows = tune(rows_at, num_rows, 1 - self.alpha or 1e-6, low=1e-6, high=1.0)
        tuned = replace(self, alpha=1 - idleness)
        return tuned if rows >= _LEAST_FILLED * num_rows else replace(tuned, stop_rows=num_rows)


@njit(cache=True, nogil=True)
def _sweep(order, user_starts, user_items, item_starts, item_users, labels, members, stop_rows, rows):  # type: ignore[no-untyped-def]
    """Visits nodes in an order, until no more rows than ``stop_rows`` are left; returns how many are.

    ``labels`` int32 (n,) and how many users and items have each, ``members`` int32 (2, n), are kept up to date.
    """
    num_users = user_starts.size - 1
    counts = np.zeros(labels.size, np.int32)
    for x in order:
        if rows <= stop_rows:
            break
        if x < num_users:
            side, neighbours, offset = 0, user_items[user_starts[x] : user_starts[x + 1]], num_users
        else:
            y = x - num_users
            side, neighbours, offset = 1, item_users[item_starts[y] : item_starts[y + 1]], 0
        for neighbour in neighbours:
            counts[labels[neighbour + offset]] += 1
        current, best, most = labels[x], labels[x], 0
        for neighbour in neighbours:
            label = labels[neighbour + offset]
            if counts[label] > most:
                best, most = label, counts[label]
        for neighbour in neighbours:
            counts[labels[neighbour + offset]] = 0
        if best != current:
            members[side, current] -= 1
            rows -= members[side, current] == 0
            rows += members[side, best] == 0
            members[side, best] += 1
            labels[x] = best
    return rows
