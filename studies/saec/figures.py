"""Pictures of the experiments on Saec: the poster's two figures, rows side by side, and quality against size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from slimtable.reporting.figures import COLOURS, blank_figure, legend_entries, mark, to_png
from studies.saec.experiments import AS_PUBLISHED, BOUND, FAMILIES, FULL, RATIOS, SAEC, Panel
from studies.saec.tables import AUC, LOG_LOSS, Panels, runs_of, smallest, times_smaller, windows_of
from studies.series import Series

_GREY = "#555555"
_SMALL = 9  # points
_NAMES = {"auc": "AUC", "log_loss": "log loss"}


def draw_windows(panels: Panels) -> bytes | None:
    """AUC and log loss of every window, and its vectors and bytes, as on the poster; None where nothing was run."""
    drawn = [(panel, runs_of(FULL, rows), runs_of(SAEC, rows)) for panel, rows in panels]
    both = [(panel, full, saec) for panel, full, saec in drawn if full is not None and saec is not None]
    if not both:
        return None
    figure, panes = blank_figure(len(both), 4, (16.0, 3.7 * len(both)))
    for row, (panel, full, saec) in enumerate(both):
        plain = runs_of(AS_PUBLISHED, next(rows for other, rows in panels if other is panel))
        windows = [window["window"] + 2 for window in windows_of(full)[0]]  # tested on the one after the next, from 1
        quality, sizes = panes[4 * row : 4 * row + 2], panes[4 * row + 2 : 4 * row + 4]
        for axes, metric in zip(quality, ("auc", "log_loss"), strict=True):
            axes.plot(windows, _metric(full, "after", metric), color=_GREY, linewidth=2.8, label="uncompressed")
            for when, style, label in (("before", ":", "before retraining"), ("after", "-", "after")):
                axes.plot(
                    windows, _metric(saec, when, metric), style, color=COLOURS[when == "before"], marker="o",
                    markersize=3.5, linewidth=1.6, label=f"Saec, ours, {label}",
                )  # fmt: skip
            if plain is not None:
                of_plain = _metric(plain, "after", metric)
                axes.plot(windows, of_plain, "--", color=COLOURS[3], linewidth=1.2, label="as reconstructed, after")
            axes.set_title(f"{panel.title}: {_NAMES[metric]}", loc="left", fontsize=10)
        for axes, (name, dense, title, unit) in zip(
            sizes, (("vectors", "values", "vectors", 1.0), ("bits", "dense_bits", "kB of tables", 8e3)), strict=True
        ):
            for values, colour, label in ((dense, _GREY, "uncompressed"), (name, COLOURS[0], "Saec, ours")):
                of_windows = _mean(saec, lambda window, values=values: window[values]) / unit
                axes.plot(windows, of_windows, color=colour, marker="o", markersize=3.5, linewidth=2.0, label=label)
            axes.set_yscale("log")
            low, high = axes.get_ylim()
            axes.set_ylim(low / 1.6, high * 1.6)
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.set_title(f"{panel.title}: {title}", loc="left", fontsize=10)
        for axes in (*quality, *sizes):
            axes.set_xlabel("window tested")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    _legend_below(figure, panes[0])
    return to_png(figure)


def draw_differences(panels: Panels) -> bytes | None:
    """AUC of all rows less that of uncompressed tables, a pane for each model; None where nothing can be drawn."""
    drawn = []
    for panel, rows in panels:
        full = runs_of(FULL, rows)
        found = [
            (row.name, row.series, difference)
            for row in rows
            if row.series is not None and (difference := row.series.difference(full, AUC)) is not None
        ]
        if found:
            drawn.append((panel, found))
    if not drawn:
        return None
    most = max(len(found) for _, found in drawn)
    figure, panes = blank_figure(1, len(drawn), (7.6 * len(drawn), 1.4 + 0.3 * most))
    for axes, (panel, found) in zip(panes, drawn, strict=True):
        places = -np.arange(len(found))
        axes.axvspan(-BOUND, BOUND, color="#dddddd", linewidth=0, zorder=0)
        axes.axvline(0, color=_GREY, linewidth=1)
        for place, (name, _, difference) in zip(places, found, strict=True):
            colour = COLOURS[0] if name.startswith("Saec") else COLOURS[1]
            axes.errorbar(difference.mean, place, xerr=difference.half_width, fmt="o", color=colour, capsize=2.5)
        names = [f"{name} (÷ {smallest(runs, times_smaller):.0f})" for name, runs, _ in found]
        axes.set_yticks(places, names, fontsize=_SMALL)
        axes.set_xscale("symlog", linthresh=BOUND)
        ticks = [-0.1, -0.05, -0.02, -0.01, -0.005, -BOUND, 0, BOUND, 0.005, 0.01]
        low, high = min(1.2 * axes.get_xlim()[0], -2 * BOUND), max(axes.get_xlim()[1], 2 * BOUND)
        axes.set_xlim(low, high)
        mark(axes.xaxis, ticks, "{:g}")
        axes.tick_params(axis="x", labelsize=_SMALL, rotation=45)
        axes.set_title(f"{panel.title}: AUC − uncompressed", loc="left", fontsize=10)
    figure.tight_layout()
    return to_png(figure)


def draw_sizes(panels: Sequence[tuple[Panel, Mapping[str, Sequence[Series]], Series]]) -> bytes | None:
    """What AUC and log loss lose as tables become smaller; None where nothing was run.

    Args:
        panels: for each log and model the runs of each family, largest tables first, and the uncompressed ones.
    """
    logs = list(dict.fromkeys(panel.data for panel, families, _ in panels if any(families.values())))
    if not logs:
        return None
    figure, panes = blank_figure(2, len(logs), (5.0 * len(logs), 7.4))
    for column, log in enumerate(logs):
        of_log = [each for each in panels if each[0].data == log]
        for row, metric in enumerate(("auc", "log_loss")):
            axes = panes[row * len(logs) + column]
            sign = -1 if metric == "auc" else 1
            axes.axhspan(-BOUND, BOUND, color="#dddddd", linewidth=0, zorder=0)
            axes.axhline(0, color=_GREY, linewidth=1)
            for line, (panel, families, full) in zip(("-", "--", ":"), of_log, strict=False):
                for family, all_runs in families.items():
                    colour = COLOURS[list(FAMILIES).index(family)]  # the same on every log
                    loss = AUC if metric == "auc" else LOG_LOSS
                    found = [(smallest(runs, times_smaller), runs.difference(full, loss)) for runs in all_runs]
                    points = [(times, sign * each.mean) for times, each in found if each is not None]
                    if points:
                        axes.plot(
                            *zip(*points, strict=True), line, color=colour, marker="o", markersize=4,
                            label=f"{family}, {panel.title.partition(', ')[2]}",
                        )  # fmt: skip
            axes.set_xscale("log")
            mark(axes.xaxis, RATIOS, "1/{:g}")
            axes.set_yscale("symlog", linthresh=2 * BOUND)
            ticks = [-0.01, -0.005, -BOUND, 0, BOUND, 0.005, 0.01, 0.02, 0.05, 0.1]
            low, high = axes.get_ylim()
            low, high = min(1.2 * low, -1.5 * BOUND), max(1.2 * high, 1.5 * BOUND)
            axes.set_ylim(low, high)
            mark(axes.yaxis, ticks, "{:g}")
            axes.set_title(f"{of_log[0][0].title.partition(', ')[0]}: loss of {_NAMES[metric]}"
                           if metric == "auc" else f"rise of {_NAMES[metric]}", loc="left", fontsize=10)  # fmt: skip
    for axes in panes[-len(logs) :]:
        axes.set_xlabel("bytes of the tables, of uncompressed ones")
    _legend_below(figure, *panes)
    return to_png(figure)


def _metric(runs: Series, when: str, metric: str) -> np.ndarray:
    return _mean(runs, lambda window: window[when][metric])


def _mean(runs: Series, value: Any) -> np.ndarray:
    """A figure of every window, mean over seeds."""
    return np.mean([[value(window) for window in windows] for windows in windows_of(runs)], axis=0)


def _legend_below(figure: Figure, *panes: Axes) -> None:
    """One legend of everything that some panes show, each label once."""
    shown = legend_entries(panes)
    figure.tight_layout(rect=(0, 0.35 / figure.get_figheight(), 1, 1))
    about: dict[str, Any] = {"loc": "lower center", "ncols": max(1, len(shown)), "frameon": False, "fontsize": _SMALL}
    figure.legend(list(shown.values()), list(shown), **about)
