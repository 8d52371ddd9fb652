"""Figures of report cards: the bytes of a file, and the frontier of the candidates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from slimtable.artifact.ledger import KINDS
from slimtable.reporting.figures import COLOURS, blank_figure, legend_entries, mark

_SMALL = 0.03  # share of a bar from which its part is labelled
_ALIKE = 1.3  # candidates whose sizes differ less are drawn by bytes
_GREYS = ("#555555", "#999999", "#bbbbbb")
_RATIOS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024)


def draw_ledger(facts: Mapping[str, Any]) -> Figure:
    """The bytes of a file as one bar per table and one for the rest, by purpose.

    Args:
        facts: the figures of a card.
    """
    sizes: dict[str, dict[str, float]] = {name: {} for name in [*facts["tables"], ""]}
    for entry in facts["ledger"]:
        sizes[entry["table"]][entry["kind"]] = entry["bytes"]
    owners = [name for name in sizes if sizes[name]]
    figure, (axes,) = blank_figure(1, 1, (8.5, 1.3 + 0.45 * len(owners)))
    widest = max(sum(each.values()) for each in sizes.values())
    seen = set()
    for row, owner in enumerate(owners):
        left = 0.0
        for kind, colour in zip(KINDS, (*COLOURS[:6], *_GREYS), strict=True):
            count = sizes[owner].get(kind, 0.0)
            if not count:
                continue
            label = kind if kind not in seen else None
            seen.add(kind)
            axes.barh(row, count, left=left, color=colour, height=0.62, label=label)
            if count >= _SMALL * widest:
                text = f"{100 * count / facts['file_bytes']:.0f} %"
                axes.text(left + count / 2, row, text, ha="center", va="center", fontsize=8, color="white")
            left += count
    axes.set_yticks(range(len(owners)), [owner or "rest" for owner in owners])
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.set_xlabel("bytes; labels are shares of the file")
    entries = legend_entries([axes])
    shown = [kind for kind in KINDS if kind in entries]
    handles = [entries[kind] for kind in shown]
    figure.legend(handles, shown, loc="upper center", ncols=len(shown), frameon=False, fontsize=8, columnspacing=1.0)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.25 / figure.get_figheight()))
    return figure


def draw_frontier(facts: Mapping[str, Any]) -> Figure | None:
    """The first measure of every judged candidate against its size, with intervals; None if none was judged.

    Args:
        facts: the figures of a card.
    """
    judged = [candidate for candidate in facts["result"]["candidates"] if candidate["kept"]]
    if not judged:
        return None
    measure = next(iter(judged[0]["kept"]))
    figure, (axes,) = blank_figure(1, 1, (8.5, 4.4))
    sizes = [candidate["bytes"] for candidate in judged]
    alike = max(sizes) < _ALIKE * min(sizes)
    places = sizes if alike else [facts["float32_bytes"] / size for size in sizes]
    for candidate, place in zip(judged, places, strict=True):
        kept, chosen = candidate["kept"][measure], candidate["chosen"]
        share, low, high = (100 * kept[name] for name in ("share", "low", "high"))
        axes.errorbar(
            place,
            share,
            yerr=[[max(0.0, share - low)], [max(0.0, high - share)]],
            color=COLOURS[1] if chosen else COLOURS[0],
            marker="*" if chosen else "o",
            markersize=13 if chosen else 6,
            capsize=3,
            linewidth=1.0,
            zorder=3 if chosen else 2,
        )
        number = 1 + facts["result"]["candidates"].index(candidate)
        text = f"{number}, chosen" if chosen else str(number)
        axes.annotate(text, (place, share), xytext=(9, 7), textcoords="offset points", fontsize=9)
    axes.axhline(100, color="#555555", linewidth=1.0, linestyle="--", zorder=1)
    axes.margins(x=0.1, y=0.15)
    if alike:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set_xlabel("bytes; numbers are those of the table of candidates")
    else:
        axes.set_xscale("log")
        axes.set_xlim(min(places) / 1.15, max(places) * 1.2)
        mark(axes.xaxis, _RATIOS, "{:g}×")
        axes.set_xlabel("times smaller than float32 (log scale); numbers are those of the table of candidates")
    axes.set_ylabel(f"{measure} kept, in %, with its 95 % interval")
    figure.tight_layout()
    return figure
