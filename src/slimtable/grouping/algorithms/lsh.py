"""Locality-sensitive hashing: ids on the same side of random hyperplanes share a row (Charikar 2002)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from slimtable.grouping.graph import InteractionGraph
from slimtable.grouping.grouping import Labels, register_grouping
from slimtable.grouping.matrix import interaction_matrix
from slimtable.grouping.sides import SidedGrouping

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_MAX_PLANES = 64  # ids that this many planes do not separate have the same interactions


@register_grouping("lsh")
@dataclass(frozen=True)
class LSH(SidedGrouping):
    """Groups ids by the signs of random projections of their row (users) or column (items) of B.

    The published baseline uses as many planes as K has bits, and a table as large as its largest code, so that rows are
    unused. Here planes are added while at most K codes occur; the last plane splits as many groups as fit, in the order
    of their codes. Nearly all K rows are used, and none is empty.
    """

    co_clusters = False

    def labels(self, graph: InteractionGraph, seed: int) -> Labels:
        generator = np.random.default_rng(seed)
        matrix = interaction_matrix(graph)
        users, items = self.rows_of_sides(graph)
        return Labels(hash_codes(matrix, users, generator), hash_codes(matrix.T.tocsr(), items, generator))


def hash_codes(matrix: csr_matrix, num_rows: int, generator: np.random.Generator) -> np.ndarray:
    """Group of each row of a matrix, int64 (N,), with at most ``num_rows`` groups."""
    codes, count = np.zeros(matrix.shape[0], np.int64), 1
    for _ in range(_MAX_PLANES):
        above = matrix @ generator.standard_normal(matrix.shape[1]) > 0
        members, of_above = np.bincount(codes, minlength=count), np.bincount(codes[above], minlength=count)
        parted = (of_above > 0) & (of_above < members)
        parted &= np.cumsum(parted) <= num_rows - count
        full = count + parted.sum() == num_rows
        used, codes = np.unique(2 * codes + (above & parted[codes]), return_inverse=True)
        count = len(used)
        if full:
            break
    return codes
