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
    """Like ``louvain``, with a refinement that splits badly connected communities before they are aggregated.

    The refinement is random, so the seed has an effect.
    """

    def labels(self, graph: InteractionGraph, seed: int) -> Labels:
        # scikit-network uses C's rand(), regardless of its random_state.
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
