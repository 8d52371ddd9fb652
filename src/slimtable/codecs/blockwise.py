"""Encodes parts of a table straight into a file, in any process and in any order."""

from __future__ import annotations

import hashlib
import io
import math
import os
import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slimtable.artifact.file_plan import bytes_of
from slimtable.artifact.layouts import Decoder, validate
from slimtable.artifact.packed import Packed
from slimtable.codecs.base import Block, Fitted, Rows
from slimtable.codecs.vectors import BLOCK_ROWS
from slimtable.errors import SlimtableError

CHUNK_ROWS = 8 * BLOCK_ROWS
"""Rows that one process encodes before it reports."""

_READ_AT_ONCE = 1 << 22
_SENT = 1 << 22  # bytes of a reader that are sent with every chunk
SUMS = ("values", "squares", "errors", "weighted_errors", "weights")
"""What :attr:`Encoded.sums` are: values, their squares, squared errors, those times the weight of the row, weights."""


@dataclass(frozen=True)
class Place:
    """Where an array lies in a file.

    Attributes:
        begin: its first byte.
        length: its length along the first axis.
        step: bytes of one index of the first axis.
    """

    begin: int
    length: int
    step: int

    def part(self, first: int, stop: int, num_embeddings: int) -> tuple[int, int]:
        """First byte and end of the part of some rows; ``first`` is a multiple of 8."""
        start = self.length * first // num_embeddings
        end = self.length if stop == num_embeddings else self.length * stop // num_embeddings
        return self.begin + start * self.step, self.begin + end * self.step


@dataclass(frozen=True, eq=False)
class Target:
    """What encodes a table, and where to; can be sent to other processes.

    Attributes:
        fitted: the codec, fitted to the table.
        open_table: returns the table.
        file: the file that holds the arrays.
        places: where each array of rows lies in it.
    """

    fitted: Fitted
    open_table: Callable[[], Any]
    file: Path
    places: Mapping[str, Place]


@dataclass(frozen=True, eq=False)
class Chunk:
    """Consecutive rows of a table.

    Attributes:
        table: name of the table.
        first: the first id, a multiple of 8.
        stop: the id after the last one.
        counts: how often each of these ids occurs, or None.
    """

    table: str
    first: int
    stop: int
    counts: np.ndarray | None = None


@dataclass(frozen=True)
class Encoded:
    """A chunk whose bytes are in the file.

    Attributes:
        table: name of the table.
        first: its first id.
        digest: checksum of its bytes.
        sums: see :data:`SUMS`.
    """

    table: str
    first: int
    digest: str
    sums: tuple[float, ...]


def encode_chunk(targets: Mapping[str, Target], chunk: Chunk) -> Encoded | Exception:
    """Encodes the rows of a chunk and writes them into the file.

    Blocks are those of :meth:`slimtable.codecs.base.Codec.compress`. Every one is checked as a table of its own, and
    decoded to measure its errors.

    Returns:
        What was written; or an error about the table, which is the same on any try.
    """
    target = targets[chunk.table]
    fitted = target.fitted
    hashes = {name: _hash() for name in target.places}
    sums = []
    try:
        rows = Rows(target.open_table())
        shared = fitted.shared_arrays()
        with target.file.open("r+b", buffering=0) as file:
            for first, values in rows.blocks(chunk.first, chunk.stop):
                block = fitted.encode(values, first)
                packed = as_table(fitted, block, shared)
                validate(packed)
                _write(file.fileno(), target, block, hashes)
                counts = None if chunk.counts is None else chunk.counts[first - chunk.first :][: len(values)]
                sums.append(_sums(packed, values, counts))
    except (ValueError, TypeError, SlimtableError) as error:
        return error
    digest = _joined(hashes)
    return Encoded(chunk.table, chunk.first, digest, tuple(map(math.fsum, zip(*sums, strict=True))))


def as_table(fitted: Fitted, block: Block, shared: Mapping[str, np.ndarray]) -> Packed:
    """A block as a packed table of its own rows."""
    padding = fitted.padding_idx
    inside = padding is not None and block.first_id <= padding < block.first_id + block.num_rows
    return Packed(
        layout=fitted.layout,
        num_embeddings=block.num_rows,
        embedding_dim=fitted.embedding_dim,
        arrays={**block.arrays, **shared},
        layout_config=fitted.layout_config(),
        padding_idx=padding - block.first_id if inside and padding is not None else None,
    )


def digest_of(target: Target, first: int, stop: int) -> str:
    """The checksum of the bytes that lie in the file for some rows."""
    hashes = {}
    with target.file.open("rb") as file:
        for name, place in target.places.items():
            hashes[name] = _hash()
            for piece in read_pieces(file, *place.part(first, stop, target.fitted.num_embeddings)):
                hashes[name].update(piece)
    return _joined(hashes)


