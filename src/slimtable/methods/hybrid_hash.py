"""Hybrid hashing: own rows for frequent ids, two hashes for the others (Zhang et al. 2020, arXiv 2007.14523)."""

from __future__ import annotations

from dataclasses import dataclass

from slimtable.embedding import register
from slimtable.methods.double_hash import DoubleHash, DoubleHashConfig


@dataclass(frozen=True)
class HybridHashConfig(DoubleHashConfig):
    """Options of hybrid hashing: those of every hash."""


@register("hybrid_hash")
class HybridHash(DoubleHash):
    """The ⌊K/2⌋ most frequent ids have rows of their own, the others the sum of two hashed rows of the rest.

    The row of a frequent id counts twice in its sum, as in the published comparison. Bits: 32·K·d where ids are sorted
    from most to least frequent; otherwise both maps are stored, 2·N·⌈log2 K⌉ bits more.
    """

    config_class = HybridHashConfig
    config: HybridHashConfig
    head_share = 0.5
