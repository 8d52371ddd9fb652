"""How large the clusters of groupings are, and whose."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slimtable.bench.jobs import Source
from slimtable.files import write_json
from slimtable.grouping import Groups, InteractionGraph, group
from studies.kept import read_kept

_FILE = "clusters.json"


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
    sizes: tuple[int, ...]
    counts: tuple[int, ...]
    degrees: tuple[int, ...]
    size_by_degree: tuple[float, ...]


def measure_clusters(
    panel: str, source: Source, groupings: dict[str, tuple[str, int | None]], out: Path
) -> dict[str, dict[str, Clusters]]:
    """Groups the training part of a dataset and looks at the clusters; kept beside the results, to be done once.

    Args:
        panel: name of the data.
        source: the data.
        groupings: text and number of rows of each, by name; None for as many as its options give.
        out: folder of the results.

    Returns:
        The clusters of "users" and "items" for each name.

    Raises:
        DatasetError: something is to be grouped, and the data cannot be had.
    """
    path = out / _FILE
    cached = read_kept(path)
    keys = {name: f"{panel}: {text}, {rows} rows" for name, (text, rows) in groupings.items()}
    if not set(keys.values()) <= set(cached):
        graph = InteractionGraph.from_interactions(source.load_split().train)
        for name, (text, rows) in groupings.items():
            groups = group(graph, text, num_rows=rows)
            cached[keys[name]] = {side: asdict(of_side(graph, groups, side)) for side in ("users", "items")}
        out.mkdir(parents=True, exist_ok=True)
        write_json(path, cached)
    return {name: {side: _read(values) for side, values in cached[key].items()} for name, key in keys.items()}


def of_side(graph: InteractionGraph, groups: Groups, side: str) -> Clusters:
    """The clusters of the "users" or the "items"."""
    rows = (groups.users if side == "users" else groups.items).rows
    degrees = graph.user_degrees() if side == "users" else graph.item_degrees()
    figures = groups.statistics.users if side == "users" else groups.statistics.items
    members = np.bincount(rows)
    sizes, counts = np.unique(members, return_counts=True)
    within = np.log(members[rows])
    ranges = np.floor(np.log2(np.maximum(degrees, 1))).astype(np.int64)
    used = np.unique(ranges[degrees > 0])
    means = [float(np.exp(within[(ranges == each) & (degrees > 0)].mean())) for each in used]
    return Clusters(
        figures.rows,
        figures.median,
        figures.largest,
        figures.singletons_percent,
        figures.gini,
        tuple(sizes.tolist()),
        tuple(counts.tolist()),
        tuple((2**used).tolist()),
        tuple(means),
    )


def _read(values: dict[str, Any]) -> Clusters:
    fields: dict[str, Any] = {name: tuple(each) if isinstance(each, list) else each for name, each in values.items()}
    return Clusters(**fields)
