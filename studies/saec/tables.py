"""Tables of the experiments on Saec, with what the seeds allow to say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from slimtable.bench.results import Record
from slimtable.bench.table import Difference, Estimate
from slimtable.reporting.tables import ABSENT, Table
from studies.saec.experiments import BOUND, FEWER, FULL, RATIO, Entry, Panel
from studies.study import Line

NOT_RUN = "not run"
METRICS = ("auc", "log_loss", "calibration", "relative_information_gain")
STAGES = ("train", "sensitivity", "allocate", "compress", "retrain", "evaluate")
_SERVED = ("default row", "mean of what they occur with", "their own shared rows", "uncompressed")


@dataclass(frozen=True)
class Runs:
    """The finished cells of a row, over seeds.

    Attributes:
        by_seed: a record for each seed that was run, ascending.
    """

    by_seed: Mapping[int, Record]

    def windows(self) -> list[list[dict[str, Any]]]:
        """What was measured, by seed and window."""
        return [record["windows"] for record in self.by_seed.values()]

    def means(self, value: Callable[[dict[str, Any]], float]) -> dict[int, float]:
        """A figure averaged over windows, by seed."""
        return {
            seed: float(np.mean([value(window) for window in record["windows"]]))
            for seed, record in self.by_seed.items()
        }

    def estimate(self, metric: str, when: str = "after") -> Estimate:
        """A metric averaged over windows, over seeds."""
        return Estimate.of(list(self.means(lambda window: window[when][metric]).values()))

    def difference(self, other: Runs, metric: str, when: str = "after") -> Difference | None:
        """This minus the other, paired by seed; None where no seed has both."""
        mine, theirs = (runs.means(lambda window: window[when][metric]) for runs in (self, other))
        paired = [value - theirs[seed] for seed, value in mine.items() if seed in theirs]
        return Difference.of(paired) if paired else None

    def smallest(self, value: Callable[[dict[str, Any]], float]) -> float:
        """The smallest value of a figure over all windows and seeds."""
        return min(value(window) for windows in self.windows() for window in windows)

    def last(self, name: str) -> float:
        """A number of the last window, mean over seeds."""
        return float(np.mean([windows[-1][name] for windows in self.windows()]))


Rows = Sequence[tuple[Entry, Runs | None]]


def times_smaller(window: dict[str, Any]) -> float:
    """How many times smaller than uncompressed the tables of a window are, in bytes."""
    return float(window["dense_bits"] / window["bits"])


def times_fewer(window: dict[str, Any]) -> float:
    """How many times fewer vectors than values there are."""
    return float(window["values"] / window["vectors"])


def runs_of(entry: Entry, rows: Rows) -> Runs | None:
    """The runs of a row, by its name."""
    return next((runs for other, runs in rows if other.name == entry.name), None)


def compared_table(panel: Panel, rows: Rows) -> Table:
    """Everything on a log with a model."""
    columns = (
        "tables",
        "kB",
        "times smaller",
        "vectors",
        "times fewer",
        "AUC before retraining",
        "AUC",
        "log loss",
        "AUC − uncompressed [95 %]",
        "log loss − uncompressed [95 %]",
        f"within {BOUND:g}",
        "calibration",
        "relative information gain",
        "d",
        "seeds",
    )
    full = runs_of(FULL, rows)
    lines = []
    for entry, runs in rows:
        if runs is None:
            lines.append((entry.name, *[NOT_RUN] * (len(columns) - 1)))
            continue
        alone = full is None or runs is full
        differences = [None if full is None or alone else runs.difference(full, name) for name in METRICS[:2]]
        retrained = entry.kind == "compressed"
        lines.append(
            (
                entry.name,
                f"{runs.last('bits') / 8e3:,.1f}",
                f"{runs.smallest(times_smaller):,.1f}",
                f"{runs.last('vectors'):,.0f}",
                f"{runs.smallest(times_fewer):,.1f}",
                spell(runs.estimate("auc", "before")) if retrained else ABSENT,
                spell(runs.estimate("auc")),
                spell(runs.estimate("log_loss")),
                *map(spell_difference, differences),
                ABSENT if alone else holds(differences),
                f"{runs.estimate('calibration').mean:.3f}",
                f"{runs.estimate('relative_information_gain').mean:.4f}",
                f"{runs.last('width') - (panel.model == 'deepfm'):.0f}",
                f"{len(runs.by_seed)}",
            )
        )
    return Table(panel.title, columns, tuple(lines), indistinct(rows))


def indistinct(rows: Rows) -> str:
    """Whether a log can tell methods apart: which simple ones are within bound or spread of seeds, by both metrics."""
    full = runs_of(FULL, rows)
    spreads = [] if full is None else [full.estimate(metric).std for metric in ("auc", "log_loss")]
    if full is None or None in spreads:
        return "Whether this log can tell methods apart cannot be said of fewer than two seeds."
    room = [max(spread or 0.0, BOUND) for spread in spreads]
    close = []
    for entry, runs in rows:
        simple = entry.name.startswith("low dimension") or entry.kind == "trained"
        if runs is None or not simple:
            continue
        auc, loss = runs.difference(full, "auc"), runs.difference(full, "log_loss")
        if auc is not None and loss is not None and auc.mean >= -room[0] and loss.mean <= room[1]:
            close.append(f"{entry.name} ({auc.mean:+.4f}, {loss.mean:+.4f})")
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


def holds(differences: Sequence[Difference | None]) -> str:
    """Whether AUC and log loss are within the bound, averaged over seeds."""
    auc, loss = differences
    if auc is None or loss is None:
        return ABSENT
    return "yes" if auc.mean >= -BOUND and loss.mean <= BOUND else "no"


def verdict(panel: Panel, entry: Entry, rows: Rows) -> str:
    """Whether a row keeps what the poster promises on a log with a model, in a sentence."""
    runs, full = runs_of(entry, rows), runs_of(FULL, rows)
    if runs is None or full is None:
        return f"{panel.title}: {entry.name} was not run yet."
    found = [runs.difference(full, name) for name in METRICS[:2]]
    if found[0] is None or found[1] is None:
        return f"{panel.title}: {entry.name} and uncompressed tables have no seed in common."
    size, vectors = runs.smallest(times_smaller), runs.smallest(times_fewer)
    good = holds(found) == "yes" and size >= RATIO and vectors >= FEWER
    return (
        f"{panel.title}: {entry.name} {'holds' if good else 'does not hold'}. In every window its tables are at least "
        f"{size:.1f} times smaller and its vectors at least {vectors:.0f} times fewer; AUC changes by "
        f"{found[0].mean:+.4f} and log loss by {found[1].mean:+.4f} on average."
    )


def promises_table(panels: Sequence[tuple[Panel, Rows]], entries: Sequence[Entry]) -> Table:
    """The facts of the poster beside ours."""
    columns = ("", "times smaller", "times fewer vectors", "AUC", "log loss")
    lines: list[tuple[str, ...]] = [
        ("poster, private logs of a browser", "27 (4.46 GB → 161 MB)", "two orders of magnitude", "same", "same")
    ]
    for panel, rows in panels:
        full = runs_of(FULL, rows)
        for entry in entries:
            runs = runs_of(entry, rows)
            named = f"{panel.title}: {entry.name}"
            if entry not in [other for other, _ in rows]:
                continue
            if runs is None or full is None:
                lines.append((named, *[NOT_RUN] * 4))
                continue
            found = [runs.difference(full, name) for name in METRICS[:2]]
            sizes = (f"{runs.smallest(times_smaller):.1f}", f"{runs.smallest(times_fewer):.0f}")
            lines.append((named, *sizes, *map(spell_difference, found)))
    return Table(
        "The poster beside ours, after retraining", columns, tuple(lines), "Sizes are those of the worst window."
    )


def sizes_table(panel: Panel, families: Mapping[str, Sequence[tuple[Entry, Runs | None]]], full: Runs | None) -> Table:
    """Quality at falling sizes, and the smallest at which the bound holds."""
    columns = (
        "tables",
        "times smaller",
        "times fewer",
        "AUC − uncompressed [95 %]",
        "log loss − uncompressed [95 %]",
        f"within {BOUND:g}",
    )
    lines, notes = [], []
    for family, rows in families.items():
        smallest, reached = None, 0.0
        for entry, runs in rows:
            if runs is None or full is None:
                lines.append((entry.name, *[NOT_RUN] * 5))
                continue
            found = [runs.difference(full, name) for name in METRICS[:2]]
            good = holds(found)
            times = runs.smallest(times_smaller)
            lines.append(
                (entry.name, f"{times:.1f}", f"{runs.smallest(times_fewer):.0f}", *map(spell_difference, found), good)
            )
            if good == "yes" and times > reached:
                reached, smallest = times, f"1/{times:.0f} ({runs.last('bits') / 8e3:,.1f} kB)"
        notes.append(f"{family}: {smallest or 'at none of these sizes'}")
    note = f"Smallest size at which both differences are within {BOUND:g} — {'; '.join(notes)}."
    return Table(panel.title, columns, tuple(lines), note)


def new_values_table(panel: Panel, runs: Runs | None) -> Table:
    """AUC and log loss on impressions with new values, by how they are served."""
    columns = ("values", "served by", "AUC", "AUC − default row [95 %]", "log loss", "impressions per window")
    lines = []
    for kind, named in (("fresh", "first seen in the window before"), ("unseen", "never seen")):
        for served in _SERVED:
            if kind == "unseen" and served in _SERVED[2:]:
                continue
            if runs is None:
                lines.append((named, served, *[NOT_RUN] * 4))
                continue
            windows = [[w for w in seed if w[kind]] for seed in runs.windows()]
            if not all(windows):
                lines.append((named, served, *["too few"] * 4))
                continue
            auc, base = (_by_seed(windows, kind, name, "auc") for name in (served, _SERVED[0]))
            gain = Difference.of([a - b for a, b in zip(auc, base, strict=True)])
            loss = Estimate.of(_by_seed(windows, kind, served, "log_loss"))
            rows = np.mean(_by_seed(windows, kind, served, "rows"))
            against = ABSENT if served == _SERVED[0] else spell_difference(gain)
            lines.append((named, served, spell(Estimate.of(auc)), against, spell(loss), f"{rows:,.0f}"))
    return Table(panel.title, columns, tuple(lines))


def _by_seed(windows: Sequence[Sequence[dict[str, Any]]], kind: str, served: str, metric: str) -> list[float]:
    return [float(np.mean([window[kind][served][metric] for window in seed])) for seed in windows]


def moving_table(panel: Panel, rows: Rows) -> Table:
    """What moves from window to window."""
    columns = ("tables", "assignments that move", "delta, kB", "of the file", "AUC", "log loss", "seconds to compress")
    lines = []
    for entry, runs in rows:
        if runs is None:
            lines.append((entry.name, *[NOT_RUN] * (len(columns) - 1)))
            continue
        later = [window for seed in runs.windows() for window in seed if "delta" in window]
        known = sum(window["known"] for window in later)
        moved = f"{100 * sum(window['moved'] for window in later) / known:.1f} %" if known else ABSENT
        delta, file = (sum(window[name] for window in later) for name in ("delta", "file"))
        seconds = float(np.mean([window["seconds"]["compress"] for window in later])) if later else float("nan")
        share = (f"{delta / len(later) / 1e3:,.1f}", f"{100 * delta / file:.1f} %") if later else (ABSENT, ABSENT)
        quality = (spell(runs.estimate(name)) for name in METRICS[:2])
        lines.append((entry.name, moved, *share, *quality, f"{seconds:.3f}"))
    return Table(panel.title, columns, tuple(lines))


def seconds_table(panel: Panel, rows: Rows) -> Table:
    """Seconds of each stage of a window."""
    columns = ("tables", *STAGES, "compression and retraining over training")
    lines = []
    for entry, runs in rows:
        if runs is None:
            lines.append((entry.name, *[NOT_RUN] * (len(columns) - 1)))
            continue
        means = {stage: _mean_seconds(runs, stage) for stage in STAGES}
        shown = [ABSENT if mean is None else f"{mean:.3f}" for mean in means.values()]
        more = sum(mean or 0.0 for stage, mean in means.items() if stage not in ("train", "evaluate"))
        train = means["train"]
        lines.append((entry.name, *shown, f"{more / train:.1f}" if train and more else ABSENT))
    return Table(f"{panel.title}: seconds per window", columns, tuple(lines))


def _mean_seconds(runs: Runs, stage: str) -> float | None:
    found = [window["seconds"][stage] for seed in runs.windows() for window in seed if stage in window["seconds"]]
    return float(np.mean(found)) if found else None


def numbers(panel: Panel, entry: Entry, runs: Runs | None) -> list[Line]:
    """All figures of a row, a line for each seed and window."""
    if runs is None:
        return []
    return [
        {"panel": panel.name, "tables": entry.name, "seed": seed} | _flat(window)
        for seed, record in runs.by_seed.items()
        for window in record["windows"]
    ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> Line:
    line: Line = {}
    for name, value in values.items():
        line |= _flat(value, f"{prefix}{name} ") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return line


def spell(estimate: Estimate) -> str:
    """Mean ± standard deviation, four digits.

    Example:
        >>> spell(Estimate(0.76219, 0.0004, 3))
        '0.7622 ± 0.0004'
    """
    return f"{estimate.mean:.4f}" + ("" if estimate.std is None else f" ± {estimate.std:.4f}")


def spell_difference(difference: Difference | None) -> str:
    """A difference with its interval; a dash where there is none."""
    if difference is None:
        return ABSENT
    if difference.half_width is None:
        return f"{difference.mean:+.4f}"
    low, high = difference.mean - difference.half_width, difference.mean + difference.half_width
    return f"{difference.mean:+.4f} [{low:+.4f}, {high:+.4f}]"
