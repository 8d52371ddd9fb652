"""The interaction graph as a sparse matrix, for groupings by linear algebra."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from slimtable.grouping.graph import InteractionGraph

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


def interaction_matrix(graph: InteractionGraph) -> csr_matrix:
    """B, float64 (num_users, num_items): 1 for each interaction."""
    from scipy.sparse import csr_matrix

    ones = np.ones(graph.num_edges)
    return csr_matrix((ones, graph.user_items, graph.user_starts), shape=(graph.num_users, graph.num_items))
