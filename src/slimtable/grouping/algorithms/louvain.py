"""GraphHash: Louvain's communities of the interaction graph (Wu et al. 2024, arXiv 2412.17245)."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from slimtable.config import Positive
from slimtable.grouping.graph import InteractionGraph
from slimtable.grouping.grouping import Grouping, Labels, register_grouping
from slimtable.grouping.matrix import interaction_matrix
from slimtable.grouping.secondary import with_secondary
from slimtable.grouping.tuning import tune


@dataclass(frozen=True)
class Modularity(Grouping):
    """Base class of groupings that maximize modularity by scikit-network.

    Attributes:
        resolution: weight of the balance; larger values give more and smaller communities.
        modularity: scikit-network's kind of modularity; "dugue" is Barber's on a bipartite graph.
        shuffle_nodes: visit nodes in random order, so that the seed has an effect; not in the published baseline.
        secondary: the sides that get secondary clusters by BACO's rule: "users", "items", "both" or "none" (published).

    Raises:
        ValueError: the resolution is not positive.
    """

    set_by_budget = ("resolution",)

    resolution: Positive = 200.0
    modularity: Literal["dugue", "newman", "potts"] = "dugue"
    shuffle_nodes: bool = False
    secondary: Literal["users", "items", "both", "none"] = "none"

    def labels(self, graph: InteractionGraph, seed: int) -> Labels:
        solver = self.solver(seed)
        solver.fit(interaction_matrix(graph), force_bipartite=True)
        labels = Labels(solver.labels_row_, solver.labels_col_)
        if self.secondary == "none":
            return labels
        scale = graph.num_edges**-0.5  # weights for which γ equals the resolution of modularity
        weights = graph.user_degrees() * scale, graph.item_degrees() * scale
        return with_secondary(graph, labels, weights, self.resolution, self.secondary)

    def for_rows(self, graph: InteractionGraph, num_rows: int, seed: int) -> Self:
        def rows_at(resolution: float) -> int:
            return replace(self, resolution=resolution).labels(graph, seed).num_rows

        resolution, _ = tune(rows_at, num_rows, self.resolution, low=1e-6, high=1e9)
        return replace(self, resolution=resolution)

    @abstractmethod
    def solver(self, seed: int) -> Any:
        """The algorithm object of scikit-network."""


@register_grouping("louvain")
@dataclass(frozen=True)
class Louvain(Modularity):
    """Louvain's method: nodes move to the best community among their neighbours, communities are aggregated, repeat.

    It maximizes bipartite modularity at a resolution; the users of a community share a row, and so do its items.
    """

    def solver(self, seed: int) -> Any:
        from sknetwork.clustering import Louvain as Solver

        return Solver(
            self.resolution,
            self.modularity,
            shuffle_nodes=self.shuffle_nodes,
            return_probs=False,
            return_aggregate=False,
            random_state=seed,
        )
