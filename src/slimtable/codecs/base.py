"""The interface of a codec: trained vectors in, a packed table out, block by block and without PyTorch."""

from __future__ import annotations

import mmap
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from slimtable.artifact.packed import Packed
from slimtable.codecs.vectors import Array, TableLike, Vectors
from slimtable.memory import total_memory

_CHECKED_AT_ONCE = 1 << 20  # frequencies


@dataclass(frozen=True, eq=False)
class FitContext:
    """Knowledge about a trained table besides its rows. A codec uses what it can and ignores the rest.

    Attributes:
        frequencies: (N,) how often each id occurs in training; None if ids are numbered from most to least frequent.
        previous: an earlier table with the same ids, or with the first of them, to start from.
        metric: float64 (d, d), symmetric and positive semi-definite: an error e of a row costs eᵀ · metric · e. None
            if all directions cost the same.
    """

    frequencies: np.ndarray | None = None
    previous: Any = None
    metric: np.ndarray | None = None

    def checked(self, num_embeddings: int) -> FitContext:
        """The context itself, once its frequencies are checked.

        Raises:
            ValueError: the frequencies are not one finite number, 0 or more, for each of ``num_embeddings`` ids.
        """
        if self.frequencies is not None:
            frequencies = np.asarray(self.frequencies)
            if frequencies.dtype.kind not in "iufb":
                raise ValueError(f"frequencies must be numbers, got {frequencies.dtype}.")
            if frequencies.shape != (num_embeddings,):
                raise ValueError(f"frequencies must have shape ({num_embeddings},), got {frequencies.shape}.")
            for start in range(0, num_embeddings, _CHECKED_AT_ONCE):
                some = frequencies[start : start + _CHECKED_AT_ONCE]
                if not (np.isfinite(some) & (some >= 0)).all():
                    raise ValueError("frequencies must be finite and not negative.")
        return self


NOTHING_KNOWN = FitContext()
_KEPT = 1 / 8  # a table that is slow to read is kept in memory if it takes at most this share of it


