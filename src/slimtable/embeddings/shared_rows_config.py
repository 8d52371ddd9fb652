"""Options of the methods that share rows: the number of rows and the grouping of ids."""

from __future__ import annotations

import dataclasses
import hashlib
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

from slimtable.budget import is_relative, rows_of_text, rows_within, share_of_rows
from slimtable.config import Count, PositiveInt
from slimtable.embeddings.config import MethodConfig
from slimtable.errors import BudgetError
from slimtable.grouping.graph import InteractionGraph
from slimtable.grouping.grouping import Groups, bits_of_maps, group, parse_grouping
from slimtable.grouping.row_map import Hash, RowMap

if TYPE_CHECKING:
    from slimtable.data.interactions.interactions import Interactions

_C = TypeVar("_C", bound=MethodConfig)
_NO_GRAPH = "random"  # the grouping that needs no interactions
_KEPT = 8  # results of groupings that a process caches: a bench builds each model several times

_RECENT: OrderedDict[tuple[str, int | None, int, str], Groups] = OrderedDict()


@dataclass(frozen=True)
class SharedRowsConfig(MethodConfig):
    """Options of every method that shares rows.

    Attributes:
        rows: total number of rows of the tables of users and items, split in proportion to their ids: a share of the
            ids such as "25%", or a number such as "12000". A row is embedding_dim wide. If a side has several tables,
            as for neumf, every pair of tables has this total. Empty if the grouping sets the number.
        budget: total size of the packed tables of users and items, including all maps, in place of ``rows``: a share
            of the float32 tables such as "25%", a compression ratio such as "16x", or bytes such as "3MB".

    Raises:
        ValueError: ``rows`` or ``budget`` cannot be parsed.
    """

    rows: str = "25%"
    budget: str = ""

    def __post_init__(self) -> None:
        rows: Any = self.rows
        if isinstance(rows, int) and not isinstance(rows, bool):  # --set rows=12000
            object.__setattr__(self, "rows", str(rows))
        super().__post_init__()
        if self.rows:
            share_of_rows(self.rows)
        if self.budget:
            is_relative(self.budget)

    @classmethod
    def from_saved(cls, values: Mapping[str, Any]) -> Self:
        """Also reads configurations of versions before 0.2, whose ``budget`` was a number of rows, or bytes."""
        values = dict(values)
        if "rows" not in values and "budget" in values:
            earlier = str(values.pop("budget"))
            values |= {"rows": "", "budget": earlier} if earlier.strip().endswith("B") else {"rows": earlier}
        return cls.from_dict(values)

    def sizes(self, num_embeddings: int, embedding_dim: int) -> Sequence[Self]:
        return _SharesOfRows(self, num_embeddings)

    @abstractmethod
    def bits_with_rows(self, num_embeddings: int, num_rows: int, embedding_dim: int, sorted_ids: bool) -> int:
        """Upper bound on the bits of one packed table, including maps.

        Args:
            num_embeddings: number of ids, N.
            num_rows: number of shared rows, K.
            embedding_dim: width of a row.
            sorted_ids: True if ids are numbered from most to least frequent.
        """

    @property
    def by_itself(self) -> bool:
        """True if the number of rows of each table follows from that table alone, as a share of its ids or bytes."""
        return is_relative(self.budget) if self.budget else bool(self.rows) and share_of_rows(self.rows) is not None

    def rows_of_one(self, num_embeddings: int, embedding_dim: int, frequencies: Any = None) -> int:
        """Number of rows of a single table.

        Raises:
            ValueError: ``rows`` is a total of users and items.
            BudgetError: the budget is too small for a row.
        """
        if self.budget:
            sorted_ids = is_sorted(frequencies)

            def bits_of(rows: int) -> int:
                return self.bits_with_rows(num_embeddings, rows, embedding_dim, sorted_ids)

            return rows_within(self.budget, 32 * num_embeddings * embedding_dim, bits_of, 1, num_embeddings)
        if not self.rows:
            raise ValueError(f"`{type(self).__name__}` needs rows, such as 25%, or a budget, such as 3MB.")
        share = share_of_rows(self.rows)
        if share is None:
            raise ValueError(
                f"`{type(self).__name__}.rows`={self.rows} are those of users and items together, and there is one "
                "table here. Set num_rows where the method has it, pass row_maps, or write a share such as 25%."
            )
        return min(max(1, int(share * num_embeddings)), num_embeddings)

    def rows_of_both(self, num_users: int, num_items: int, embedding_dim: int, bits_of: Callable[[int], int]) -> int:
        """Total number of rows of users and items, 2 or more.

        Args:
            num_users: number of users.
            num_items: number of items.
            embedding_dim: width of a row.
            bits_of: upper bound on the bits of both tables with a given total of rows.

        Raises:
            BudgetError: the budget, or the number of rows, is too small.
        """
        ids = num_users + num_items
        if self.budget:
            return rows_within(self.budget, 32 * ids * embedding_dim, bits_of, 2, ids)
        rows = rows_of_text(self.rows, ids)
        if rows < 2:
            raise BudgetError(f"{self.rows} are {rows} rows, but users and items need one each. Ask for 2 or more.")
        return rows

    def table_bits(self, num_embeddings: int, embedding_dim: int, frequencies: Any = None) -> int:
        rows = self.rows_of_one(num_embeddings, embedding_dim, frequencies)
        return self.bits_with_rows(num_embeddings, rows, embedding_dim, is_sorted(frequencies))


