"""Tables as data: a column says what it is called and what it shows of a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from slimtable.bench.columns import format_difference, format_estimate, format_published, format_seeds
from slimtable.bench.measures import Measure
from slimtable.bench.published import Figures
from slimtable.bench.table import Difference
from slimtable.reporting.tables import ABSENT, Table
from studies.series import Figure, Row, Series

NOT_RUN = "not run"
NO_INTERVAL = "not enough seeds"

MARGIN_POINTS, MARGIN_ERROR = 0.3, 0.01
"""What counts as next to nothing: points of percent of HR@10, or this share of the uncompressed table's error."""


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        head: what it is called.
        cell: what it shows of a row that was run.
        printed: whether it shows something of rows that were not run too, as what a paper prints.
    """

    head: str
    cell: Callable[[Row[Any]], str]
    printed: bool = False


def row_table(title: str, first: str, columns: Sequence[Column], rows: Sequence[Row[Any]], note: str = "") -> Table:
    """A table with a line for each row, its name first; what was not run is said."""
    lines = tuple(
        (row.name, *(column.cell(row) if row.series or column.printed else NOT_RUN for column in columns))
        for row in rows
    )
    return Table(title, (first, *(column.head for column in columns)), lines, note)


def of_runs(head: str, text: Callable[[Series], str]) -> Column:
    """A column of what is said of the runs of a row."""
    return Column(head, lambda row: text(row.runs))


def estimated(head: str, figure: Figure, digits: int = 2) -> Column:
    """A column of means ± standard deviations over seeds."""
    return of_runs(head, lambda runs: format_estimate(runs.estimate(figure), digits))


def differing(head: str, figure: Figure, other: Series | None, digits: int = 2) -> Column:
    """A column of differences to another row, paired by seed."""
    return of_runs(head, lambda runs: format_difference(runs.difference(other, figure), digits))


def printed(name: str, published: Figures, digits: int = 2) -> Column:
    """A column of what the paper prints, by name of the row."""
    return Column(f"paper {name}", lambda row: format_published(published.get(row.of.name, {}), name, digits), True)


SEEDS = of_runs("seeds", lambda runs: f"{len(runs.seeds)} ({format_seeds(runs.seeds)})")
"""A column of seeds."""


def published_table(title: str, published: Mapping[str, Mapping[str, float]], digits: int, note: str = "") -> Table:
    """What a paper prints, as it is."""
    heads = ("method", *next(iter(published.values())))
    lines = tuple((name, *(f"{value:.{digits}f}" for value in row.values())) for name, row in published.items())
    return Table(title, heads, lines, note)


def judge(difference: Difference | None, measure: Measure, margin: float) -> str:
    """What the 95 % interval of a paired difference to the uncompressed table allows to say.

    Args:
        difference: method minus uncompressed; None where no seed has both.
        measure: what the difference is of.
        margin: loss that would be next to nothing, in the unit of the difference.

    Returns:
        "better" or "worse" where the interval leaves zero out, "matches" where it holds zero and no loss as large as
        the margin, "undecided" where it holds zero and such a loss, "not enough seeds" where there is none.

    Example:
        >>> from slimtable.bench.measures import HIT_RATE, RMSE
        >>> judge(Difference(0.1, 0.2, 3), HIT_RATE, 0.3), judge(Difference(0.5, 0.2, 3), RMSE, 0.1)
        ('matches', 'worse')
    """
    if difference is None or difference.half_width is None:
        return NO_INTERVAL
    gain = -difference.mean if measure.lower_is_better else difference.mean
    low, high = gain - difference.half_width, gain + difference.half_width
    if low > 0:
        return "better"
    if high < 0:
        return "worse"
    return "matches" if low > -margin else "undecided"


def verdict(runs: Series, full: Series | None, measure: Measure) -> str:
    """The verdict on runs by a figure after the last epoch; a dash for the uncompressed table itself."""
    if all(record["bits"] == record["full_bits"] for record in runs.records):
        return ABSENT
    margin = MARGIN_POINTS
    if measure.lower_is_better and full is not None:
        margin = MARGIN_ERROR * full.estimate(measure.of).mean
    return judge(runs.difference(full, measure.of), measure, margin)
