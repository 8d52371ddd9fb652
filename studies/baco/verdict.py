"""What serves better at the bytes of BACO: shared rows or quantized ones."""

from __future__ import annotations

from studies.baco.experiments import BACO, SHARING, Entry
from studies.baco.tables import LEADING, Rows, megabytes, series_of
from studies.series import Series
from studies.verdict import judge

_MARGIN = 0.1  # points of R@10
_NOISE = 1.05  # sizes that differ by less count as equal


def which_serves_better(rows: Rows) -> str:
    """A sentence for each size, from what was measured: the best shared rows against the best of the others."""
    baco = series_of(BACO, rows)
    if baco is None:
        return "Which serves better cannot be said yet: BACO was not run."
    sentences = []
    for words, limit in (("At BACO's bytes", megabytes(baco)), ("At a quarter of them", megabytes(baco) / 4)):
        fitting = [(e, s) for e, s in rows if s is not None and megabytes(s) <= _NOISE * limit]
        shared = _best([(e, s) for e, s in fitting if e.method in SHARING])
        other = _best([(e, s) for e, s in fitting if e.method not in SHARING])
        if shared is None or other is None:
            sentences.append(f"{words}, {limit:.2f} MB, nothing can be compared yet.")
            continue
        sentences.append(f"{words}, {limit:.2f} MB: {_compare(shared, other)}")
    sentences.append("The best of each kind is picked by these test figures, among the rows of at most that size.")
    return " ".join(sentences)


def _best(rows: list[tuple[Entry, Series]]) -> tuple[Entry, Series] | None:
    return max(rows, key=lambda row: row[1].estimate(LEADING).mean, default=None)


def _compare(shared: tuple[Entry, Series], other: tuple[Entry, Series]) -> str:
    difference = other[1].difference(shared[1], LEADING)
    named = [f"{e.name} ({s.estimate(LEADING).mean:.2f} % R@10, {megabytes(s):.2f} MB)" for e, s in (shared, other)]
    gap = other[1].estimate(LEADING).mean - shared[1].estimate(LEADING).mean
    better = f"{named[1]} serves better than the best shared rows, {named[0]}"
    if gap < 0:
        better = f"the best shared rows, {named[0]}, serve better than {named[1]}"
    judged = judge(difference, LEADING, _MARGIN)
    return f"{better}, by {abs(gap):.2f} points; paired by seed, the difference is {_spell(judged)}."


def _spell(judged: str) -> str:
    return {
        "better": "significant",
        "worse": "significant",
        "matches": "not significant",
        "undecided": "not significant",
    }.get(judged, f"not to be judged ({judged})")
