"""Frequency hashing: dedicated rows for the most frequent ids, a hash for the others (Zhang et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slimtable.config import Share
from slimtable.grouping.graph import InteractionGraph
from slimtable.grouping.grouping import Labels, register_grouping
from slimtable.grouping.row_map import Hash
from slimtable.grouping.sides import SidedGrouping


@register_grouping("frequency")
@dataclass(frozen=True)
class Frequency(SidedGrouping):
    """Of K rows per side, H = ``⌊head_share · K⌋`` belong to the H ids of highest degree; other ids share the rest.

    The others use row ``H + id mod (K − H)``. Ties in degree go to the lower id. If ids are sorted by descending
    degree, the map is computed and takes no space, otherwise it is stored.

    Attributes:
        head_share: share of dedicated rows, below 1.

    Raises:
        ValueError: the share is not in [0, 1).
    """

    co_clusters = False

    head_share: Share = 0.5

    def labels(self, graph: InteractionGraph, seed: int) -> Labels:
        users, items = self._hashes(graph)
        return Labels(_labels(graph.user_degrees(), users), _labels(graph.item_degrees(), items))

    def hashes(self, graph: InteractionGraph, seed: int) -> tuple[Hash | None, Hash | None]:
        users, items = self._hashes(graph)
        return (
            users if _falling(graph.user_degrees()) else None,
            items if _falling(graph.item_degrees()) else None,
        )

    def _hashes(self, graph: InteractionGraph) -> tuple[Hash, Hash]:
        """The computed maps for ids sorted by degree."""
        users, items = self.rows_of_sides(graph)
        return self._hash(users), self._hash(items)

    def _hash(self, rows: int) -> Hash:
        head = int(self.head_share * rows)
        return Hash(head=head, first=head, count=rows - head)


def _falling(degrees: np.ndarray) -> bool:
    return bool((np.diff(degrees) <= 0).all())


def _labels(degrees: np.ndarray, hashing: Hash) -> np.ndarray:
    """Rows of ids in any order of degrees, int64 (N,)."""
    labels = hashing.first + np.arange(len(degrees)) % hashing.count
    labels[np.argsort(-degrees, kind="stable")[: hashing.head]] = np.arange(hashing.head)
    return labels
