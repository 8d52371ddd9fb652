"""What every grouping is: options that turn an interaction graph into groups of users and of items."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from slimtable.artifact.bits import code_bits
from slimtable.config import Config
from slimtable.errors import BudgetError
from slimtable.grouping.fitting import fit_rows
from slimtable.grouping.graph import InteractionGraph
from slimtable.grouping.row_map import Hash, RowMap
from slimtable.grouping.statistics import Statistics, measure
from slimtable.registry import Registry
from slimtable.specs import format_spec, parse_spec


@dataclass(frozen=True, eq=False)
class Labels:
    """The group of every user and item; a group costs a row on each side that uses it.

    Attributes:
        users: integer (num_users,) group of each user, 0 or more.
        items: integer (num_items,) group of each item.
        secondary_users: integer (num_users,) secondary group of each user, -1 for none; None where no user has one.
        secondary_items: likewise for items.
        sweeps: rows of both sides together after each sweep, for groupings that work in sweeps.
    """

    users: np.ndarray
    items: np.ndarray
    secondary_users: np.ndarray | None = None
    secondary_items: np.ndarray | None = None
    sweeps: tuple[int, ...] = ()

    @property
    def num_rows(self) -> int:
        """Rows of both sides together."""
        return len(np.unique(self.users)) + len(np.unique(self.items))


@dataclass(frozen=True, eq=False)
class Groups:
    """Row maps of both sides, and how they came about.

    Attributes:
        users: row map of the users.
        items: row map of the items.
        statistics: rows, cluster sizes, edges within groups, seconds.
        grouping: the grouping with the options it was run with, those found for a budget included.
        seed: what its random choices were drawn from.
    """

    users: RowMap
    items: RowMap
    statistics: Statistics
    grouping: Grouping
    seed: int

    @property
    def num_rows(self) -> int:
        """Rows of both sides together."""
        return self.users.num_rows + self.items.num_rows

    def map_of(self, side: str) -> RowMap:
        """The row map of the "user" or the "item" side."""
        return {"user": self.users, "item": self.items}[side]


@dataclass(frozen=True)
class Grouping(Config, ABC):
    """Options of one way to group; the subclass's file stem is its registry name."""

    name: ClassVar[str]
    """Registry name: the file stem and the command-line word."""
    co_clusters: ClassVar[bool] = True
    """Whether equal labels of a user and an item mean the same group."""
    set_by_budget: ClassVar[tuple[str, ...]] = ()
    """Options that are found for a budget, and so cannot be given with one."""

    @property
    def columns(self) -> tuple[int, int]:
        """Rows that a user, and an item, may have: 2 where an option ``secondary`` gives them another."""
        secondary = vars(self).get("secondary", "none")
        return (2 if secondary in ("users", "both") else 1), (2 if secondary in ("items", "both") else 1)

    @abstractmethod
    def labels(self, graph: InteractionGraph, seed: int) -> Labels:
        """Groups users and items as the options say.

        Raises:
            BudgetError: an option that sets the number of groups is missing.
        """

    def for_rows(self, graph: InteractionGraph, num_rows: int, seed: int) -> Self:
        """A copy with options that give at most, and nearly, ``num_rows`` rows.

        Args:
            graph: what is to be grouped.
            num_rows: rows of both sides together.
            seed: that ``labels`` will be called with.

        Raises:
            BudgetError: it cannot have so few rows, or chooses its number of rows itself.
        """
        raise BudgetError(f"{self.name} chooses its number of rows itself, so it cannot be given a budget.")

    def hashes(self, graph: InteractionGraph, seed: int) -> tuple[Hash | None, Hash | None]:
        """The hashes of users and items where the rows can be computed instead of stored; none by default."""
        return None, None


def bits_of_maps(sizes: Sequence[int], columns: Sequence[int], num_rows: int) -> int:
    """The most bits that row maps take, however the groups share the rows between users and items.

    Args:
        sizes: ids of each side.
        columns: rows that an id of each side may have.
        num_rows: rows of all sides together.
    """
    others = len(sizes) - 1  # each other side has a row at least
    widths = [code_bits(max(1, min(size, num_rows - others))) for size in sizes]
    return sum(size * count * width for size, count, width in zip(sizes, columns, widths, strict=True))


