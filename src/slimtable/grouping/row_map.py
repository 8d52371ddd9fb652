"""Row maps: the shared row of each id, stored or computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

_PRIME = (1 << 31) - 1
_STORED = (0, 0, 0, 0, 1)  # encodes a stored map; not valid as a hash
_QUOTIENT = (0, 1, 0, 0)  # encodes a quotient, before its divisor


@dataclass(frozen=True)
class Hash:
    """A computed row map: ids below ``head`` have dedicated rows, the others are hashed.

    The row of an id is ``first + ((a·id + b) mod (2³¹ − 1)) mod count``, a universal hash (Carter & Wegman 1979), or
    the id itself where it is below ``head``. Sort ids by frequency to give frequent ones dedicated rows.

    Attributes:
        a: 1 to 2³¹ − 2; 1 with ``b = 0`` is the plain remainder.
        b: 0 to 2³¹ − 2.
        head: number of ids with dedicated rows.
        first: first row of the other ids.
        count: number of rows of the other ids.

    Raises:
        ValueError: a number is out of range.
    """

    a: int = 1
    b: int = 0
    head: int = 0
    first: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        least, end = {"a": 1, "b": 0, "head": 0, "first": 0, "count": 1}, {"a": _PRIME, "b": _PRIME}
        for name, value in vars(self).items():
            if not least[name] <= value < end.get(name, 1 << 31):
                raise ValueError(f"`Hash.{name}` must be in {least[name]}..{end.get(name, 1 << 31) - 1}, got {value}.")

    def rows(self, num_embeddings: int) -> np.ndarray:
        """The row of each id, int32 (num_embeddings,)."""
        ids = np.arange(num_embeddings, dtype=np.uint64)
        hashed = (np.uint64(self.a) * ids + np.uint64(self.b)) % np.uint64(_PRIME) % np.uint64(self.count)
        return np.where(ids < self.head, ids, self.first + hashed.astype(np.int64)).astype(np.int32)

    @classmethod
    def universal(cls, count: int, generator: np.random.Generator, head: int = 0) -> Self:
        """A random hash into ``count`` rows that follow ``head`` dedicated rows."""
        a, b = int(generator.integers(1, _PRIME)), int(generator.integers(_PRIME))
        return cls(a, b, head, head, count)


@dataclass(frozen=True)
class Quotient:
    """A computed row map: id ``i`` has row ``⌊i / divisor⌋``, so that adjacent ids share one.

    Attributes:
        divisor: 1 to 2³¹ − 1.

    Raises:
        ValueError: the divisor is out of range.
    """

    divisor: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.divisor <= _PRIME:
            raise ValueError(f"`Quotient.divisor` must be in 1..{_PRIME}, got {self.divisor}.")

    def rows(self, num_embeddings: int) -> np.ndarray:
        """The row of each id, int32 (num_embeddings,)."""
        return (np.arange(num_embeddings) // self.divisor).astype(np.int32)


def numbers_of_map(computed: Hash | Quotient | None) -> tuple[int, ...]:
    """Encodes a map in five integers for state dicts: a hash, a quotient, or stored."""
    if computed is None:
        return _STORED
    if isinstance(computed, Quotient):
        return (*_QUOTIENT, computed.divisor)
    return (computed.a, computed.b, computed.head, computed.first, computed.count)


def read_map(numbers: tuple[int, ...]) -> Hash | Quotient | None:
    """Decodes the output of :func:`numbers_of_map`.

    Raises:
        ValueError: a number is out of range.
    """
    if numbers == _STORED:
        return None
    return Quotient(numbers[-1]) if numbers[:-1] == _QUOTIENT else Hash(*numbers)


@dataclass(frozen=True, eq=False)
class RowMap:
    """The shared row of each id, and optionally a secondary row that it is averaged with.

    Attributes:
        rows: int32 (N,), each in ``0 … num_rows - 1``.
        num_rows: rows of the shared table, K.
        secondary: int32 (N,) secondary row of each id, equal to ``rows`` where an id has none; None if no id has one.
        secondary_weight: w of the row ``(1 - w) · primary + w · secondary``; 0.5 for the mean.
        computed: the hash that gives ``rows``, if there is one; the map then takes no space.

    Raises:
        ValueError: shapes differ, a row is out of range, or the weight is not in (0, 1).

    Example:
        >>> row_map = RowMap.from_labels(np.array([7, 7, 2]))
        >>> row_map.rows.tolist(), row_map.num_rows, row_map.bits()
        ([1, 1, 0], 2, 3)
    """

    rows: np.ndarray
    num_rows: int
    secondary: np.ndarray | None = None
    secondary_weight: float = 0.5
    computed: Hash | None = None

    def __post_init__(self) -> None:
        for name in ("rows", "secondary"):
            values = getattr(self, name)
            if values is None:
                continue
            values = np.ascontiguousarray(values, dtype=np.int32)
            if values.ndim != 1 or len(values) != len(self.rows):
                raise ValueError(f"`RowMap.{name}` must have one row for each of {len(self.rows)} ids.")
            if len(values) and not 0 <= values.min() <= values.max() < self.num_rows:
                raise ValueError(
                    f"`RowMap.{name}` must be in 0..{self.num_rows - 1}, got {values.min()}..{values.max()}."
                )
            object.__setattr__(self, name, values)
        if not 0 < self.secondary_weight < 1:
            raise ValueError(f"`RowMap.secondary_weight` must be between 0 and 1, got {self.secondary_weight}.")

    @classmethod
    def from_labels(
        cls, labels: np.ndarray, secondary: np.ndarray | None = None, secondary_weight: float = 0.5
    ) -> Self:
        """Numbers the groups that occur from 0, in the order of their labels.

        Args:
            labels: integer (N,) group of each id.
            secondary: integer (N,) secondary group of each id, -1 for none; only groups that occur in ``labels``.
            secondary_weight: as the attribute.

        Returns:
            The row map.

        Raises:
            ValueError: a secondary group is the primary group of no id.
        """
        used, rows = np.unique(labels, return_inverse=True)
        if secondary is None or not (secondary >= 0).any():
            return cls(rows, len(used))
        place = np.searchsorted(used, secondary).clip(max=len(used) - 1)
        known = used[place] == secondary
        if not (known | (secondary < 0)).all():
            raise ValueError("A secondary group must be the primary group of some id.")
        return cls(rows, len(used), np.where(known, place, rows), secondary_weight)

    @classmethod
    def from_hash(cls, num_embeddings: int, computed: Hash) -> Self:
        """The row map of a hash."""
        num_rows = max(computed.head, computed.first + computed.count)
        return cls(computed.rows(num_embeddings), num_rows, computed=computed)

    @property
    def num_embeddings(self) -> int:
        """Number of ids, N."""
        return len(self.rows)

    @property
    def num_secondary(self) -> int:
        """Number of ids with a secondary row; BACO's accounting charges one parameter for each."""
        return 0 if self.secondary is None else int((self.secondary != self.rows).sum())

    def bits(self) -> int:
        """Bits that the map takes in a file: N codes of ⌈log2 K⌉ bits, twice with secondary rows, none if computed."""
        if self.computed is not None:
            return 0
        width = max(1, (self.num_rows - 1).bit_length())
        return self.num_embeddings * width * (1 if self.secondary is None else 2)

    def with_dedicated_rows(self, ids: np.ndarray) -> RowMap:
        """A copy in which some ids get dedicated rows; groups that become empty are dropped.

        Args:
            ids: integer (H,), all different.
        """
        groups = self.rows.astype(np.int64) + len(ids)
        groups[ids] = np.arange(len(ids))
        secondary = None
        if self.secondary is not None:
            secondary = np.where(self.secondary != self.rows, self.secondary.astype(np.int64) + len(ids), -1)
            secondary[ids] = -1
            secondary[~np.isin(secondary, groups)] = -1
        return RowMap.from_labels(groups, secondary, self.secondary_weight)

    def with_padding(self, padding_idx: int) -> RowMap:
        """A copy with one more id at ``padding_idx``; it uses row 0, and the padding is served as zeros anyway."""
        secondary = None if self.secondary is None else np.insert(self.secondary, padding_idx, 0)
        return RowMap(np.insert(self.rows, padding_idx, 0), self.num_rows, secondary, self.secondary_weight)
