"""Figures of a pipeline: quality, size and time of every window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from slimtable.pipeline.history import Record
from slimtable.reporting.figures import COLOURS, blank_figure, to_png

STAGES = ("ingest", "train", "compress", "retrain", "evaluate", "publish")

_LINES = (  # model, name, colour, line, width
    ("uncompressed", "uncompressed", "#555555", "-", 2.6),
    ("compressed", "compressed, before retraining", COLOURS[1], ":", 1.6),
    ("retrained", "compressed and retrained", COLOURS[0], "-", 1.6),
    ("served", "served until then", COLOURS[2], "--", 1.2),
)
_REFUSED, _HELD = "#B34700", "#8A6500"
_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B"))


def quality_over_windows(history: Sequence[Record]) -> bytes:
    """AUC and log loss of all models on the next window, and the AUC lost by compression, as a PNG file.

    Windows whose model was not published are shaded; lines are interrupted at suspect windows.
    """
    figure, panels = blank_figure(3, 1, (9.0, 9.0))
    windows = [record["window"] for record in history]
    for axes, (metric, name) in zip(panels, (("auc", "AUC"), ("log_loss", "log loss")), strict=False):
        for model, label, colour, line, width in _LINES:
            values = [_metric(record, model, metric) if _is_sound(record) else np.nan for record in history]
            if not np.isnan(values).all():
                axes.plot(
                    windows, values, line, color=colour, linewidth=width, label=label, marker="o", markersize=width + 1
                )
        axes.set_ylabel(name)
        _zoom_to_sound_windows(axes, history, metric)
        _mark_verdicts(axes, history, metric)
        _window_axis(axes, windows)
    panels[0].set_title("Quality on the next window, before any model was trained on it", loc="left", fontsize=11)
    _draw_auc_lost(panels[2], history)
    _window_axis(panels[2], windows)
    panels[2].set_xlabel("window")
    _legend_below(figure, panels[0])
    return to_png(figure)


def _draw_auc_lost(axes: Axes, history: Sequence[Record]) -> None:
    """Draws the difference in AUC from the uncompressed model, which is too small to see in the curves."""
    axes.axhline(0.0, color=_LINES[0][2], linewidth=_LINES[0][4])
    for model, _, colour, line, width in _LINES[1:3]:
        lost = [
            _metric(record, model, "auc") - _metric(record, "uncompressed", "auc") if _is_sound(record) else np.nan
            for record in history
        ]
        windows = [record["window"] for record in history]
        axes.plot(windows, lost, line, color=colour, linewidth=width, marker="o", markersize=width + 1)
    axes.set_ylabel("AUC minus that of\nthe uncompressed model")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+.4f}" if value else "0"))


def sizes_over_windows(history: Sequence[Record]) -> bytes:
    """Vectors and bytes of the tables, uncompressed and compressed, as a PNG file."""
    figure, panels = blank_figure(1, 2, (9.0, 4.2))
    windows = [record["window"] for record in history]
    series: tuple[tuple[str, str, str, Callable[[float, Any], str]], ...] = (
        ("vectors", "dense_vectors", "vectors", lambda count, _: f"{count:,.0f}"),
        ("bytes", "dense_bytes", "bytes of the tables", _bytes),
    )
    for axes, (compressed, dense, title, formatter) in zip(panels, series, strict=True):
        before = [record[dense] for record in history]
        after = [record[compressed] for record in history]
        axes.plot(windows, before, color="#555555", linewidth=2.4, marker="o", markersize=4, label="uncompressed")
        axes.plot(windows, after, color=COLOURS[0], linewidth=1.8, marker="o", markersize=4, label="compressed")
        anew = [place for place, record in enumerate(history) if record["reclustered"]]
        axes.plot(
            [windows[place] for place in anew],
            [after[place] for place in anew],
            "D",
            color=COLOURS[0],
            markerfacecolor="white",
            markersize=7,
            label="clustered from scratch",
        )
        axes.set_yscale("log")
        axes.set_ylim(min(after) / 2.5, max(before) * 2.5)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(formatter))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_title(title, loc="left", fontsize=11)
        axes.annotate(
            f"÷ {before[-1] / after[-1]:,.{0 if before[-1] > 10 * after[-1] else 1}f}",
            (windows[-1], float(np.sqrt(before[-1] * after[-1]))),
            ha="right",
            va="center",
            fontsize=12,
            color=COLOURS[0],
        )
        axes.set_xlabel("window")
        _window_axis(axes, windows)
    _legend_below(figure, panels[0])
    return to_png(figure)


def seconds_over_windows(history: Sequence[Record]) -> bytes:
    """Seconds of every stage, stacked, as a PNG file."""
    figure, (axes,) = blank_figure(1, 1, (9.0, 3.8))
    windows = [record["window"] for record in history]
    bottom = np.zeros(len(history))
    for stage, colour in zip(STAGES, COLOURS, strict=False):
        seconds = np.array([record["seconds"].get(stage, 0.0) for record in history])
        axes.bar(windows, seconds, 0.8, bottom=bottom, color=colour, label=stage)
        bottom += seconds
    axes.set_ylabel("seconds")
    axes.set_xlabel("window")
    axes.set_title("Time of the stages", loc="left", fontsize=11)
    _window_axis(axes, windows)
    _legend_below(figure, axes)
    return to_png(figure)


def _metric(record: Record, model: str, metric: str) -> float:
    value = (record["metrics"].get(model) or {}).get(metric)
    return float("nan") if value is None else float(value)


def _zoom_to_sound_windows(axes: Axes, history: Sequence[Record], metric: str) -> None:
    """Limits the vertical axis to sound windows, so that outliers do not flatten the curves."""
    sound = [record for record in history if _is_sound(record)]
    values = [_metric(record, model, metric) for record in sound for model, *_ in _LINES]
    values = [value for value in values if not np.isnan(value)]
    if values and len(sound) < len(history):
        margin = 0.1 * (max(values) - min(values)) + 1e-4
        axes.set_ylim(min(values) - 3 * margin, max(values) + margin)  # room for labels below


def _is_sound(record: Record) -> bool:
    """True if neither the window nor the one that it was tested on is suspect."""
    return record["verdict"]["decision"] != "hold" and not record["verdict"]["roll_back"]


def _mark_verdicts(axes: Axes, history: Sequence[Record], metric: str) -> None:
    for record in history:
        decision = record["verdict"]["decision"]
        if decision == "publish":
            continue
        colour, word = (_REFUSED, "refused") if decision == "refuse" else (_HELD, "held")
        axes.axvspan(record["window"] - 0.5, record["window"] + 0.5, color=colour, alpha=0.16, linewidth=0)
        axes.annotate(
            f"{word}, {_metric(record, 'retrained', metric):.3f}",
            (record["window"], 0.03),
            xycoords=("data", "axes fraction"),
            rotation=90,
            ha="center",
            va="bottom",
            fontsize=8,
            color=colour,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1.5},
        )


def _window_axis(axes: Axes, windows: Sequence[int]) -> None:
    axes.set_xlim(min(windows) - 0.6, max(windows) + 0.6)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _legend_below(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.tight_layout(rect=(0, 0.4 / figure.get_figheight(), 1, 1))
    figure.legend(handles, labels, loc="lower center", ncols=len(labels), frameon=False, fontsize=9)


def _bytes(count: float, _: Any) -> str:
    scale, unit = next((scale, unit) for scale, unit in _UNITS if count >= scale or scale == 1)
    return f"{count / scale:g} {unit}"
