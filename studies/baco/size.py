"""The number of rows that all methods of a comparison may have: that of Louvain's communities."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from slimtable.bench.jobs import Source, fingerprint
from slimtable.grouping import InteractionGraph, group
from studies.kept import keep, read_kept_as

_FILE = "matched-sizes.json"
_GROUPING = "louvain"  # at GraphHash's resolution, with seed 0


@dataclass(frozen=True)
class Size:
    """Sizes of a dataset's training part.

    Attributes:
        num_users: number of users.
        num_items: number of items.
        user_rows: communities that hold users.
        item_rows: communities that hold items.
        embedding_dim: width of a row.
        fingerprint: digest of the data.
    """

    num_users: int
    num_items: int
    user_rows: int
    item_rows: int
    embedding_dim: int
    fingerprint: str

    @property
    def ids(self) -> int:
        """Users and items together."""
        return self.num_users + self.num_items

    @property
    def rows(self) -> int:
        """Rows of both sides together."""
        return self.user_rows + self.item_rows

    @property
    def second_rows(self) -> int:
        """The same less what the paper charges for a second cluster of every user: a parameter each."""
        return (self.rows * self.embedding_dim - self.num_users) // self.embedding_dim

    def figures(self) -> dict[str, Any]:
        """What the options of a method may name."""
        return {**asdict(self), "rows": self.rows, "second_rows": self.second_rows}


@lru_cache(maxsize=1)
def training_graph(source: Source) -> InteractionGraph:
    """The graph of a dataset's training part."""
    return InteractionGraph.from_interactions(source.load_split().train)


def matched_size(panel: str, source: Source, embedding_dim: int, out: Path) -> Size:
    """The sizes of a panel, kept beside the results so that they are found once.

    Raises:
        DatasetError: they are not known yet, and the data cannot be had.
        SlimtableError: the file is damaged.
    """
    known = read_kept_as(out / _FILE, Size).get(panel)
    if known is not None and known.embedding_dim == embedding_dim:
        return known
    parts = source.load_split()
    groups = group(InteractionGraph.from_interactions(parts.train), _GROUPING)
    rows = groups.users.num_rows, groups.items.num_rows
    size = Size(parts.num_users, parts.num_items, *rows, embedding_dim, fingerprint(parts))
    keep(out / _FILE, panel, asdict(size))
    return size
