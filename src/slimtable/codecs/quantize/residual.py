"""Residual quantization in several stages: codes by beam search, centroids of all stages by joint least squares."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from slimtable.codecs.quantize import beam as kernels
from slimtable.codecs.quantize.centroid_index import add_up, summed, usable_threads
from slimtable.codecs.quantize.clustering import Clustering, checked
from slimtable.codecs.quantize.fast_kmeans import fast_kmeans
from slimtable.codecs.quantize.sample import Sampling, draw
from slimtable.codecs.vectors import Vectors, as_vectors

ROUNDS = 6  # on the sample; twice as many reduce the error by a few per cent more
_MAX_CANDIDATES = 1 << 37  # sums that the last pass may compute: a minute or two
_MAX_CANDIDATES_OF_ROUNDS = 1 << 35  # sums that all rounds together may compute
_MAX_ROWS = 1 << 13  # of all stages; their inner products, which the search keeps, take 256 MB
_MIN_SAMPLE, _PER_ROW = 1 << 14, 32  # vectors of the sample: at least, and for each row of all stages
_STEPS = 12  # of conjugate gradients in each round, started from the rows of the previous round
_BLOCK = 1 << 11  # vectors per thread at a time
_NO_VECTORS = np.empty((0, 0), np.float32)

Serve = Callable[[int, np.ndarray], np.ndarray]
"""From a stage and its centroids (K, d) to these centroids as stored, rounded to few bits."""


@dataclass(frozen=True, eq=False)
class Stages:
    """Centroids of several stages; a vector is approximated by the sum of one of each.

    Attributes:
        centroids: float32 (K_l, d) of each stage; the first is the default row, if there is one.
        codes: int32 (n, L) centroid of each vector in each stage.
    """

    centroids: list[np.ndarray]
    codes: np.ndarray


def cluster_stages(
    vectors: np.ndarray | Vectors,
    sizes: Sequence[int],
    frequencies: np.ndarray | None = None,
    *,
    sample: Sampling = "proportional",
    iterations: int = 8,
    min_frequency: float = 0,
    beam: int = 16,
    seed: int = 0,
    previous: Sequence[Clustering] = (),
    hysteresis: float = 0.0,
    serve: Serve | None = None,
    threads: int | None = None,
) -> Stages:
    """Clusters vectors, then their residuals, and so on; then improves all stages together.

    Each stage starts as a clustering of the residuals of those before it (:func:`fast_kmeans`), and
    :func:`refine_stages` continues from there, unless that would be too much work (:func:`affordable_beam`).

    Args:
        vectors: float32 (n, d), in memory, or read a block at a time.
        sizes: number of centroids of each stage, including default rows.
        frequencies: (n,) weight of each vector; None for equal weights.
        sample: how the sample is drawn, as in :func:`fast_kmeans`.
        iterations: Lloyd rounds of each stage.
        min_frequency: vectors with a lower frequency get a default row, their mean, and zeros in further stages.
        beam: number of sums that the search keeps from stage to stage; 1 leaves stages as found one by one.
        seed: seed of all random draws.
        previous: clustering of every stage of an earlier table; empty for none.
        hysteresis: a vector moves to another sum only if that reduces its squared distance by more than this fraction.
        serve: rounds the centroids before vectors are assigned for the last time; None for no rounding.
        threads: number of threads; None for all cores that the process may use.

    Returns:
        The stages; equal for any number of threads.
    """
    vectors = as_vectors(vectors)
    default = 1 if min_frequency > 0 else 0
    ids = (
        np.arange(len(vectors)) if frequencies is None or not default else np.flatnonzero(frequencies >= min_frequency)
    )
    frequent_sizes = [size - default for size in sizes]
    width = affordable_beam(len(ids), frequent_sizes, beam)
    # If nearly all vectors are rare, there are more rows than frequent vectors; rare ones then fill the other rows.
    if len(sizes) == 1 or min(frequent_sizes) < 1 or width < 2 or len(ids) < max(frequent_sizes):
        return _one_by_one(
            vectors, sizes, frequencies, sample, iterations, min_frequency, seed, previous, hysteresis, threads
        )
    chosen = vectors.pick(ids)
    weights = None if frequencies is None else frequencies[ids]
    found = refine_stages(
        chosen,
        weights,
        # Not kept in a variable: its codes may take nearly as much memory as the vectors.
        _restarted(previous, frequent_sizes, ids, len(vectors))
        if previous
        else _one_by_one(chosen, frequent_sizes, weights, sample, iterations, 0, seed, (), 0.0, threads),
        beam=width,
        rounds=0 if previous else ROUNDS,
        sample=sample,
        hysteresis=hysteresis if previous else 0.0,
        serve=serve,
        seed=seed,
        threads=threads,
    )
    if not default:
        return found
    assert frequencies is not None
    codes = np.zeros((len(vectors), len(sizes)), np.int32)
    codes[ids] = found.codes + 1
    rare = np.where(frequencies < min_frequency, np.int32(0), np.int32(-1))
    sums = add_up(vectors, checked(vectors, 1, frequencies)[1], rare, 1, usable_threads(threads))
    unweighted = add_up(vectors, np.ones(len(vectors), np.float32), rare, 1, usable_threads(threads))
    mean = sums.means(unweighted.means(np.zeros((1, vectors.shape[1]))))
    rows = [mean, *[np.zeros_like(mean)] * (len(sizes) - 1)]
    return Stages([np.concatenate(pair) for pair in zip(rows, found.centroids, strict=True)], codes)


def affordable_beam(count: int, sizes: Sequence[int], beam: int) -> int:
    """The largest beam up to ``beam`` that ``count`` vectors can be searched with, for 2³⁷ sums and 8,192 centroids.

    Ten million vectors and three stages of 2,000 rows get a beam of 2, a million vectors the full 16. Below 2, stages
    are not refined.
    """
    if sum(sizes) > _MAX_ROWS:
        return 0
    return min(beam, _MAX_CANDIDATES // max(1, count * sum(sizes)))


def refine_stages(
    vectors: np.ndarray | Vectors,
    frequencies: np.ndarray | None,
    begin: Stages,
    *,
    beam: int = 16,
    rounds: int = ROUNDS,
    sample: Sampling = "proportional",
    hysteresis: float = 0.0,
    serve: Serve | None = None,
    seed: int = 0,
    threads: int | None = None,
) -> Stages:
    """Improves all stages together, so that their sums are nearer to the vectors.

    The best centroid of a stage is often not part of the best sum, so a beam search keeps several sums. For given
    codes, the centroids of all stages are computed together by least squares. Both steps alternate on a sample; then
    all vectors are assigned, and the centroids are computed for all. No step increases the weighted error, except by
    rounding.

    The work of a pass is vectors x beam x centroids. All rounds together, on 32 vectors per centroid (at least
    16,384), compute at most 2³⁵ sums: with a smaller beam, and with fewer rounds if that is not enough.

    Args:
        vectors: float32 (n, d), in memory, or read a block at a time.
        frequencies: (n,) weight of each vector; None for equal weights.
        begin: stages to start from; codes are -1 for vectors that have none yet.
        beam: number of sums kept from stage to stage.
        rounds: rounds on the sample; with 0, vectors keep their codes as far as ``hysteresis`` says.
        sample: how the sample is drawn, as in :func:`fast_kmeans`.
        hysteresis: a vector moves to another sum only if that reduces its squared distance by more than this fraction.
        serve: rounds the centroids before vectors are assigned for the last time, if the sample is all of them; None
            for no rounding.
        seed: seed of the sample.
        threads: number of threads; None for all cores that the process may use.

    Returns:
        The stages; equal for any number of threads.

    Raises:
        ValueError: shapes do not match or a value is out of range.
    """
    sizes = [len(centroids) for centroids in begin.centroids]
    if begin.codes.shape != (len(vectors), len(sizes)):
        raise ValueError(f"`codes` must have shape {(len(vectors), len(sizes))}, got {begin.codes.shape}.")
    if any((codes >= size).any() for codes, size in zip(begin.codes.T, sizes, strict=True)):
        raise ValueError("`codes` must be below the number of centroids of their stage.")
    if beam < 1 or rounds < 0 or not 0 <= hysteresis < 1:
        raise ValueError(
            "`beam` must be positive, `rounds` not negative and `hysteresis` in [0, 1), "
            f"got {beam}, {rounds}, {hysteresis}."
        )
    read, weights = checked(vectors, 1, frequencies)
    threads = usable_threads(threads)
    edges = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    offsets = edges[:-1].astype(np.int32)
    codes = begin.codes + offsets
    for of_stage in begin.codes.T:
        codes[of_stage < 0] = -1
    total = add_up(read, weights, np.zeros(len(read), np.int32), 1, threads)
    search = SumSearch(read, weights, codes, edges, total.means(read.read(0, 1))[0], threads)
    rows = np.concatenate(begin.centroids).astype(np.float64)  # (S, d), stages concatenated
    del begin
    count = max(_MIN_SAMPLE, _PER_ROW * len(rows))
    if rounds and count < len(read):
        ids, drawn = draw(weights, count, sample, 0.9, np.random.default_rng(seed))
        part = SumSearch(read.pick(ids), drawn, codes[ids], edges, search.mean, threads)
    else:
        part = search
    beams = _MAX_CANDIDATES_OF_ROUNDS // (len(part.vectors) * len(rows))
    rounds = min(rounds, beams)
    for _ in range(rounds):
        costs = part.choose(rows, min(beam, beams // rounds), 0.0)
        rows = part.place(part.revive(rows, costs))
    if part is search and rounds:
        served = rows
        if serve is not None:
            parts = [serve(stage, rows[a:b].astype(np.float32)) for stage, (a, b) in enumerate(pairwise(edges))]
            served = np.concatenate(parts).astype(np.float64)
        search.choose(served, beam, hysteresis)
        rows = search.place(rows) if serve is None else rows
    else:  # many vectors, for which another pass reduces the error in 4 bits by half a per cent, or an earlier table
        if part is not search:
            codes[ids] = part.codes
        rows = search.place(rows) if not rounds else rows
        costs = search.choose(rows, beam, hysteresis)
        revived = search.revive(rows, costs)
        if revived is not rows and not rounds:  # there are new rows, which all vectors may choose
            search.choose(revived, beam, hysteresis)
        rows = search.place(revived)
    centroids = [rows[a:b].astype(np.float32) for a, b in pairwise(edges)]
    codes -= offsets
    return Stages(centroids, codes)


@dataclass(frozen=True, eq=False)
class SumSearch:
    """Vectors, and their codes into the concatenated rows of all stages, -1 for none yet."""

    vectors: Vectors
    weights: np.ndarray
    codes: np.ndarray
    edges: np.ndarray
    mean: np.ndarray
    threads: int

    def choose(self, rows: np.ndarray, beam: int, hysteresis: float) -> np.ndarray:
        """Assigns every vector to a sum; returns weight times squared distance of each, float32 (n,)."""
        # Distances are computed from inner products, which are accurate enough only for centred vectors.
        near = rows.copy()
        near[: self.edges[1]] -= self.mean
        near = near.astype(np.float32)
        if not np.isfinite(near).all():
            raise FloatingPointError("centroids of stages are not finite")
        half = 0.5 * np.einsum("kd,kd->k", near, near)
        costs = np.empty(len(self.vectors), np.float32)
        arrays = (np.ascontiguousarray(near.T), half, near @ near.T, near, self.edges)
        keep = np.float32(1.0 - hysteresis)

        def work(first: int, vectors: np.ndarray) -> None:
            part = slice(first, first + len(vectors))
            kernels.search(vectors, self.weights[part], self.mean, *arrays, beam, keep, self.codes[part], costs[part])

        with ThreadPoolExecutor(self.threads) as pool:
            run: Callable[..., Iterable[None]] = pool.map if self.threads > 1 else map
            for first, block in self.vectors.blocks():
                parts = [(first + start, block[start : start + _BLOCK]) for start in range(0, len(block), _BLOCK)]
                list(run(work, *zip(*parts, strict=True)))
        return costs

    def revive(self, rows: np.ndarray, costs: np.ndarray) -> np.ndarray:
        """Moves unused rows to where they fit the vectors that add most to the error."""
        used = np.zeros(len(rows), bool)
        for codes in self.codes.T:
            used |= np.bincount(codes, self.weights, minlength=len(rows)) > 0
        unused = np.flatnonzero(~used)[: len(costs) // 2]
        if not len(unused):
            return rows
        worst = np.argpartition(costs, len(costs) - len(unused))[len(costs) - len(unused) :]
        worst = worst[np.argsort(-costs[worst], kind="stable")]
        worst, unused = worst[costs[worst] > 0], unused[: int((costs[worst] > 0).sum())]
        stage = np.searchsorted(self.edges, unused, side="right") - 1
        rows = rows.copy()
        others = rows[self.codes[worst]].sum(axis=1) - rows[self.codes[worst, stage]]
        rows[unused] = self.vectors.take(worst) - others
        self.codes[worst, stage] = unused
        return rows

    def place(self, rows: np.ndarray) -> np.ndarray:
        """Rows (S, d) with a smaller squared error for the present codes, by conjugate gradients from ``rows``."""
        found = self._pull(self.vectors, rows)
        scale = np.zeros((len(rows), 1))
        np.divide(1.0, found.masses[:, None], out=scale, where=found.masses[:, None] > 0)
        residual, moved = found.sums, rows.copy()
        direction = scale * residual
        size = (residual * direction).sum(axis=0)  # per column: each is a separate problem
        # A residual below the float32 precision of the vectors is only rounding, which more steps would amplify.
        energy = np.zeros(rows.shape[1])
        for first, block in self.vectors.blocks():
            energy += np.einsum("n,nd,nd->d", self.weights[first : first + len(block)], block, block, dtype=np.float64)
        enough = np.maximum(1e-10 * size, 1e-14 * energy)
        for _ in range(_STEPS):
            size = np.where(size > enough, size, 0.0)  # converged columns stay: their residual is rounding
            if not size.any():
                break
            image = -self._pull(None, direction).sums
            length = _ratio(size, (direction * image).sum(axis=0))
            moved += length * direction
            residual = residual - length * image
            step = scale * residual
            size, before = (residual * step).sum(axis=0), size
            direction = step + _ratio(size, before) * direction
        return moved

    def _pull(self, vectors: Vectors | None, rows: np.ndarray) -> Any:
        """Sums, for each row, of weight times the residuals of its vectors; without vectors, those of zeros."""

        def work(first: int, last: int, sums: np.ndarray, masses: np.ndarray) -> Any:
            blocks = [(first, _NO_VECTORS)] if vectors is None else vectors.blocks(first, last)
            for start, block in blocks:
                part = slice(start, last if vectors is None else start + len(block))
                kernels.pull(block, self.weights[part], self.codes[part], rows, sums, masses)
            return 0.0, 0.0

        return summed(work, len(self.codes), rows.shape, self.threads)


def _ratio(over: np.ndarray, under: np.ndarray) -> np.ndarray:
    """Quotients; 0 where the divisor is not positive."""
    return np.divide(over, under, out=np.zeros_like(over), where=under > 0)


def _one_by_one(
    vectors: Vectors,
    sizes: Sequence[int],
    frequencies: np.ndarray | None,
    sample: Sampling,
    iterations: int,
    min_frequency: float,
    seed: int,
    previous: Sequence[Clustering],
    hysteresis: float,
    threads: int | None,
) -> Stages:
    """Stages found one by one: each clusters the residuals of those before it."""
    centroids, codes, residuals = [], np.empty((len(vectors), len(sizes)), np.int32), vectors
    for stage, size in enumerate(sizes):
        found = fast_kmeans(
            residuals,
            size,
            frequencies,
            sample=sample,
            iterations=iterations,
            min_frequency=min_frequency,
            seed=seed + stage,
            previous=previous[stage] if previous else None,
            hysteresis=hysteresis,
            threads=threads,
        )
        centroids.append(found.centroids)
        codes[:, stage] = found.rows
        if stage + 1 < len(sizes):
            residuals = residuals.less(found.centroids, codes[:, stage])
    return Stages(centroids, codes)


def _restarted(previous: Sequence[Clustering], sizes: Sequence[int], ids: np.ndarray, count: int) -> Stages:
    """Stages of an earlier table, for ``ids`` of ``count`` vectors; new rows are zeros, surplus rows are dropped."""
    centroids, codes = [], np.full((len(ids), len(sizes)), -1, np.int32)
    for stage, (before, size) in enumerate(zip(previous, sizes, strict=True)):
        skipped = 0 if before.default is None else 1
        known = np.full(count, -1, np.int32)
        known[: len(before.rows)] = np.maximum(before.rows - skipped, -1)
        known, old = known[ids], before.centroids[skipped:]
        kept = np.arange(len(old))
        if len(old) > size:
            kept = np.sort(np.argsort(-np.bincount(known[known >= 0], minlength=len(old)), kind="stable")[:size])
        renumbered = np.full(len(old) + 1, -1, np.int32)  # the last entry is for -1
        renumbered[kept] = np.arange(len(kept))
        codes[:, stage] = renumbered[known]
        rows = np.zeros((size, old.shape[1]), np.float32)
        rows[: len(kept)] = old[kept]
        centroids.append(rows)
    codes[(codes < 0).any(axis=1)] = -1
    return Stages(centroids, codes)