@dataclass(frozen=True)
class CountedRowsConfig(SharedRowsConfig):
    """Options of the methods that need only a number of rows.

    Attributes:
        num_rows: number of rows of this table, K, in place of ``rows`` and ``budget``; None to use those.

    Raises:
        ValueError: ``num_rows`` is not positive, or none of the three options is set.
    """

    num_rows: PositiveInt | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_rows is None and not self.budget and not self.rows:
            raise ValueError(f"`{type(self).__name__}` needs rows, such as 25%, a budget, such as 3MB, or num_rows.")

    def row_maps(self, train: Interactions, embedding_dim: int) -> Mapping[str, Sequence[RowMap]]:
        """Hashed maps with the number of rows of each side, if that depends on both sides; else none."""
        if self.num_rows is not None or self.by_itself:
            return {}
        sizes = (train.num_users, train.num_items)
        in_order = [is_sorted(counts) for counts in (train.user_counts(), train.item_counts())]

        def bits_of(rows: int) -> int:
            sides = zip(sizes, split_rows(rows, *sizes), in_order, strict=True)
            return sum(self.bits_with_rows(size, max(1, share), embedding_dim, known) for size, share, known in sides)

        users, items = split_rows(self.rows_of_both(*sizes, embedding_dim, bits_of), *sizes)
        return {
            "user": [RowMap.from_hash(train.num_users, Hash(count=users))],
            "item": [RowMap.from_hash(train.num_items, Hash(count=items))],
        }

    def bits_with_rows(self, num_embeddings: int, num_rows: int, embedding_dim: int, sorted_ids: bool) -> int:
        """Bits of the rows alone, since hashes take no space."""
        return 32 * num_rows * embedding_dim

    def rows_of_table(
        self,
        num_embeddings: int,
        embedding_dim: int,
        row_maps: Sequence[RowMap] | None = None,
        frequencies: Any = None,
    ) -> int:
        """Number of rows of one table, K; 1 if the rows come later, with a state dict.

        Raises:
            ValueError: there are more rows than ids, or as :meth:`rows_of_one`.
            BudgetError: the budget is too small for a row.
        """
        if row_maps is not None:
            return row_maps[0].num_rows if row_maps and self.num_rows is None else self.num_rows or 1
        if self.num_rows is not None:
            if self.num_rows > num_embeddings:
                raise ValueError(f"`{type(self).__name__}.num_rows` must be at most num_embeddings={num_embeddings}.")
            return self.num_rows
        return self.rows_of_one(num_embeddings, embedding_dim, frequencies)

    def table_bits(self, num_embeddings: int, embedding_dim: int, frequencies: Any = None) -> int:
        rows = self.rows_of_table(num_embeddings, embedding_dim, frequencies=frequencies)
        return self.bits_with_rows(num_embeddings, rows, embedding_dim, is_sorted(frequencies))

    def sizes(self, num_embeddings: int, embedding_dim: int) -> Sequence[Self]:
        return NumberedRows(self, 1, num_embeddings)


@dataclass(frozen=True)
class HashedRowsConfig(CountedRowsConfig):
    """Options of the methods that hash ids to rows.

    Attributes:
        hash_seed: seed of the hash functions.

    Raises:
        ValueError: the seed is negative, or as above.
    """

    hash_seed: Count = 0


