"""What every codec is: trained vectors in, a packed table out, block by block and without PyTorch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from slimtable.artifact.packed import Packed
from slimtable.codecs.vectors import Array, Vectors


@dataclass(frozen=True, eq=False)
class FitContext:
    """What may be known of a trained table besides its rows. A codec uses what it can, and ignores the rest.

    Attributes:
        frequencies: (N,) how often each id occurs in training; None where ids are numbered from most to least frequent.
        previous: an earlier table of the same ids, or of the first of them, to start from.
        metric: float64 (d, d), symmetric and positive semi-definite: an error e of a row costs eᵀ · metric · e. None
            where all directions cost the same.
    """

    frequencies: np.ndarray | None = None
    previous: Any = None
    metric: np.ndarray | None = None

    def checked(self, num_embeddings: int) -> FitContext:
        """Itself.

        Raises:
            ValueError: the frequencies are not one finite number, 0 or more, for each of so many ids.
        """
        if self.frequencies is not None:
            frequencies = np.asarray(self.frequencies)
            if frequencies.shape != (num_embeddings,):
                raise ValueError(f"frequencies must have shape ({num_embeddings},), got {frequencies.shape}.")
            if not (np.isfinite(frequencies) & (frequencies >= 0)).all():
                raise ValueError("frequencies must be finite and not negative.")
        return self


NOTHING_KNOWN = FitContext()


class Rows(Vectors):
    """The rows of a trained table, read a block at a time; a mapped file is read and never held.

    Args:
        table: float (N, d), in memory or a :class:`numpy.memmap`.
        padding_idx: id that is served as zeros, or None.

    Raises:
        ValueError: the table is not a matrix of floats, or ``padding_idx`` is not one of its ids.
    """

    def __init__(self, table: np.ndarray, padding_idx: int | None = None) -> None:
        if table.ndim != 2 or table.dtype.kind != "f":
            raise ValueError(f"A table is a floating-point matrix, got {table.dtype} of shape {table.shape}.")
        self._table = table
        self.shape = self.num_embeddings, self.embedding_dim = table.shape
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
            ValueError: a value is NaN or infinite, in float32 too.
        """
        stop = min(stop, self.num_embeddings)
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused below
            rows = np.array(self._raw(start, stop), dtype=np.float32)
        finite = np.isfinite(rows)
        if not finite.all():
            bad = start + int(np.argmax(~finite.all(axis=1)))
            raise ValueError(
                f"The table holds NaN or infinite values, first in row {bad}. Repair it before compressing."
            )
        return rows

    def for_many_looks(self) -> Vectors:
        """The rows for codecs that read them again and again: a float32 table in memory is checked once, and no more.

        Raises:
            ValueError: as :meth:`read`.
        """
        table = self._table
        if isinstance(table, np.memmap) or table.dtype != np.float32 or not table.flags.c_contiguous:
            return self
        for _ in self.blocks():
            pass
        return Array(table)

    def _raw(self, start: int, stop: int) -> np.ndarray:
        table = self._table
        if not isinstance(table, np.memmap) or table.filename is None or not table.flags.c_contiguous:
            return table[start:stop]
        # Read, not mapped: pages of a map would stay in memory until others need it.
        count, width = (stop - start) * self.embedding_dim, table.dtype.itemsize
        place = table.offset + start * self.embedding_dim * width
        return np.fromfile(table.filename, table.dtype, count, offset=place).reshape(stop - start, self.embedding_dim)


@dataclass(frozen=True, eq=False)
class Block:
    """Some encoded rows.

    Attributes:
        first_id: id of the first row.
        num_rows: how many there are.
        arrays: what is served for them, by name; arrays of consecutive blocks are joined at their first axis.
    """

    first_id: int
    num_rows: int
    arrays: Mapping[str, np.ndarray]


class Fitted(ABC):
    """A codec that knows its table: encodes rows, and packs what was encoded."""

    layout: ClassVar[str]
    """Layout of the packed table."""

    def __init__(self, rows: Rows) -> None:
        self.num_embeddings, self.embedding_dim = rows.num_embeddings, rows.embedding_dim
        self.padding_idx = rows.padding_idx

    @abstractmethod
    def encode(self, rows: np.ndarray, first_id: int) -> Block:
        """Encodes a block; pure, so that any process may encode any block and the bytes are the same.

        Args:
            rows: float32 (n, d).
            first_id: id of the first of them, a multiple of 8.
        """

    def shared_arrays(self) -> dict[str, np.ndarray]:
        """Arrays that all rows share, such as scales by column; none by default."""
        return {}

    def layout_config(self) -> dict[str, Any]:
        """What the decoder must know besides the arrays; nothing by default."""
        return {}

    def finished(self, joined: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The arrays of all blocks as they are served; as they are by default."""
        return joined

    def pack(self, blocks: Iterable[Block], method: str = "", method_config: Mapping[str, Any] | None = None) -> Packed:
        """The packed table of all blocks, which may come in any order.

        Args:
            blocks: of all rows, each once.
            method: registry name of the method, for the reader of the file.
            method_config: its options.

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
        """The blocks, the last rows at the end: their codes may not fill a byte, so they do not tell a row's size."""
        last = None
        for block in blocks:
            if block.first_id and block.first_id + block.num_rows == self.num_embeddings and last is None:
                last = block
            else:
                yield block
        if last is not None:
            yield last

    def _incomplete(self) -> str:
        return f"The blocks do not make up {self.num_embeddings:,} rows, each once."

    def _place(self, joined: dict[str, np.ndarray], name: str, array: np.ndarray, block: Block) -> None:
        """Puts the array of a block where it belongs in that of all rows, which is made once: nothing is held twice."""
        if name not in joined:
            # A row takes a whole number of values, or, of packed codes, eight rows do; the last byte may be filled up.
            most = -(-len(array) * self.num_embeddings // block.num_rows)
            joined[name] = np.empty((most, *array.shape[1:]), array.dtype)
        whole = joined[name]
        start = len(whole) * block.first_id // self.num_embeddings
        per_block = len(array) if block.first_id + block.num_rows < self.num_embeddings else len(whole) - start
        whole[start : start + per_block] = array[:per_block]


class Codec(ABC):
    """Compresses trained vectors. A codec is a frozen dataclass of options; all state is in what it fits."""

    @abstractmethod
    def fit(self, rows: Rows, context: FitContext = NOTHING_KNOWN) -> Fitted:
        """Looks at the rows, block by block, as often as it needs to.

        Args:
            rows: of the trained table.
            context: what else is known of it.

        Raises:
            ValueError: the options do not fit the table, or its values cannot be kept so.
        """

    @abstractmethod
    def bits_of(self, num_embeddings: int, embedding_dim: int, frequencies: np.ndarray | None = None) -> int:
        """Bits that a table serves, from its sizes alone; ``frequencies`` (N,) count where they order ids."""

    def compress(
        self,
        rows: Rows,
        context: FitContext = NOTHING_KNOWN,
        method: str = "",
        method_config: Mapping[str, Any] | None = None,
    ) -> Packed:
        """Fits, encodes block by block, and packs.

        Raises:
            ValueError: as :meth:`fit`, or the frequencies do not fit.
        """
        fitted = self.fit(rows, context.checked(rows.num_embeddings))
        return fitted.pack((fitted.encode(block, first) for first, block in rows.blocks()), method, method_config)
