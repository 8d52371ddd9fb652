"""Tables of the experiments on Saec, with what the seeds allow to say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from slimtable.bench.columns import format_estimate
from slimtable.bench.table import Difference, Estimate
from slimtable.reporting.tables import ABSENT, Table
from studies.saec.experiments import BOUND, FEWER, FULL, RATIO, Entry, Panel
from studies.series import Figure, Row, Series
from studies.study import Line
from studies.tables import NOT_RUN, Column, estimated, of_runs, row_table

STAGES = ("train", "sensitivity", "allocate", "compress", "retrain", "evaluate")
_SERVED = ("default row", "mean of what they occur with", "their own shared rows", "uncompressed")
_DIGITS = 4

Window = dict[str, Any]
Rows = Sequence[Row[Entry]]
Panels = Sequence[tuple[Panel, Rows]]


def windows_of(runs: Series) -> list[list[Window]]:
    """What was measured, by seed and window."""
    return [record["windows"] for record in runs.records]


def over_windows(value: Callable[[Window], float]) -> Figure:
    """A figure averaged over windows."""
    return lambda record: float(np.mean([value(window) for window in record["windows"]]))


def metric(name: str, when: str = "after") -> Figure:
    """A metric averaged over windows, before or after retraining."""
    return over_windows(lambda window: window[when][name])


AUC, LOG_LOSS = metric("auc"), metric("log_loss")


def smallest(runs: Series, value: Callable[[Window], float]) -> float:
    """The smallest value of a figure over all windows and seeds."""
    return min(value(window) for windows in windows_of(runs) for window in windows)


def last(runs: Series, name: str) -> float:
    """A number of the last window, mean over seeds."""
    return float(np.mean([windows[-1][name] for windows in windows_of(runs)]))


def times_smaller(window: Window) -> float:
    """How many times smaller than uncompressed the tables of a window are, in bytes."""
    return float(window["dense_bits"] / window["bits"])


def times_fewer(window: Window) -> float:
    """How many times fewer vectors than values there are."""
    return float(window["values"] / window["vectors"])


def runs_of(entry: Entry, rows: Rows) -> Series | None:
    """The runs of a row, by its name."""
    return next((row.series for row in rows if row.of.name == entry.name), None)


def holds(runs: Series, full: Series | None) -> str:
    """Whether AUC and log loss are within the bound, averaged over seeds."""
    auc, loss = runs.difference(full, AUC), runs.difference(full, LOG_LOSS)
    if auc is None or loss is None:
        return ABSENT
    return "yes" if auc.mean >= -BOUND and loss.mean <= BOUND else "no"


def _ratio(head: str, value: Callable[[Window], float], digits: int) -> Column:
    return of_runs(head, lambda runs: f"{smallest(runs, value):,.{digits}f}")


def _differing(full: Series | None) -> list[Column]:
    heads = ("AUC − uncompressed [95 %]", "log loss − uncompressed [95 %]")

    def column(head: str, figure: Figure) -> Column:
        return of_runs(head, lambda runs: format_difference(runs.difference(full, figure)))

    return [*map(column, heads, (AUC, LOG_LOSS)), of_runs(f"within {BOUND:g}", lambda runs: holds(runs, full))]


_QUALITY = [estimated("AUC", AUC, _DIGITS), estimated("log loss", LOG_LOSS, _DIGITS)]


def compared_table(panel: Panel, rows: Rows) -> Table:
    """Everything on a log with a model."""

    def before(row: Row[Entry]) -> str:
        retrained = row.of.kind == "compressed"
        return format_estimate(row.runs.estimate(metric("auc", "before")), _DIGITS) if retrained else ABSENT

    def mean(name: str, digits: int) -> Column:
        head = name.replace("_", " ")
        return of_runs(head, lambda runs: f"{runs.estimate(metric(name)).mean:.{digits}f}")

    columns = [
        of_runs("kB", lambda runs: f"{last(runs, 'bits') / 8e3:,.1f}"),
        _ratio("times smaller", times_smaller, 1),
        of_runs("vectors", lambda runs: f"{last(runs, 'vectors'):,.0f}"),
        _ratio("times fewer", times_fewer, 1),
        Column("AUC before retraining", before),
        *_QUALITY,
        *_differing(runs_of(FULL, rows)),
        mean("calibration", 3),
        mean("relative_information_gain", 4),
        of_runs("d", lambda runs: f"{last(runs, 'width') - (panel.model_name == 'deepfm'):.0f}"),
        of_runs("seeds", lambda runs: str(len(runs.seeds))),
    ]
    return row_table(panel.title, "tables", columns, rows, indistinct(rows))


def indistinct(rows: Rows) -> str:
    """Whether a log can tell methods apart: which simple ones are within bound or spread of seeds, by both metrics."""
    full = runs_of(FULL, rows)
    spreads = [] if full is None else [full.estimate(figure).std for figure in (AUC, LOG_LOSS)]
    if full is None or None in spreads:
        return "Whether this log can tell methods apart cannot be said of fewer than two seeds."
    room = [max(spread or 0.0, BOUND) for spread in spreads]
    close = []
    for row in rows:
        simple = row.name.startswith("low dimension") or row.of.kind == "trained"
        if row.series is None or not simple:
            continue
        auc, loss = row.series.difference(full, AUC), row.series.difference(full, LOG_LOSS)
        if auc is not None and loss is not None and auc.mean >= -room[0] and loss.mean <= room[1]:
            close.append(f"{row.name} ({auc.mean:+.4f}, {loss.mean:+.4f})")
    about = (
        f"AUC and log loss of uncompressed tables spread by {spreads[0]:.4f} and {spreads[1]:.4f} over seeds, and the "
        f"bound is {BOUND:g}."
    )
    if close:
        return (
            f"{about} Within the larger of the two, or better, are: {'; '.join(close)}. So this log with this model "
            "cannot tell compression from tables that are simply narrow or hashed, and says little for any method that "
            "does well."
        )
    return (
        f"{about} No low-dimension or hashed table comes within them, so this log with this model tells methods apart."
    )


def verdict(panel: Panel, entry: Entry, rows: Rows) -> str:
    """Whether a row keeps what the poster promises on a log with a model, in a sentence."""
    runs, full = runs_of(entry, rows), runs_of(FULL, rows)
    if runs is None or full is None:
        return f"{panel.title}: {entry.name} was not run yet."
    auc, loss = runs.difference(full, AUC), runs.difference(full, LOG_LOSS)
    if auc is None or loss is None:
        return f"{panel.title}: {entry.name} and uncompressed tables have no seed in common."
    size, vectors = smallest(runs, times_smaller), smallest(runs, times_fewer)
    good = holds(runs, full) == "yes" and size >= RATIO and vectors >= FEWER
    return (
        f"{panel.title}: {entry.name} {'holds' if good else 'does not hold'}. In every window its tables are at least "
        f"{size:.1f} times smaller and its vectors at least {vectors:.0f} times fewer; AUC changes by "
        f"{auc.mean:+.4f} and log loss by {loss.mean:+.4f} on average."
    )


def promises_table(panels: Panels, entries: Sequence[Entry]) -> Table:
    """The facts of the poster beside ours."""
    poster = ("poster, private logs of a browser", "27 (4.46 GB → 161 MB)", "two orders of magnitude", "same", "same")
    lines: list[tuple[str, ...]] = [poster]
    for panel, rows in panels:
        full = runs_of(FULL, rows)
        for row in (row for entry in entries for row in rows if row.of is entry):
            cells = [NOT_RUN] * 4
            if row.series is not None and full is not None:
                cells = [f"{smallest(row.series, value):.{digits}f}" for value, digits in _SIZES]
                cells += [format_difference(row.series.difference(full, each)) for each in (AUC, LOG_LOSS)]
            lines.append((f"{panel.title}: {row.of.name}", *cells))
    heads = ("", "times smaller", "times fewer vectors", "AUC", "log loss")
    note = "Sizes are those of the worst window."
    return Table("The poster beside ours, after retraining", heads, tuple(lines), note)


_SIZES = ((times_smaller, 1), (times_fewer, 0))


def sizes_table(panel: Panel, families: Mapping[str, Rows], full: Series | None) -> Table:
    """Quality at falling sizes, and the smallest at which the bound holds."""
    columns = [_ratio("times smaller", times_smaller, 1), _ratio("times fewer", times_fewer, 0), *_differing(full)]
    notes = []
    for family, rows in families.items():
        runs = [row.series for row in rows if row.series is not None and holds(row.series, full) == "yes"]
        found = "at none of these sizes"
        if runs:
            best = max(runs, key=lambda each: smallest(each, times_smaller))
            found = f"1/{smallest(best, times_smaller):.0f} ({last(best, 'bits') / 8e3:,.1f} kB)"
        notes.append(f"{family}: {found}")
    note = f"Smallest size at which both differences are within {BOUND:g} — {'; '.join(notes)}."
    rows = [row if full else Row(row.of, row.name, None) for rows in families.values() for row in rows]
    return row_table(panel.title, "tables", columns, rows, note)


def new_values_table(panel: Panel, runs: Series | None) -> Table:
    """AUC and log loss on impressions with new values, by how they are served."""
    heads = ("values", "served by", "AUC", "AUC − default row [95 %]", "log loss", "impressions per window")
    lines = []
    for kind, named, served_by in (
        ("fresh", "first seen in the window before", _SERVED),
        ("unseen", "never seen", _SERVED[:2]),
    ):
        windows = [] if runs is None else [[window for window in seed if window[kind]] for seed in windows_of(runs)]
        for served in served_by:
            if runs is None or not all(windows):
                lines.append((named, served, *[NOT_RUN if runs is None else "too few"] * 4))
                continue
            auc, base, loss, rows = (
                _by_seed(windows, kind, *which)
                for which in ((served, "auc"), (_SERVED[0], "auc"), (served, "log_loss"), (served, "rows"))
            )
            gain = Difference.of([a - b for a, b in zip(auc, base, strict=True)])
            against = ABSENT if served == _SERVED[0] else format_difference(gain)
            quality = [format_estimate(Estimate.of(each), _DIGITS) for each in (auc, loss)]
            lines.append((named, served, quality[0], against, quality[1], f"{np.mean(rows):,.0f}"))
    return Table(panel.title, heads, tuple(lines))


def _by_seed(windows: Sequence[Sequence[Window]], kind: str, served: str, name: str) -> list[float]:
    return [float(np.mean([window[kind][served][name] for window in seed])) for seed in windows]


def moving_table(panel: Panel, rows: Rows) -> Table:
    """What moves from window to window."""

    def later(runs: Series) -> list[Window]:
        return [window for seed in windows_of(runs) for window in seed if "delta" in window]

    def total(runs: Series, name: str) -> float:
        return sum(window[name] for window in later(runs))

    def of_later(head: str, text: Callable[[Series], str], otherwise: str = ABSENT) -> Column:
        return of_runs(head, lambda runs: text(runs) if later(runs) else otherwise)

    def moved(runs: Series) -> str:
        known = total(runs, "known")
        return f"{100 * total(runs, 'moved') / known:.1f} %" if known else ABSENT

    def seconds(runs: Series) -> str:
        return f"{np.mean([window['seconds']['compress'] for window in later(runs)]):.3f}"

    columns = [
        of_later("assignments that move", moved),
        of_later("delta, kB", lambda runs: f"{total(runs, 'delta') / len(later(runs)) / 1e3:,.1f}"),
        of_later("of the file", lambda runs: f"{100 * total(runs, 'delta') / total(runs, 'file'):.1f} %"),
        *_QUALITY,
        of_later("seconds to compress", seconds, "nan"),
    ]
    return row_table(panel.title, "tables", columns, rows)


def seconds_table(panel: Panel, rows: Rows) -> Table:
    """Seconds of each stage of a window."""

    def ratio(runs: Series) -> str:
        means = {stage: _mean_seconds(runs, stage) for stage in STAGES}
        more = sum(mean or 0.0 for stage, mean in means.items() if stage not in ("train", "evaluate"))
        train = means["train"]
        return f"{more / train:.1f}" if train and more else ABSENT

    def shown(stage: str) -> Column:
        return of_runs(stage, lambda runs: ABSENT if (mean := _mean_seconds(runs, stage)) is None else f"{mean:.3f}")

    columns = [*map(shown, STAGES), of_runs("compression and retraining over training", ratio)]
    return row_table(f"{panel.title}: seconds per window", "tables", columns, rows)


def _mean_seconds(runs: Series, stage: str) -> float | None:
    found = [window["seconds"][stage] for seed in windows_of(runs) for window in seed if stage in window["seconds"]]
    return float(np.mean(found)) if found else None


def numbers(panels: Panels) -> list[Line]:
    """All figures, a line for each row, seed and window."""
    return [
        {"panel": panel.name, "tables": row.name, "seed": seed} | _flat(window)
        for panel, rows in panels
        for row in rows
        if row.series is not None
        for seed, record in row.series.by_seed.items()
        for window in record["windows"]
    ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> Line:
    line: Line = {}
    for name, value in values.items():
        line |= _flat(value, f"{prefix}{name} ") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return line


def format_difference(difference: Difference | None) -> str:
    """A difference with its interval, which shows on which side of zero it ends; a dash where there is none."""
    if difference is None:
        return ABSENT
    mean, half = difference.mean, difference.half_width
    return f"{mean:+.4f}" + ("" if half is None else f" [{mean - half:+.4f}, {mean + half:+.4f}]")
