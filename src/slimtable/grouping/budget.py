"""Budgets in words, and the search for the option that meets them."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from slimtable.budget import BYTES
from slimtable.errors import BudgetError

_BUDGET = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(%|rows?|[kMG]?B)\s*")
_NEAR = 0.985  # of the wanted rows: near enough to stop searching
_WIDEST = 1e-3  # ratio of the last two values tried, less one, at which no nearer one is to be had


def rows_of_budget(
    budget: str,
    num_users: int,
    num_items: int,
    embedding_dim: int,
    columns: int = 1,
    *,
    item_columns: int = 1,
    bits_of: Callable[[int], int] | None = None,
) -> int:
    """How many shared rows a budget pays for.

    Args:
        budget: ``"25%"`` of the rows of both tables, ``"12000rows"``, or bytes served, as ``"3MB"`` (B, kB, MB, GB;
            powers of ten): rows and the packed row maps of both sides.
        num_users: number of users.
        num_items: number of items.
        embedding_dim: width of a row.
        columns: stored rows per user; 2 with secondary clusters of users.
        item_columns: stored rows per item.
        bits_of: most bits that so many rows take with all that is stored beside them, growing with the rows; None for
            float32 rows and the maps that the columns say.

    Returns:
        Rows of both sides together, rounded down.

    Raises:
        ValueError: the text is no budget.
        BudgetError: it pays for less than two rows; the message says the smallest.

    Example:
        >>> rows_of_budget("25%", 600, 400, 64), rows_of_budget("300 rows", 600, 400, 64)
        (250, 300)
        >>> rows_of_budget("64kB", 600, 400, 64)
        246
    """
    match = _BUDGET.fullmatch(budget)
    if match is None:
        raise ValueError(f"{budget!r} is no budget. Write a share such as 25%, rows such as 12000rows, or bytes: 3MB.")
    number, unit = float(match[1]), match[2]
    if unit in BYTES:
        limit, most = 8 * number * BYTES[unit], num_users + num_items
        if bits_of is None:
            sizes = (32 * embedding_dim, columns, item_columns)
            bits_of, most = partial(_bits_of_rows, num_users, num_items, *sizes), int(limit // sizes[0])
        rows = _rows_of_bits(limit, bits_of, most)
        if rows < 2:
            least = bits_of(2)
            raise BudgetError(
                f"{budget} does not hold two rows and the row maps of {num_users + num_items:,} ids. The smallest "
                f"budget is {-(-least // 8):,} B."
            )
        return rows
    rows = int(number * (num_users + num_items) / 100) if unit == "%" else int(number)
    if rows < 2:
        raise BudgetError(f"{budget} pays for {rows} rows, but each side needs one. The smallest budget is 2rows.")
    return rows


def tune(
    rows_at: Callable[[float], int],
    num_rows: int,
    start: float,
    *,
    low: float,
    high: float,
    tries: int = 40,
) -> tuple[float, int]:
    """Finds, by bisection on a logarithmic scale, the option whose grouping fits a number of rows best from below.

    Args:
        rows_at: rows for a value of the option; they grow with it, though perhaps not evenly.
        num_rows: the most that is allowed.
        start: positive first guess.
        low: smallest value to try.
        high: largest value to try.
        tries: at most so many groupings.

    Returns:
        The value, and its rows: the most found that do not exceed ``num_rows``.

    Raises:
        BudgetError: even ``low`` gives more rows; the message says the fewest found.

    Example:
        >>> resolution, rows = tune(lambda resolution: int(100 * resolution), 250, 1.0, low=0.01, high=100.0)
        >>> round(resolution, 2), rows
        (2.48, 248)
    """
    fits: tuple[float, int] | None = None
    exceeds: float | None = None
    fewest, value = None, min(max(start, low), high)
    for _ in range(tries):
        rows = rows_at(value)
        fewest = rows if fewest is None else min(fewest, rows)
        if rows <= num_rows:
            if fits is None or rows > fits[1] or (rows == fits[1] and value > fits[0]):
                fits = (value, rows)
            if rows >= _NEAR * num_rows:
                break
            below = value
            next_value = value * 4 if exceeds is None else (below * exceeds) ** 0.5
        else:
            exceeds = value if exceeds is None else min(exceeds, value)
            next_value = value / 4 if fits is None else (fits[0] * exceeds) ** 0.5
        next_value = min(max(next_value, low), high)
        if abs(next_value / value - 1) < _WIDEST:
            break
        value = next_value
    if fits is None:
        raise BudgetError(f"{num_rows:,} rows are fewer than this grouping can have; the smallest found is {fewest:,}.")
    return fits


def _bits_of_rows(num_users: int, num_items: int, row_size: int, columns: int, item_columns: int, rows: int) -> int:
    """The most bits of rows and maps: a grouping may split rows so that either side's map is as wide as can be."""
    width_users, width_items = (max(1, (min(ids, rows - 1) - 1).bit_length()) for ids in (num_users, num_items))
    return row_size * rows + columns * num_users * width_users + item_columns * num_items * width_items


def _rows_of_bits(limit: float, bits_of: Callable[[int], int], most: int) -> int:
    """The most rows, up to ``most``, within a number of bits; below 2 where not even two are."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if bits_of(middle) <= limit:
            low = middle
        else:
            high = middle - 1
    return low
