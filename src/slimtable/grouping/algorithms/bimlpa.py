"""BiMLPA: communities by propagating several labels at once (Taguchi, Murata & Liu, NetSci-X 2020)."""

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
    """Labels travel from the smaller side to the larger one and back, several per node, each with a weight.

    A node sums the weights of its neighbours' labels, each neighbour's divided by the root of its degree, and keeps
    those of at least θ times the largest, λ at most; of equal weights the lower label. Their weights sum to 1. Each
    node of the smaller side starts with a label of its own, numbered at random. First both sides keep several labels,
    until none changes; then the smaller side keeps only its best one. In the end so does the larger side. The number
    of groups comes out of the data, so it takes no budget. A node without edges is a group of its own. Written from a
    description of the algorithm.

    Attributes:
        theta: θ, share of the largest weight that a label needs to be kept.
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
        """The labels that the nodes keep of those gathered, with weights that sum to 1; ``gathered`` is used up."""
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
    """The one label of each row, and a free one where there is none, int64 (N,)."""
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
