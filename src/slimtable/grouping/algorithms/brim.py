"""BRIM: modularity of a bipartite graph, optimized one side at a time (Barber 2007, arXiv 0707.1616)."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numba import njit

from slimtable.config import Positive, PositiveInt
from slimtable.grouping.graph import InteractionGraph
from slimtable.grouping.grouping import Grouping, Labels, register_grouping
from slimtable.grouping.statistics import edges_within


@register_grouping("brim")
@dataclass(frozen=True)
class BRIM(Grouping):
    """Starts from the communities of ``louvain`` or ``leiden``; then each side in turn moves to its best ones.

    A node x moves to the community k with the largest ``e(x, k) − γ · d_x · D_k / E``, D_k summing the degrees of its
    nodes on the other side; ties go to the lowest k. This is exact over all communities: among those without an edge to
    x, only the one with the smallest D_k can win. It stops when modularity gains less than 1/E or 10⁻⁵. The algorithm
    determines the number of groups, so it takes no budget; it grows with the resolution.

    Attributes:
        start: algorithm of the initial communities.
        resolution: γ, also of the initial communities.
        max_sweeps: most sweeps over both sides.

    Raises:
        ValueError: a number is out of range.
    """

    old_names = MappingProxyType({"most_sweeps": "max_sweeps"})

    start: Literal["leiden", "louvain"] = "leiden"
    resolution: Positive = 1.0
    max_sweeps: PositiveInt = 100

    def labels(self, graph: InteractionGraph, seed: int) -> Labels:
        from slimtable.grouping.algorithms.leiden import Leiden
        from slimtable.grouping.algorithms.louvain import Louvain

        first = (Leiden if self.start == "leiden" else Louvain)(self.resolution).labels(graph, seed)
        users, items = np.asarray(first.users, np.int64), np.asarray(first.items, np.int64)
        least_gain = min(1 / graph.num_edges, 1e-5)
        quality, after = modularity(graph, users, items, self.resolution), []
        for _ in range(self.max_sweeps):
            items = self._best(graph.item_starts, graph.item_users, items, users, graph.user_degrees())
            users = self._best(graph.user_starts, graph.user_items, users, items, graph.item_degrees())
            after.append(len(np.unique(users)) + len(np.unique(items)))
            before, quality = quality, modularity(graph, users, items, self.resolution)
            if quality - before < least_gain:
                break
        return Labels(users, items, sweeps=tuple(after))

    def _best(
        self, starts: np.ndarray, neighbours: np.ndarray, own: np.ndarray, others: np.ndarray, degrees: np.ndarray
    ) -> np.ndarray:
        """The best community of each node of a side, given those of the other side, int64 (N,)."""
        volumes = np.bincount(others, degrees, minlength=int(max(own.max(), others.max())) + 1)
        best: np.ndarray = _best_communities(
            starts, neighbours, own, others, volumes, self.resolution / degrees.sum(), int(volumes.argmin())
        )
        return best


def modularity(graph: InteractionGraph, users: np.ndarray, items: np.ndarray, resolution: float = 1.0) -> float:
    """Barber's modularity ``Σ_k [e_k / E − γ · D_k^U · D_k^V / E²]``.

    Args:
        graph: the graph.
        users: integer (num_users,) community of each user.
        items: integer (num_items,) community of each item.
        resolution: γ.
    """
    size = int(max(users.max(), items.max())) + 1
    of_users = np.bincount(users, graph.user_degrees(), minlength=size)
    of_items = np.bincount(items, graph.item_degrees(), minlength=size)
    edges = graph.num_edges
    return (edges_within(graph, users, items) - resolution * float(of_users @ of_items) / edges) / edges


@njit(cache=True, nogil=True)
def _best_communities(starts, neighbours, own, others, volumes, cost, emptiest):  # type: ignore[no-untyped-def]
    best_of, counts = own.copy(), np.zeros(volumes.size, np.int64)
    for x in range(own.size):
        degree = starts[x + 1] - starts[x]
        if degree == 0:
            continue
        for neighbour in neighbours[starts[x] : starts[x + 1]]:
            counts[others[neighbour]] += 1
        best = emptiest
        best_score = counts[emptiest] - cost * degree * volumes[emptiest]
        for neighbour in neighbours[starts[x] : starts[x + 1]]:
            label = others[neighbour]
            score = counts[label] - cost * degree * volumes[label]
            if score > best_score or (score == best_score and label < best):
                best, best_score = label, score
        for neighbour in neighbours[starts[x] : starts[x + 1]]:
            counts[others[neighbour]] = 0
        best_of[x] = best
    return best_of
