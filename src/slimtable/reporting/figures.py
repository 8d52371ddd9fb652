"""Figures in a common style, drawn without a display."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

# Okabe and Ito's colours, suitable for colour-blind readers; markers help in print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX"
SIZE_TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 50, 100, 200, 500)
DPI = 160


def blank_figure(rows: int, columns: int, inches: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """A figure and its subplots, row by row."""
    figure = Figure(figsize=inches, dpi=DPI)
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(True, color="#e6e6e6", linewidth=0.8)
        axes.set_axisbelow(True)
    return figure, panels


def size_axis(axes: Axes, low: float, high: float) -> None:
    """Formats the horizontal axis as sizes in percent, from ``low`` to ``high``, on a log scale."""
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    mark(axes.xaxis, SIZE_TICKS, "{:g} %")
    axes.set_xlabel("size of the model, in percent of uncompressed (log scale)")


def mark(axis: Axis, ticks: Sequence[float], text: str) -> None:
    """Sets the ticks of an axis that are within its limits, with labels formatted by ``text``."""
    low, high = sorted(axis.get_view_interval())
    axis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda tick, _: text.format(tick)))


def describe(axes: Axes, title: str, x: str = "", y: str = "", *, title_size: int = 10, legend_size: int = 9) -> None:
    """Sets the title, the axis labels and a legend; ``legend_size`` 0 for no legend."""
    axes.set_title(title, loc="left", fontsize=title_size)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if legend_size:
        axes.legend(frameon=False, fontsize=legend_size)


def legend_entries(panels: Sequence[Axes]) -> dict[str, Any]:
    """The entries of the legends of several panels: each label once, with its first handle."""
    entries: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    return entries


def to_svg(figure: Figure) -> bytes:
    """The SVG file of a figure, with text as text; the same for equal figures."""
    content = io.BytesIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "slimtable"}):
        figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()


def to_png(figure: Figure) -> bytes:
    """The PNG file of a figure."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DPI)
    return content.getvalue()
