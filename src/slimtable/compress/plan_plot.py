"""The plot of a plan: size against method."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from slimtable.compress.plan import Plan, method_of_candidate
from slimtable.reporting.figures import COLOURS, MARKERS, blank_figure, mark

_RATIOS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256)
_ROW_INCHES, _FRAME_INCHES, _WIDTH_INCHES = 0.34, 1.5, 8.5


def plot_plan(plan: Plan) -> Figure:
    """Draws the size of every candidate, a line per method, methods that reach the smallest size last.

    Args:
        plan: the plan; needs at least one candidate.

    Returns:
        The figure.

    Raises:
        ValueError: the plan has no candidate.
    """
    if not plan.candidates:
        raise ValueError("There is nothing to plot: the plan has no candidate.")
    sizes: dict[str, list[float]] = {}
    for candidate in plan.candidates:
        sizes.setdefault(method_of_candidate(candidate), []).append(plan.bits_per_value(candidate))
    order = sorted(sizes, key=lambda method: (-min(sizes[method]), method))
    figure, (axes,) = blank_figure(1, 1, (_WIDTH_INCHES, _FRAME_INCHES + _ROW_INCHES * len(order)))
    for row, method in enumerate(order):
        axes.plot(
            sizes[method],
            [row] * len(sizes[method]),
            color=COLOURS[row % len(COLOURS)],
            marker=MARKERS[row % len(MARKERS)],
            markersize=5,
            linewidth=1.0,
        )
    everything = [bits for each in sizes.values() for bits in each]
    axes.set_xscale("log")
    axes.set_xlim(max(everything) * 1.25, min(everything) / 1.25)  # smaller to the right
    mark(axes.xaxis, (32, 16, 8, 4, 3, 2, 1, 0.5, 0.25, 0.125, 0.0625), "{:g}")
    axes.set_xlabel("bits per dimension, all bytes counted (log scale)")
    axes.set_yticks(range(len(order)), order)
    axes.set_ylim(len(order) - 0.5, -0.5)
    top = axes.secondary_xaxis("top", functions=(_inverted, _inverted))
    ratios = [ratio for ratio in _RATIOS if min(everything) / 1.25 <= 32 / ratio <= max(everything) * 1.25]
    top.set_xticks(ratios, [f"{ratio:g}×" for ratio in ratios])
    top.minorticks_off()
    top.set_xlabel("times smaller than float32")
    axes.set_title(f"Sizes of {plan.title()}", loc="left", fontsize=10)
    figure.tight_layout()
    return figure


def _inverted(values: Any) -> Any:
    """Times smaller from bits per dimension, and back."""
    return 32.0 / np.maximum(values, 1e-9)
