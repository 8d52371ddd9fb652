"""Statistics of a grouping."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from slimtable.grouping.graph import InteractionGraph
from slimtable.grouping.row_map import RowMap

if TYPE_CHECKING:
    from slimtable.grouping.grouping import Labels


@dataclass(frozen=True)
class Sizes:
    """Distribution of group sizes on one side.

    Attributes:
        rows: number of rows, K.
        median: median number of ids per row.
        largest: largest number of ids per row.
        singletons_percent: share of rows with a single id.
        gini: Gini coefficient of the sizes, 0 if all are equal (BACO, supplement).
    """

    rows: int
    median: float
    largest: int
    singletons_percent: float
    gini: float


@dataclass(frozen=True)
class Statistics:
    """Statistics of a grouping.

    Attributes:
        rows: number of rows of both sides together.
        rows_percent: in percent of users and items.
        users: group sizes of users.
        items: group sizes of items.
        second_users_percent: share of users with a secondary row.
        second_items_percent: share of items with a secondary row.
        intra_edges_percent: share of edges within co-clusters; None if user and item groups are unrelated.
        gini: Gini coefficient of the sizes of co-clusters, users and items together; None likewise.
        accl: mean number of edges between two co-clusters (BACO, supplement); None likewise.
        map_bits: bits of both row maps in a file.
        second_integers: number of stored secondary rows; BACO's accounting counts one parameter each.
        sweeps: number of rows after each sweep, for groupings with sweeps.
        seconds: time of the grouping.
        tuning_seconds: time to tune options to a budget.
    """

    rows: int
    rows_percent: float
    users: Sizes
    items: Sizes
    second_users_percent: float
    second_items_percent: float
    intra_edges_percent: float | None
    gini: float | None
    accl: float | None
    map_bits: int
    second_integers: int
    sweeps: tuple[int, ...]
    seconds: float = 0.0
    tuning_seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """The statistics as JSON values."""
        return asdict(self) | {"sweeps": list(self.sweeps)}


def measure(graph: InteractionGraph, labels: Labels, users: RowMap, items: RowMap, co_clusters: bool) -> Statistics:
    """Computes the statistics of a grouping.

    Args:
        graph: the graph.
        labels: its groups.
        users: row map of the users.
        items: row map of the items.
        co_clusters: true if equal labels of a user and an item mean the same group.

    Returns:
        The statistics, without times.
    """
    rows = users.num_rows + items.num_rows
    intra, gini, accl = None, None, None
    if co_clusters:
        both = np.concatenate([labels.users, labels.items])
        sizes = np.unique(both, return_counts=True)[1]
        within = edges_within(graph, labels.users, labels.items)
        pairs = len(sizes) * (len(sizes) - 1) / 2
        intra, gini = 100 * within / graph.num_edges, gini_of(sizes)
        accl = (graph.num_edges - within) / pairs if pairs else 0.0
    return Statistics(
        rows,
        100 * rows / graph.num_nodes,
        _sizes(users),
        _sizes(items),
        100 * users.num_secondary / graph.num_users,
        100 * items.num_secondary / graph.num_items,
        intra,
        gini,
        accl,
        users.bits() + items.bits(),
        users.num_secondary + items.num_secondary,
        labels.sweeps,
    )


def gini_of(sizes: np.ndarray) -> float:
    """Gini coefficient of cluster sizes, ``(2/K) Σᵢ (i/K − Σ_{j≤i} sizeⱼ / Σ size)``, sizes ascending.

    Args:
        sizes: (K,) positive.

    Example:
        >>> gini_of(np.array([3, 3, 3])), round(gini_of(np.array([1, 1, 10])), 3)
        (0.0, 0.5)
    """
    ascending = np.sort(sizes).astype(np.float64)
    shares = np.cumsum(ascending) / ascending.sum()
    equal = np.arange(1, len(ascending) + 1) / len(ascending)
    return float(abs(2.0 / len(ascending) * np.sum(equal - shares)))


def edges_within(graph: InteractionGraph, users: np.ndarray, items: np.ndarray) -> int:
    """Number of edges whose user and item have the same label."""
    total, step = 0, 1 << 22  # a chunk at a time, since a graph may be larger than memory
    degrees = graph.user_degrees()
    bounds = np.searchsorted(graph.user_starts, np.arange(0, graph.num_edges + step, step), side="right") - 1
    bounds = np.unique(np.append(bounds.clip(0, graph.num_users), graph.num_users))
    for first, last in pairwise(bounds):
        edges = slice(graph.user_starts[first], graph.user_starts[last])
        total += int((np.repeat(users[first:last], degrees[first:last]) == items[graph.user_items[edges]]).sum())
    return total


def _sizes(row_map: RowMap) -> Sizes:
    counts = np.bincount(row_map.rows, minlength=row_map.num_rows)
    return Sizes(
        row_map.num_rows,
        float(np.median(counts)),
        int(counts.max()),
        100 * float(np.mean(counts == 1)),
        gini_of(counts) if counts.any() else 0.0,
    )
