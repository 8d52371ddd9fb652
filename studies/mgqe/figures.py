"""The pictures of the paper, drawn from our runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from slimtable.bench.measures import Measure
from slimtable.bench.table import Estimate
from slimtable.reporting.figures import COLOURS, MARKERS, blank_figure, describe, legend_entries, size_axis, to_png
from studies.mgqe.similarity import GENRES, Similarity

_STYLES: dict[str, dict[str, Any]] = {
    "full": {"color": "#555555", "marker": "*"},
    "low_rank": {"color": COLOURS[4], "marker": MARKERS[2]},
    "uniform": {"color": COLOURS[3], "marker": MARKERS[1]},
    "dpq": {"color": COLOURS[0], "marker": MARKERS[0]},
    "mgqe": {"color": COLOURS[1], "marker": MARKERS[3]},
}
_SMALL = 9  # points
_FEW_EPOCHS = 10  # up to which each epoch gets a mark
_MOST_ERROR = 1.5  # times the smallest error of a panel, above which a point is only named


SizeCurve = tuple[str, str, Sequence[tuple[float, Estimate]]]
"""A line of Figure 6: its method, what the legend calls it, and the quality at each size in percent, ascending."""

LossCurves = Mapping[int, Sequence[tuple[int, float]]]
"""Epochs and training losses of a method, by seed."""


def mean_loss(by_seed: LossCurves) -> list[tuple[int, float]]:
    """The mean over seeds at the epochs that all seeds have."""
    losses = [dict(points) for points in by_seed.values()]
    common = sorted(set.intersection(*(set(points) for points in losses)))
    return [(epoch, float(np.mean([points[epoch] for points in losses]))) for epoch in common]


def draw_popularity(counts: Mapping[str, np.ndarray]) -> bytes:
    """Figure 4: interactions of each user, item, …, descending, by rank, on linear and on log scales."""
    figure, panels = blank_figure(1, 2, (10.0, 4.0))
    for axes, scale in zip(panels, ("linear", "log"), strict=True):
        for place, (name, values) in enumerate(counts.items()):
            shown = values[values > 0]
            axes.plot(np.arange(1, len(shown) + 1), shown, label=name, color=COLOURS[place], linewidth=1.8)
        axes.set_xscale(scale)
        axes.set_yscale(scale)
        if scale == "linear":
            axes.set_xlim(left=0)
            axes.set_ylim(bottom=0)
        describe(axes, "", f"rank, most frequent first ({scale} scale)", f"interactions ({scale} scale)")
    figure.tight_layout()
    return to_png(figure)


def draw_sizes(panels: Sequence[tuple[str, Measure, Sequence[SizeCurve]]]) -> bytes:
    """Figure 6: quality against size, a panel with its title, measure and lines for each recommender."""
    columns = min(len(panels), 2)
    rows = -(-len(panels) // columns)
    figure, axes_of_panels = blank_figure(rows, columns, (6.4 * columns, 4.6 * rows))
    for axes, (title, measure, curves) in zip(axes_of_panels, panels, strict=False):
        _draw_size_panel(axes, title, measure, curves)
    free = axes_of_panels[len(panels) :]
    for axes in free:
        axes.set_axis_off()
    if free:  # room for one legend for all
        entries = legend_entries(axes_of_panels[: len(panels)])
        free[0].legend(list(entries.values()), list(entries), frameon=False, fontsize=11, loc="center")
    else:
        for axes in axes_of_panels:
            axes.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    return to_png(figure)


def draw_losses(panels: Sequence[tuple[str, Mapping[str, LossCurves]]]) -> bytes:
    """Figure 7: training loss over epochs, mean over seeds and each seed thin, a panel for each recommender."""
    figure, axes_of_panels = blank_figure(1, len(panels), (4.6 * len(panels), 4.0))
    for axes, (title, curves) in zip(axes_of_panels, panels, strict=True):
        for method, by_seed in curves.items():
            colour = _STYLES[method]["color"]
            for points in by_seed.values():
                axes.plot(*zip(*points, strict=True), color=colour, linewidth=0.7, alpha=0.45)
            epochs, means = zip(*mean_loss(by_seed), strict=True)
            # Dashed on top, since the lines of the paper's claim lie on each other.
            style = {"color": colour, "linewidth": 2.2, "linestyle": "-" if method == "full" else (0, (4, 3))}
            marker = "o" if len(epochs) <= _FEW_EPOCHS else ""
            label = f"{method}, {len(by_seed)} seed{'s' if len(by_seed) > 1 else ''}"
            axes.plot(epochs, means, marker=marker, markersize=4, label=label, **style)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        describe(axes, title, "epoch", "training loss")
    figure.tight_layout()
    return to_png(figure)


def draw_similarities(similarities: Sequence[Similarity]) -> bytes:
    """Figure 8: codes that films of two genres share; the colour is relative to the mean between genres."""
    figure, panels = blank_figure(1, len(similarities), (4.9 * len(similarities) + 0.6, 4.4))
    relative = [_over_between(each.matrix) for each in similarities]
    low, high = min(values.min() for values in relative), max(values.max() for values in relative)
    image = None
    for axes, each, values in zip(panels, similarities, relative, strict=True):
        image = axes.imshow(values, cmap="Blues", vmin=low, vmax=high)
        for (row, column), count in np.ndenumerate(each.matrix):
            dark = values[row, column] > (low + high) / 2
            axes.text(column, row, f"{count:.2f}", ha="center", va="center", color="white" if dark else "black")
        axes.set_xticks(range(len(GENRES)), GENRES)
        axes.set_yticks(range(len(GENRES)), GENRES)
        axes.tick_params(length=0)
        axes.grid(False)
        axes.spines[:].set_visible(False)
        title = f"{each.label}: equal codes of {each.num_codes}\ncontrast {each.contrast:+.2f}"
        axes.set_title(f"{title} ({100 * each.relative_contrast:+.1f} %)", loc="left", fontsize=10)
    figure.tight_layout(rect=(0, 0, 0.93, 1))
    if image is not None:
        bar = figure.colorbar(image, ax=panels, fraction=0.03, pad=0.02)
        bar.set_label("over the mean between genres", fontsize=_SMALL)
        bar.ax.tick_params(labelsize=_SMALL)
    return to_png(figure)


def _draw_size_panel(axes: Axes, title: str, measure: Measure, curves: Sequence[SizeCurve]) -> None:
    for method, label, points in curves:
        sizes, quality = zip(*points, strict=True)
        means, spread = [each.mean for each in quality], [each.std or 0.0 for each in quality]
        style = {"markersize": 6, "capsize": 2.5, "linewidth": 1.3, **_STYLES[method]}
        axes.errorbar(sizes, means, yerr=spread, label=label, **style)
    every = [point for *_, points in curves for point in points]
    size_axis(axes, 0.8 * min(size for size, _ in every), 1.25 * max(size for size, _ in every))
    if measure.lower_is_better:
        _leave_out_the_worst(axes, measure, every)
    axes.set_ylabel(f"{measure.name} on the test part{measure.unit}")
    axes.set_title(title, loc="left", fontsize=10)


def _leave_out_the_worst(axes: Axes, measure: Measure, points: Sequence[tuple[float, Estimate]]) -> None:
    """Cuts errors off that would press all others together, and says at the edge what they are."""
    best = min(each.mean for _, each in points)
    if max(each.mean for _, each in points) <= _MOST_ERROR * best:
        return
    ends = [each.mean + sign * (each.std or 0.0) for _, each in points for sign in (-1, 1)]
    shown = [error for error in ends if error <= _MOST_ERROR * best]
    pad = 0.08 * (max(shown) - min(shown)) or 0.01 * best
    axes.set_ylim(min(shown) - pad, max(shown) + 2 * pad)
    edge: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "fontsize": 8, "ha": "left", "va": "top"}
    for size, each in points:
        if each.mean > _MOST_ERROR * best:
            axes.annotate(f"{measure.name} {each.mean:.1f} ↑", (size, 0.97), **edge)


def _over_between(matrix: np.ndarray) -> np.ndarray:
    return matrix / matrix[~np.eye(len(matrix), dtype=bool)].mean()