class Rows(Vectors):
    """The rows of a trained table, read a block at a time; a memory-mapped file is never loaded whole.

    Args:
        table: float (N, d): an array, a :class:`numpy.memmap`, or a table of :func:`slimtable.tables.open_tables`.
        padding_idx: id that is served as zeros, or None.

    Raises:
        TypeError: the table is not a NumPy array.
        ValueError: the table is not a matrix of floats, or ``padding_idx`` is not one of its ids or has a nonzero row.
    """

    def __init__(self, table: TableLike, padding_idx: int | None = None) -> None:
        if not isinstance(getattr(table, "dtype", None), np.dtype):
            raise TypeError(f"A table is a NumPy array, got {type(table).__name__}. Convert it with numpy.asarray.")
        if table.ndim != 2 or table.dtype.kind != "f":
            raise ValueError(f"A table is a floating-point matrix, got {table.dtype} of shape {table.shape}.")
        self._table, self._file = table, _mapped_file(table)
        self.num_embeddings, self.embedding_dim = table.shape
        self.shape = (self.num_embeddings, self.embedding_dim)
        if not self.num_embeddings or not self.embedding_dim:
            raise ValueError(f"A table needs at least one row and one column, got {table.shape}.")
        if padding_idx is not None:
            if not -self.num_embeddings <= padding_idx < self.num_embeddings:
                raise ValueError(f"padding_idx={padding_idx} is not an id of a table of {self.num_embeddings} rows.")
            padding_idx %= self.num_embeddings
            if self.read(padding_idx, padding_idx + 1).any():
                raise ValueError(f"The row of padding_idx={padding_idx} is not zeros. Zero it, or drop padding_idx.")
        self.padding_idx = padding_idx

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows ``start … stop - 1``, float32 (rows, d).

        Raises:
            ValueError: a value is NaN or infinite, or too large for float32.
        """
        rows = self.read_unchecked(start, stop)
        finite = np.isfinite(rows)
        if not finite.all():
            bad = start + int(np.argmax(~finite.all(axis=1)))
            raise ValueError(
                f"The table holds NaN or infinite values, first in row {bad}. Repair it before compressing."
            )
        return rows

    def read_unchecked(self, start: int, stop: int) -> np.ndarray:
        """As :meth:`read`, but values may be NaN, and are infinite if they are too large for float32."""
        with np.errstate(over="ignore"):
            rows = np.array(self._table[start : min(stop, self.num_embeddings)], dtype=np.float32, order="C")
        if self._file is not None:
            # Pages of a map would stay in memory until another process needs the space.
            self._file.madvise(mmap.MADV_DONTNEED)
        return rows

    def for_repeated_reads(self) -> Vectors:
        """The rows for codecs that read them many times.

        A float32 table in memory is checked only once; a table that is slow to read, such as a text file, is kept in
        memory if it is small beside the memory of the machine.

        Raises:
            ValueError: as :meth:`read`.
        """
        table = self._table
        if getattr(table, "costly", False) and 4 * table.size <= _KEPT * total_memory():
            return Array(self.read(0, self.num_embeddings))
        if not isinstance(table, np.ndarray) or self._file is not None:
            return self
        if table.dtype != np.float32 or not table.flags.c_contiguous:
            return self
        for _ in self.blocks():
            pass
        return Array(table)


def _mapped_file(table: TableLike) -> mmap.mmap | None:
    """The map of a file that an array, or the array that it is a part of, lies in; None if pages must stay in memory.

    Changes to a copy-on-write map ("c") are in its pages alone, so those stay.
    """
    whole: Any = table
    while isinstance(whole, np.ndarray):
        if isinstance(whole, np.memmap) and whole.mode == "c":
            return None
        whole = whole.base
    return whole if isinstance(whole, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED") else None


@dataclass(frozen=True, eq=False)
class Block:
    """A block of encoded rows.

    Attributes:
        first_id: id of the first row.
        num_rows: number of rows.
        arrays: arrays of the packed table for these rows, by name; those of consecutive blocks are concatenated along
            the first axis.
    """

    first_id: int
    num_rows: int
    arrays: Mapping[str, np.ndarray]


class Fitted(ABC):
    """A codec fitted to a table: encodes its rows block by block, and packs the blocks."""

    layout: ClassVar[str]
    """Layout of the packed table."""

    def __init__(self, rows: Rows) -> None:
        self.num_embeddings, self.embedding_dim = rows.num_embeddings, rows.embedding_dim
        self.padding_idx = rows.padding_idx

    @abstractmethod
    def encode(self, rows: np.ndarray, first_id: int) -> Block:
        """Encodes a block. A pure function: any process may encode any block and gets the same bytes.

        Args:
            rows: float32 (n, d).
            first_id: id of the first row, a multiple of 8.
        """

    def shared_arrays(self) -> dict[str, np.ndarray]:
        """Arrays that all rows share, such as scales per column; none by default."""
        return {}

    def layout_config(self) -> dict[str, Any]:
        """Options that the decoder needs besides the arrays; none by default."""
        return {}

    def finished(self, joined: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Turns the concatenated arrays of all blocks into the arrays of the file; unchanged by default."""
        return joined

    def pack(self, blocks: Iterable[Block], method: str = "", method_config: Mapping[str, Any] | None = None) -> Packed:
        """Packs all blocks, which may come in any order.

        Args:
            blocks: blocks that together hold every row exactly once.
            method: registry name of the method, stored in the header.
            method_config: options of the method, stored in the header.

        Raises:
            ValueError: blocks are missing or overlap.
        """
        joined: dict[str, np.ndarray] = {}
        seen = np.zeros(self.num_embeddings, dtype=bool)
        for block in self._whole_first(blocks):
            ids = slice(block.first_id, block.first_id + block.num_rows)
            if seen[ids].any() or ids.stop > self.num_embeddings:
                raise ValueError(self._incomplete())
            seen[ids] = True
            for name, array in block.arrays.items():
                self._place(joined, name, array, block)
        if not seen.all():
            raise ValueError(self._incomplete())
        return Packed(
            layout=self.layout,
            num_embeddings=self.num_embeddings,
            embedding_dim=self.embedding_dim,
            arrays=self.finished(joined) | self.shared_arrays(),
            layout_config=self.layout_config(),
            padding_idx=self.padding_idx,
            method=method,
            method_config=method_config or {},
        )

    def _whole_first(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """The blocks, with the last rows at the end: their last byte may be padded, so row sizes come from others."""
        last = None
        for block in blocks:
            if block.first_id and block.first_id + block.num_rows == self.num_embeddings and last is None:
                last = block
            else:
                yield block
        if last is not None:
            yield last

    def _incomplete(self) -> str:
        return f"The blocks must hold each of the {self.num_embeddings:,} rows exactly once."

    def _place(self, joined: dict[str, np.ndarray], name: str, array: np.ndarray, block: Block) -> None:
        """Copies the array of a block into that of all rows, which is allocated once: nothing is in memory twice."""
        if name not in joined:
            joined[name] = np.empty(self.shape_of_all(array, block.num_rows), array.dtype)
        whole = joined[name]
        start = len(whole) * block.first_id // self.num_embeddings
        per_block = len(array) if block.first_id + block.num_rows < self.num_embeddings else len(whole) - start
        whole[start : start + per_block] = array[:per_block]

    def shape_of_all(self, array: np.ndarray, num_rows: int) -> tuple[int, ...]:
        """The shape of an array of all rows, from the array of a block of ``num_rows`` rows."""
        # A row takes a whole number of values; with packed codes, eight rows do, and the last byte may be padded.
        return (-(-len(array) * self.num_embeddings // num_rows), *array.shape[1:])


class Codec(ABC):
    """Compresses trained vectors. A codec is a frozen dataclass of options; all state is in the fitted object."""

    exact_size: ClassVar[bool] = True
    """False if the size depends on the values of the table, so that :meth:`bits_of` is an upper bound."""
    streams: ClassVar[bool] = True
    """False if the fitted codec keeps something for every row, or places rows in an order of its own: such tables are
    compressed in memory. Otherwise blocks are written straight into a file, whatever the size of the table."""

    @abstractmethod
    def fit(self, rows: Rows, context: FitContext = NOTHING_KNOWN) -> Fitted:
        """Fits the codec to a table, whose rows it may read several times, block by block.

        Args:
            rows: rows of the trained table.
            context: what else is known about the table.

        Raises:
            ValueError: the options do not fit the table, or the codec cannot represent its values.
        """

    @abstractmethod
    def bits_of(self, num_embeddings: int, embedding_dim: int, frequencies: np.ndarray | None = None) -> int:
        """Bits of the packed table, from its shape alone; ``frequencies`` (N,) matter if tiers depend on them."""

    def compress(
        self,
        rows: Rows,
        context: FitContext = NOTHING_KNOWN,
        method: str = "",
        method_config: Mapping[str, Any] | None = None,
    ) -> Packed:
        """Fits, encodes block by block, and packs.

        Raises:
            ValueError: as :meth:`fit`, or the frequencies do not match the table.
        """
        fitted = self.fit(rows, context.checked(rows.num_embeddings))
        return fitted.pack((fitted.encode(block, first) for first, block in rows.blocks()), method, method_config)
