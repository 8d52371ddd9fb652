"""Options of the methods that share rows: how many rows, and by which groups."""

from __future__ import annotations

import contextlib
import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from slimtable.artifact.bits import code_bits
from slimtable.embeddings.base import MethodConfig
from slimtable.errors import BudgetError
from slimtable.grouping.budget import rows_of_budget
from slimtable.grouping.graph import InteractionGraph
from slimtable.grouping.grouping import Groups, group, parse_grouping
from slimtable.grouping.row_map import Hash, RowMap

if TYPE_CHECKING:
    from slimtable.data.interactions.interactions import Interactions

_NO_GRAPH = "random"  # the grouping that needs no interactions
_KEPT = 8  # results of groupings that a process remembers: a bench builds each model several times

_RECENT: OrderedDict[tuple[str, int | None, int, str], Groups] = OrderedDict()


@dataclass(frozen=True)
class RowBudgetConfig(MethodConfig):
    """Options of every method that shares rows.

    Attributes:
        budget: rows that the tables of users and items may have together, split in proportion to their ids: a share
            such as "25%", a number such as "12000rows", or bytes served such as "3MB", with
            all that is stored beside the rows. A row is embedding_dim wide. Where a side has several tables, as for
            neumf, every pair of tables has the budget.

    Raises:
        ValueError: the text is no budget.
    """

    budget: str = "25%"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.budget:
            check_budget(self.budget)

    @property
    def share(self) -> float | None:
        """The budget as a share of the ids, where it is one."""
        return float(self.budget.strip()[:-1]) / 100 if self.budget.strip().endswith("%") else None

    def rows_by_share(self, num_embeddings: int, instead: str) -> int:
        """Rows of one table, where the budget is a share of the ids.

        Raises:
            ValueError: it is one of both tables and says nothing about one.
        """
        if self.share is None:
            raise ValueError(
                f"`{type(self).__name__}.budget`={self.budget} is one of users and items together, and there is one "
                f"table here. {instead}, or a share such as 25%."
            )
        return min(max(1, int(self.share * num_embeddings)), num_embeddings)


@dataclass(frozen=True)
class CountedRowsConfig(RowBudgetConfig):
    """Options of the methods that need nothing but a number of rows.

    Attributes:
        num_rows: rows of this table, K, whatever the budget says; None to go by the budget.

    Raises:
        ValueError: ``num_rows`` is not positive, or there is no budget.
    """

    num_rows: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_rows is not None and self.num_rows < 1:
            raise ValueError(f"`{type(self).__name__}.num_rows` must be positive, got {self.num_rows}.")
        if self.num_rows is None and not self.budget:
            raise ValueError(f"`{type(self).__name__}` needs a budget, such as 25%, or num_rows.")

    def row_maps(self, train: Interactions, embedding_dim: int) -> Mapping[str, Sequence[RowMap]]:
        """Maps that say how many rows each side has, where a table cannot tell by itself."""
        if self.num_rows is not None or self.share is not None:
            return {}
        sizes = (train.num_users, train.num_items)
        counts = (train.user_counts(), train.item_counts())

        def bits_of(rows: int) -> int:
            sides = zip(sizes, split_rows(rows, *sizes), counts, strict=True)
            return sum(self.bits_of_table(size, max(1, share), embedding_dim, seen) for size, share, seen in sides)

        rows = rows_of_budget(self.budget, *sizes, embedding_dim, bits_of=bits_of)
        users, items = split_rows(rows, *sizes)
        return {
            "user": [RowMap.hashed(train.num_users, Hash(count=users))],
            "item": [RowMap.hashed(train.num_items, Hash(count=items))],
        }

    def bits_of_table(self, num_embeddings: int, num_rows: int, embedding_dim: int, frequencies: np.ndarray) -> int:
        """Bits that one table serves, for budgets in bytes: rows alone, since hashes take no space.

        Args:
            num_embeddings: number of ids, N.
            num_rows: rows, K.
            embedding_dim: width of a row.
            frequencies: (N,) how often each id occurs.
        """
        return 32 * num_rows * embedding_dim

    def rows_of_table(self, num_embeddings: int, row_maps: Sequence[RowMap] | None) -> int:
        """Rows of one table, K; 1 where they come with a state dict.

        Raises:
            ValueError: the budget is one of both tables and says nothing about one.
        """
        name = type(self).__name__
        if row_maps is not None:
            return row_maps[0].num_rows if row_maps and self.num_rows is None else self.num_rows or 1
        if self.num_rows is not None:
            if self.num_rows > num_embeddings:
                raise ValueError(f"`{name}.num_rows` must be at most num_embeddings={num_embeddings}.")
            return self.num_rows
        return self.rows_by_share(num_embeddings, "Set num_rows")


@dataclass(frozen=True)
class HashedRowsConfig(CountedRowsConfig):
    """Options of the methods that hash ids to rows.

    Attributes:
        hash_seed: what the hash functions are drawn from.

    Raises:
        ValueError: the seed is negative, or as above.
    """

    hash_seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hash_seed < 0:
            raise ValueError(f"`{type(self).__name__}.hash_seed` must not be negative, got {self.hash_seed}.")


