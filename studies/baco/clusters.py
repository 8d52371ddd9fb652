"""What groupings look like: how large their clusters are, and whose; and how many rows BACO has after each sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from slimtable.grouping import Groups, InteractionGraph, group
from slimtable.grouping.algorithms.baco import BACO
from studies.baco.experiments import SWEEPS, Entry, Panel
from studies.baco.size import training_graph
from studies.kept import kept
from studies.study import Place

SIDES = ("users", "items")


@dataclass(frozen=True)
class Clusters:
    """The clusters of one side of a grouping.

    Attributes:
        rows: number of clusters.
        median: members of the median cluster.
        largest: members of the largest one.
        singletons_percent: share of clusters with one member.
        gini: inequality of the sizes.
        sizes: numbers of members that occur, ascending.
        counts: clusters with each of them.
        degrees: lower ends of ranges of degrees, each twice the one before.
        size_by_degree: geometric mean, over the nodes of a range, of the number of members of their cluster.
    """

    rows: int
    median: float
    largest: int
    singletons_percent: float
    gini: float
    sizes: Sequence[int]
    counts: Sequence[int]
    degrees: Sequence[int]
    size_by_degree: Sequence[float]


def measure_clusters(panel: Panel, entry: Entry, place: Place[Panel]) -> dict[str, Clusters]:
    """The clusters of "users" and "items" in the training part of a panel; kept beside the results.

    Raises:
        DatasetError: they were not measured yet, and the data cannot be had.
    """
    text, rows = entry.grouping(panel.size(place))

    def measure() -> dict[str, Any]:
        graph = training_graph(panel.source(place.data_root))
        groups = group(graph, text, num_rows=rows)
        return {side: asdict(of_side(graph, groups, side)) for side in SIDES}

    found = kept(place.out / "clusters.json", f"{panel.name}: {text}, {rows} rows", measure)
    return {side: Clusters(**found[side]) for side in SIDES}


def of_side(graph: InteractionGraph, groups: Groups, side: str) -> Clusters:
    """The clusters of the "users" or the "items"."""
    rows = (groups.users if side == "users" else groups.items).rows
    degrees = graph.user_degrees() if side == "users" else graph.item_degrees()
    about = groups.statistics.users if side == "users" else groups.statistics.items
    members = np.bincount(rows)
    sizes, counts = np.unique(members, return_counts=True)
    within = np.log(members[rows])
    ranges = np.floor(np.log2(np.maximum(degrees, 1))).astype(np.int64)
    used = np.unique(ranges[degrees > 0])
    means = [float(np.exp(within[(ranges == each) & (degrees > 0)].mean())) for each in used]
    figures = (about.rows, about.median, about.largest, about.singletons_percent, about.gini)
    return Clusters(*figures, sizes.tolist(), counts.tolist(), (2**used).tolist(), means)


def rows_after_sweeps(panel: Panel, place: Place[Panel]) -> tuple[float, list[int]]:
    """Sweeps on with the γ that meets the budget after the usual number of sweeps; kept beside the results.

    Returns:
        γ, and the rows of both sides after each of :data:`SWEEPS` sweeps.

    Raises:
        DatasetError: it was not done yet, and the data cannot be had.
    """
    rows = panel.size(place).second_rows

    def measure() -> dict[str, Any]:
        graph = training_graph(panel.source(place.data_root))
        gamma = BACO().for_rows(graph, rows, seed=0).gamma
        after = group(graph, BACO(gamma=gamma, sweeps=SWEEPS)).statistics.sweeps
        return {"gamma": gamma, "rows": list(after)}

    found = kept(place.out / "sweeps.json", f"{panel.name}: {rows} rows, {SWEEPS} sweeps", measure)
    return found["gamma"], found["rows"]
