"""Tables in files: arrays that are read a block of rows at a time."""

from __future__ import annotations

import math
import threading
import zlib
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from slimtable.codecs.vectors import BLOCK_ROWS, TableLike
from slimtable.errors import SlimtableError
from slimtable.memory import require_memory

Ids = np.ndarray | Sequence[str]
"""Raw id of each row: int64 (N,), or texts."""

_CHUNK = 1 << 20
_MESSAGE = 300  # characters of a message, so that it is one line of a terminal or two


class TableError(ValueError):
    """A file of tables cannot be read; the message is one line."""

    def __init__(self, message: str) -> None:
        line = " ".join(message.split())
        super().__init__(line if len(line) <= _MESSAGE else line[: _MESSAGE - 1] + "…")


class Table(ABC):
    """An array in a file, of which ``table[start:stop]`` reads rows; nothing stays in memory.

    Attributes:
        shape: shape of the array; (N, d) for a table of embeddings.
        dtype: type of the values that reading returns, in the byte order of this machine.
        ids: raw id of each row, if the file has them.
        costly: reading costs much more than copying, so that who reads it often should keep it if it fits.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    costly = False

    @property
    def ids(self) -> Ids | None:
        """Raw id of each row; None if the file has none."""
        return None

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        if not isinstance(rows, slice):
            raise TypeError(f"A table in a file is read by slices such as table[0:1000], got {type(rows).__name__}.")
        start, stop, step = rows.indices(len(self))
        if step != 1:
            raise ValueError("A table in a file is read by slices of consecutive rows; leave the step out.")
        return self._read(start, max(start, stop))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("A table in a file cannot become an array without a copy.")
        return np.asarray(self[:] if self.ndim else self._read(0, 1), dtype=dtype)

    def as_array(self) -> np.ndarray:
        """The values as an array: mapped where they lie in the file as they are, else read whole.

        Raises:
            SlimtableError: they must be read whole, but the machine has less memory than that.
        """
        require_memory(self.size * self.dtype.itemsize, "The table", "Open it with open_tables to read it by blocks.")
        return np.asarray(self)

    def files(self) -> tuple[Path, ...] | None:
        """The files that are read; None if the values are in memory."""
        return None

    def for_other_processes(self) -> Reopened | None:
        """What gives the same table in another process, once it is sent there; None if the values are in memory."""
        files = self.files()
        return None if files is None else Reopened(self, files, _stamp(files))

    def verify(self) -> None:  # noqa: B027
        """Checks the checksum of the values, where the file has one, in one pass.

        Raises:
            TableError: the bytes are not those that were written.
        """

    @abstractmethod
    def _read(self, start: int, stop: int) -> np.ndarray:
        """Rows ``start … stop - 1``, a new array; ``0 <= start <= stop <= len(self)``."""


@dataclass(frozen=True, eq=False)
class Reopened:
    """A table to be sent to other processes, as long as its files are the same.

    Attributes:
        table: the table.
        files: the files that it reads.
        stamp: their sizes and times.
    """

    table: Table
    files: tuple[Path, ...]
    stamp: tuple[tuple[int, int, int], ...]

    def __call__(self) -> Table:
        """The table.

        Raises:
            SlimtableError: a file has changed.
        """
        if _stamp(self.files) != self.stamp:
            raise SlimtableError(f"{self.files[0]} changed while it was compressed. Run the same command again.")
        return self.table


def _stamp(files: Sequence[Path]) -> tuple[tuple[int, int, int], ...]:
    return tuple((found.st_ino, found.st_size, found.st_mtime_ns) for found in (path.stat() for path in files))


@dataclass(frozen=True, eq=False)
class Stored(Table):
    """Values that lie in a file as they are, row by row.

    Attributes:
        path: the file.
        offset: byte where the values start.
        stored: type of the values in the file, with their byte order.
        bfloat16: ``stored`` is uint16, the upper half of float32 values.
        checksum: CRC-32 of a range of the file as ``(start, bytes, value)``, or None.
    """

    path: Path
    offset: int
    shape: tuple[int, ...]
    stored: np.dtype
    bfloat16: bool = False
    checksum: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        if self.offset < 0 or min(self.shape, default=1) < 0:
            raise TableError(f"{self.path.name} is damaged: it says shape {str(self.shape)[:60]}.")
        there = self.path.stat().st_size - self.offset
        if self.size * self.stored.itemsize > there:
            said = str(self.shape)[:60]
            raise TableError(
                f"{self.path} is damaged: its header says shape {said}, which its {there:,} bytes do not hold."
            )

    @property
    def dtype(self) -> np.dtype:  # type: ignore[override]
        """Type of the values that reading returns."""
        return np.dtype(np.float32) if self.bfloat16 else self.stored.newbyteorder("=")

    def _read(self, start: int, stop: int) -> np.ndarray:
        width = math.prod(self.shape[1:])
        place = self.offset + start * width * self.stored.itemsize
        count = (stop - start) * width if self.shape else 1
        values = np.fromfile(self.path, self.stored, count, offset=place)
        if values.size != count:
            raise TableError(f"{self.path} became shorter while it was read.")
        values = values.reshape((stop - start, *self.shape[1:]) if self.shape else ())
        if self.bfloat16:
            return widened(values)
        return values.astype(self.dtype, copy=False)

    def files(self) -> tuple[Path, ...]:
        return (self.path,)

    def as_array(self) -> np.ndarray:
        if self.bfloat16 or not self.size or not self.shape:
            return super().as_array()
        return np.memmap(self.path, self.stored, "r", self.offset, self.shape)

    def verify(self) -> None:
        if self.checksum is None:
            return
        start, left, expected = self.checksum
        found = 0
        with self.path.open("rb") as file:
            file.seek(start)
            while left and (chunk := file.read(min(left, _CHUNK))):
                found, left = zlib.crc32(chunk, found), left - len(chunk)
        if left or found != expected:
            raise TableError(f"{self.path} is damaged: a part of it is not what was written. Copy it again.")


def widened(halves: np.ndarray) -> np.ndarray:
    """float32 values of bfloat16 values given as uint16; any shape."""
    return (halves.astype(np.uint32) << 16).view(np.float32)


class InMemory(Table):
    """An array in memory, or mapped, with raw ids."""

    def __init__(self, array: np.ndarray, ids: Ids | None = None) -> None:
        self._array, self._ids = array, ids
        self.shape, self.dtype = array.shape, array.dtype.newbyteorder("=")

    def as_array(self) -> np.ndarray:
        return self._array

    @property
    def ids(self) -> Ids | None:
        return self._ids

    def _read(self, start: int, stop: int) -> np.ndarray:
        return np.array(self._array[start:stop], dtype=self.dtype)


class WithIds(Table):
    """A table with raw ids that come from elsewhere."""

    def __init__(self, table: TableLike, ids: Ids) -> None:
        if len(ids) != table.shape[0]:
            raise TableError(f"There are {len(ids):,} ids for {table.shape[0]:,} rows.")
        self._table, self._ids = table, ids
        self.shape, self.dtype = tuple(table.shape), table.dtype
        self.costly = getattr(table, "costly", False)

    @property
    def ids(self) -> Ids | None:
        return self._ids

    def for_other_processes(self) -> Reopened | None:
        return self._table.for_other_processes() if isinstance(self._table, Table) else None

    def verify(self) -> None:
        verify(self._table)

    def _read(self, start: int, stop: int) -> np.ndarray:
        return np.asarray(self._table[start:stop])


class Joined(Table):
    """Tables of equal width, one after the other."""

    def __init__(self, parts: Sequence[Table]) -> None:
        self._parts = parts
        self._starts = [0, *accumulate(len(part) for part in parts)]
        self.shape, self.dtype = (self._starts[-1], *parts[0].shape[1:]), parts[0].dtype
        self.costly = any(part.costly for part in parts)

    @property
    def ids(self) -> Ids | None:
        found = [part.ids for part in self._parts]
        if any(each is None for each in found):
            return None
        if all(isinstance(each, np.ndarray) for each in found):
            return np.concatenate(found)  # type: ignore[arg-type]
        return [str(name) for each in found for name in each or ()]

    def files(self) -> tuple[Path, ...] | None:
        found: tuple[Path, ...] = ()
        for part in self._parts:
            files = part.files()
            if files is None:
                return None
            found += files
        return found

    def verify(self) -> None:
        for part in self._parts:
            part.verify()

    def _read(self, start: int, stop: int) -> np.ndarray:
        pieces = [
            part[max(start - first, 0) : stop - first]
            for part, (first, end) in zip(self._parts, pairwise(self._starts), strict=True)
            if first < stop and end > start
        ]
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate(pieces) if pieces else np.zeros((0, *self.shape[1:]), self.dtype)


class Streamed(Table):
    """Rows that must be read in order, from one of several starting points; the reader goes on where it stopped.

    Several threads may read; a copy in another process starts anew.
    """

    costly = True

    def __init__(self, starts: Sequence[int] = (0,)) -> None:
        self._starts = list(starts)
        self._reset()

    @abstractmethod
    def _stream(self, part: int) -> Iterator[np.ndarray]:
        """The rows from starting point ``part`` to the end, in blocks."""

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._blocks: Iterator[np.ndarray] = iter(())
        self._block: np.ndarray | None = None
        self._first = self._next = 0  # rows of the block at hand

    def __getstate__(self) -> dict[str, Any]:
        dropped = ("_lock", "_blocks", "_block", "_first", "_next")
        return {name: value for name, value in self.__dict__.items() if name not in dropped}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def _read(self, start: int, stop: int) -> np.ndarray:
        if start == stop:
            return np.zeros((0, *self.shape[1:]), self.dtype)
        with self._lock:
            return self._collect(start, stop)

    def _collect(self, start: int, stop: int) -> np.ndarray:
        part = bisect_right(self._starts, start) - 1
        if self._block is None or start < self._first or self._starts[part] > self._next:
            self._blocks, self._block = self._stream(part), None
            self._first = self._next = self._starts[part]
        out = np.empty((stop - start, *self.shape[1:]), self.dtype)
        row = start
        while row < stop:
            while row >= self._next:
                block = next(self._blocks, None)
                if block is None:
                    raise TableError(f"The table ends at row {self._next:,}, before row {stop:,}.")
                self._block, self._first, self._next = block, self._next, self._next + len(block)
            end = min(stop, self._next)
            assert self._block is not None
            out[row - start : end - start] = self._block[row - self._first : end - self._first]
            row = end
        return out

    def verify(self) -> None:
        for first in range(0, len(self), BLOCK_ROWS):
            self[first : first + BLOCK_ROWS]


def verify(table: TableLike) -> None:
    """Checks the checksum of a table, if it has one."""
    if isinstance(table, Table):
        table.verify()
