"""BiMLPA: communities by propagation of several labels per node (Taguchi, Murata & Liu, NetSci-X 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numba import njit

from slimtable.config import Bounds, PositiveInt
from slimtable.grouping.graph import InteractionGraph
from slimtable.grouping.grouping import Grouping, Labels, register_grouping
from slimtable.grouping.matrix import interaction_matrix

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


@register_grouping("bimlpa")
@dataclass(frozen=True)
class BiMLPA(Grouping):
    """Labels propagate between the smaller and the larger side, several weighted labels per node.

    A node sums the weights of its neighbours' labels, each divided by the root of the neighbour's degree, and keeps
    labels with at least θ times the largest weight, at most λ of them, lower labels first in ties. Their weights are
    normalized to 1. Each node of the smaller side starts with its own label, numbered at random. In the first stage
    both sides keep several labels until none changes; in the second the smaller side keeps only its best one, and at
    the end so does the larger side. The algorithm determines the number of groups, so it takes no budget. A node
    without edges is a group of its own. Implemented from a description of the algorithm.

    Attributes:
        theta: θ, least weight of a label relative to the largest one.
        max_labels: λ, labels that a node keeps at most.
        max_sweeps: most sweeps of each of the two stages.

    Raises:
        ValueError: a number is out of range.
    """

    old_names = MappingProxyType({"most_labels": "max_labels", "most_sweeps": "max_sweeps"})

    theta: Annotated[float, Bounds(0, 1, open_low=True)] = 0.3
    max_labels: PositiveInt = 7
    max_sweeps: PositiveInt = 100

    def labels(self, graph: InteractionGraph, seed: int) -> Labels:
        from scipy.sparse import csr_matrix

        matrix = interaction_matrix(graph)
        if graph.num_users < graph.num_items:
            matrix = matrix.T.tocsr()
        num_large, num_small = matrix.shape
        # Matrices that gather the labels of the other side's nodes, divided by the roots of their degrees.
        to_large = matrix @ _inverse_roots(np.bincount(matrix.indices, minlength=num_small))
        to_small = matrix.T.tocsr() @ _inverse_roots(np.diff(matrix.indptr))
        order = np.random.default_rng(seed).permutation(num_small)
        small = csr_matrix((np.ones(num_small), order, np.arange(num_small + 1)), shape=(num_small, num_small))
        large = self._kept(to_large @ small, self.max_labels)
        for limit in (self.max_labels, 1):
            for _ in range(self.max_sweeps):
                before, small = small, self._kept(to_small @ large, limit)
                large = self._kept(to_large @ small, self.max_labels)
                if _same_labels(before, small):
                    break
        large = self._kept(large, 1)
        of_large, of_small = _only_labels(large, num_small), _only_labels(small, num_small + num_large)
        if graph.num_users < graph.num_items:
            return Labels(of_small, of_large)
        return Labels(of_large, of_small)

    def _kept(self, gathered: csr_matrix, limit: int) -> csr_matrix:
        """The labels that nodes keep, with weights normalized to 1; overwrites ``gathered``."""
        from scipy.sparse import csr_matrix

        arrays = _keep(gathered.indptr, gathered.indices, gathered.data, self.theta, limit)
        return csr_matrix(arrays, shape=gathered.shape)


def _inverse_roots(degrees: np.ndarray) -> Any:
    """A diagonal matrix of 1/√degree."""
    from scipy.sparse import diags

    return diags(1 / np.sqrt(np.maximum(degrees, 1)))


def _same_labels(left: csr_matrix, right: csr_matrix) -> bool:
    return np.array_equal(left.indptr, right.indptr) and np.array_equal(left.indices, right.indices)


def _only_labels(kept: csr_matrix, first_free: int) -> np.ndarray:
    """The only label of each row, or an unused one if it has none, int64 (N,)."""
    labels = first_free + np.arange(kept.shape[0])
    labels[np.diff(kept.indptr) == 1] = kept.indices
    return labels


@njit(cache=True, nogil=True)
def _keep(indptr, indices, data, theta, limit):  # type: ignore[no-untyped-def]
    """The heaviest labels of each row, in ascending order: data, indices, indptr."""
    new_data, new_indices = np.empty_like(data), np.empty_like(indices)
    new_indptr = np.zeros_like(indptr)
    end = 0
    for row in range(indptr.size - 1):
        first, last = indptr[row], indptr[row + 1]
        start = end
        if first < last:
            least = theta * data[first:last].max()
            for _ in range(min(limit, last - first)):
                best = -1
                for j in range(first, last):
                    if data[j] > 0 and (
                        best < 0 or data[j] > data[best] or (data[j] == data[best] and indices[j] < indices[best])
                    ):
                        best = j
                if best < 0 or data[best] < least:
                    break
                new_data[end], new_indices[end] = data[best], indices[best]
                data[best] = 0.0  # taken; the gathered weights are not needed again
                end += 1
            order = np.argsort(new_indices[start:end])
            new_indices[start:end] = new_indices[start:end][order]
            new_data[start:end] = new_data[start:end][order] / new_data[start:end].sum()
        new_indptr[row + 1] = end
    return new_data[:end], new_indices[:end], new_indptr