@dataclass(frozen=True)
class GroupedRowsConfig(SharedRowsConfig):
    """Options of the methods in which ids of a group share a row.

    Attributes:
        grouping: algorithm that groups ids, with options: "louvain", "baco[gamma=7.57]", …
        grouping_seed: seed of the grouping.

    Raises:
        ValueError: there is no such grouping, or it has no such option.
    """

    grouping: str = "random"
    grouping_seed: Count = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_grouping(self.grouping)

    def with_budget(self, budget: str) -> Self | None:
        return dataclasses.replace(self, budget=budget) if self.needs_graph else None

    @property
    def needs_graph(self) -> bool:
        """True if the groups depend on interactions, False if only on the numbers of ids and rows."""
        return self.grouping != _NO_GRAPH or not (self.rows or self.budget)

    @property
    def says_rows(self) -> bool:
        """True if the options set a number of rows, False if the options of the grouping do."""
        return bool(self.rows or self.budget)

    def bits_of_maps(self, sizes: Sequence[int], num_rows: int) -> int:
        """Upper bound on the bits of the maps of a view, of users and items or of one table."""
        columns = parse_grouping(self.grouping).columns
        return bits_of_maps(sizes, columns if len(sizes) == 2 else (max(columns),), num_rows)

    def groups(self, train: Interactions, num_rows: int | None, view: int = 0) -> Groups:
        """The groups of a view; the last few results are cached."""
        digest = hashlib.sha256()
        for values in (train.users, train.items, np.array([train.num_users, train.num_items])):
            digest.update(np.ascontiguousarray(values).data)
        key = (self.grouping, num_rows, self.grouping_seed + view, digest.hexdigest())
        if key not in _RECENT:
            _RECENT[key] = group(
                InteractionGraph.from_interactions(train), self.grouping, num_rows=num_rows, seed=key[2]
            )
            while len(_RECENT) > _KEPT:
                _RECENT.popitem(last=False)
        _RECENT.move_to_end(key)
        return _RECENT[key]

    def needed_maps(self, row_maps: Sequence[RowMap] | None) -> Sequence[RowMap]:
        """The row maps passed to a table.

        Raises:
            ValueError: there are none; the message explains how to make them.
        """
        if row_maps is None:
            raise ValueError(
                f"Groups of {self.grouping!r} come from interactions, and a table alone has none. Train with "
                "slimtable.train, or pass row_maps=[group(InteractionGraph.from_interactions(train), "
                f"{self.grouping!r}, num_rows=…).users] (or .items)."
            )
        return row_maps


def split_rows(rows: int, num_users: int, num_items: int) -> tuple[int, int]:
    """Numbers of rows of users and of items, in proportion to their ids, at least one each.

    Example:
        >>> split_rows(100, 300, 100)
        (75, 25)
    """
    users = min(max(round(rows * num_users / (num_users + num_items)), 1), rows - 1)
    return min(users, num_users), min(rows - users, num_items)


def hashed_map(
    num_embeddings: int, num_rows: int, own: int, frequencies: np.ndarray | None, generator: np.random.Generator | None
) -> RowMap:
    """A map of the most frequent ids to rows of their own and of all others, by a hash, to the remaining rows.

    Args:
        num_embeddings: number of ids, N.
        num_rows: number of rows, K.
        own: number of ids with rows of their own, fewer than K.
        frequencies: (N,) how often each id occurs; None if ids are sorted from most to least frequent.
        generator: random generator to draw a universal hash; None to hash by the remainder of the id.

    Returns:
        The map. It is computed, and takes no space, if the ids with rows of their own are the first ones.
    """
    count = num_rows - own
    hashing = Hash(1, 0, own, own, count) if generator is None else Hash.universal(count, generator, own)
    if own == 0 or frequencies is None or is_sorted(frequencies):
        return RowMap.from_hash(num_embeddings, hashing)
    rows = Hash(hashing.a, hashing.b, 0, own, count).rows(num_embeddings)
    rows[most_frequent(frequencies, own)] = np.arange(own)
    return RowMap(rows, num_rows)


class _SharesOfRows(Sequence[Any]):
    """A configuration with every possible number of rows of one table, as shares of its ids."""

    def __init__(self, config: SharedRowsConfig, num_embeddings: int) -> None:
        self._config, self._ids = config, num_embeddings

    def __len__(self) -> int:
        return self._ids

    def __getitem__(self, index: Any) -> Any:
        share = 100 * (range(1, self._ids + 1)[index] + 0.5) / self._ids
        return dataclasses.replace(self._config, rows=f"{min(share, 100):.9f}%", budget="")


class NumberedRows(Sequence[_C]):
    """A configuration with every number of rows in a range, ascending; each is created on access.

    Args:
        config: configuration with an option ``num_rows``.
        low: minimum number of rows.
        high: maximum number of rows.
    """

    def __init__(self, config: _C, low: int, high: int) -> None:
        self._config, self._numbers = config, range(low, high + 1)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: Any) -> Any:
        return dataclasses.replace(self._config, num_rows=self._numbers[index])  # type: ignore[call-arg]


def is_sorted(frequencies: Any) -> bool:
    """True if ids are numbered from most to least frequent; None is taken to mean that they are."""
    if frequencies is None:
        return True
    counts = np.asarray(frequencies)
    return bool((counts[1:] <= counts[:-1]).all())


def most_frequent(frequencies: np.ndarray, count: int) -> np.ndarray:
    """The ``count`` most frequent ids; ties go to the lower id."""
    return np.argsort(-frequencies.astype(np.float64), kind="stable")[:count]