def read_pieces(file: Any, begin: int, end: int) -> Iterator[bytes]:
    """The bytes ``begin … end - 1`` of a file, in pieces that need little memory."""
    file.seek(begin)
    while begin < end:
        piece = file.read(min(_READ_AT_ONCE, end - begin))
        if not piece:
            return
        begin += len(piece)
        yield piece


def write_at(descriptor: int, data: memoryview, place: int) -> None:
    """Writes all bytes at a place of a file."""
    while len(data):
        written = os.pwrite(descriptor, data, place)
        data, place = data[written:], place + written


def _write(descriptor: int, target: Target, block: Block, hashes: Mapping[str, Any]) -> None:
    stop = block.first_id + block.num_rows
    for name, place in target.places.items():
        begin, end = place.part(block.first_id, stop, target.fitted.num_embeddings)
        data = bytes_of(block.arrays[name])
        if len(data) != end - begin:
            raise ValueError(f"A block of array {name} takes {len(data)} bytes, not {end - begin}.")
        write_at(descriptor, data, begin)
        hashes[name].update(data)


def _sums(packed: Packed, rows: np.ndarray, counts: np.ndarray | None) -> tuple[float, ...]:
    """The sums of a block."""
    wide = rows.astype(np.float64)
    values, squares = wide.sum(), (wide * wide).sum()
    wide -= Decoder(packed)(np.arange(len(rows)))
    errors = np.einsum("nd,nd->n", wide, wide)
    weights = np.ones(len(rows)) if counts is None else np.asarray(counts, np.float64)
    return float(values), float(squares), float(errors.sum()), float(errors @ weights), float(weights.sum())


def _hash() -> Any:
    return hashlib.blake2b(digest_size=16)


def _joined(hashes: Mapping[str, Any]) -> str:
    whole = _hash()
    for name in sorted(hashes):
        whole.update(hashes[name].digest())
    return str(whole.hexdigest())


@dataclass(frozen=True)
class MappedPart:
    """A memory-mapped array, or a part of one, which other processes map again.

    Attributes:
        path: the file.
        stamp: inode, size and time of the last change of the file.
        dtype: type of the values.
        offset: byte of the file where the first value lies.
        shape: shape of the array.
        strides: bytes between values along each axis.
    """

    path: str
    stamp: tuple[int, int, int]
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __call__(self) -> np.ndarray:
        """The array.

        Raises:
            SlimtableError: the file has changed.
        """
        if _stamp(self.path) != self.stamp:
            raise SlimtableError(f"{self.path} changed while it was compressed. Run the same command again.")
        mapped = np.memmap(self.path, np.uint8, "r")
        return np.ndarray(self.shape, np.dtype(self.dtype), mapped, self.offset, self.strides)


def for_other_processes(table: Any) -> Callable[[], Any] | None:
    """A function that returns the table in other processes; None if it lies in the memory of this one.

    Args:
        table: a memory-mapped array or a part of one; or a reader of a file that can be pickled.
    """
    if not isinstance(table, np.ndarray):
        return Reader(table) if _is_small(table) else None
    whole: Any = table
    found: np.memmap | None = None
    while isinstance(whole, np.ndarray):
        if isinstance(whole, np.memmap):
            found = whole
        whole = whole.base
    if found is None or found.mode == "c" or found.filename is None or table.dtype.hasobject:
        return None
    path = str(Path(found.filename).resolve())
    offset = found.offset + table.ctypes.data - found.ctypes.data
    return MappedPart(path, _stamp(path), table.dtype.str, offset, table.shape, table.strides)


@dataclass(frozen=True, eq=False)
class Reader:
    """A reader of a file, which other processes get a copy of."""

    table: Any

    def __call__(self) -> Any:
        return self.table

    @property
    def stamp(self) -> tuple[int, int, int] | None:
        """As of :class:`MappedPart`, if the reader has a ``path``."""
        path = getattr(self.table, "path", None)
        return None if path is None else _stamp(str(path))


class _Limited(io.RawIOBase):
    """A file that takes little."""

    def __init__(self) -> None:
        self._left = _SENT

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        self._left -= size
        if self._left < 0:
            raise OverflowError
        return size


def _is_small(table: Any) -> bool:
    """True if the table can be sent to other processes, and is not sent row by row."""
    try:
        pickle.Pickler(_Limited(), protocol=5).dump(table)
    except Exception:  # whatever it is, this process has the table
        return False
    return True


def _stamp(path: str) -> tuple[int, int, int]:
    found = os.stat(path)
    return found.st_ino, found.st_size, found.st_mtime_ns
