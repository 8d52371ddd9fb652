"""Shared rows: the users of a group share one row, its items another (codebook lookup of BACO, arXiv 2604.18351)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import torch
from torch import Tensor

from slimtable.config import Bounds, Share
from slimtable.embeddings.base import register
from slimtable.embeddings.shared_rows import SharedRows, Term
from slimtable.embeddings.shared_rows_config import GroupedRowsConfig, hashed_map, is_sorted, most_frequent, split_rows
from slimtable.grouping.row_map import RowMap

if TYPE_CHECKING:
    from slimtable.data.interactions.interactions import Interactions


@dataclass(frozen=True)
class SharedConfig(GroupedRowsConfig):
    """Options of shared rows.

    Attributes:
        views: number of independent groupings, with seeds ``grouping_seed``, ``grouping_seed`` + 1, … An id has a row
            in each.
        combine: "sum": the rows are divided between the views, and their rows are summed. "concat": each view has all
            rows, at width embedding_dim / views, and they are concatenated.
        head: share of the rows that are dedicated to the most frequent ids (for "sum" in the first view only, for
            "concat" in each view).
        row_bits: bits per value when served: 32, 16, or 8 or 4 with a 16-bit offset and step per row. Training uses
            floats; evaluation uses the rows as served.

    Raises:
        ValueError: a number is out of range, or ``head`` is set without a number of rows.
    """

    views: Annotated[int, Bounds(1, 100)] = 1
    combine: Literal["sum", "concat"] = "sum"
    head: Share = 0.0
    row_bits: Literal[32, 16, 8, 4] = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__name__
        if self.head and not self.says_rows:
            raise ValueError(f"`{name}.head` is a share of the rows. Set rows, such as 25%, or a budget.")

    def row_maps(self, train: Interactions, embedding_dim: int) -> Mapping[str, Sequence[RowMap]]:
        """The row maps of users and items, one per view."""
        if not self.needs_graph and self.by_itself:
            return {}  # each table computes its own, which takes less space in the file if there is a padding row
        sizes = {"user": train.num_users, "item": train.num_items}
        counts = {"user": train.user_counts(), "item": train.item_counts()}
        rows = self._rows(embedding_dim, counts) if self.says_rows else None
        if not self.needs_graph:
            assert rows is not None
            of_sides = dict(zip(sizes, split_rows(rows, *sizes.values()), strict=True))
            return {side: self.hashed_maps(sizes[side], of_sides[side], counts[side]) for side in sizes}
        own = dict.fromkeys(sizes, 0)
        if rows is not None and (taken := int(self.head * rows)) >= 2:
            own = dict(zip(sizes, split_rows(taken, *sizes.values()), strict=True))
            rows -= taken
        if rows is not None and self.combine == "sum":
            rows //= self.views
        maps: dict[str, list[RowMap]] = {side: [] for side in sizes}
        for view in range(self.views):
            groups = self.groups(train, rows, view)
            for side in sizes:
                row_map = groups.map_of(side)
                if own[side] and (view == 0 or self.combine == "concat"):
                    row_map = row_map.with_dedicated_rows(most_frequent(counts[side], own[side]))
                maps[side].append(row_map)
        return maps

    def hashed_maps(self, num_embeddings: int, num_rows: int, frequencies: np.ndarray | None) -> list[RowMap]:
        """The row maps of one side without interactions: id mod rows for the first view, then universal hashes."""
        own = int(self.head * num_rows)
        shared = num_rows - own
        if self.combine == "sum":
            shared = max(1, shared // self.views)
        maps = []
        for view in range(self.views):
            generator = None if view == 0 else np.random.default_rng([self.grouping_seed, view])
            own_here = own if view == 0 or self.combine == "concat" else 0
            maps.append(hashed_map(num_embeddings, own_here + shared, own_here, frequencies, generator))
        return maps

    def bits_with_rows(self, num_embeddings: int, num_rows: int, embedding_dim: int, sorted_ids: bool) -> int:
        return self._bits([num_embeddings], num_rows, embedding_dim, sorted_ids)

    def _rows(self, embedding_dim: int, counts: Mapping[str, np.ndarray]) -> int:
        """Number of rows of full width of both sides together."""
        sizes = [len(frequencies) for frequencies in counts.values()]
        in_order = all(is_sorted(frequencies) for frequencies in counts.values())
        return self.rows_of_both(
            sizes[0], sizes[1], embedding_dim, lambda rows: self._bits(sizes, rows, embedding_dim, in_order)
        )

    def _bits(self, sizes: Sequence[int], num_rows: int, embedding_dim: int, sorted_ids: bool) -> int:
        """Upper bound on the bits of tables of the given sizes with this number of rows together."""
        side_by_side = self.combine == "concat"
        scales = 0 if self.row_bits > 8 else 32 * (self.views if side_by_side else 1)
        with_own = self.views if side_by_side else 1  # views with dedicated rows for the head
        # Hashed maps are stored only if they have a head and ids are not sorted.
        hashed = 0 if self.head == 0 or sorted_ids else with_own
        own = int(self.head * num_rows)
        others = num_rows - own if side_by_side else (num_rows - own) // self.views
        maps = [
            self.bits_of_maps(sizes, others + (own if view < with_own else 0))
            for view in range(self.views if self.needs_graph else hashed)
        ]
        return (self.row_bits * embedding_dim + scales) * num_rows + sum(maps)


@register("shared")
class Shared(SharedRows):
    """Ids of a group share a row; with secondary groups, an id gets the mean of two rows.

    Bits: K·d·row_bits (and 32·K for offsets and steps of 8 or 4 bits), and N·⌈log2 K⌉ for each stored row map,
    twice with secondary rows. K·d parameters are trained instead of N·d, which also shrinks the optimizer state.
    """

    config_class = SharedConfig
    config: SharedConfig

    @property
    def row_bits(self) -> int:
        return self.config.row_bits

    def build(self, frequencies: Tensor | None, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        config, width = self.config, self.embedding_dim
        if config.combine == "concat":
            if width % config.views:
                raise ValueError(
                    f"`{type(config).__name__}.views`={config.views} must divide embedding_dim={width} for "
                    "combine=concat. Choose a divisor, or combine=sum."
                )
            width //= config.views
        maps = self._maps(frequencies)
        if len(maps) != config.views:
            raise ValueError(f"`{type(config).__name__}.views` is {config.views}, but {len(maps)} row maps are given.")
        terms = []
        for view, row_map in enumerate(maps):
            terms += terms_of(row_map, view, view * width if config.combine == "concat" else 0)
        self.share([(row_map.num_rows, width) for row_map in maps], terms, frequencies, device, dtype)

    def _maps(self, frequencies: Tensor | None) -> Sequence[RowMap]:
        config = self.config
        if self.row_maps is not None:
            return self.row_maps or [hashed_map(self.num_embeddings, 1, 0, None, None)] * config.views
        if config.needs_graph:
            return config.needed_maps(None)
        counts = None if frequencies is None else frequencies.cpu().numpy()
        num_rows = config.rows_of_one(self.num_embeddings, self.embedding_dim, counts)
        return config.hashed_maps(self.num_embeddings, num_rows, counts)


def terms_of(row_map: RowMap, table: int, column: int) -> list[Term]:
    """The terms of a row map: one, or a weighted mean of two if ids have secondary rows."""
    if row_map.secondary is None:
        return [Term(table, column, row_map.rows, row_map.computed)]
    return [
        Term(table, column, row_map.rows, row_map.computed, 1.0 - row_map.secondary_weight),
        Term(table, column, row_map.secondary, None, row_map.secondary_weight),
    ]
