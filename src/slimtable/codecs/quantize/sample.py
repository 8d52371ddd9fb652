"""The sample that k-means runs on, and its starting centroids."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np

from slimtable.codecs.quantize import kernels
from slimtable.codecs.quantize.centroid_index import CentroidIndex, Sums
from slimtable.codecs.vectors import Vectors

Sampling = Literal["proportional", "head", "uniform"]

_PARTS_OF_STARTS = 3  # two are a little worse, six no better


def draw(
    weights: np.ndarray, count: int, how: Sampling, head: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draws the sample that k-means runs on.

    "proportional" takes vector i with probability ``min(1, weight_i / τ)`` at even steps of the running sum, with
    weight ``max(weight_i, τ)``, so that weighted sums over the sample are unbiased: all frequent vectors are in it
    with their own weight, and some of the rare ones represent the others. "head" takes only the most frequent vectors,
    which cover a share of the weight; "uniform" takes any.

    Args:
        weights: float32 (n,), not negative.
        count: maximum number of vectors.
        how: "proportional", "head" or "uniform".
        head: share of the total weight that "head" covers.
        generator: random generator.

    Returns:
        Ids in ascending order, int64 (s,), and their weights, float32 (s,).
    """
    if how == "head":
        order = np.argsort(-weights, kind="stable")
        carried = np.cumsum(weights[order], dtype=np.float64)
        needed = int(np.searchsorted(carried, head * carried[-1])) + 1
        ids = np.sort(order[: min(needed, count)])
        return ids, weights[ids]
    if how == "uniform":
        if count >= len(weights):
            return np.arange(len(weights)), weights
        ids = np.sort(generator.choice(len(weights), count, replace=False))
        return ids, weights[ids]
    tau = kernels.threshold(weights, float(count)) if count < len(weights) else 0.0
    chosen = np.empty(min(count, len(weights)), np.int64)
    start = float(generator.random()) if tau > 0 else 0.0
    ids = chosen[: kernels.systematic(weights, tau, start, chosen)]
    return ids, np.maximum(weights[ids], np.float32(tau))


def starts(
    vectors: Vectors, weights: np.ndarray, count: int, generator: np.random.Generator, threads: int
) -> np.ndarray:
    """Indices of distinct vectors to start k-means from, int64 (K,).

    A third is drawn in proportion to weight, then two more in proportion to what vectors add to the distortion so
    far, as in k-means‖ (Bahmani et al. 2012): about as good as k-means++, at the cost of one Lloyd round.
    """
    edges = [count * part // _PARTS_OF_STARTS for part in range(_PARTS_OF_STARTS + 1)]
    chosen = np.empty(count, np.int64)
    costs, rows = weights.copy(), np.empty(len(vectors), np.int32)
    for first, last in pairwise(edges):
        if first:
            centroids = vectors.take(chosen[:first])
            CentroidIndex.quick(centroids, generator, threads, len(vectors)).assign(
                vectors, weights, rows, threads=threads
            )
            costs = costs_of(vectors, weights, rows, centroids)
            costs[chosen[:first]] = 0.0
        chosen[first:last] = _different(costs, chosen[:first], last - first, generator)
    return chosen


def costs_of(vectors: Vectors, weights: np.ndarray, rows: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Weight times squared distance of each vector to its centroid, float32 (n,)."""
    costs = np.empty(len(vectors), np.float32)
    for first, block in vectors.blocks():
        part = slice(first, first + len(block))
        residuals = block - centroids[rows[part]]
        costs[part] = np.einsum("nd,nd->n", residuals, residuals) * weights[part]
    return costs


def _different(weights: np.ndarray, taken: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Distinct ids (count,), drawn in proportion to weights; any others if too few have a weight."""
    ids = np.empty(count, np.int64)
    tau = kernels.threshold(weights, float(count))
    found = kernels.systematic(weights, tau, float(generator.random()) if tau > 0 else 0.0, ids)
    if found < count:
        free = np.ones(len(weights), bool)
        free[ids[:found]] = False
        free[taken] = False
        ids[found:] = np.flatnonzero(free)[: count - found]
    return ids


def fill_empty(
    found: Sums, centroids: np.ndarray, vectors: Vectors, weights: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Weighted means; clusters without weight move onto the vectors that add most to the distortion."""
    means = found.means(centroids)
    empty = np.flatnonzero(found.masses == 0)
    if len(empty):
        costs = costs_of(vectors, weights, rows, centroids)
        worst = np.argpartition(costs, len(costs) - len(empty))[len(costs) - len(empty) :]
        means[empty] = vectors.take(worst)
    return means
