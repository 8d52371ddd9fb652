"""Spectral biclustering (Kluger et al. 2003), on the building blocks of scikit-learn."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from slimtable.config import PositiveInt
from slimtable.errors import BudgetError
from slimtable.grouping.graph import InteractionGraph
from slimtable.grouping.grouping import Labels, register_grouping
from slimtable.grouping.matrix import interaction_matrix
from slimtable.grouping.sides import SidedGrouping

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_TOLERANCE, _MAX_SCALINGS = 1e-5, 1000  # of the bistochastic scaling
_ROUNDS = 20  # of the one-dimensional k-means that judges a vector


@register_grouping("sbc")
@dataclass(frozen=True)
class SBC(SidedGrouping):
    """k-means on users and on items apart, each projected on the best singular vectors of the other side.

    The matrix is scaled until all its rows have equal sums, and all its columns; of the singular vectors that follow
    the first, those that are closest to as many constant pieces as there are clusters are taken. The steps are those
    of scikit-learn's ``SpectralBiclustering``, which itself keeps a mask for every pair of a user and an item cluster:
    hundreds of gigabytes at the sizes here. A node without edges is a group of its own, within the rows of its side.

    Attributes:
        n_components: singular vectors to choose from.
        n_best: how many to take.
        n_init: starts of k-means, of which the best counts.
        mini_batch: k-means on samples, which is faster and worse.

    Raises:
        ValueError: a number is out of range.
    """

    co_clusters = False

    n_components: int = 6
    n_best: int = 3
    n_init: PositiveInt = 10
    mini_batch: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.n_best <= self.n_components:
            raise ValueError(f"`SBC.n_best` must lie in 1..n_components={self.n_components}, got {self.n_best}.")

    def labels(self, graph: InteractionGraph, seed: int) -> Labels:
        from sklearn.utils.extmath import randomized_svd

        rows = self.rows_of_sides(graph)
        users, items = np.flatnonzero(graph.user_degrees()), np.flatnonzero(graph.item_degrees())
        of_users = _clusters("user", rows[0], graph.num_users - len(users))
        of_items = _clusters("item", rows[1], graph.num_items - len(items))
        matrix = interaction_matrix(graph)[users][:, items]
        most = min(1 + self.n_components, *matrix.shape)
        left, _, right = randomized_svd(_bistochastic(matrix), most, random_state=seed)
        first = min(1, most - 1)  # the first vector is constant; all there is where a side has one node
        best_left = _most_piecewise(left.T[first:], self.n_best, of_users)
        best_right = _most_piecewise(right[first:], self.n_best, of_items)
        user_labels = of_users + np.arange(graph.num_users)
        item_labels = of_items + np.arange(graph.num_items)
        user_labels[users] = self._kmeans(matrix @ best_right.T, of_users, seed)
        item_labels[items] = self._kmeans(matrix.T @ best_left.T, of_items, seed)
        return Labels(user_labels, item_labels)

    def _kmeans(self, points: np.ndarray, clusters: int, seed: int) -> Any:
        from sklearn.cluster import KMeans, MiniBatchKMeans
        from sklearn.exceptions import ConvergenceWarning

        solver = MiniBatchKMeans if self.mini_batch else KMeans
        with warnings.catch_warnings():  # equal points leave clusters empty: then there are fewer rows
            warnings.simplefilter("ignore", ConvergenceWarning)
            return solver(clusters, n_init=self.n_init, random_state=seed).fit(points).labels_


def _clusters(side: str, rows: int, isolated: int) -> int:
    """Clusters of the nodes that have edges, of a side with a number of rows."""
    if rows <= isolated:
        raise BudgetError(
            f"sbc gives each of {isolated:,} {side}s without interactions a row: {side}_rows={rows:,} leaves none for "
            f"the others. The smallest is {isolated + 1:,}."
        )
    return rows - isolated


def _bistochastic(matrix: csr_matrix) -> csr_matrix:
    """The matrix with rows and columns scaled by turns until they change no more."""
    scaled = matrix.copy()
    users = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    for _ in range(_MAX_SCALINGS):
        before = scaled.data
        by_row, by_column = (np.asarray(scaled.sum(axis=axis)).ravel() for axis in (1, 0))
        scaled.data = before / np.sqrt(by_row[users] * by_column[scaled.indices])
        if np.linalg.norm(scaled.data - before) < _TOLERANCE:
            break
    return scaled


def _most_piecewise(vectors: np.ndarray, number: int, pieces: int) -> np.ndarray:
    """The vectors (count, N) that few constants describe best: (number, N)."""
    distances = [_distance_to_pieces(vector, pieces) for vector in vectors]
    return vectors[np.argsort(distances, kind="stable")[:number]]


def _distance_to_pieces(vector: np.ndarray, pieces: int) -> float:
    """Distance between a vector and itself with each value replaced by the mean of its piece, by k-means on a line."""
    values = np.sort(vector)
    centres = np.quantile(values, (np.arange(pieces) + 0.5) / pieces)
    for _ in range(_ROUNDS):
        piece = np.searchsorted((centres[1:] + centres[:-1]) / 2, values)
        members = np.bincount(piece, minlength=pieces)
        means = np.bincount(piece, values, minlength=pieces) / np.maximum(members, 1)
        centres = np.sort(np.where(members > 0, means, centres))
    piece = np.searchsorted((centres[1:] + centres[:-1]) / 2, values)
    return float(np.linalg.norm(values - centres[piece]))
