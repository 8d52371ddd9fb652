"""Infomap: groups that minimize the description length of a random walk (Rosvall & Bergstrom 2008)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from slimtable.config import PositiveInt
from slimtable.grouping.graph import InteractionGraph
from slimtable.grouping.grouping import Grouping, Labels, register_grouping


@register_grouping("infomap")
@dataclass(frozen=True)
class Infomap(Grouping):
    """Minimizes the two-level map equation by the package ``infomap``, on the graph of users and items.

    The algorithm determines the number of groups, so it takes no budget. A node without edges is a group of its own.

    Attributes:
        num_trials: number of runs; the best is used.

    Raises:
        ValueError: there is no trial.
    """

    num_trials: PositiveInt = 1

    def labels(self, graph: InteractionGraph, seed: int) -> Labels:
        from infomap import Infomap as Solver

        users = np.repeat(np.arange(graph.num_users), graph.user_degrees())
        # Its seeds count from 1, and it knows no types.
        solver: Any = Solver(silent=True, two_level=True, num_trials=self.num_trials, seed=seed + 1)
        solver.add_links(np.column_stack([users, graph.user_items.astype(np.int64) + graph.num_users]))
        modules = solver.run().modules()
        labels = np.arange(graph.num_nodes) + graph.num_nodes  # above all modules
        labels[np.fromiter(modules.keys(), np.int64)] = np.fromiter(modules.values(), np.int64)
        return Labels(labels[: graph.num_users], labels[graph.num_users :])
