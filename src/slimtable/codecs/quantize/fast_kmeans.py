"""Fast frequency-weighted k-means: centroids from a sample, then one pass that assigns all vectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slimtable.codecs.quantize.centroid_index import CentroidIndex, Sums, add_up, cells_of, list_length, usable_threads
from slimtable.codecs.quantize.clustering import Clustering, checked
from slimtable.codecs.quantize.sample import Sampling, costs_of, draw, fill_empty, starts
from slimtable.codecs.vectors import Vectors

_MIN_PER_CENTROID, _MAX_PER_CENTROID = 24, 64  # vectors of the sample for each centroid
_SHARE = 64  # between these, the sample is one vector in this many, so that it costs less than the pass over all
_MIN_SAMPLE = 16_384  # vectors of the sample at least


def fast_kmeans(
    vectors: np.ndarray | Vectors,
    num_rows: int,
    frequencies: np.ndarray | None = None,
    *,
    sample: Sampling = "proportional",
    head: float = 0.9,
    iterations: int = 8,
    rows_per_centroid: int | None = None,
    min_frequency: float = 0,
    seed: int = 0,
    previous: Clustering | None = None,
    hysteresis: float = 0.0,
    changed: np.ndarray | None = None,
    threads: int | None = None,
) -> Clustering:
    """Clusters vectors for a small frequency-weighted distortion, at little more than the cost of one pass over them.

    Lloyd iterations run on a sample of the frequent vectors and, with more weight, some of the rare ones; then every
    vector is assigned once. Both compare a vector only with the candidates of its cell in an inverted index of about
    √K cells. The returned centroids are the weighted means of all their vectors.

    Args:
        vectors: float (n, d), in memory, or read a block at a time.
        num_rows: number of clusters K, including the default row.
        frequencies: (n,) weight of each vector; None for equal weights.
        sample: "proportional" to frequency; "head" for only the most frequent vectors; or "uniform".
        head: share of the total weight that "head" covers.
        iterations: Lloyd rounds on the sample.
        rows_per_centroid: vectors of the sample per centroid. None for a 64th of all vectors, but 24 to 64 per
            centroid and at least 16,384 in all.
        min_frequency: vectors with a lower frequency share a default row, the first, which is their weighted mean.
        seed: seed of all random draws.
        previous: clustering of the first vectors, or of all, to start from: each centroid starts as the mean of its
            present members, no round runs on the sample, and vectors leave their clusters only as ``hysteresis``
            allows. Additional clusters start at the vectors with the largest error; surplus clusters are dropped, the
            lightest first.
        hysteresis: a vector moves to another centroid only if that reduces its squared distance by more than this
            fraction.
        changed: bool (n,) True for vectors that differ from those of ``previous``; all others keep their clusters
            without a search. None if this is unknown.
        threads: number of threads; None for all cores that the process may use.

    Returns:
        The clustering. It is the same for any number of threads.

    Raises:
        ValueError: shapes do not match or a value is out of range.

    Example:
        >>> vectors = np.repeat(np.eye(3, 4, dtype=np.float32), 5, axis=0)
        >>> fast_kmeans(vectors, 3).distortion
        0.0
    """
    _check(iterations, rows_per_centroid, hysteresis)
    if min_frequency > 0 and frequencies is None:
        raise ValueError("`min_frequency` needs `frequencies`. Pass them, or set it to 0.")
    read, weights = checked(vectors, num_rows, frequencies)
    threads, generator = usable_threads(threads), np.random.default_rng(seed)
    total = float(weights.sum(dtype=np.float64))
    rows = np.full(len(read), -1, np.int32)
    if min_frequency <= 0:
        search = _Search(read, weights, rows, num_rows, generator, threads)
    else:
        assert frequencies is not None
        rare = np.asarray(frequencies) < min_frequency
        rows[rare] = -2  # the search skips them
        frequent = np.where(rare, np.float32(0), weights)
        search = _Search(read, frequent, rows, num_rows - 1, generator, threads)
    if search.count == 0:
        centroids, error = np.empty((0, read.shape[1]), np.float32), 0.0
    elif previous is None:
        begin = search.sampled(search.size(rows_per_centroid), sample, head, iterations)
        centroids, error = search.assign(begin, 0.0, None)
    else:
        begin = search.restarted(previous)
        centroids, error = search.assign(begin, hysteresis, _kept(rows, previous, changed))
    if min_frequency <= 0:
        return Clustering(centroids, rows, None, error / total)
    out = rows < 0
    row_of_default = np.where(out, np.int32(0), np.int32(-1))
    of_default = add_up(read, weights, row_of_default, 1, threads)
    instead = add_up(read, np.ones_like(weights), row_of_default, 1, 1).means(np.zeros((1, read.shape[1])))
    rows += 1
    rows[out] = 0
    centroids = np.concatenate([of_default.means(instead), centroids])
    return Clustering(centroids, rows, 0, (error + of_default.least_error()) / total)


@dataclass(frozen=True, eq=False)
class _Search:
    """Vectors and their clusters so far: -1 in ``rows`` for none yet, -2 for vectors to skip."""

    vectors: Vectors
    weights: np.ndarray
    rows: np.ndarray
    count: int
    generator: np.random.Generator
    threads: int

    def size(self, rows_per_centroid: int | None) -> int:
        """Number of vectors in the sample."""
        if rows_per_centroid is not None:
            return rows_per_centroid * self.count
        return max(
            min(max(_MIN_PER_CENTROID * self.count, len(self.vectors) // _SHARE), _MAX_PER_CENTROID * self.count),
            _MIN_SAMPLE,
        )

    def sampled(self, size: int, sample: Sampling, head: float, iterations: int) -> np.ndarray:
        """Centroids (K, d) by Lloyd rounds on a sample; sets ``rows`` of the vectors in the sample."""
        ids, weights = draw(self.weights, size, sample, head, self.generator)
        if len(ids) < self.count:
            free = np.ones(len(self.weights), bool)
            free[ids] = False
            ids = np.sort(np.concatenate([ids, np.flatnonzero(free)[: self.count - len(ids)]]))
            weights = self.weights[ids]
        vectors, rows = self.vectors.pick(ids), np.full(len(ids), -1, np.int32)
        chosen = starts(vectors, weights, self.count, self.generator, self.threads)
        # Vectors leave a centroid only for a nearer one: a frequent outlier is nearly a cluster of its own, and its
        # centroid is in so few lists of candidates that a search might miss it.
        rows[chosen] = np.arange(self.count, dtype=np.int32)
        centroids = vectors.take(chosen)
        centres = cells_of(centroids, self.generator, self.threads)

        def lloyd(index: CentroidIndex) -> np.ndarray:  # a function, so that index and sums are freed after the round
            found = index.assign(vectors, weights, rows, stay=rows, threads=self.threads)
            return fill_empty(found, index.centroids, vectors, weights, rows)

        for done in range(iterations):
            if done in (0, iterations - 1):
                centroids = lloyd(CentroidIndex.quick(centroids, self.generator, self.threads, len(vectors)))
            else:
                centroids = lloyd(CentroidIndex.near(centroids, centres, list_length(self.count)))
        self.rows[ids] = np.where(self.rows[ids] == -2, -2, rows)
        return centroids

    def restarted(self, previous: Clustering) -> np.ndarray:
        """Centroids (K, d) to start from, those of an earlier clustering; sets ``rows`` of its vectors."""
        known, vectors, count = previous.rows, self.vectors, self.count
        if len(known) > len(vectors) or previous.centroids.shape[1] != vectors.shape[1]:
            raise ValueError(
                f"`previous` clusters {len(known)} vectors of width {previous.centroids.shape[1]}, but there are now "
                f"{len(vectors)} of width {vectors.shape[1]}. Vectors may only be added at the end."
            )
        skipped = 0 if previous.default is None else 1  # the default row, which is the first
        old = len(previous.centroids) - skipped
        codes = np.full(len(vectors), -1, np.int32)
        codes[: len(known)] = np.maximum(known - skipped, -1)
        codes[self.rows == -2] = -2
        sums = add_up(vectors, self.weights, codes, old, self.threads)
        centroids = np.zeros((count, vectors.shape[1]), np.float32)
        kept = np.arange(old)
        if old > count:
            kept = np.sort(np.argsort(-sums.masses, kind="stable")[:count])
            renumbered = np.full(old, -1, np.int32)
            renumbered[kept] = np.arange(count)
            codes[codes >= 0] = renumbered[codes[codes >= 0]]
        centroids[: len(kept)] = sums.means(previous.centroids[skipped:])[kept]
        self.rows[:] = codes
        used = np.bincount(codes[codes >= 0], minlength=count) > 0
        if not used.all():
            centroids[~used] = self._worst(centroids[used], count - int(used.sum()))
        return centroids

    def assign(self, begin: np.ndarray, hysteresis: float, kept: np.ndarray | None) -> tuple[np.ndarray, float]:
        """Assigns every vector except the ``kept`` ones; returns weighted means (K, d) and the sum of errors."""
        rows, before = self.rows, None
        if kept is not None:
            before = rows[kept]
            rows[kept] = -2
        index = CentroidIndex.quick(begin, self.generator, self.threads)
        found = index.assign(self.vectors, self.weights, rows, stay=rows, hysteresis=hysteresis, threads=self.threads)
        if kept is not None:
            rows[kept] = before
            more = add_up(self.vectors, self.weights, np.where(kept, rows, np.int32(-1)), self.count, self.threads)
            found = Sums(
                found.sums + more.sums, found.masses + more.masses, found.error + more.error, found.power + more.power
            )
        return found.means(begin), found.least_error()

    def _worst(self, centroids: np.ndarray, count: int) -> np.ndarray:
        """The vectors (count, d) with the largest error for the given centroids."""
        if not len(centroids):
            return self.vectors.take(starts(self.vectors, self.weights, count, self.generator, self.threads))
        index = CentroidIndex.quick(centroids, self.generator, self.threads)
        nearest = np.zeros(len(self.vectors), np.int32)
        index.assign(self.vectors, self.weights, nearest, threads=self.threads)
        costs = costs_of(self.vectors, self.weights, nearest, centroids)
        return self.vectors.take(np.sort(np.argpartition(costs, len(costs) - count)[len(costs) - count :]))


def _check(iterations: int, rows_per_centroid: int | None, hysteresis: float) -> None:
    if iterations < 1 or (rows_per_centroid is not None and rows_per_centroid < 1):
        raise ValueError(
            f"`iterations` and `rows_per_centroid` must be positive, got {iterations}, {rows_per_centroid}."
        )
    if not 0 <= hysteresis < 1:
        raise ValueError(f"`hysteresis` must be at least 0 and below 1, got {hysteresis}.")


def _kept(rows: np.ndarray, previous: Clustering, changed: np.ndarray | None) -> np.ndarray | None:
    """Mask of the vectors that are known to be unchanged; None if that is unknown."""
    if changed is None:
        return None
    if changed.shape != rows.shape or changed.dtype != np.bool_:
        raise ValueError(f"`changed` must be bool ({len(rows)},), got {changed.dtype} {changed.shape}.")
    return (rows >= 0) & ~changed
