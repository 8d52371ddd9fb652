"""Spectral co-clustering (Dhillon 2001), by scikit-learn."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from slimtable.config import PositiveInt
from slimtable.errors import BudgetError
from slimtable.grouping.graph import InteractionGraph
from slimtable.grouping.grouping import Grouping, Labels, register_grouping
from slimtable.grouping.matrix import interaction_matrix

_PROBES = 5  # number of clusterings to find the number of clusters for a budget
_AIM, _MIN = 0.988, 0.975  # target and least use of a budget, so that k-means with other starts stays below it


@register_grouping("scc")
@dataclass(frozen=True)
class SCC(Grouping):
    """Joint k-means of users and items on the first singular vectors of the normalized matrix.

    A cluster costs one row per side on which it has nodes, one or two in total. The number of clusters for a budget is
    found with one start of k-means each. A node without edges is a group of its own.

    Attributes:
        n_clusters: number of clusters of users and items together; None if a budget is given.
        n_init: number of starts of k-means; the best is used.
        mini_batch: use mini-batch k-means, which is faster and worse.

    Raises:
        ValueError: a number is below 1.
    """

    set_by_budget = ("n_clusters",)

    n_clusters: PositiveInt | None = None
    n_init: PositiveInt = 10
    mini_batch: bool = False

    def labels(self, graph: InteractionGraph, seed: int) -> Labels:
        from sklearn.cluster import SpectralCoclustering
        from sklearn.exceptions import ConvergenceWarning

        if self.n_clusters is None:
            raise BudgetError("scc needs `n_clusters` or a number of rows. Try --rows 25%.")
        users, items = np.flatnonzero(graph.user_degrees()), np.flatnonzero(graph.item_degrees())
        matrix = interaction_matrix(graph)[users][:, items]
        clusters = min(self.n_clusters, max(len(users), len(items)))  # the maximum of scikit-learn
        of_users = clusters + np.arange(graph.num_users)
        of_items = clusters + graph.num_users + np.arange(graph.num_items)
        of_users[users] = of_items[items] = 0
        if clusters == 1 or min(matrix.shape) == 1:  # no singular vectors are left to separate nodes
            return Labels(of_users, of_items)
        solver = SpectralCoclustering(clusters, n_init=self.n_init, mini_batch=self.mini_batch, random_state=seed)
        with warnings.catch_warnings():  # nodes with equal neighbours leave clusters empty, which gives fewer rows
            warnings.simplefilter("ignore", ConvergenceWarning)
            turned = clusters > len(users)
            solver.fit(matrix.T if turned else matrix)
        found = solver.row_labels_, solver.column_labels_
        of_users[users], of_items[items] = found[::-1] if turned else found
        return Labels(of_users, of_items)

    def for_rows(self, graph: InteractionGraph, num_rows: int, seed: int) -> Self:
        clusters, fits = max(1, int(0.65 * num_rows)), None
        for _ in range(_PROBES):
            rows = replace(self, n_clusters=clusters, n_init=1).labels(graph, seed).num_rows
            if rows <= num_rows and (fits is None or rows > fits[1]):
                fits = (clusters, rows)
            if _MIN * num_rows <= rows <= num_rows or (clusters == 1 and rows > num_rows):
                break
            clusters = max(1, int(clusters * _AIM * num_rows / rows))
        if fits is None:
            raise BudgetError(f"{num_rows:,} rows are fewer than scc can have; the smallest found is {rows:,}.")
        return replace(self, n_clusters=fits[0])
