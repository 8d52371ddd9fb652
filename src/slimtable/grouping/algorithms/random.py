"""Random groups: the remainder of the id (the hashing trick, Weinberger et al. 2009)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slimtable.grouping.graph import InteractionGraph
from slimtable.grouping.grouping import Labels, register_grouping
from slimtable.grouping.row_map import Hash
from slimtable.grouping.sides import SidedGrouping


@register_grouping("random")
@dataclass(frozen=True)
class Random(SidedGrouping):
    """Row ``id mod K`` on each side; the map is computed and takes no space. The seed has no effect."""

    co_clusters = False

    def labels(self, graph: InteractionGraph, seed: int) -> Labels:
        users, items = self.rows_of_sides(graph)
        return Labels(np.arange(graph.num_users) % users, np.arange(graph.num_items) % items)

    def hashes(self, graph: InteractionGraph, seed: int) -> tuple[Hash | None, Hash | None]:
        users, items = self.rows_of_sides(graph)
        return Hash(count=users), Hash(count=items)
