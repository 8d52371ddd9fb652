"""Vectors in the formats of word2vec, text and binary.

Both formats of word2vec start with a line ``N d``. A row is a word, a space, and d numbers: as text up to the end of
the line, or as d float32 values, which may be followed by a line break.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from slimtable.artifact.vocabulary import Strings
from slimtable.tables.base import Ids, Table, TableError
from slimtable.tables.numpy_files import ALONE

_FIRST_LINE = re.compile(rb"^\s*([0-9]{1,12}) +([0-9]{1,7})[ \r]*\n")
_NUMBER = re.compile(rb"^[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$|^[-+]?(nan|inf)$", re.IGNORECASE)
_CHUNK = 1 << 24
_WORD_MAX = 10_000  # bytes
_EVERY = 64  # rows between the places that the reader of a text remembers


def is_word2vec(start: bytes) -> bool:
    """True if a file that starts with these bytes has the first line of word2vec."""
    return _FIRST_LINE.match(start) is not None


def read_word2vec(path: Path) -> dict[str, Table]:
    """The vectors of a text or binary file, with its words as ids.

    Raises:
        TableError: the file is damaged, or is neither.
    """
    with path.open("rb") as file:
        begin = _FIRST_LINE.match(file.read(64))
        assert begin is not None
        count, width, start = int(begin[1]), int(begin[2]), begin.end()
        there = path.stat().st_size - start
        if not count or not width or count * 2 * (width + 1) > there + 2:
            raise TableError(
                f"{path} is not a readable word2vec file: it says {count:,} rows of {width:,} values, which its "
                f"{there:,} bytes do not hold."
            )
        file.seek(start)
        line = file.readline(_WORD_MAX + 64 * width)
    fields = line.split(b" ")
    if fields[-1] in (b"\n", b"\r\n"):
        fields.pop()
    numbers = [field.strip() for field in fields[1:]]
    if len(numbers) == width and all(map(_NUMBER.match, numbers)):
        return {ALONE: _Text(path, start, (count, width), line.rstrip(b"\r\n").endswith(b" "))}
    return {ALONE: _Binary(path, start, (count, width))}


class _Text(Table):
    """Rows of text; every block is parsed when it is read."""

    costly = True

    def __init__(self, path: Path, start: int, shape: tuple[int, int], trailing_space: bool) -> None:
        self._path, self.shape, self.dtype = path, shape, np.dtype(np.float32)
        self._trailing = trailing_space
        self._places = self._index(start)

    def _index(self, start: int) -> np.ndarray:
        """The byte where every 64th row starts, int64; the last is the end of the last row."""
        row, place, found = 0, start, [np.array([start])]
        with self._path.open("rb") as file:
            file.seek(start)
            ended = True
            while chunk := file.read(_CHUNK):
                ends = place + 1 + np.flatnonzero(np.frombuffer(chunk, np.uint8) == ord("\n"))
                rows = row + 1 + np.arange(len(ends))
                found.append(ends[(rows % _EVERY == 0) & (rows < len(self))])
                if row < len(self) <= row + len(ends):
                    self._end = int(ends[len(self) - 1 - row])
                row, place, ended = row + len(ends), place + len(chunk), chunk.endswith(b"\n")
        if row == len(self) - 1 and not ended:  # the last line lacks its break
            row, self._end = row + 1, place
        if row < len(self):
            raise TableError(f"{self._path} is cut off: it says {len(self):,} rows, but has {row:,}.")
        return np.concatenate([*found, [self._end]])

    def files(self) -> tuple[Path, ...]:
        return (self._path,)

    @property
    def ids(self) -> Ids | None:
        words: list[str] = []
        for first in range(0, len(self), 1 << 15):
            words += self._parsed(first, min(first + (1 << 15), len(self)), ["word"]).column(0).to_pylist()
        return words

    def _read(self, start: int, stop: int) -> np.ndarray:
        if start == stop:
            return np.zeros((0, self.shape[1]), self.dtype)
        columns = self._parsed(start, stop, [str(i) for i in range(self.shape[1])])
        return np.column_stack([column.to_numpy() for column in columns.columns])

    def _parsed(self, start: int, stop: int, columns: list[str]) -> Any:
        import pyarrow as pa
        from pyarrow import csv

        first, last = start // _EVERY, -(-stop // _EVERY)
        with self._path.open("rb") as file:
            file.seek(int(self._places[first]))
            data = file.read(int(self._places[last] - self._places[first]))
        names = ["word", *(str(i) for i in range(self.shape[1])), *([""] if self._trailing else [])]
        types = {name: pa.string() if name == "word" else pa.float32() for name in columns}
        try:
            table = csv.read_csv(
                pa.py_buffer(data),
                csv.ReadOptions(use_threads=False, column_names=names, block_size=max(len(data), 1) + 1),
                csv.ParseOptions(delimiter=" ", quote_char=False, double_quote=False, ignore_empty_lines=False),
                csv.ConvertOptions(
                    include_columns=columns, column_types=types, strings_can_be_null=False, null_values=[]
                ),
            )
        except (pa.ArrowException, ValueError) as error:
            raise TableError(
                f"{self._path} is not readable from row {start:,} on: {str(error)[:120]}. A row is a word and "
                f"{self.shape[1]} numbers, separated by single spaces."
            ) from error
        rows = min((last) * _EVERY, len(self)) - first * _EVERY
        if len(table) != rows:
            raise TableError(f"{self._path} is not readable: rows {start:,} to {stop:,} are {len(table):,} lines.")
        return table.slice(start - first * _EVERY, stop - start).combine_chunks()


class _Binary(Table):
    """Rows of float32 values behind their words."""

    def __init__(self, path: Path, start: int, shape: tuple[int, int]) -> None:
        self._path, self._start, self.shape, self.dtype = path, start, shape, np.dtype(np.float32)
        mapped = np.memmap(path, np.uint8, "r")
        self._places = np.empty(shape[0] + 1, np.int64)
        row = _index_binary(mapped, start, 4 * shape[1], _WORD_MAX, self._places)
        if row < shape[0]:
            raise TableError(
                f"{path} is not a readable word2vec file: of the {shape[0]:,} rows that it says, row {row:,} is cut "
                "off or has no word. A text has single spaces between numbers."
            )

    def files(self) -> tuple[Path, ...]:
        return (self._path,)

    @property
    def ids(self) -> Ids | None:
        data, lengths = _words(np.memmap(self._path, np.uint8, "r"), self._start, 4 * self.shape[1], self._places)
        offsets = np.zeros(len(self) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        try:
            data.tobytes().decode()
        except UnicodeDecodeError as error:
            raise TableError(f"{self._path}: its words are not UTF-8: {error}.") from error
        words: Sequence[str] = Strings(data, offsets)
        return words

    def _read(self, start: int, stop: int) -> np.ndarray:
        out = np.empty((stop - start, self.shape[1]), "<f4")
        if start < stop:
            width = 4 * self.shape[1]
            first, last = int(self._places[start]), int(self._places[stop - 1]) + width
            data = np.fromfile(self._path, np.uint8, last - first, offset=first)
            if data.size < last - first:
                raise TableError(f"{self._path} became shorter while it was read.")
            _gather(data, self._places[start:stop] - first, out.view(np.uint8))
        return out.astype(np.float32, copy=False)


@njit(cache=True, nogil=True)
def _index_binary(
    data: np.ndarray, place: int, width: int, longest: int, places: np.ndarray
) -> int:  # pragma: no cover
    """Finds the byte where the values of each row start; returns the number of whole rows."""
    for row in range(places.size - 1):
        while place < data.size and data[place] in (10, 13):
            place += 1
        begin = place
        while place < data.size and data[place] != 32 and place - begin <= longest:
            place += 1
        if place == begin or place - begin > longest or place + 1 + width > data.size:
            return row
        places[row] = place + 1
        place += 1 + width
    places[-1] = place
    return places.size - 1


@njit(cache=True, nogil=True)
def _words(
    data: np.ndarray, start: int, width: int, places: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:  # pragma: no cover
    """The bytes of all words, and the length of each."""
    lengths = np.empty(places.size - 1, np.int64)
    begin, total = start, 0
    for row in range(lengths.size):
        while data[begin] in (10, 13):
            begin += 1
        lengths[row] = places[row] - 1 - begin
        total += lengths[row]
        begin = places[row] + width
    words, at = np.empty(total, np.uint8), 0
    for row in range(lengths.size):
        end = places[row] - 1
        words[at : at + lengths[row]] = data[end - lengths[row] : end]
        at += lengths[row]
    return words, lengths


@njit(cache=True, nogil=True)
def _gather(data: np.ndarray, places: np.ndarray, out: np.ndarray) -> None:  # pragma: no cover
    """Copies rows of bytes from their places."""
    for row in range(places.size):
        out[row] = data[places[row] : places[row] + out.shape[1]]
