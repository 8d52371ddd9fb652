"""The base class of groupings: options of an algorithm that groups the users and items of a graph."""

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
    """The group of every user and item; a group costs one row per side that uses it.

    Attributes:
        users: integer (num_users,) group of each user, 0 or more.
        items: integer (num_items,) group of each item.
        secondary_users: integer (num_users,) secondary group of each user, -1 for none; None if no user has one.
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
    """Row maps of both sides, their statistics, and the grouping that made them.

    Attributes:
        users: row map of the users.
        items: row map of the items.
        statistics: rows, cluster sizes, edges within groups, seconds.
        grouping: the grouping with its options, including those found for a budget.
        seed: its random seed.
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
    """Base class of groupings: the options of an algorithm. The file stem of a subclass is its registry name."""

    name: ClassVar[str]
    """Registry name: the file stem and the command-line word."""
    co_clusters: ClassVar[bool] = True
    """True if equal labels of a user and an item mean the same group."""
    set_by_budget: ClassVar[tuple[str, ...]] = ()
    """Options that a budget determines, so that they cannot be given with one."""

    @property
    def columns(self) -> tuple[int, int]:
        """Number of rows of a user and of an item: 2 if the option ``secondary`` is set for that side, else 1."""
        secondary = vars(self).get("secondary", "none")
        return (2 if secondary in ("users", "both") else 1), (2 if secondary in ("items", "both") else 1)

    @abstractmethod
    def labels(self, graph: InteractionGraph, seed: int) -> Labels:
        """Groups users and items.

        Raises:
            BudgetError: an option that sets the number of groups is missing.
        """

    def for_rows(self, graph: InteractionGraph, num_rows: int, seed: int) -> Self:
        """A copy tuned to at most ``num_rows`` rows.

        Args:
            graph: the graph to group.
            num_rows: rows of both sides together.
            seed: the seed for ``labels``.

        Raises:
            BudgetError: it cannot have so few rows, or determines the number of rows itself.
        """
        raise BudgetError(f"{self.name} determines its number of rows itself, so it takes no budget.")

    def hashes(self, graph: InteractionGraph, seed: int) -> tuple[Hash | None, Hash | None]:
        """The hashes of users and items if rows can be computed instead of stored; None by default."""
        return None, None


def bits_of_maps(sizes: Sequence[int], columns: Sequence[int], num_rows: int) -> int:
    """Upper bound on the bits of row maps, for any division of the rows between users and items.

    Args:
        sizes: number of ids of each side.
        columns: number of rows per id of each side.
        num_rows: number of rows of all sides together.
    """
    others = len(sizes) - 1  # each other side has at least one row
    widths = [code_bits(max(1, min(size, num_rows - others))) for size in sizes]
    return sum(size * count * width for size, count, width in zip(sizes, columns, widths, strict=True))


_GROUPINGS: Registry[Grouping] = Registry("grouping", "slimtable.grouping.algorithms")

register_grouping = _GROUPINGS.add
"""Class decorator that makes a grouping known under a name, its file stem."""


def grouping_names() -> list[str]:
    """Names of all groupings, sorted."""
    return _GROUPINGS.names()


def get_grouping(name: str, options: dict[str, Any] | None = None) -> Grouping:
    """Returns a grouping by name.

    Args:
        name: registry name.
        options: options that differ from the defaults.

    Raises:
        ValueError: there is no such grouping or option; the message lists the known ones.
        TypeError: an option has the wrong type.
    """
    return _GROUPINGS.get(name).from_dict(dict(options or {}))


def parse_grouping(text: str) -> Grouping:
    """Parses a grouping with its options.

    Example:
        >>> parse_grouping("baco[gamma=7.57]").gamma
        7.57
    """
    return get_grouping(*parse_spec(text))


def format_grouping(grouping: Grouping) -> str:
    """Formats a grouping as the shortest text for :func:`parse_grouping`."""
    return format_spec(grouping.name, grouping.non_defaults())


def group(graph: InteractionGraph, grouping: Grouping | str, *, num_rows: int | None = None, seed: int = 0) -> Groups:
    """Groups the users and items of a graph.

    Args:
        graph: the graph of the training interactions, from :meth:`InteractionGraph.from_interactions`.
        grouping: the grouping, or its text such as ``"baco[gamma=7.57]"``.
        num_rows: maximum number of rows of both sides together; None to use the options.
        seed: seed of all randomness.

    Returns:
        The row maps.

    Raises:
        BudgetError: it cannot have so few rows, or ``num_rows`` is not below the number of users and items.
        ValueError: there is no such grouping or option, or an option is given that ``num_rows`` determines.

    Example:
        >>> from slimtable.data import Interactions
        >>> data = Interactions.from_raw(np.array([0, 0, 1, 1, 2, 3]), np.array([0, 1, 0, 1, 2, 2]))
        >>> group(InteractionGraph.from_interactions(data), "baco[gamma=0.5]").users.rows.tolist()
        [0, 0, 1, 1]
    """
    chosen = parse_grouping(grouping) if isinstance(grouping, str) else grouping
    started = time.perf_counter()
    if num_rows is not None:
        if num_rows >= graph.num_nodes:
            raise BudgetError(
                f"A budget of {num_rows:,} rows has room for all {graph.num_nodes:,} users and items, so nothing is "
                "shared. Use the method full, or a smaller budget."
            )
        if num_rows < 2:
            raise BudgetError(f"A budget must allow at least one row of users and one of items, got {num_rows}.")
        both = ", ".join(name for name in chosen.set_by_budget if name in chosen.non_defaults())
        if both:
            raise ValueError(f"{chosen.name} determines {both} from a budget. Leave out the budget, or {both}.")
        chosen = chosen.for_rows(graph, num_rows, seed)
    tuned = time.perf_counter()
    labels = chosen.labels(graph, seed)
    if num_rows is not None:
        labels = fit_rows(graph, labels, num_rows)  # the budget is never exceeded
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
