"""Lloyd's k-means on all vectors, with every distance computed: the reference for the fast one."""

from __future__ import annotations

import numpy as np

from slimtable.codecs.quantize.centroid_index import CentroidIndex, add_up, usable_threads
from slimtable.codecs.quantize.clustering import Clustering, checked
from slimtable.codecs.quantize.sample import fill_empty, starts
from slimtable.codecs.vectors import Vectors


def full_kmeans(
    vectors: np.ndarray | Vectors,
    num_rows: int,
    frequencies: np.ndarray | None = None,
    iterations: int = 25,
    seed: int = 0,
    *,
    threads: int | None = None,
) -> Clustering:
    """Clusters all vectors by frequency-weighted Lloyd iterations.

    Starting centroids are drawn as in :func:`fast_kmeans`. An empty cluster moves onto the vector that adds most to
    the distortion.

    Args:
        vectors: float (n, d).
        num_rows: number of clusters K.
        frequencies: (n,) weight of each vector; None for equal weights.
        iterations: maximum number of rounds; stops as soon as no vector moves.
        seed: seed of the starting centroids.
        threads: number of threads; None for all cores that the process may use.

    Returns:
        The clustering; centroids are the weighted means of their vectors.

    Raises:
        ValueError: shapes do not match or a value is out of range.
    """
    read, weights = checked(vectors, num_rows, frequencies)
    threads = usable_threads(threads)
    centroids = read.take(starts(read, weights, num_rows, np.random.default_rng(seed), threads))
    rows, before = np.empty(len(read), np.int32), np.full(len(read), -1, np.int32)
    for _ in range(max(1, iterations)):
        found = CentroidIndex.exact(centroids).assign(read, weights, rows, threads=threads)
        if np.array_equal(rows, before):
            break
        before[:] = rows
        centroids = fill_empty(found, centroids, read, weights, rows)
    found = CentroidIndex.exact(centroids).assign(read, weights, rows, threads=threads)
    final = add_up(read, weights, rows, num_rows, threads)
    return Clustering(final.means(centroids), rows, None, final.least_error() / float(weights.sum(dtype=np.float64)))
