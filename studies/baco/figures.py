"""The pictures of the BACO paper, drawn from our runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from slimtable.bench.table import Estimate
from slimtable.reporting.figures import COLOURS, MARKERS, blank_figure, describe, mark, to_png
from studies.baco.clusters import Clusters

_STYLES: dict[str, dict[str, Any]] = {
    "Full": {"color": "#555555", "marker": "*"},
    "BACO": {"color": COLOURS[1], "marker": MARKERS[3]},
    "GraphHash": {"color": COLOURS[0], "marker": MARKERS[0]},
    "Leiden": {"color": COLOURS[2], "marker": MARKERS[1]},
    "BACO, preset best": {"color": COLOURS[3], "marker": MARKERS[3]},
}
_DASHES = {"Leiden": (0, (4, 3))}
_TICKS = tuple(digit * 10**power for power in (-1, 0, 1, 2, 3, 4, 5) for digit in (1, 3))
_SMALL = 9  # points


def draw_quartiles(lines: Mapping[str, Sequence[Estimate]], title: str, quality: str) -> bytes:
    """Quality by quarter of the users, least active first, by method."""
    figure, (axes,) = blank_figure(1, 1, (6.4, 4.4))
    quarters = np.arange(4)
    for place, (name, estimates) in enumerate(lines.items()):
        shifted = quarters + 0.06 * (place - (len(lines) - 1) / 2)  # so that bars of spread do not hide each other
        means = [each.mean for each in estimates]
        spread = [each.std or 0.0 for each in estimates]
        axes.errorbar(shifted, means, yerr=spread, label=name, capsize=2.5, linewidth=1.3, **_STYLES[name])
    axes.set_xticks(quarters, ["0–25 %", "25–50 %", "50–75 %", "75–100 %"])
    axes.set_ylim(bottom=0)
    describe(axes, title, "users by training interactions, least active first", quality, title_size=11)
    figure.tight_layout()
    return to_png(figure)


def draw_sizes(
    lines: Mapping[str, Sequence[tuple[float, Estimate]]], full: Estimate | None, title: str, quality: str
) -> bytes:
    """Quality against the number of rows in percent of users and items, by method; that of full tables as a level."""
    figure, (axes,) = blank_figure(1, 1, (6.4, 4.4))
    if full is not None:
        axes.axhline(full.mean, color="#555555", linewidth=1.0, linestyle="--", label="Full")
    for name, points in lines.items():
        shares, estimates = [point[0] for point in points], [point[1] for point in points]
        means = [each.mean for each in estimates]
        axes.plot(shares, means, label=name, linewidth=1.3, **_STYLES[name])
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    describe(axes, title, "rows, in percent of users and items", quality, title_size=11, legend_size=0)
    axes.legend(frameon=False, fontsize=_SMALL, loc="lower right")
    figure.tight_layout()
    return to_png(figure)


def draw_clusters(data: Mapping[str, Mapping[str, Mapping[str, Clusters]]]) -> bytes:
    """How many clusters are how large, and how large those of nodes of some degree are: by data, grouping and side."""
    shown = [(title, clusters, side) for title, clusters in data.items() for side in ("users", "items")]
    figure, panels = blank_figure(len(shown), 2, (10.4, 3.8 * len(shown)))
    for row, (title, clusters, side) in enumerate(shown):
        spread, by_degree = panels[2 * row], panels[2 * row + 1]
        for name, of_sides in clusters.items():
            found, style = of_sides[side], {**_STYLES[name], "linewidth": 1.6}
            counts = np.asarray(found.counts)
            at_least = 100 * np.cumsum(counts[::-1])[::-1] / counts.sum()
            dashes = _DASHES.get(name, "-")  # since Leiden lies on Louvain
            at_most = {"color": style["color"], "linewidth": 1.6, "linestyle": dashes}
            spread.step(found.sizes, at_least, where="pre", label=name, **at_most)
            by_degree.plot(found.degrees, found.size_by_degree, label=name, markersize=5, linestyle=dashes, **style)
        named = f"{side.capitalize()} of {title}"
        ranges = f"training interactions of {side}, at least, and below twice as many"
        for axes, x, y in (
            (spread, f"{side} of a cluster, at least", "clusters, %"),
            (by_degree, ranges, f"{side} of their clusters, geometric mean"),
        ):
            axes.set_xscale("log")
            axes.set_yscale("log")
            describe(axes, named, x, y)
            for axis in (axes.xaxis, axes.yaxis):
                mark(axis, _TICKS, "{:,g}")
    figure.tight_layout()
    return to_png(figure)
