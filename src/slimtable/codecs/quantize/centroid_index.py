"""An inverted index that finds the nearest of many centroids: each cell of space lists a few candidates."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import numpy as np

from slimtable.codecs.quantize import kernels
from slimtable.codecs.vectors import Array, Vectors

_T = TypeVar("_T")

BLOCK = 1 << 16  # rows per thread at a time; sums are added in the order of blocks, for any number of threads
_FROM_CENTROIDS = 128  # with fewer, computing every distance is as fast as an index
_CELL_ROUNDS = 4
_LIST = 2.0  # candidates per cell, over √K
_EXACT = 1 << 29  # with fewer distances than this, all are computed; half a second
_LANES = 32  # list lengths are rounded up to a multiple of it, since the remainder of a loop is slow
_FAR = np.float32(1e30)  # half the squared norm of padding entries, which are never the nearest
_NO_STAY = np.empty(0, np.int32)
_AT_A_TIME = 1 << 22  # distances between cells and centroids in memory at a time while lists are made


@dataclass(frozen=True, eq=False)
class CentroidIndex:
    """Centroids, and a list of candidates for each cell of space.

    Attributes:
        centroids: float32 (K, d).
        cells: float32 (1, d, G) centres of the cells.
        half_cells: float32 (1, G) half their squared norms.
        lists: float32 (G, d, L) the centroids nearest to each centre.
        half_lists: float32 (G, L) half their squared norms.
        names: int32 (G, L) indices of the centroids in the lists.
        lengths: int64 (G,) number of entries of each list in use.
    """

    centroids: np.ndarray
    cells: np.ndarray
    half_cells: np.ndarray
    lists: np.ndarray
    half_lists: np.ndarray
    names: np.ndarray
    lengths: np.ndarray

    @classmethod
    def exact(cls, centroids: np.ndarray) -> Self:
        """One cell with all centroids."""
        centres = np.zeros((1, centroids.shape[1]), np.float32)
        return cls.of(centroids, centres, np.arange(len(centroids))[None], np.array([len(centroids)]))

    @classmethod
    def of(cls, centroids: np.ndarray, centres: np.ndarray, names: np.ndarray, lengths: np.ndarray) -> Self:
        """An index of cells with centres (G, d) and lists (G, L) of candidates."""
        half = 0.5 * np.einsum("kd,kd->k", centroids, centroids)
        width = _padded(names.shape[1])
        lists = np.zeros((len(names), centroids.shape[1], width), np.float32)
        half_lists = np.full((len(names), width), _FAR, np.float32)
        padded = np.zeros((len(names), width), np.int32)
        used = np.arange(names.shape[1]) < lengths[:, None]
        # Cell by cell: all lists together are as large as many copies of the centroids.
        for cell, of_cell in enumerate(names):
            lists[cell, :, : len(of_cell)] = centroids[of_cell].T
        half_lists[:, : names.shape[1]] = np.where(used, half[names], _FAR)
        padded[:, : names.shape[1]] = names
        cells = np.zeros((1, centres.shape[1], _padded(len(centres))), np.float32)
        half_cells = np.full((1, cells.shape[2]), _FAR, np.float32)
        cells[0, :, : len(centres)] = centres.T
        half_cells[0, : len(centres)] = 0.5 * np.einsum("gd,gd->g", centres, centres)
        return cls(centroids, cells, half_cells, lists, half_lists, padded, _padded(lengths))

    @classmethod
    def near(cls, centroids: np.ndarray, centres: np.ndarray, length: int) -> Self:
        """Cells whose lists are the centroids nearest to each centre.

        Args:
            centroids: float32 (K, d).
            centres: float32 (G, d).
            length: length of a list. A cell that holds more centroids lists all of them: outlying centroids, common
                among frequent vectors, are far from every centre and could otherwise be in no list at all.

        Returns:
            The index; an exact one if that is as fast.
        """
        if not len(centres) or len(centres) + length >= len(centroids):
            return cls.exact(centroids)
        step = max(1, _AT_A_TIME // len(centres))
        of_centres = np.einsum("gd,gd->g", centres, centres)[:, None]
        cell = np.empty(len(centroids), np.int64)
        for first in range(0, len(centroids), step):
            part = slice(first, first + step)
            cell[part] = (_squared(centres, centroids[part]) + of_centres).argmin(axis=0)
        lengths = np.maximum(np.bincount(cell, minlength=len(centres)), length)
        longest = int(lengths.max())
        names = np.empty((len(centres), longest), np.int32)
        step = max(1, _AT_A_TIME // len(centroids))
        for first in range(0, len(centres), step):
            part = slice(first, first + step)
            squared = _squared(centres[part], centroids)
            own = np.flatnonzero((cell >= first) & (cell < first + step))
            squared[cell[own] - first, own] = -np.inf  # those of the cell come first
            nearest = np.argpartition(squared, longest - 1, axis=1)[:, :longest]
            order = np.argsort(np.take_along_axis(squared, nearest, axis=1), axis=1)
            names[part] = np.take_along_axis(nearest, order, axis=1)
        return cls.of(centroids, centres, names, lengths)

    @classmethod
    def quick(cls, centroids: np.ndarray, generator: np.random.Generator, threads: int, num_vectors: int = 0) -> Self:
        """An index with about √K cells; an exact one if ``num_vectors`` is small enough (0: unknown)."""
        if num_vectors * len(centroids) <= _EXACT and num_vectors:
            return cls.exact(centroids)
        return cls.near(centroids, cells_of(centroids, generator, threads), list_length(len(centroids)))

    def assign(
        self,
        vectors: Vectors,
        weights: np.ndarray,
        rows: np.ndarray,
        *,
        stay: np.ndarray = _NO_STAY,
        hysteresis: float = 0.0,
        threads: int = 1,
    ) -> Sums:
        """Assigns every vector to a centroid and sums the vectors of each cluster.

        Args:
            vectors: (n, d).
            weights: float32 (n,).
            rows: int32 (n,) cluster of each vector, overwritten; unchanged for skipped vectors.
            stay: int32 (n,) present clusters, -1 for none, -2 for vectors to skip; empty if no vector has one.
            hysteresis: a vector leaves its cluster only if that lowers its squared distance by more than this fraction.
            threads: number of threads; the result does not depend on it.

        Returns:
            The sums per cluster.
        """
        arrays = (self.cells, self.half_cells, self.lists, self.half_lists, self.names, self.lengths, self.centroids)
        keep = np.float32(1.0 - hysteresis)

        def work(first: int, last: int, sums: np.ndarray, masses: np.ndarray) -> Any:
            error = power = 0.0
            for start, block in vectors.blocks(first, last):
                part = slice(start, start + len(block))
                found = kernels.search(block, weights[part], *arrays, stay[part], keep, rows[part], sums, masses)
                error, power = error + found[0], power + found[1]
            return error, power

        return summed(work, len(vectors), self.centroids.shape, threads)


def _padded(lengths: Any) -> Any:
    """Lengths, an integer or an array, rounded up to a multiple of the lanes."""
    return -(-lengths // _LANES) * _LANES


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over the vectors of each cluster.

    Attributes:
        sums: float64 (K, d) sums of weight times vector.
        masses: float64 (K,) sums of weight.
        error: sum of weight times squared distance, over all clusters.
        power: sum of weight times squared norm, over all clusters.
    """

    sums: np.ndarray
    masses: np.ndarray
    error: float
    power: float

    def means(self, instead: np.ndarray) -> np.ndarray:
        """Weighted means, float32 (K, d); the row of ``instead`` for clusters without weight."""
        used = self.masses > 0
        means = np.array(instead, dtype=np.float32)
        np.divide(self.sums, self.masses[:, None], out=means, where=used[:, None], casting="same_kind")
        return means

    def least_error(self) -> float:
        """Weighted sum of squared distances to the means themselves."""
        used = self.masses > 0
        squares = np.empty(len(self.sums))
        for first in range(0, len(squares), BLOCK):
            squares[first : first + BLOCK] = np.square(self.sums[first : first + BLOCK]).sum(axis=1)
        explained = float((squares[used] / self.masses[used]).sum())
        return max(0.0, self.power - explained)


