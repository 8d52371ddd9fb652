"""Balanced co-clustering by label propagation (BACO, SIGIR 2026, arXiv 2604.18351)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal, Self

import numpy as np
from numba import get_num_threads

from slimtable.config import Bounds, NotNegative, PositiveInt
from slimtable.errors import BudgetError
from slimtable.grouping import baco_kernels as kernels
from slimtable.grouping.graph import InteractionGraph
from slimtable.grouping.grouping import Grouping, Labels, register_grouping
from slimtable.grouping.merging import merge_clusters
from slimtable.grouping.secondary import secondary_groups
from slimtable.grouping.tuning import tune

Weight = Literal["degree", "cpm", "sqrt", "log"]

_MIN_FILLED = 0.98  # least use of a budget; if no γ reaches it, propagation stops within a sweep
_STRONGEST = 1e6  # largest γ to try, in units of the one at which an average edge pays for its cost


@register_grouping("baco")
@dataclass(frozen=True)
class BACO(Grouping):
    """Label propagation that maximizes ``Σ_k [e(C_k) − γ · W_U(C_k) · W_V(C_k)]`` over co-clusters C_k.

    ``e`` counts the edges within a cluster, ``W_U`` and ``W_V`` sum the weights of its users and items, so the
    objective favours clusters that are dense and balanced. Every node starts with its own label. In a sweep each node,
    in random order, takes the label k of its neighbours with the largest ``e(x, k) − γ · w_x · W(k)``, W being that of
    the other side; ties go to the first such label among the neighbours, by ascending id. A node without edges keeps
    its label. The defaults are those of the published code.

    Attributes:
        gamma: γ; larger values give more and smaller clusters. None if a budget is given.
        sweeps: passes over all nodes, T.
        user_weight: scheme of the user weights ``z / √Σz``: z is the degree, 1 ("cpm"), the root or log(1 + degree).
        item_weight: likewise for items; "published" is degree / √(number of items), which the published code computes
            for its setting CPM.
        clean_volumes: initialize W with the weights of its own side only. The published code also adds the weight of
            the initial node of each label to the wrong side, and never removes it.
        forced: move to the best label of the neighbours even if staying scores higher, as published.
        order: "mixed" visits users and items in one random order; "sides" moves all users at once, then all items, on
            all cores. With "sides" the seed has no effect, and with ``forced`` large budgets are not filled.
        merge: after the sweeps, merge whole co-clusters while that raises the objective. Moving single nodes cannot do
            that, so small budgets would end in one cluster of nearly all frequent ids. Not in the paper.
        secondary: the sides that get secondary clusters: "users" as published, "items", "both" or "none".
        share_isolated: share one row among all users without edges, and one among such items; as published each has its
            own row. None: as published, unless the budget is too small for it.
        stop_rows: stop within a sweep once at most this many rows are left; None to finish all sweeps.

    Raises:
        ValueError: a number is out of range.
    """

    set_by_budget = ("gamma", "stop_rows")

    gamma: NotNegative | None = None
    sweeps: PositiveInt = 5
    user_weight: Weight = "degree"
    item_weight: Literal["published", "degree", "cpm", "sqrt", "log"] = "published"
    clean_volumes: bool = False
    forced: bool = True
    order: Literal["mixed", "sides"] = "mixed"
    merge: bool = False
    secondary: Literal["users", "items", "both", "none"] = "users"
    share_isolated: bool | None = None
    stop_rows: Annotated[int, Bounds(2)] | None = None

    def labels(self, graph: InteractionGraph, seed: int) -> Labels:
        if self.gamma is None:
            raise BudgetError("BACO needs `gamma` or a number of rows. Try --rows 25%.")
        state, rows = self._grouped(graph, self.weights(graph), self.gamma, seed)
        users, items = state.split(state.labels)
        return Labels(users, items, *state.secondary_labels(self.gamma, self.secondary), tuple(rows))

    def for_rows(self, graph: InteractionGraph, num_rows: int, seed: int) -> Self:
        weights, neutral = self.weights(graph), self.neutral_gamma(graph)
        seen = []

        def rows_at(gamma: float) -> int:
            seen.append(self._grouped(graph, weights, gamma, seed)[1][-1])
            return seen[-1]

        try:
            gamma, rows = tune(rows_at, num_rows, neutral, low=1e-6 * neutral, high=_STRONGEST * neutral)
        except BudgetError:
            gamma, rows = 0.0, rows_at(0.0)
        if rows > num_rows and self.share_isolated is None:
            return replace(self, share_isolated=True).for_rows(graph, num_rows, seed)
        if rows > num_rows:
            raise BudgetError(
                f"{num_rows:,} rows are fewer than BACO can have after {self.sweeps} sweeps: the smallest is "
                f"{min(seen):,}. Allow more rows, or more sweeps."
            )
        if rows >= _MIN_FILLED * num_rows or self.order == "sides":
            return replace(self, gamma=gamma)
        # Between this γ and the next one, the number of rows jumps across the budget.
        return replace(self, gamma=gamma, stop_rows=num_rows)

    def _grouped(
        self, graph: InteractionGraph, weights: tuple[np.ndarray, np.ndarray], gamma: float, seed: int
    ) -> tuple[PropagationState, list[int]]:
        """The final state, and the number of rows after each sweep and after merging."""
        state = PropagationState(graph, weights, self.clean_volumes, bool(self.share_isolated))
        rows = state.run(gamma, self.sweeps, self.order, self.forced, seed, self.stop_rows or 0)
        if self.merge and rows[-1] > (self.stop_rows or 0):
            rows.append(state.merge(gamma, seed, self.stop_rows or 0))
        return state, rows

    def weights(self, graph: InteractionGraph) -> tuple[np.ndarray, np.ndarray]:
        """The weights w of users, float64 (num_users,), and of items, float64 (num_items,)."""
        users, items = graph.user_degrees(), graph.item_degrees()
        if self.item_weight == "published":
            return _normalized(users, self.user_weight), items / np.sqrt(graph.num_items)
        return _normalized(users, self.user_weight), _normalized(items, self.item_weight)

    def neutral_gamma(self, graph: InteractionGraph) -> float:
        """The γ of plain modularity, at which the cost of all pairs equals the number of edges."""
        users, items = self.weights(graph)
        return float(graph.num_edges / (users.sum() * items.sum()))


class PropagationState:
    """The state of label propagation on a graph.

    Args:
        graph: the graph.
        weights: weights of users and items.
        clean_volumes: as :attr:`BACO.clean_volumes`.
        share_isolated: as :attr:`BACO.share_isolated`.

    Attributes:
        labels: int32 (n,) label of each node, users first.
        volumes: float64 (2, n): W_U and W_V of each label.
        members: int32 (2, n): users and items with each label.
    """

    def __init__(
        self,
        graph: InteractionGraph,
        weights: tuple[np.ndarray, np.ndarray],
        clean_volumes: bool = False,
        share_isolated: bool = False,
    ) -> None:
        nodes, users = graph.num_nodes, graph.num_users
        self.graph, self.weights = graph, np.concatenate(weights).astype(np.float64)
        self.labels = np.arange(nodes, dtype=np.int32)
        self.members = np.zeros((2, nodes), np.int32)
        self.members[0, :users] = self.members[1, users:] = 1
        self.volumes = np.tile(self.weights, (2, 1))
        if clean_volumes:
            self.volumes *= self.members
        self._phantom = self.volumes - self.volumes * self.members
        if share_isolated:
            for side, degrees, first in ((0, graph.user_degrees(), 0), (1, graph.item_degrees(), users)):
                isolated = first + np.flatnonzero(degrees == 0)
                if len(isolated):
                    self.labels[isolated] = isolated[0]
                    self.members[side, isolated] = 0
                    self.members[side, isolated[0]] = len(isolated)

    def run(
        self,
        gamma: float,
        sweeps: int,
        order: str,
        forced: bool,
        seed: int,
        stop_rows: int = 0,
        alpha: float | None = None,
    ) -> list[int]:
        """Runs sweeps, and returns the number of rows after each; fewer entries if it stopped early.

        Args:
            gamma: as :attr:`BACO.gamma`.
            sweeps: maximum number of sweeps.
            order: "mixed" or "sides".
            forced: move even if staying is better.
            seed: seed of the orders.
            stop_rows: in mixed order, stop once at most this many rows are left.
            alpha: probability that a node is visited in a sweep of mixed order; None to visit all.
        """
        generator = np.random.default_rng(seed)
        rows, after = int(np.count_nonzero(self.members)), []
        for _ in range(sweeps):
            if order == "mixed":
                nodes = generator.permutation(np.arange(self.graph.num_nodes, dtype=np.int32))
                if alpha is not None:
                    nodes = nodes[generator.random(len(nodes)) < alpha]
                rows = self._sweep(nodes, gamma, forced, stop_rows, rows)
            else:
                self._sweep_sides(gamma, forced)
                rows = int(np.count_nonzero(self.members))
            after.append(rows)
            if rows <= stop_rows:
                break
        return after

    def merge(self, gamma: float, seed: int, stop_rows: int = 0) -> int:
        """Merges whole co-clusters by :func:`merge_clusters`, and returns the number of rows; cleans the volumes."""
        generator = np.random.default_rng([seed, 1])
        labels = merge_clusters(self.graph, self.labels, self.weights, gamma, generator, stop_rows)
        self.labels[:] = labels
        for side, (own, weights) in enumerate(zip(self.split(labels), self.split(self.weights), strict=True)):
            self.members[side] = np.bincount(own, minlength=len(labels))
            self.volumes[side] = np.bincount(own, weights, minlength=len(labels))
        return int(np.count_nonzero(self.members))

    def split(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Splits values into those of users and of items."""
        return values[: self.graph.num_users], values[self.graph.num_users :]

    def secondary_labels(self, gamma: float, sides: str) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Secondary labels of users and of items, as :func:`secondary_groups` gives them."""
        labels, weights = self.split(self.labels), self.split(self.weights)
        return secondary_groups(self.graph, labels, weights, tuple(self.volumes), gamma, sides)

    def _sweep(self, nodes: np.ndarray, gamma: float, forced: bool, stop_rows: int, rows: int) -> int:
        graph = self.graph
        used, labels = self._numbered()
        members = self.members[:, used]
        # Each side reads the volumes of the other.
        for_users, for_items = (kernels.pairs_of(self.volumes[side, used]) for side in (1, 0))
        rows = kernels.sweep(
            nodes,
            graph.user_starts,
            graph.user_items,
            graph.item_starts,
            graph.item_users,
            labels,
            self.weights,
            for_users,
            for_items,
            members,
            gamma,
            forced,
            stop_rows,
            rows,
        )
        self.labels[:] = used[labels]
        self.members[:, used] = members
        self.volumes[0, used], self.volumes[1, used] = for_items[1::2], for_users[1::2]
        return int(rows)

    def _numbered(self) -> tuple[np.ndarray, np.ndarray]:
        """Labels in use, and the label of each node as an index into them; other labels cannot be taken any more.

        This keeps the memory of a sweep small and compact as labels vanish. The names of labels have no effect.

        Returns:
            int32 (labels in use,) ascending, and int32 (n,).
        """
        used = np.flatnonzero(self.members.any(axis=0)).astype(np.int32)
        place = np.empty(len(self.labels), np.int32)
        place[used] = np.arange(len(used), dtype=np.int32)
        return used, place[self.labels]

    def _sweep_sides(self, gamma: float, forced: bool) -> None:
        graph, nodes = self.graph, self.graph.num_nodes
        users, items = self.split(self.labels)  # views into the labels
        user_weights, item_weights = self.split(self.weights)
        lists = (
            (0, graph.user_starts, graph.user_items, users, items, user_weights),
            (1, graph.item_starts, graph.item_users, items, users, item_weights),
        )
        for side, starts, neighbours, own, others, weights in lists:
            shares = np.linspace(0, starts[-1], get_num_threads() + 1)
            bounds = np.searchsorted(starts, shares).astype(np.int64)
            bounds[0], bounds[-1] = 0, len(own)
            own[:] = kernels.half_sweep(
                starts, neighbours, own, others, weights, self.volumes[1 - side], gamma, forced, nodes, bounds
            )
            self.volumes[side] = self._phantom[side] + np.bincount(own, weights, minlength=nodes)
            self.members[side] = np.bincount(own, minlength=nodes)


def objective(graph: InteractionGraph, labels: Labels, weights: tuple[np.ndarray, np.ndarray], gamma: float) -> float:
    """``Q = Σ_k [e(C_k) − γ · W_U(C_k) · W_V(C_k)]`` of labels.

    Args:
        graph: the graph.
        labels: groups of users and items; equal labels mean the same co-cluster.
        weights: weights of users and items, as from :meth:`BACO.weights`.
        gamma: weight of the balance.
    """
    from slimtable.grouping.statistics import edges_within

    size = int(max(labels.users.max(), labels.items.max())) + 1
    of_users = np.bincount(labels.users, weights[0], minlength=size)
    of_items = np.bincount(labels.items, weights[1], minlength=size)
    return edges_within(graph, labels.users, labels.items) - gamma * float(of_users @ of_items)


def _normalized(degrees: np.ndarray, scheme: str) -> np.ndarray:
    """``z / √Σz`` for the z of a scheme, float64."""
    values = {
        "degree": degrees.astype(np.float64),
        "cpm": np.ones(len(degrees)),
        "sqrt": np.sqrt(degrees),
        "log": np.log1p(degrees),
    }[scheme]
    normalized: np.ndarray = values / np.sqrt(values.sum())
    return normalized
