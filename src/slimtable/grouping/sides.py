"""Groupings with a given number of rows on each side."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from slimtable.config import PositiveInt
from slimtable.errors import BudgetError
from slimtable.grouping.graph import InteractionGraph
from slimtable.grouping.grouping import Grouping


@dataclass(frozen=True)
class SidedGrouping(Grouping):
    """Base class of groupings whose options are the numbers of rows of both sides.

    A budget is split in proportion to users and items if neither is given; if one is, the other gets the rest.

    Attributes:
        user_rows: maximum number of rows of users.
        item_rows: maximum number of rows of items.

    Raises:
        ValueError: a number is below 1.
    """

    user_rows: PositiveInt | None = None
    item_rows: PositiveInt | None = None

    def for_rows(self, graph: InteractionGraph, num_rows: int, seed: int) -> Self:
        users, items = self.user_rows, self.item_rows
        if users is None and items is None:
            users = min(max(round(num_rows * graph.num_users / graph.num_nodes), 1), num_rows - 1)
        if users is None:
            users = num_rows - (items or 0)
        if items is None:
            items = num_rows - users
        if users < 1 or items < 1 or users + items > num_rows:
            raise BudgetError(
                f"{num_rows:,} rows are too few for the options of {self.name}: user_rows={self.user_rows}, "
                f"item_rows={self.item_rows}. Lower them, or leave them out."
            )
        return replace(self, user_rows=users, item_rows=items)

    def rows_of_sides(self, graph: InteractionGraph) -> tuple[int, int]:
        """Numbers of rows of users and of items, at most one per id.

        Raises:
            BudgetError: they are not given.
        """
        if self.user_rows is None or self.item_rows is None:
            raise BudgetError(f"{self.name} needs `user_rows` and `item_rows`, or a number of rows. Try --rows 25%.")
        return min(self.user_rows, graph.num_users), min(self.item_rows, graph.num_items)
