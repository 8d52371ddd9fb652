"""Sums of one centroid of each of several stages: which ones by beam search, where they lie by least squares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

ROUNDS = 6  # on the sample; twice as many gain a few per cent more
_LOOKS = 1 << 37  # sums that the last pass may look at: a minute or two
_LOOKS_OF_ROUNDS = 1 << 35  # that all rounds together may look at
_MOST_ROWS = 1 << 13  # of all stages; their products, which the search keeps, take 256 MB
_FEWEST, _PER_ROW = 1 << 14, 32  # vectors of the sample: at least, and for each row of all stages
_STEPS = 12  # of conjugate gradients, each from where the last ones ended
_BLOCK = 1 << 11  # vectors that a thread takes at a time
_NO_VECTORS = np.empty((0, 0), np.float32)

Serve = Callable[[int, np.ndarray], np.ndarray]
"""Centroids (K, d) of a stage as they are served, rounded to few bits."""


@dataclass(frozen=True, eq=False)
class Stages:
    """Centroids of several stages; a vector is the sum of one of each.

    Attributes:
        centroids: float32 (K_l, d) of each stage; the first is the default row, where there is one.
        codes: int32 (n, L) which ones.
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
    """Clusters vectors, then what is left of them, and so on; then all stages are improved together.

    Each stage begins with the clusters of what those before it leave (:func:`fast_kmeans`), and
    :func:`refine_stages` goes on from there, unless that were too much work (:func:`affordable_beam`).

    Args:
        vectors: float32 (n, d), in memory, or read a block at a time.
        sizes: centroids of each stage, default rows with them.
        frequencies: (n,) how much each vector weighs; None for all alike.
        sample: vectors that centroids are found on.
        iterations: Lloyd rounds of each stage.
        min_frequency: vectors seen less often go to a default row, their mean, and to zeros of further stages.
        beam: sums that the search keeps from stage to stage; 1 leaves stages as they were found one by one.
        seed: of what is drawn.
        previous: clusters of every stage of an earlier table; empty for none.
        hysteresis: share of its squared distance by which another sum must be nearer for a vector to leave its own.
        serve: how centroids are rounded before vectors choose among them for good; None for not at all.
        threads: None for all that the process may use.

    Returns:
        The stages; equal for any number of threads.
    """
    vectors = as_vectors(vectors)
    default = 1 if min_frequency > 0 else 0
    ids = (
        np.arange(len(vectors)) if frequencies is None or not default else np.flatnonzero(frequencies >= min_frequency)
    )
    usual = [size - default for size in sizes]
    width = affordable_beam(len(ids), usual, beam)
    # With next to nothing but rare vectors there are more rows than vectors to move; the rare ones fill them up.
    if len(sizes) == 1 or min(usual) < 1 or width < 2 or len(ids) < max(usual):
        return _one_by_one(
            vectors, sizes, frequencies, sample, iterations, min_frequency, seed, previous, hysteresis, threads
        )
    chosen = vectors.pick(ids)
    weights = None if frequencies is None else frequencies[ids]
    found = refine_stages(
        chosen,
        weights,
        # Not held here: its codes may be as large as a good part of the vectors.
        _restarted(previous, usual, ids, len(vectors))
        if previous
        else _one_by_one(chosen, usual, weights, sample, iterations, 0, seed, (), 0.0, threads),
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
    everybody = add_up(vectors, np.ones(len(vectors), np.float32), rare, 1, usable_threads(threads))
    mean = sums.means(everybody.means(np.zeros((1, vectors.shape[1]))))
    rows = [mean, *[np.zeros_like(mean)] * (len(sizes) - 1)]
    return Stages([np.concatenate(pair) for pair in zip(rows, found.centroids, strict=True)], codes)


def affordable_beam(count: int, sizes: Sequence[int], beam: int) -> int:
    """The beam with which so many vectors can be searched: at most 2³⁷ sums are looked at, and 8,192 centroids.

    Ten million vectors and three stages of 2,000 have a beam of 2, a million the full one of 16. Below 2, stages
    are best left as they are.
    """
    if sum(sizes) > _MOST_ROWS:
        return 0
    return min(beam, _LOOKS // max(1, count * sum(sizes)))


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

    Stage by stage, the best choice at first is often not the best in the end: a beam search keeps several sums. For
    what vectors chose, least squares place the centroids of all stages at once. Both alternate on a sample, then all
    vectors choose, and centroids are placed for all. No step makes the weighted error larger, but for rounding.

    The work of a pass is vectors x beam x centroids. All rounds together, on 32 vectors for each centroid (16,384 at
    least), stay below 2³⁵ sums: by a smaller beam, and by fewer rounds where that is not enough.

    Args:
        vectors: float32 (n, d), in memory, or read a block at a time.
        frequencies: (n,) how much each vector weighs; None for all alike.
        begin: stages to begin with; codes are -1 for vectors that have none yet.
        beam: sums kept from stage to stage.
        rounds: on the sample; 0 to leave vectors where they are as far as hysteresis allows.
        sample: how it is drawn.
        hysteresis: share of its squared distance by which another sum must be nearer for a vector to leave its own.
        serve: how centroids are rounded before vectors choose among them for good, where the sample is all of them;
            None for not at all.
        seed: of the sample.
        threads: None for all that the process may use.

    Returns:
        The stages; equal for any number of threads.

    Raises:
        ValueError: shapes do not fit or a number is out of range.
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
    everybody = add_up(read, weights, np.zeros(len(read), np.int32), 1, threads)
    search = _Search(read, weights, codes, edges, everybody.means(read.read(0, 1))[0], threads)
    rows = np.concatenate(begin.centroids).astype(np.float64)  # (S, d), stages on top of each other
    del begin
    count = max(_FEWEST, _PER_ROW * len(rows))
    if rounds and count < len(read):
        ids, drawn = draw(weights, count, sample, 0.9, np.random.default_rng(seed))
        part = _Search(read.pick(ids), drawn, codes[ids], edges, search.mean, threads)
    else:
        part = search
    looks = _LOOKS_OF_ROUNDS // (len(part.vectors) * len(rows))
    rounds = min(rounds, looks)
    for _ in range(rounds):
        costs = part.choose(rows, min(beam, looks // rounds), 0.0)
        rows = part.place(part.revive(rows, costs))
    if part is search and rounds:
        served = rows
        if serve is not None:
            parts = [serve(stage, rows[a:b].astype(np.float32)) for stage, (a, b) in enumerate(pairwise(edges))]
            served = np.concatenate(parts).astype(np.float64)
        search.choose(served, beam, hysteresis)
        rows = search.place(rows) if serve is None else rows
    else:  # many vectors, for which another pass would gain half a per cent in 4 bits, or those of before
        if part is not search:
            codes[ids] = part.codes
        rows = search.place(rows) if not rounds else rows
        costs = search.choose(rows, beam, hysteresis)
        revived = search.revive(rows, costs)
        if revived is not rows and not rounds:  # more rows than before, that all vectors may choose
            search.choose(revived, beam, hysteresis)
        rows = search.place(revived)
    centroids = [rows[a:b].astype(np.float32) for a, b in pairwise(edges)]
    codes -= offsets
    return Stages(centroids, codes)


@dataclass(frozen=True, eq=False)
class _Search:
    """Vectors and the rows that they have in all stages together, -1 for none yet."""

    vectors: Vectors
    weights: np.ndarray
    codes: np.ndarray
    edges: np.ndarray
    mean: np.ndarray
    threads: int

    def choose(self, rows: np.ndarray, beam: int, hysteresis: float) -> np.ndarray:
        """Lets every vector choose its sum; weight times squared distance of each, float32 (n,)."""
        # Distances come from products, which are exact enough only near the middle.
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
            for first, block in self.vectors.blocks():
                parts = [(first + start, block[start : start + _BLOCK]) for start in range(0, len(block), _BLOCK)]
                list(pool.map(work, *zip(*parts, strict=True)))
        return costs

    def revive(self, rows: np.ndarray, costs: np.ndarray) -> np.ndarray:
        """Moves rows that nobody chose to where they serve the vectors that add most to the error."""
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
        """Rows (S, d) of less squared error for what vectors chose, by conjugate gradients from where they are."""
        found = self._pull(self.vectors, rows)
        scale = np.zeros((len(rows), 1))
        np.divide(1.0, found.masses[:, None], out=scale, where=found.masses[:, None] > 0)
        left, moved = found.sums, rows.copy()
        direction = scale * left
        size = (left * direction).sum(axis=0)  # of every column, for each is a problem of its own
        # Below what single precision can show of the vectors there is only rounding, which would be blown up.
        energy = np.zeros(rows.shape[1])
        for first, block in self.vectors.blocks():
            energy += np.einsum("n,nd,nd->d", self.weights[first : first + len(block)], block, block, dtype=np.float64)
        enough = np.maximum(1e-10 * size, 1e-14 * energy)
        for _ in range(_STEPS):
            size = np.where(size > enough, size, 0.0)  # columns that are done stay: what is left of them is rounding
            if not size.any():
                break
            image = -self._pull(None, direction).sums
            length = _ratio(size, (direction * image).sum(axis=0))
            moved += length * direction
            left = left - length * image
            step = scale * left
            size, before = (left * step).sum(axis=0), size
            direction = step + _ratio(size, before) * direction
        return moved

    def _pull(self, vectors: Vectors | None, rows: np.ndarray) -> Any:
        """Sums, for each row, of weight times what is left of the vectors that have it; of zeros without vectors."""

        def work(first: int, last: int, sums: np.ndarray, masses: np.ndarray) -> Any:
            blocks = [(first, _NO_VECTORS)] if vectors is None else vectors.blocks(first, last)
            for start, block in blocks:
                part = slice(start, last if vectors is None else start + len(block))
                kernels.pull(block, self.weights[part], self.codes[part], rows, sums, masses)
            return 0.0, 0.0

        return summed(work, len(self.codes), rows.shape, self.threads)


def _ratio(over: np.ndarray, under: np.ndarray) -> np.ndarray:
    """Quotients, 0 where nothing is left to divide by."""
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
    """Stages each of which clusters what those before it leave."""
    centroids, codes, left = [], np.empty((len(vectors), len(sizes)), np.int32), vectors
    for stage, size in enumerate(sizes):
        found = fast_kmeans(
            left,
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
            left = left.less(found.centroids, codes[:, stage])
    return Stages(centroids, codes)


def _restarted(previous: Sequence[Clustering], sizes: Sequence[int], ids: np.ndarray, count: int) -> Stages:
    """Stages of before for some of so many vectors; rows that are more than before are zeros, too many are dropped."""
    centroids, codes = [], np.full((len(ids), len(sizes)), -1, np.int32)
    for stage, (before, size) in enumerate(zip(previous, sizes, strict=True)):
        skipped = 0 if before.default is None else 1
        known = np.full(count, -1, np.int32)
        known[: len(before.rows)] = np.maximum(before.rows - skipped, -1)
        known, old = known[ids], before.centroids[skipped:]
        kept = np.arange(len(old))
        if len(old) > size:
            kept = np.sort(np.argsort(-np.bincount(known[known >= 0], minlength=len(old)), kind="stable")[:size])
        renumbered = np.full(len(old) + 1, -1, np.int32)  # the last is that of -1
        renumbered[kept] = np.arange(len(kept))
        codes[:, stage] = renumbered[known]
        rows = np.zeros((size, old.shape[1]), np.float32)
        rows[: len(kept)] = old[kept]
        centroids.append(rows)
    codes[(codes < 0).any(axis=1)] = -1
    return Stages(centroids, codes)
