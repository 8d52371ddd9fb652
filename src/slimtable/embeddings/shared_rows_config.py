"""Options of the methods that share rows: how many rows, and by which groups."""

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
_KEPT = 8  # results of groupings that a process remembers: a bench builds each model several times

_RECENT: OrderedDict[tuple[str, int | None, int, str], Groups] = OrderedDict()


@dataclass(frozen=True)
class SharedRowsConfig(MethodConfig):
    """Options of every method that shares rows.

    Attributes:
        rows: rows that the tables of users and items have together, split in proportion to their ids: a share of the
            ids such as "25%", or a number such as "12000". A row is embedding_dim wide. Where a side has several
            tables, as for neumf, every pair of tables has as many. Empty where the grouping says how many there are.
        budget: bytes that the tables of users and items may take together when they are served, all maps counted, in
            place of ``rows``: a share of the float32 tables such as "25%", how many times smaller such as "16x", or
            bytes such as "3MB".

    Raises:
        ValueError: a text is no number of rows, or no budget.
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
        """Also reads what versions before 0.2 wrote, whose ``budget`` was a number of rows, or bytes."""
        values = dict(values)
        if "rows" not in values and "budget" in values:
            earlier = str(values.pop("budget"))
            values |= {"rows": "", "budget": earlier} if earlier.strip().endswith("B") else {"rows": earlier}
        return cls.from_dict(values)

    def sizes(self, num_embeddings: int, embedding_dim: int) -> Sequence[Self]:
        return _SharesOfRows(self, num_embeddings)

    @abstractmethod
    def bits_with_rows(self, num_embeddings: int, num_rows: int, embedding_dim: int, sorted_ids: bool) -> int:
        """The most bits that one table serves, maps included.

        Args:
            num_embeddings: number of ids, N.
            num_rows: shared rows, K.
            embedding_dim: width of a row.
            sorted_ids: whether ids are numbered from most to least frequent.
        """

    @property
    def by_itself(self) -> bool:
        """Whether each table can tell its number of rows by itself, by a share of its ids or of its bytes."""
        return is_relative(self.budget) if self.budget else bool(self.rows) and share_of_rows(self.rows) is not None

    def rows_of_one(self, num_embeddings: int, embedding_dim: int, frequencies: Any = None) -> int:
        """Rows of a table that is alone.

        Raises:
            ValueError: the number of rows is that of users and items together.
            BudgetError: the budget does not pay for a row.
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
        """Rows of users and items together, 2 or more.

        Args:
            num_users: number of users.
            num_items: number of items.
            embedding_dim: width of a row.
            bits_of: the most bits of both tables with so many rows.

        Raises:
            BudgetError: the budget, or the number, is too small.
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
    """Options of the methods that need nothing but a number of rows.

    Attributes:
        num_rows: rows of this table, K, whatever ``rows`` and ``budget`` say; None to go by them.

    Raises:
        ValueError: ``num_rows`` is not positive, or nothing says how many rows there are.
    """

    num_rows: PositiveInt | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_rows is None and not self.budget and not self.rows:
            raise ValueError(f"`{type(self).__name__}` needs rows, such as 25%, a budget, such as 3MB, or num_rows.")

    def row_maps(self, train: Interactions, embedding_dim: int) -> Mapping[str, Sequence[RowMap]]:
        """Maps that say how many rows each side has, where a table cannot tell by itself."""
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
        """Rows alone, since hashes take no space."""
        return 32 * num_rows * embedding_dim

    def rows_of_table(
        self,
        num_embeddings: int,
        embedding_dim: int,
        row_maps: Sequence[RowMap] | None = None,
        frequencies: Any = None,
    ) -> int:
        """Rows of one table, K; 1 where they come with a state dict.

        Raises:
            ValueError: there are more rows than ids, or as :meth:`rows_of_one`.
            BudgetError: the budget does not pay for a row.
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
        hash_seed: what the hash functions are drawn from.

    Raises:
        ValueError: the seed is negative, or as above.
    """

    hash_seed: Count = 0


@dataclass(frozen=True)
class GroupedRowsConfig(SharedRowsConfig):
    """Options of the methods whose ids share rows in groups.

    Attributes:
        grouping: how ids are grouped, with options: "louvain", "baco[gamma=7.57]", …
        grouping_seed: what is random in the grouping is drawn from it.

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
        """Whether the groups come from interactions; otherwise the number of ids and of rows give them."""
        return self.grouping != _NO_GRAPH or not (self.rows or self.budget)

    @property
    def says_rows(self) -> bool:
        """Whether a number of rows is asked for; otherwise the options of the grouping say it."""
        return bool(self.rows or self.budget)

    def bits_of_maps(self, sizes: Sequence[int], num_rows: int) -> int:
        """The most bits that the maps of a view take: of users and items, or of one table."""
        columns = parse_grouping(self.grouping).columns
        return bits_of_maps(sizes, columns if len(sizes) == 2 else (max(columns),), num_rows)

    def groups(self, train: Interactions, num_rows: int | None, view: int = 0) -> Groups:
        """The groups of a view; the last few are remembered."""
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
        """The row maps that a table was given.

        Raises:
            ValueError: it was given none; the message says how to get them.
        """
        if row_maps is None:
            raise ValueError(
                f"Groups of {self.grouping!r} come from interactions, and a table alone has none. Train with "
                "slimtable.train, or pass row_maps=[group(InteractionGraph.from_interactions(train), "
                f"{self.grouping!r}, num_rows=…).users] (or .items)."
            )
        return row_maps


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
        return RowMap.from_hash(num_embeddings, hashing)
    rows = Hash(hashing.a, hashing.b, 0, own, count).rows(num_embeddings)
    rows[most_frequent(frequencies, own)] = np.arange(own)
    return RowMap(rows, num_rows)


class _SharesOfRows(Sequence[Any]):
    """A configuration with every number of rows of one table, as shares of its ids."""

    def __init__(self, config: SharedRowsConfig, num_embeddings: int) -> None:
        self._config, self._ids = config, num_embeddings

    def __len__(self) -> int:
        return self._ids

    def __getitem__(self, index: Any) -> Any:
        share = 100 * (range(1, self._ids + 1)[index] + 0.5) / self._ids
        return dataclasses.replace(self._config, rows=f"{min(share, 100):.9f}%", budget="")


class NumberedRows(Sequence[_C]):
    """A configuration with every number of rows, from few to many, each made when it is asked for.

    Args:
        config: has an option ``num_rows``.
        low: fewest rows.
        high: most rows.
    """

    def __init__(self, config: _C, low: int, high: int) -> None:
        self._config, self._numbers = config, range(low, high + 1)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: Any) -> Any:
        return dataclasses.replace(self._config, num_rows=self._numbers[index])  # type: ignore[call-arg]


def is_sorted(frequencies: Any) -> bool:
    """Whether ids are numbered from most to least frequent; they are where nothing is said."""
    if frequencies is None:
        return True
    counts = np.asarray(frequencies)
    return bool((counts[1:] <= counts[:-1]).all())


def most_frequent(frequencies: np.ndarray, count: int) -> np.ndarray:
    """The ``count`` most frequent ids, of equally frequent ones the lower."""
    return np.argsort(-frequencies.astype(np.float64), kind="stable")[:count]
