"""Pictures of the comparison of codecs: what is kept against bits a row."""

from __future__ import annotations

from matplotlib.axes import Axes

from slimtable.reporting.figures import COLOURS, MARKERS, blank_figure, describe, legend_entries, mark, to_png
from studies.codecs.cells import Cells
from studies.codecs.experiments import RATES, Entry, Panel, Side, entries

_LOWEST, _HIGHEST = 50.0, 103.0
_TITLES = {"items": "items alone", "both": "items and users"}


def draw_kept(cells: Cells, panel: Panel) -> bytes | None:
    """Recall@20 kept against bits a row, a pane for each side; None where nothing is finished."""
    sides = [
        side for side in panel.sides if any(key[:2] == (panel.name, side) and not c["why"] for key, c in cells.items())
    ]
    if not sides:
        return None
    figure, panes = blank_figure(1, len(sides), (7.4 * len(sides), 5.4))
    for axes, side in zip(panes, sides, strict=True):
        for place, entry in enumerate(entries()):
            _draw_line(axes, cells, panel, side, entry, place)
        axes.axhline(100, color="#555555", linewidth=1)
        axes.set_xscale("log")
        axes.set_ylim(_LOWEST, _HIGHEST)
        mark(axes.xaxis, RATES, "{:g}")
        describe(
            axes, f"{panel.title}, {_TITLES[side]}", "bits a row, everything counted (log scale)",
            "% of Recall@20 kept", legend_size=0,
        )  # fmt: skip
    entries_ = legend_entries(panes)
    panes[-1].legend(
        entries_.values(), entries_.keys(), frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1.0)
    )
    figure.tight_layout()
    return to_png(figure)


def _draw_line(axes: Axes, cells: Cells, panel: Panel, side: Side, entry: Entry, place: int) -> None:
    points = {
        cell["bits"] / cell["rows"]: cell["recall"]
        for rate in panel.rates
        if (cell := cells.get((panel.name, side, entry.name, rate))) and not cell["why"]
    }
    if not points:
        return
    bits = sorted(points)
    axes.errorbar(
        bits,
        [points[each][0] for each in bits],
        yerr=[points[each][1] for each in bits],
        color=COLOURS[place % len(COLOURS)],
        marker=MARKERS[place // len(COLOURS) % len(MARKERS)] if entry.ours else "x",
        linestyle="-" if entry.ours else ":",
        linewidth=1.8 if entry.ours else 1.2,
        markersize=4.5,
        capsize=2,
        label=entry.name,
    )
