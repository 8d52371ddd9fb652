"""DoubleGraphHash: the sum of a group's row and a hashed row of one table (Wu et al. 2024, arXiv 2412.17245)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from slimtable.config import Count
from slimtable.embeddings.base import register
from slimtable.embeddings.shared_rows import SharedRows, Term
from slimtable.embeddings.shared_rows_config import GroupedRowsConfig, hashed_map
from slimtable.grouping.row_map import RowMap
from slimtable.methods.shared import terms_of

if TYPE_CHECKING:
    from slimtable.data.interactions.interactions import Interactions


@dataclass(frozen=True)
class DoubleGraphHashConfig(GroupedRowsConfig):
    """Options of DoubleGraphHash.

    Attributes:
        grouping: as in the base class; the paper uses modularity.
        hash_seed: random seed of the hash function.
    """

    grouping: str = "louvain"
    hash_seed: Count = 0

    def row_maps(self, train: Interactions, embedding_dim: int) -> Mapping[str, Sequence[RowMap]]:
        """The row maps of users and items."""
        rows, sizes = None, (train.num_users, train.num_items)
        if self.says_rows:
            rows = self.rows_of_both(
                *sizes, embedding_dim, lambda count: 32 * count * embedding_dim + self.bits_of_maps(sizes, count)
            )
        groups = self.groups(train, rows)
        return {side: [groups.map_of(side)] for side in ("user", "item")}

    def bits_with_rows(self, num_embeddings: int, num_rows: int, embedding_dim: int, sorted_ids: bool) -> int:
        """Bits of the rows and of the map of groups; the hash takes no space."""
        maps = self.bits_of_maps([num_embeddings], num_rows) if self.needs_graph else 0
        return 32 * num_rows * embedding_dim + maps


@register("double_graph_hash")
class DoubleGraphHash(SharedRows):
    """The row of the id's group plus the row of a universal hash, both of the same K rows.

    K is the number of groups. Bits: 32·K·d and N·⌈log2 K⌉ for the groups.
    """

    config_class = DoubleGraphHashConfig
    config: DoubleGraphHashConfig

    def build(self, frequencies: Tensor | None, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        groups = self._groups()
        generator = np.random.default_rng(self.config.hash_seed)
        hashed = hashed_map(self.num_embeddings, groups.num_rows, 0, None, generator)
        terms = [*terms_of(groups, 0, 0), Term(0, 0, hashed.rows, hashed.computed)]
        self.share([(groups.num_rows, self.embedding_dim)], terms, frequencies, device, dtype)

    def _groups(self) -> RowMap:
        num_rows = 1  # until a state dict is loaded
        if self.row_maps is None and not self.config.needs_graph:
            num_rows = self.config.rows_of_one(self.num_embeddings, self.embedding_dim)
        elif given := self.config.needed_maps(self.row_maps):
            return given[0]
        return hashed_map(self.num_embeddings, num_rows, 0, None, None)