_GROUPINGS: Registry[Grouping] = Registry("grouping", "slimtable.grouping.algorithms")

register_grouping = _GROUPINGS.add
"""Class decorator that makes a grouping known under a name, its file stem."""


def grouping_names() -> list[str]:
    """Names of all groupings, sorted."""
    return _GROUPINGS.names()


def get_grouping(name: str, options: dict[str, Any] | None = None) -> Grouping:
    """A grouping by name.

    Args:
        name: registry name.
        options: its options over its defaults.

    Raises:
        ValueError: there is no such grouping or option; the message lists the known ones.
        TypeError: an option has the wrong type.
    """
    return _GROUPINGS.get(name).from_dict(dict(options or {}))


def parse_grouping(text: str) -> Grouping:
    """Reads a grouping with its options.

    Example:
        >>> parse_grouping("baco[gamma=7.57]").gamma
        7.57
    """
    return get_grouping(*parse_spec(text))


def format_grouping(grouping: Grouping) -> str:
    """The shortest text that :func:`parse_grouping` reads as this grouping."""
    return format_spec(grouping.name, grouping.non_defaults())


def group(graph: InteractionGraph, grouping: Grouping | str, *, num_rows: int | None = None, seed: int = 0) -> Groups:
    """Groups the users and items of a graph.

    Args:
        graph: from :meth:`InteractionGraph.from_interactions`; only training interactions belong in it.
        grouping: what to group by, or its text, such as ``"baco[gamma=7.57]"``.
        num_rows: rows that both sides may have together; None where the options say it.
        seed: of everything random.

    Returns:
        The row maps.

    Raises:
        BudgetError: it cannot have so few rows, or ``num_rows`` is not below the number of users and items.
        ValueError: there is no such grouping or option, or an option is given that ``num_rows`` sets.

    Example:
        >>> from slimtable.data import Interactions
        >>> taken = Interactions.from_raw(np.array([0, 0, 1, 1, 2, 3]), np.array([0, 1, 0, 1, 2, 2]))
        >>> group(InteractionGraph.from_interactions(taken), "baco[gamma=0.5]").users.rows.tolist()
        [0, 0, 1, 1]
    """
    chosen = parse_grouping(grouping) if isinstance(grouping, str) else grouping
    started = time.perf_counter()
    if num_rows is not None:
        if num_rows >= graph.num_nodes:
            raise BudgetError(
                f"A budget of {num_rows:,} rows holds all {graph.num_nodes:,} users and items: nothing has to be "
                "shared. Use the method full, or a smaller budget."
            )
        if num_rows < 2:
            raise BudgetError(f"A budget must hold a row of users and a row of items at least, got {num_rows}.")
        both = ", ".join(name for name in chosen.set_by_budget if name in chosen.non_defaults())
        if both:
            raise ValueError(f"{chosen.name} finds {both} for a budget. Leave out the budget, or {both}.")
        chosen = chosen.for_rows(graph, num_rows, seed)
    tuned = time.perf_counter()
    labels = chosen.labels(graph, seed)
    if num_rows is not None:
        labels = fit_rows(graph, labels, num_rows)  # a budget is kept whatever the options gave
    ended = time.perf_counter()
    users, items = (
        RowMap.from_labels(labels.users, labels.secondary_users),
        RowMap.from_labels(labels.items, labels.secondary_items),
    )
    hash_of_users, hash_of_items = chosen.hashes(graph, seed)
    if hash_of_users is not None:
        users = RowMap.from_hash(graph.num_users, hash_of_users)
    if hash_of_items is not None:
        items = RowMap.from_hash(graph.num_items, hash_of_items)
    statistics = measure(graph, labels, users, items, chosen.co_clusters)
    statistics = replace(statistics, seconds=ended - tuned, tuning_seconds=tuned - started)
    return Groups(users, items, statistics, chosen, seed)
