"""Vectors that are read a block at a time, so that a table to cluster need not fit into memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

BLOCK_ROWS = 1 << 15
"""Vectors per block; a multiple of 8, so that codes of any width end with a whole byte."""
_SMALL = 4  # a selection is copied if it holds at most one vector in this many


@runtime_checkable
class TableLike(Protocol):
    """A table as codecs read it: an array in memory, a mapped file, or a reader of a file.

    ``table[start:stop]`` returns rows as an array (stop - start, d).
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the table, (N, d)."""

    @property
    def dtype(self) -> np.dtype:
        """Type of the values that ``table[start:stop]`` returns."""

    @property
    def ndim(self) -> int:
        """Number of dimensions, 2."""

    @property
    def size(self) -> int:
        """Number of values, N·d."""

    def __getitem__(self, rows: slice, /) -> np.ndarray: ...


class Vectors(ABC):
    """A sequence of float32 vectors, in memory or read when needed.

    Attributes:
        shape: number of vectors n, and their width d.
        in_memory: True if the vectors are in memory, so that reading costs nothing.
    """

    shape: tuple[int, int]
    in_memory = False

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def read(self, start: int, stop: int) -> np.ndarray:
        """Vectors ``start … stop - 1``, float32 (stop - start, d); must not be written to."""

    def blocks(
        self, start: int = 0, stop: int | None = None, size: int = BLOCK_ROWS
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Vectors ``start … stop - 1`` (None: all) in order: the index of the first of each block, and the block."""
        stop = len(self) if stop is None else stop
        for first in range(start, stop, size):
            yield first, self.read(first, min(first + size, stop))

    def largest(self) -> float:
        """Largest absolute value, without a copy of absolute values; NaN if there is one."""
        return float(np.max([(block.max(), -block.min()) for _, block in self.blocks()]))

    def take(self, ids: np.ndarray) -> np.ndarray:
        """Vectors by index, in any order, float32 (k, d); reads only blocks that hold one of them."""
        found = np.empty((len(ids), self.shape[1]), np.float32)
        order = np.argsort(ids, kind="stable")
        ascending, place = ids[order], 0
        while place < len(order):
            first = int(ascending[place])
            end = int(np.searchsorted(ascending, first + BLOCK_ROWS))
            block = self.read(first, int(ascending[end - 1]) + 1)
            found[order[place:end]] = block[ascending[place:end] - first]
            place = end
        return found

    def pick(self, ids: np.ndarray) -> Vectors:
        """Vectors by ascending index: itself if all are picked, a copy if few are, else vectors read when needed."""
        if len(ids) == len(self):
            return self
        if self.in_memory or _SMALL * len(ids) <= len(self):
            return Array(self.take(ids))
        return _Picked(self, ids)

    def less(self, centroids: np.ndarray, codes: np.ndarray) -> Vectors:
        """The residuals of the vectors: each minus its centroid.

        Args:
            centroids: float32 (K, d).
            codes: int32 (n,) centroid of each vector.
        """
        if self.in_memory:
            return Array(self.read(0, len(self)) - centroids[codes])
        return _Residuals(self, [centroids], [codes])

    def cut(self, width: int) -> Vectors:
        """All subvectors of a given width, as vectors (n·d/width, width)."""
        return self if width == self.shape[1] else _Subvectors(self, width)


class Array(Vectors):
    """An array in memory; float32 (n, d)."""

    in_memory = True

    def __init__(self, array: np.ndarray) -> None:
        self._array = np.ascontiguousarray(array, dtype=np.float32)
        self.shape = self._array.shape

    def read(self, start: int, stop: int) -> np.ndarray:
        return self._array[start:stop]

    def take(self, ids: np.ndarray) -> np.ndarray:
        return self._array[ids]


class _Picked(Vectors):
    def __init__(self, vectors: Vectors, ids: np.ndarray) -> None:
        self._vectors, self._ids = vectors, ids
        self.shape = (len(ids), vectors.shape[1])

    def read(self, start: int, stop: int) -> np.ndarray:
        return self._vectors.take(self._ids[start:stop])

    def take(self, ids: np.ndarray) -> np.ndarray:
        return self._vectors.take(self._ids[ids])


class _Residuals(Vectors):
    """Subtracts the centroids one after the other, so that rounding is the same as for arrays in memory."""

    def __init__(self, vectors: Vectors, centroids: Sequence[np.ndarray], codes: Sequence[np.ndarray]) -> None:
        self._vectors, self._centroids, self._codes = vectors, centroids, codes
        self.shape = vectors.shape

    def read(self, start: int, stop: int) -> np.ndarray:
        residuals = self._vectors.read(start, stop)
        for centroids, codes in zip(self._centroids, self._codes, strict=True):
            residuals = residuals - centroids[codes[start:stop]]
        return residuals

    def less(self, centroids: np.ndarray, codes: np.ndarray) -> Vectors:
        return _Residuals(self._vectors, [*self._centroids, centroids], [*self._codes, codes])


class _Subvectors(Vectors):
    def __init__(self, vectors: Vectors, width: int) -> None:
        self._vectors, self._parts = vectors, vectors.shape[1] // width
        self.shape = (len(vectors) * self._parts, width)

    def read(self, start: int, stop: int) -> np.ndarray:
        first = start // self._parts
        whole = self._vectors.read(first, -(-stop // self._parts)).reshape(-1, self.shape[1])
        return whole[start - first * self._parts : stop - first * self._parts]

    def take(self, ids: np.ndarray) -> np.ndarray:
        whole = self._vectors.take(ids // self._parts).reshape(len(ids), self._parts, self.shape[1])
        parts: np.ndarray = whole[np.arange(len(ids)), ids % self._parts]
        return parts


def as_vectors(vectors: np.ndarray | Vectors) -> Vectors:
    """Vectors of an array (n, d), or vectors as they are.

    Raises:
        ValueError: the array is not a matrix with rows and columns.
    """
    if isinstance(vectors, Vectors):
        return vectors
    if vectors.ndim != 2 or not vectors.size:
        raise ValueError(f"Vectors to cluster must be a matrix with rows and columns, got shape {vectors.shape}.")
    return Array(vectors)
