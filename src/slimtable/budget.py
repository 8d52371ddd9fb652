"""The grammar of budgets: bytes served, and numbers of shared rows."""

from __future__ import annotations

import re
from collections.abc import Callable

from slimtable.errors import BudgetError

BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}
"""Units of bytes that budgets are written in, powers of ten."""

_NUMBER = r"\s*([0-9]+(?:\.[0-9]+)?)\s*"
_BUDGET = re.compile(_NUMBER + r"(%|x|×|[kMG]?B)\s*", re.ASCII)
_ROWS = re.compile(_NUMBER + r"(%|rows?|)\s*", re.ASCII)


def bits_of_budget(budget: str, dense_bits: int) -> float:
    """The bits of a budget.

    Args:
        budget: a share of the float32 table, or tables, such as "4%"; how many times smaller they must be, such as
            "16x"; or bytes served, such as "2MB".
        dense_bits: bits of the tables in float32.

    Returns:
        The bits, not rounded.

    Raises:
        ValueError: the text is not a budget, or exceeds the float32 tables.

    Example:
        >>> bits_of_budget("4%", 1000), bits_of_budget("16x", 1600), bits_of_budget("2 kB", 0)
        (40.0, 100.0, 16000.0)
    """
    number, unit = _parsed(budget)
    if unit == "%":
        return number * dense_bits / 100
    return 8 * number * BYTES[unit] if unit in BYTES else dense_bits / number


def is_relative(budget: str) -> bool:
    """True if a budget is relative to the float32 tables, so that it can be applied to each table."""
    return _parsed(budget)[1] not in BYTES


def rows_of_text(rows: str, num_ids: int) -> int:
    """The number of shared rows of a text.

    Args:
        rows: a share of the ids, such as "25%", or a number, such as "12000" or "12000rows".
        num_ids: number of ids.

    Returns:
        The rows, rounded down.

    Raises:
        ValueError: the text is neither, or a share above 100 %.

    Example:
        >>> rows_of_text("25%", 1000), rows_of_text("300 rows", 1000)
        (250, 300)
    """
    share = share_of_rows(rows)
    return int(float(rows.strip()[:-1]) * num_ids / 100) if share is not None else int(_row_match(rows)[1])


def share_of_rows(rows: str) -> float | None:
    """The share of the ids of a text of rows, 0 to 1; None if it is a number of rows.

    Raises:
        ValueError: as for :func:`rows_of_text`.
    """
    match = _row_match(rows)
    if match[2] != "%":
        if "." in match[1]:
            raise ValueError(f"{rows!r} is not a number of rows. Write a whole number such as 12000, or a share: 25%.")
        return None
    if float(match[1]) > 100:
        raise ValueError(f"{rows!r} are more rows than ids. Write a share of at most 100%.")
    return float(match[1]) / 100


def largest(fits: Callable[[int], bool], low: int, high: int) -> int:
    """The largest number that fits, by bisection.

    Args:
        fits: true up to some number, false beyond it.
        low: smallest number to try.
        high: largest number to try.

    Returns:
        A number in low … high; low - 1 where none fits.

    Example:
        >>> largest(lambda rows: rows * rows <= 50, 1, 100)
        7
    """
    low -= 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def rows_within(budget: str, dense_bits: int, bits_of: Callable[[int], int], low: int, high: int) -> int:
    """The largest number of rows that fits into a budget of bytes.

    Args:
        budget: as in :func:`bits_of_budget`.
        dense_bits: bits of the tables in float32.
        bits_of: all bits served with a number of rows; increasing.
        low: smallest possible number of rows.
        high: largest useful number of rows.

    Returns:
        Rows in low … high.

    Raises:
        BudgetError: the budget is below ``low`` rows; the message gives the smallest budget.
        ValueError: the text is not a budget.

    Example:
        >>> rows_within("1kB", 0, lambda rows: 64 * rows + 100, 2, 1000)
        123
    """
    limit = bits_of_budget(budget, dense_bits)
    rows = largest(lambda count: bits_of(count) <= limit, low, high)
    if rows < low:
        number = "a row" if low == 1 else "two rows" if low == 2 else f"{low} rows"
        raise BudgetError(
            f"{budget} is too small for {number} and the row maps. The smallest budget is {-(-bits_of(low) // 8):,}B."
        )
    return rows


def _parsed(budget: str) -> tuple[float, str]:
    match = _BUDGET.fullmatch(budget)
    if match is None:
        raise ValueError(
            f"{budget!r} is not a budget. Write a share of the float32 bytes such as 4%, how many times smaller such "
            "as 16x, or bytes such as 2MB."
        )
    number, unit = float(match[1]), "x" if match[2] == "×" else match[2]
    if (unit == "%" and number > 100) or (unit == "x" and number < 1):
        raise ValueError(f"A budget of {budget} is more than the float32 table takes. Write at most 100%, or 1x.")
    return number, unit


def _row_match(rows: str) -> re.Match[str]:
    match = _ROWS.fullmatch(rows)
    if match is None:
        raise ValueError(f"{rows!r} is not a number of rows. Write a number such as 12000, or a share of the ids: 25%.")
    return match
