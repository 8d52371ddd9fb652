"""Search for the option of a grouping that gives a number of rows."""

from __future__ import annotations

from collections.abc import Callable

from slimtable.errors import BudgetError

_NEAR = 0.985  # share of the target that is close enough to stop
_WIDEST = 1e-3  # relative difference of the last two values at which to stop


def tune(
    rows_at: Callable[[float], int],
    num_rows: int,
    start: float,
    *,
    low: float,
    high: float,
    tries: int = 40,
) -> tuple[float, int]:
    """Finds the largest number of rows that does not exceed ``num_rows``, by bisection on a logarithmic scale.

    Args:
        rows_at: number of rows for a value of the option; increases with it, not necessarily monotonically.
        num_rows: maximum number of rows.
        start: initial guess, positive.
        low: smallest value to try.
        high: largest value to try.
        tries: maximum number of groupings.

    Returns:
        The value and its number of rows, the largest found that does not exceed ``num_rows``.

    Raises:
        BudgetError: even ``low`` gives more rows; the message has the smallest number found.

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
