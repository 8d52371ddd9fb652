"""Whether a difference to the uncompressed table is one."""

from __future__ import annotations

from slimtable.bench.measures import Measure
from slimtable.bench.table import Difference, Row

MARGIN_POINTS, MARGIN_ERROR = 0.3, 0.01
"""What counts as next to nothing: points of percent of HR@10, or this share of the uncompressed table's error."""

NO_INTERVAL = "not enough seeds"


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


def verdict(row: Row, full: Row | None) -> str:
    """The verdict on a row of a table by its leading figure; a dash for the uncompressed table itself."""
    if row.is_full:
        return "–"
    measure = row.measures[0]
    margin = MARGIN_POINTS
    if measure.lower_is_better and full is not None:
        margin = MARGIN_ERROR * full.quality.mean
    return judge(row.differences.get(measure.metric), measure, margin)
