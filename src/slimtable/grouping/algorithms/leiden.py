"""Leiden's communities of the interaction graph (Traag, Waltman & van Eck 2019, arXiv 1810.08473)."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from typing import Any

from slimtable.grouping.algorithms.louvain import Modularity
from slimtable.grouping.graph import InteractionGraph
from slimtable.grouping.grouping import Labels, register_grouping


@register_grouping("leiden")
@dataclass(frozen=True)
class Leiden(Modularity):
    """As ``louvain``, with a refinement that splits badly connected communities before they become nodes.

    The refinement chooses at random, so the seed matters.
    """

    def labels(self, graph: InteractionGraph, seed: int) -> Labels:
        # scikit-network draws from C's rand(), whatever its random_state.
        ctypes.CDLL(None if os.name == "posix" else "msvcrt").srand(ctypes.c_uint(seed + 1))
        return super().labels(graph, seed)

    def solver(self, seed: int) -> Any:
        from sknetwork.clustering import Leiden as Solver

        return Solver(
            self.resolution,
            self.modularity,
            shuffle_nodes=self.shuffle_nodes,
            return_probs=False,
            return_aggregate=False,
            random_state=seed,
        )