@dataclass(frozen=True)
class GroupedRowsConfig(RowBudgetConfig):
    """Options of the methods whose ids share rows in groups.

    Attributes:
        budget: as above; empty to leave the number of rows to the options of the grouping.
        grouping: how ids are grouped, with options: "louvain", "baco[gamma=7.57]", …
        grouping_seed: what is random in the grouping is drawn from it.

    Raises:
        ValueError: there is no such grouping, or it has no such option.
    """

    grouping: str = "random"
    grouping_seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_grouping(self.grouping)
        if self.grouping_seed < 0:
            raise ValueError(f"`{type(self).__name__}.grouping_seed` must not be negative, got {self.grouping_seed}.")

    @property
    def needs_graph(self) -> bool:
        """Whether the groups come from interactions; otherwise the number of ids and the budget give them."""
        return self.grouping != _NO_GRAPH or not self.budget

    @property
    def columns(self) -> tuple[int, int]:
        """Rows that a user, and an item, may have in a view; whether they have a second is known only afterwards."""
        second = getattr(parse_grouping(self.grouping), "secondary", "none")
        return 2 if second in ("users", "both") else 1, 2 if second in ("items", "both") else 1

    def bits_of_maps(self, sizes: Sequence[int], num_rows: int) -> int:
        """Most bits that the maps of a view take, however the groups share its rows between users and items."""
        pairs = zip(sizes, self.columns, strict=True)
        return sum(size * columns * code_bits(max(1, min(size, num_rows - 1))) for size, columns in pairs)

    def groups(self, train: Interactions, num_rows: int | None, view: int = 0) -> Groups:
        """The groups of a view; the last few are remembered."""
        digest = hashlib.sha256()
        for values in (train.users, train.items, np.array([train.num_users, train.num_items])):
            digest.update(np.ascontiguousarray(values).data)
        key = (self.grouping, num_rows, self.grouping_seed + view, digest.hexdigest())
        if key not in _RECENT:
            _RECENT[key] = group(InteractionGraph.of(train), self.grouping, num_rows=num_rows, seed=key[2])
            while len(_RECENT) > _KEPT:
                _RECENT.popitem(last=False)
        _RECENT.move_to_end(key)
        return _RECENT[key]

    def needed_maps(self, row_maps: Sequence[RowMap] | None) -> Sequence[RowMap]:
        """The row maps that a table was given.

        Raises:
            ValueError: it was given none; the message says how to get them.
        """
        if row_maps is None:
            raise ValueError(
                f"Groups of {self.grouping!r} come from interactions, and a table alone has none. Train with "
                f"slimtable.train, or pass row_maps=[group(InteractionGraph.of(train), {self.grouping!r}, "
                "num_rows=…).users] (or .items)."
            )
        return row_maps


def check_budget(budget: str) -> None:
    """Raises ValueError where a text is no budget, whatever the tables."""
    with contextlib.suppress(BudgetError):  # too little for a thousand ids, but a budget
        rows_of_budget(budget, 1000, 1000, 64)


def split_rows(rows: int, num_users: int, num_items: int) -> tuple[int, int]:
    """Rows of users and of items, in proportion to their ids, one or more each.

    Example:
        >>> split_rows(100, 300, 100)
        (75, 25)
    """
    users = min(max(round(rows * num_users / (num_users + num_items)), 1), rows - 1)
    return min(users, num_users), min(rows - users, num_items)


def hashed_map(
    num_embeddings: int, num_rows: int, own: int, frequencies: np.ndarray | None, generator: np.random.Generator | None
) -> RowMap:
    """A map of the most frequent ids to rows of their own and of all others to the rows that are left.

    Args:
        num_embeddings: number of ids, N.
        num_rows: rows, K.
        own: ids with rows of their own, fewer than K.
        frequencies: (N,) how often each id occurs; None where ids are sorted from most to least frequent.
        generator: a universal hash is drawn from it; None for the remainder of the id.

    Returns:
        The map. It is computed, and takes no space, where the ids with own rows are the first ones.
    """
    count = num_rows - own
    hashing = Hash(1, 0, own, own, count) if generator is None else Hash.universal(count, generator, own)
    if own == 0 or frequencies is None or is_sorted(frequencies):
        return RowMap.hashed(num_embeddings, hashing)
    rows = Hash(hashing.a, hashing.b, 0, own, count).rows(num_embeddings)
    rows[most_frequent(frequencies, own)] = np.arange(own)
    return RowMap(rows, num_rows)


def is_sorted(frequencies: np.ndarray) -> bool:
    """Whether ids are numbered from most to least frequent."""
    return bool((frequencies[1:] <= frequencies[:-1]).all())


def most_frequent(frequencies: np.ndarray, count: int) -> np.ndarray:
    """The ``count`` most frequent ids, of equally frequent ones the lower."""
    return np.argsort(-frequencies.astype(np.float64), kind="stable")[:count]
