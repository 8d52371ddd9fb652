"""Spectral biclustering (Kluger et al. 2003), by parts of scikit-learn."""

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
_ROUNDS = 20  # of the one-dimensional k-means that ranks vectors


@register_grouping("sbc")
@dataclass(frozen=True)
class SBC(SidedGrouping):
    """Separate k-means on users and on items, each projected on the best singular vectors of the other side.

    The matrix is scaled until its row sums are equal, and its column sums. Of the singular vectors after the first,
    those closest to piecewise constant (with as many pieces as clusters) are used. The steps are those of
    scikit-learn's ``SpectralBiclustering``, which stores a mask per pair of clusters: hundreds of gigabytes at the
    sizes here. A node without edges is a group of its own, counted in the rows of its side.

    Attributes:
        n_components: number of singular vectors to choose from.
        n_best: number of singular vectors to use.
        n_init: number of starts of k-means; the best is used.
        mini_batch: use mini-batch k-means, which is faster and worse.

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
            raise ValueError(f"`SBC.n_best` must be in 1..n_components={self.n_components}, got {self.n_best}.")

    def labels(self, graph: InteractionGraph, seed: int) -> Labels:
        from sklearn.utils.extmath import randomized_svd

        rows = self.rows_of_sides(graph)
        users, items = np.flatnonzero(graph.user_degrees()), np.flatnonzero(graph.item_degrees())
        of_users = _clusters("user", rows[0], graph.num_users - len(users))
        of_items = _clusters("item", rows[1], graph.num_items - len(items))
        matrix = interaction_matrix(graph)[users][:, items]
        most = min(1 + self.n_components, *matrix.shape)
        left, _, right = randomized_svd(bistochastic(matrix), most, random_state=seed)
        first = min(1, most - 1)  # skip the constant first vector, unless it is the only one
        best_left = most_piecewise(left.T[first:], self.n_best, of_users)
        best_right = most_piecewise(right[first:], self.n_best, of_items)
        user_labels = of_users + np.arange(graph.num_users)
        item_labels = of_items + np.arange(graph.num_items)
        user_labels[users] = self._kmeans(matrix @ best_right.T, of_users, seed)
        item_labels[items] = self._kmeans(matrix.T @ best_left.T, of_items, seed)
        return Labels(user_labels, item_labels)

    def _kmeans(self, points: np.ndarray, clusters: int, seed: int) -> Any:
        from sklearn.cluster import KMeans, MiniBatchKMeans
        from sklearn.exceptions import ConvergenceWarning

        solver = MiniBatchKMeans if self.mini_batch else KMeans
        with warnings.catch_warnings():  # equal points leave clusters empty, which gives fewer rows
            warnings.simplefilter("ignore", ConvergenceWarning)
            return solver(clusters, n_init=self.n_init, random_state=seed).fit(points).labels_


def _clusters(side: str, rows: int, isolated: int) -> int:
    """Number of clusters for the nodes of a side that have edges."""
    if rows <= isolated:
        raise BudgetError(
            f"sbc gives each of {isolated:,} {side}s without interactions a row: {side}_rows={rows:,} leaves none for "
            f"the others. The minimum is {isolated + 1:,}."
        )
    return rows - isolated


def bistochastic(matrix: csr_matrix) -> csr_matrix:
    """Scales rows and columns alternately until they converge."""
    scaled = matrix.copy()
    users = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    for _ in range(_MAX_SCALINGS):
        before = scaled.data
        by_row, by_column = (np.asarray(scaled.sum(axis=axis)).ravel() for axis in (1, 0))
        scaled.data = before / np.sqrt(by_row[users] * by_column[scaled.indices])
        if np.linalg.norm(scaled.data - before) < _TOLERANCE:
            break
    return scaled


def most_piecewise(vectors: np.ndarray, number: int, pieces: int) -> np.ndarray:
    """The vectors (count, N) that are closest to piecewise constant: (number, N)."""
    distances = [_distance_to_pieces(vector, pieces) for vector in vectors]
    return vectors[np.argsort(distances, kind="stable")[:number]]


def _distance_to_pieces(vector: np.ndarray, pieces: int) -> float:
    """Distance of a vector from its best piecewise constant approximation, by one-dimensional k-means."""
    values = np.sort(vector)
    centres = np.quantile(values, (np.arange(pieces) + 0.5) / pieces)
    for _ in range(_ROUNDS):
        piece = np.searchsorted((centres[1:] + centres[:-1]) / 2, values)
        members = np.bincount(piece, minlength=pieces)
        means = np.bincount(piece, values, minlength=pieces) / np.maximum(members, 1)
        centres = np.sort(np.where(members > 0, means, centres))
    piece = np.searchsorted((centres[1:] + centres[:-1]) / 2, values)
    return float(np.linalg.norm(values - centres[piece]))
