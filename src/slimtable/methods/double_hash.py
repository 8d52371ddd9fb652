"""Double hashing: the sum of two rows chosen by two hashes (Zhang et al. 2020, arXiv 2007.14523)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from slimtable.embeddings.base import register
from slimtable.embeddings.shared_rows import SharedRows, Term
from slimtable.embeddings.shared_rows_config import HashedRowsConfig, hashed_map


@dataclass(frozen=True)
class DoubleHashConfig(HashedRowsConfig):
    """Options of double hashing: those of all hashed rows."""


@register("double_hash")
class DoubleHash(SharedRows):
    """The sum of two rows of one table, chosen by universal hashes. Bits: 32·K·d, since hashes take no space.

    The hashes are ``((a·id + b) mod (2³¹ − 1)) mod K`` (BACO's comparison uses a random prime of 60 bits). Two ids
    get the same row only if both hashes collide.
    """

    config_class = DoubleHashConfig
    config: DoubleHashConfig
    head_share = 0.0

    def build(self, frequencies: Tensor | None, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        counts = None if frequencies is None else frequencies.cpu().numpy()
        num_rows = self.config.rows_of_table(self.num_embeddings, self.embedding_dim, self.row_maps, counts)
        own = int(self.head_share * num_rows)
        generator = np.random.default_rng(self.config.hash_seed)
        maps = [hashed_map(self.num_embeddings, num_rows, own, counts, generator) for _ in range(2)]
        terms = [Term(0, 0, row_map.rows, row_map.computed) for row_map in maps]
        self.share([(num_rows, self.embedding_dim)], terms, frequencies, device, dtype)
