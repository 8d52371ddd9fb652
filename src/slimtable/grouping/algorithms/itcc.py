"""Information-theoretic co-clustering (Dhillon, Mallela & Modha, KDD 2003)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from slimtable.config import PositiveInt, Share
from slimtable.grouping.graph import InteractionGraph
from slimtable.grouping.grouping import Labels, register_grouping
from slimtable.grouping.sides import SidedGrouping

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


@register_grouping("itcc")
@dataclass(frozen=True)
class ITCC(SidedGrouping):
    """User and item clusters that preserve most of the mutual information of users and items.

    Alternately, each user x takes the cluster x̂ with the smallest ``KL(p(ŷ|x) ‖ p(ŷ|x̂))`` over item clusters ŷ, and
    likewise each item; the loss never rises. A cluster that lacks one of x's item clusters has infinite divergence, so
    only those with all of them are compared, which is exact and sparse. With small clusters, hardly any other cluster
    qualifies and the random start hardly changes; ``smoothing`` makes more clusters comparable, but then the loss may
    rise.

    Attributes:
        sweeps: maximum number of sweeps over both sides.
        tolerance: stop when the loss falls by less than this share.
        smoothing: s of ``(1 − s)·p(ŷ|x̂) + s·p(ŷ)``, which replaces p(ŷ|x̂); 0 is the published algorithm.

    Raises:
        ValueError: a number is out of range.
    """

    co_clusters = False

    sweeps: PositiveInt = 20
    tolerance: float = 1e-4
    smoothing: Share = 0.0

    def labels(self, graph: InteractionGraph, seed: int) -> Labels:
        generator = np.random.default_rng(seed)
        rows, columns = self.rows_of_sides(graph)
        users = generator.permutation(graph.num_users) % rows
        items = generator.permutation(graph.num_items) % columns
        loss, after = information_loss(graph, users, items), []
        for _ in range(self.sweeps):
            users = self._nearest(graph.user_starts, graph.user_items, users, items, rows, columns)
            items = self._nearest(graph.item_starts, graph.item_users, items, users, columns, rows)
            after.append(len(np.unique(users)) + len(np.unique(items)))
            before, loss = loss, information_loss(graph, users, items)
            if before - loss < self.tolerance * before:
                break
        return Labels(users, items, sweeps=tuple(after))

    def _nearest(
        self,
        starts: np.ndarray,
        neighbours: np.ndarray,
        own: np.ndarray,
        others: np.ndarray,
        num_own: int,
        num_others: int,
    ) -> np.ndarray:
        """The nearest cluster of each node of a side, int64 (N,)."""
        joint = _joint(np.repeat(own, np.diff(starts)), others[neighbours], num_own, num_others)
        shares = joint.data / np.asarray(joint.sum(axis=0)).ravel()[joint.indices]  # p(ŷ|x̂)
        overall = np.asarray(joint.sum(axis=1)).ravel() / len(neighbours)  # p(ŷ)
        if self.smoothing:
            floors = self.smoothing * np.repeat(overall, np.diff(joint.indptr))
            worths = np.log(((1 - self.smoothing) * shares + floors) / floors)
        else:
            worths = np.log(shares)
        nearest: np.ndarray = _nearest_clusters(
            starts, neighbours, own, others, joint.indptr, joint.indices, worths, num_own, self.smoothing == 0
        )
        return nearest


def information_loss(graph: InteractionGraph, users: np.ndarray, items: np.ndarray) -> float:
    """``I(X; Y) − I(X̂; Ŷ)`` in nats: the mutual information lost by the clustering.

    Args:
        graph: gives the joint distribution, 1/E for each edge.
        users: integer (num_users,) cluster of each user.
        items: integer (num_items,) cluster of each item.
    """
    edges = graph.num_edges
    of_edge = np.repeat(np.arange(graph.num_users), graph.user_degrees())
    joint = _joint(users[of_edge], items[graph.user_items], int(users.max()) + 1, int(items.max()) + 1)
    by_user, by_item = np.asarray(joint.sum(axis=0)).ravel(), np.asarray(joint.sum(axis=1)).ravel()
    expected = by_user[joint.indices] * np.repeat(by_item, np.diff(joint.indptr)) / edges
    kept = float(joint.data @ np.log(joint.data / expected)) / edges
    degrees = graph.user_degrees()[of_edge] * graph.item_degrees()[graph.user_items]
    return float(np.log(edges / degrees).sum()) / edges - kept


def _joint(own: np.ndarray, others: np.ndarray, num_own: int, num_others: int) -> csr_matrix:
    """Number of edges between clusters, (num_others, num_own), from the clusters (E,) of both ends of each edge."""
    from scipy.sparse import coo_matrix

    joint = coo_matrix((np.ones(len(own)), (others, own)), shape=(num_others, num_own)).tocsr()
    joint.sort_indices()
    return joint


@njit(cache=True, nogil=True)
def _nearest_clusters(starts, neighbours, own, others, indptr, indices, worths, num_own, exact):  # type: ignore[no-untyped-def]
    """The cluster of each node with the highest score, summed over its edges; in ties the node stays.

    If ``exact``, only clusters with a finite score for every cluster that the node has edges to.
    """
    nearest, num_others = own.copy(), indptr.size - 1
    counts, scores, hits = np.zeros(num_others, np.int64), np.zeros(num_own), np.zeros(num_own, np.int64)
    touched, found = np.empty(num_others, np.int64), np.empty(num_own, np.int64)
    for x in range(own.size):
        num_touched = num_found = 0
        for neighbour in neighbours[starts[x] : starts[x + 1]]:
            other = others[neighbour]
            if counts[other] == 0:
                touched[num_touched] = other
                num_touched += 1
            counts[other] += 1
        for other in touched[:num_touched]:
            for j in range(indptr[other], indptr[other + 1]):
                cluster = indices[j]
                if hits[cluster] == 0:
                    found[num_found] = cluster
                    num_found += 1
                hits[cluster] += 1
                scores[cluster] += counts[other] * worths[j]
            counts[other] = 0
        best, best_score = own[x], scores[own[x]]
        slack = 1e-12 * (1.0 + abs(best_score))  # rounding must not move a node between equals
        for cluster in found[:num_found]:
            if (hits[cluster] == num_touched or not exact) and scores[cluster] > best_score + slack:
                best, best_score = cluster, scores[cluster]
        for cluster in found[:num_found]:
            hits[cluster], scores[cluster] = 0, 0.0
        nearest[x] = best
    return nearest
