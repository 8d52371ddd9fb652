"""Plots: quality against size, and validation quality over epochs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from slimtable.bench.columns import title
from slimtable.bench.table import Row, Section
from slimtable.reporting.figures import COLOURS, MARKERS, blank_figure, size_axis, to_png


def quality_vs_size(sections: Sequence[Section]) -> bytes:
    """Quality after the last epoch against size, a panel per section.

    Args:
        sections: what to plot.

    Returns:
        A PNG file.
    """
    figure, panels = _figure(len(sections))
    for section, axes in zip(sections, panels, strict=True):
        _draw_sizes(section, axes)
    figure.tight_layout()
    for section, axes in zip(sections, panels, strict=True):
        _place_labels(figure, axes, [row for row in section.rows if not row.is_full])
    return to_png(figure)


def learning_curves(sections: Sequence[Section]) -> bytes | None:
    """Quality on the validation part over epochs, a panel per section.

    Args:
        sections: what to plot.

    Returns:
        A PNG file; None if no run was validated.
    """
    sections = [section for section in sections if any(row.curve for row in section.rows)]
    if not sections:
        return None
    figure, panels = _figure(len(sections))
    for section, axes in zip(sections, panels, strict=True):
        _draw_curves(section, axes)
    figure.tight_layout()
    return to_png(figure)


def _figure(num_panels: int) -> tuple[Figure, list[Axes]]:
    return blank_figure(num_panels, 1, (8.0, 5.0 * num_panels))


def _style(section: Section, row: Row) -> dict[str, Any]:
    """Colour and marker of a row's method; the uncompressed table is grey."""
    if row.is_full:
        return {"color": "#555555", "marker": "*"}
    methods = sorted({other.method for other in section.rows if not other.is_full})
    place = methods.index(row.method)
    return {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}


def _draw_sizes(section: Section, axes: Axes) -> None:
    for row in section.rows:
        quality = row.quality
        style = _style(section, row)
        if row.is_full:
            spread = quality.std or 0.0
            axes.axhspan(quality.mean - spread, quality.mean + spread, color="#555555", alpha=0.12, linewidth=0)
            axes.axhline(quality.mean, color="#555555", linewidth=1.0, linestyle="--", zorder=1)
            axes.annotate(
                row.label,
                (0.0, quality.mean),
                xycoords=("axes fraction", "data"),
                xytext=(4, 3),
                textcoords="offset points",
                fontsize=8,
                color="#555555",
            )
        else:
            axes.errorbar(
                row.size_percent, quality.mean, yerr=quality.std, markersize=6, capsize=3, linewidth=1.0, **style
            )
    sizes = [row.size_percent for row in section.rows]
    size_axis(axes, 0.75 * min(sizes), 1.35 * max(sizes))
    axes.margins(y=0.15)
    measure = section.measures[0]
    axes.set_ylabel(f"{measure.name} on the test part{measure.unit}")
    axes.set_title(title(section), loc="left", fontsize=11)


def _place_labels(figure: Figure, axes: Axes, rows: Sequence[Row]) -> None:
    """Writes the label of each row beside its point, at the nearest free place."""
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    places = [axes.transData.transform((row.size_percent, row.quality.mean)) for row in rows]
    taken = [text.get_window_extent(renderer).padded(3) for text in axes.texts]
    taken += [line.get_window_extent(renderer).padded(4) for line in axes.lines]
    for row, (x, y) in zip(rows, places, strict=True):
        quality = row.quality
        top = axes.transData.transform((row.size_percent, quality.mean + (quality.std or 0.0)))[1]
        taken.append(Bbox.from_extents(x - 10, 2 * y - top - 10, x + 10, top + 10))
    for row, (x, y) in zip(rows, places, strict=True):
        text = axes.text(0, 0, row.label.replace("[", "\n").rstrip("]").replace(";", "\n"), fontsize=8)
        size = text.get_window_extent(renderer)
        text.remove()
        box = free_box(x, y, size.width, size.height, axes.bbox, taken)
        near = min(abs(box.x0 - x), abs(box.x1 - x), abs(box.y0 - y), abs(box.y1 - y)) < 40
        axes.annotate(
            text.get_text(),
            (x, y),
            xycoords="figure pixels",
            xytext=(box.x0, box.y0),
            textcoords="figure pixels",
            fontsize=8,
            arrowprops=None if near else {"arrowstyle": "-", "color": "#999999", "linewidth": 0.6, "shrinkB": 4},
        )
        taken.append(box)


def free_box(x: float, y: float, width: float, height: float, frame: Bbox, taken: Sequence[Bbox]) -> Bbox:
    """A box of the given size near (x, y), in pixels, inside the frame and without overlaps if possible."""
    for distance in range(16, 400, 12):
        for right, up in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1)):
            left = x + right * distance - width * (1 - right) / 2
            bottom = y + up * distance - height * (1 - up) / 2
            box = Bbox.from_bounds(left, bottom, width, height)
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            if inside and not any(box.overlaps(other) for other in taken):
                return box
    return Bbox.from_bounds(x + 16, y - height / 2, width, height)


def _draw_curves(section: Section, axes: Axes) -> None:
    measure = section.measures[0]
    drawn = [row for row in section.rows if row.curve]
    for place, row in enumerate(drawn):
        style = _style(section, row)
        siblings = [other for other in drawn[:place] if other.method == row.method]
        epochs = [epoch for epoch, _ in row.curve]
        quality = [metrics[measure.metric] for _, metrics in row.curve]
        means = [estimate.mean for estimate in quality]
        spread = [estimate.std or 0.0 for estimate in quality]
        axes.plot(
            epochs,
            means,
            label=row.label,
            color=style["color"],
            marker=style["marker"],
            markersize=4,
            linewidth=1.4,
            linestyle=("-", "--", ":", "-.")[len(siblings) % 4],
        )
        low = [mean - std for mean, std in zip(means, spread, strict=True)]
        high = [mean + std for mean, std in zip(means, spread, strict=True)]
        axes.fill_between(epochs, low, high, color=style["color"], alpha=0.12, linewidth=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel(f"{measure.name} on the validation part{measure.unit}")
    axes.set_title(title(section), loc="left", fontsize=11)
    axes.legend(fontsize=8, frameon=False, loc="best")
