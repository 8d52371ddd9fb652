"""Label propagation (Raghavan, Albert & Kumara 2007), the baseline "LP" of BACO."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Self

import numpy as np

from slimtable.config import Bounds, PositiveInt
from slimtable.grouping.algorithms.baco import PropagationState
from slimtable.grouping.graph import InteractionGraph
from slimtable.grouping.grouping import Grouping, Labels, register_grouping
from slimtable.grouping.tuning import tune

_MIN_FILLED = 0.97  # least use of a budget; if no α reaches it, propagation stops within a sweep


@register_grouping("label_propagation")
@dataclass(frozen=True)
class LabelPropagation(Grouping):
    """Every node takes the most frequent label of its neighbours; ties go to the first label.

    Every node starts with its own label, and nodes are visited in random order, users and items mixed. Clusters are not
    balanced; their number depends on the share of nodes that are visited.

    Attributes:
        alpha: probability that a node is visited in a sweep; smaller values give more clusters.
        sweeps: passes over the nodes.
        stop_rows: stop within a sweep once at most this many rows are left; None to finish all sweeps.

    Raises:
        ValueError: a number is out of range.
    """

    set_by_budget = ("alpha", "stop_rows")

    alpha: Annotated[float, Bounds(0, 1)] = 0.75
    sweeps: PositiveInt = 5
    stop_rows: Annotated[int, Bounds(2)] | None = None

    def labels(self, graph: InteractionGraph, seed: int) -> Labels:
        state = PropagationState(graph, (np.zeros(graph.num_users), np.zeros(graph.num_items)))  # no weights
        rows = state.run(0.0, self.sweeps, "mixed", True, seed, self.stop_rows or 0, self.alpha)
        return Labels(*state.split(state.labels), sweeps=tuple(rows))

    def for_rows(self, graph: InteractionGraph, num_rows: int, seed: int) -> Self:
        def rows_at(idleness: float) -> int:
            return replace(self, alpha=1 - idleness).labels(graph, seed).num_rows

        idleness, rows = tune(rows_at, num_rows, 1 - self.alpha or 1e-6, low=1e-6, high=1.0)
        tuned = replace(self, alpha=1 - idleness)
        return tuned if rows >= _MIN_FILLED * num_rows else replace(tuned, stop_rows=num_rows)
