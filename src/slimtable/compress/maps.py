"""Two-dimensional maps of rows: the original table beside the compressed one, with the same colours."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from slimtable.reporting.figures import COLOURS, blank_figure

MAP_ROWS = 600
"""Rows that are drawn."""

_NEIGHBOURS_ROWS = 20  # fewer rows have no map of neighbours
_PERPLEXITY = 30.0
_STEPS = 500  # later ones hardly move a row


def draw_maps(original: np.ndarray, compressed: np.ndarray, seed: int = 0) -> Figure:
    """Draws rows before and after compression: their principal components above, a map of neighbours (t-SNE) below.

    Both pictures of a line have the same axes: components are those of the original rows, and t-SNE arranges the rows
    of both tables together. Colours are clusters of the original rows.

    Args:
        original: float (n, d) rows of the uncompressed table.
        compressed: float (n, d) the same rows of the compressed one.
        seed: seed of clusters and t-SNE.

    Returns:
        The figure; its lower line is missing if there are too few rows for it.

    Raises:
        ValueError: the shapes differ, or there are fewer than two rows.
    """
    if original.shape != compressed.shape or original.ndim != 2 or len(original) < 2:
        raise ValueError(f"Maps need the same two or more rows twice, got {original.shape} and {compressed.shape}.")
    colours = _clusters(original, seed)
    pictures = [("principal components", _components(original, compressed))]
    if len(original) >= _NEIGHBOURS_ROWS:
        pictures.append(("t-SNE", _neighbours(original, compressed, seed)))
    figure, panels = blank_figure(len(pictures), 2, (9.0, 4.3 * len(pictures)))
    for line, (what, places) in enumerate(pictures):
        for side, name in enumerate(("uncompressed", "compressed")):
            axes = panels[2 * line + side]
            axes.scatter(places[side][:, 0], places[side][:, 1], c=colours, s=7, alpha=0.7, linewidths=0)
            axes.set_title(f"{name}, {what}", loc="left", fontsize=10)
            _frame(axes, np.concatenate(places))
    figure.tight_layout()
    return figure


def _frame(axes: Axes, places: np.ndarray) -> None:
    """The same limits for both pictures of a line; distances have no unit, so there are no ticks."""
    low, high = places.min(axis=0), places.max(axis=0)
    margin = 0.04 * np.maximum(high - low, 1e-9)
    axes.set_xlim(low[0] - margin[0], high[0] + margin[0])
    axes.set_ylim(low[1] - margin[1], high[1] + margin[1])
    axes.set_xticks([])
    axes.set_yticks([])


def _components(original: np.ndarray, compressed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both tables (n, 2) in the plane of the first two principal components of the original rows."""
    middle = original.mean(axis=0)
    _, _, directions = np.linalg.svd((original - middle).astype(np.float64), full_matrices=False)
    plane = np.zeros((original.shape[1], 2))
    plane[:, : min(2, len(directions))] = directions[:2].T
    signs = np.sign(plane[np.abs(plane).argmax(axis=0), [0, 1]])  # a component has no sign of its own
    plane *= np.where(signs == 0, 1, signs)
    return (original - middle) @ plane, (compressed - middle) @ plane


def _neighbours(original: np.ndarray, compressed: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Both tables (n, 2), arranged together by t-SNE."""
    from sklearn.manifold import TSNE

    both = np.concatenate([original, compressed]).astype(np.float64)
    both = (both - both.mean(axis=0)) / max(float(both.std()), 1e-12)
    perplexity = min(_PERPLEXITY, (len(both) - 1) / 3)
    start = np.concatenate(_components(original, compressed))
    start = 1e-4 * start / max(float(start[:, 0].std()), 1e-12)
    model = TSNE(2, perplexity=perplexity, init=start, max_iter=_STEPS, random_state=seed, n_jobs=1)
    places = model.fit_transform(both)
    return places[: len(original)], places[len(original) :]


def _clusters(rows: np.ndarray, seed: int) -> list[str]:
    """The colour of each row: that of its cluster."""
    from sklearn.cluster import KMeans

    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    directions = rows / np.where(lengths > 0, lengths, 1.0)
    count = min(len(COLOURS) - 1, len(np.unique(directions, axis=0)))
    found = KMeans(count, n_init=1, random_state=seed).fit_predict(directions)
    return [COLOURS[label] for label in found]
