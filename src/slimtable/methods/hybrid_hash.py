"""Hybrid hashing: dedicated rows for frequent ids, two hashes for the others (Zhang et al. 2020, arXiv 2007.14523)."""

from __future__ import annotations

from dataclasses import dataclass

from slimtable.artifact.bits import code_bits
from slimtable.embeddings.base import register
from slimtable.methods.double_hash import DoubleHash, DoubleHashConfig


@dataclass(frozen=True)
class HybridHashConfig(DoubleHashConfig):
    """Options of hybrid hashing: those of all hashed rows."""

    def bits_with_rows(self, num_embeddings: int, num_rows: int, embedding_dim: int, sorted_ids: bool) -> int:
        """Bits of the rows, and of both maps if ids are not sorted by frequency."""
        maps = 0 if sorted_ids else 2 * num_embeddings * code_bits(num_rows)
        return 32 * num_rows * embedding_dim + maps


@register("hybrid_hash")
class HybridHash(DoubleHash):
    """The ⌊K/2⌋ most frequent ids have dedicated rows; the others get the sum of two hashed rows of the rest.

    The row of a frequent id is added twice, as in the published comparison. Bits: 32·K·d if ids are sorted from most to
    least frequent; otherwise both maps are stored, with 2·N·⌈log2 K⌉ more bits.
    """

    config_class = HybridHashConfig
    config: HybridHashConfig
    head_share = 0.5
