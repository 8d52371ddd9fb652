"""Clicks with numbered values: the data of CTR models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True, eq=False)
class Bags:
    """The ids of a multi-valued field: any number per row.

    Attributes:
        values: int32 (T,) ids, row after row.
        offsets: int64 (n + 1,) start of the ids of each row, and end of the last.

    Raises:
        ValueError: the offsets do not ascend from 0 to T.
    """

    values: np.ndarray
    offsets: np.ndarray

    def __post_init__(self) -> None:
        offsets = self.offsets
        if len(offsets) < 1 or offsets[0] != 0 or offsets[-1] != len(self.values) or (np.diff(offsets) < 0).any():
            raise ValueError("`Bags.offsets` must ascend from 0 to the number of values.")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def take(self, rows: np.ndarray) -> Self:
        """Selects rows by index, integers (m,), in that order."""
        counts = np.diff(self.offsets)[rows]
        offsets = np.concatenate([[0], np.cumsum(counts)])
        places = np.arange(offsets[-1]) + np.repeat(self.offsets[:-1][rows] - offsets[:-1], counts)
        return type(self)(self.values[places], offsets)

    def slice(self, start: int, stop: int) -> Self:
        """The rows ``start … stop - 1``, without copying the values."""
        offsets = self.offsets[start : stop + 1]
        return type(self)(self.values[offsets[0] : offsets[-1]], offsets - offsets[0])


@dataclass(frozen=True, eq=False)
class Clicks:
    """Impressions with their labels, in time order, with ids of common vocabularies.

    Id 0 of every field is out of vocabulary (OOV).

    Attributes:
        labels: float32 (n,), 1 for a click and 0 for none.
        numeric: float32 (n, I), the numeric columns on a logarithmic scale; missing values are 0.
        ids: for each field int32 (n,), or :class:`Bags` of n rows for a multi-valued field.

    Raises:
        ValueError: the parts differ in length.
    """

    labels: np.ndarray
    numeric: np.ndarray
    ids: tuple[np.ndarray | Bags, ...]

    def __post_init__(self) -> None:
        if {len(self.numeric), *map(len, self.ids)} - {len(self.labels)}:
            raise ValueError(
                f"Labels, numeric columns and ids must have one row for each of {len(self.labels)} clicks."
            )

    def __len__(self) -> int:
        return len(self.labels)

    def slice(self, start: int, stop: int) -> Self:
        """The rows ``start … stop - 1``; a view if possible."""
        stop = min(stop, len(self))
        ids = tuple(field.slice(start, stop) if isinstance(field, Bags) else field[start:stop] for field in self.ids)
        return type(self)(self.labels[start:stop], self.numeric[start:stop], ids)

    def take(self, rows: np.ndarray) -> Self:
        """Selects rows by index, integers (m,), in that order."""
        ids = tuple(field.take(rows) if isinstance(field, Bags) else field[rows] for field in self.ids)
        return type(self)(self.labels[rows], self.numeric[rows], ids)

    def counts(self, sizes: Sequence[int] | Mapping[str, int]) -> list[np.ndarray]:
        """Counts of ids: int64 (sizes[f],) for every field f.

        Raises:
            IndexError: an id is out of range.
        """
        sizes = list(sizes.values()) if isinstance(sizes, Mapping) else sizes
        counts = [
            np.bincount(field.values if isinstance(field, Bags) else field, minlength=size)
            for field, size in zip(self.ids, sizes, strict=True)
        ]
        for place, (of_field, size) in enumerate(zip(counts, sizes, strict=True)):
            if len(of_field) > size:
                raise IndexError(f"Field {place} has id {len(of_field) - 1}, but ids are in 0..{size - 1}.")
        return counts

    def with_known(self, sizes: Sequence[int] | Mapping[str, int]) -> Self:
        """The same rows for smaller vocabularies: ids from ``sizes[field]`` on become 0, out of vocabulary."""
        sizes = list(sizes.values()) if isinstance(sizes, Mapping) else sizes
        ids: list[np.ndarray | Bags] = []
        for field, size in zip(self.ids, sizes, strict=True):
            values = field.values if isinstance(field, Bags) else field
            known = np.where(values < size, values, 0).astype(np.int32)
            ids.append(Bags(known, field.offsets) if isinstance(field, Bags) else known)
        return type(self)(self.labels, self.numeric, tuple(ids))
