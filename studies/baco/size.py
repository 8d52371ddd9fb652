"""The number of rows that all methods of a comparison may have: that of Louvain's communities."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slimtable.bench.jobs import Source, fingerprint
from slimtable.errors import SlimtableError
from slimtable.files import write_json
from slimtable.grouping import InteractionGraph, group
from studies.kept import read_kept

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


def matched_size(panel: str, source: Source, embedding_dim: int, out: Path) -> Size:
    """The sizes of a panel, kept beside the results so that they are found once.

    Args:
        panel: its name.
        source: its data.
        embedding_dim: width of a row.
        out: folder of the results.

    Returns:
        The sizes.

    Raises:
        DatasetError: they are not known yet, and the data cannot be had.
        SlimtableError: the file is damaged.
    """
    known = known_sizes(out)
    if panel in known and known[panel].embedding_dim == embedding_dim:
        return known[panel]
    parts = source.load_split()
    groups = group(InteractionGraph.from_interactions(parts.train), _GROUPING)
    size = Size(
        parts.num_users,
        parts.num_items,
        groups.users.num_rows,
        groups.items.num_rows,
        embedding_dim,
        fingerprint(parts),
    )
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / _FILE, {name: asdict(each) for name, each in (known | {panel: size}).items()})
    return size


def known_sizes(out: Path) -> dict[str, Size]:
    """The sizes that were found before, by panel."""
    path = out / _FILE
    try:
        return {name: Size(**each) for name, each in read_kept(path).items()}
    except TypeError as error:
        raise SlimtableError(f"{path} is damaged ({error}). Delete it.") from error