def list_length(num_rows: int) -> int:
    """Number of candidates per cell."""
    return min(num_rows, 8 * math.ceil(_LIST * math.sqrt(num_rows) / 8))


def cells_of(centroids: np.ndarray, generator: np.random.Generator, threads: int) -> np.ndarray:
    """Centres (G, d) of about √K cells, by a few rounds of k-means on the centroids; none if there are few."""
    if len(centroids) < _FROM_CENTROIDS:
        return centroids[:0]
    count = 8 * math.ceil(math.sqrt(len(centroids)) / 8)
    centres = centroids[generator.choice(len(centroids), count, replace=False)]
    ones, rows = np.ones(len(centroids), np.float32), np.empty(len(centroids), np.int32)
    for _ in range(_CELL_ROUNDS):
        centres = CentroidIndex.exact(centres).assign(Array(centroids), ones, rows, threads=threads).means(centres)
    return centres


def _squared(centres: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Squared distances (G, K), minus the squared norm of the centre, which is constant in a row."""
    squared: np.ndarray = np.einsum("kd,kd->k", centroids, centroids)[None] - 2.0 * centres @ centroids.T
    return squared


def add_up(vectors: Vectors, weights: np.ndarray, rows: np.ndarray, num_rows: int, threads: int) -> Sums:
    """Sums the vectors of each cluster; those with a negative cluster are skipped."""

    def work(first: int, last: int, sums: np.ndarray, masses: np.ndarray) -> Any:
        power = 0.0
        for start, block in vectors.blocks(first, last):
            part = slice(start, start + len(block))
            power += kernels.add_up(block, weights[part], rows[part], sums, masses)
        return 0.0, power

    return summed(work, len(vectors), (num_rows, vectors.shape[1]), threads)


def summed(work: Callable[..., Any], count: int, shape: tuple[int, ...], threads: int) -> Sums:
    """Sums over blocks of rows, in parts that do not depend on ``threads``, so that rounding is always the same."""
    # At most sixteen parts: each has its own sums, which are added in order.
    parts = max(1, min(16, -(-count // BLOCK)))
    edges = np.linspace(0, count, parts + 1).astype(np.int64)

    def part(index: int) -> tuple[np.ndarray, np.ndarray, float, float]:
        sums, masses = np.zeros(shape), np.zeros(shape[0])
        error, power = work(int(edges[index]), int(edges[index + 1]), sums, masses)
        return sums, masses, error, power

    def total(done: Iterator[tuple[np.ndarray, np.ndarray, float, float]]) -> Sums:
        sums, masses, error, power = next(done)
        for more in done:
            sums += more[0]
            masses += more[1]
            error += more[2]
            power += more[3]
            del more  # before the next one is made
        return Sums(sums, masses, error, power)

    if threads <= 1 or parts == 1:
        return total(part(index) for index in range(parts))
    with ThreadPoolExecutor(threads) as pool:
        return total(_in_order(pool, part, parts, threads))


def _in_order(pool: ThreadPoolExecutor, work: Callable[[int], _T], count: int, ahead: int) -> Iterator[_T]:
    """Results of ``work(0 … count - 1)`` in order, with at most ``ahead`` of them waiting, since each may be large."""
    waiting: deque[Future[_T]] = deque()
    for index in range(count):
        if len(waiting) == ahead:
            yield waiting.popleft().result()
        waiting.append(pool.submit(work, index))
    while waiting:
        yield waiting.popleft().result()


def usable_threads(threads: int | None) -> int:
    """The number of threads to use: ``threads``, else ``OMP_NUM_THREADS``, else the cores that this process may use.

    Raises:
        ValueError: ``threads`` is not positive.
    """
    if threads is not None:
        if threads < 1:
            raise ValueError(f"`threads` must be positive, got {threads}.")
        return threads
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdecimal() and int(told) > 0:
        return int(told)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
