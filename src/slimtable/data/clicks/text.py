"""Delimited text in chunks: a compiled scanner finds cells and counts lines, so that errors can name them."""

from __future__ import annotations

import codecs
import csv
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from slimtable.artifact.vocabulary import Strings
from slimtable.data.clicks.raw import RawClicks, RawField, gather, log_scale
from slimtable.data.clicks.schema import CRITEO_COLUMNS, Schema
from slimtable.data.interactions.tables import require_polars
from slimtable.errors import DatasetError

BLOCK_BYTES = 1 << 24
_LONGEST_LINE = 1 << 28
_NEWLINE, _RETURN, _QUOTE = 10, 13, 34
_FAULTS = {-1: "a quote is never closed", -2: "text follows a closing quote"}


def read_text(path: Path, schema: Schema, chunk_rows: int) -> Iterator[RawClicks]:
    """The rows of a csv or criteo file, at most ``chunk_rows`` at a time; errors name the file and the line."""
    require_polars()
    criteo = schema.format == "criteo"
    separator = "\t" if criteo else schema.delimiter
    reader: _Reader | None = None
    first_line = 1
    for text in text_blocks(path, None if criteo else separator):
        _check_utf8(text, path, first_line)
        begin = 0
        if reader is None:
            columns, begin = list(CRITEO_COLUMNS), 0
            if not criteo:
                columns, begin = _header(text, separator, schema.header, path)
            first_line += int(np.count_nonzero(text[:begin] == _NEWLINE))
            reader = _Reader(path, schema, separator, columns)
        while begin < text.size:
            chunk, begin, first_line = reader.read(text, begin, first_line, chunk_rows)
            if len(chunk):
                yield chunk


def text_blocks(path: Path, quotes: str | None = None) -> Iterator[np.ndarray]:
    """The bytes of a file, plain or gzip, in blocks of whole lines; uint8 with a newline at the end of each.

    Args:
        path: the file.
        quotes: the column separator, if newlines within double quotes are part of a cell; None if they end lines.

    Raises:
        DatasetError: the file cannot be read, or a quote is never closed.
    """
    rest, first = b"", True
    try:
        with _open(path) as file:
            while block := file.read(BLOCK_BYTES):
                rest += block.removeprefix(codecs.BOM_UTF8) if first else block
                first = False
                end = _last_line_end(np.frombuffer(rest, np.uint8), ord(quotes)) if quotes else rest.rfind(b"\n") + 1
                if end:
                    yield np.frombuffer(rest, np.uint8, end)
                    rest = rest[end:]
                elif len(rest) > _LONGEST_LINE:
                    raise DatasetError(f"{path}: a line, or a cell in quotes, is longer than {_LONGEST_LINE:,} bytes.")
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}.") from None
    if rest:
        yield np.frombuffer(rest + b"\n", np.uint8)


def _open(path: Path) -> BufferedIOBase:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _check_utf8(text: np.ndarray, path: Path, first_line: int) -> None:
    try:
        text.tobytes().decode()
    except UnicodeDecodeError as error:
        line = first_line + int(np.count_nonzero(text[: error.start] == _NEWLINE))
        raise DatasetError(f"{path}, line {line:,} is not UTF-8 text. Convert the file to UTF-8.") from None


def _header(text: np.ndarray, separator: str, named: bool, path: Path) -> tuple[list[str], int]:
    """Names of the columns (empty without a header), and the start of the rows."""
    start = 0
    while start < text.size and text[start] in (_NEWLINE, _RETURN):
        start += 1
    if start == text.size:
        raise DatasetError(f"{path} holds no rows. Give at least one.")
    stop = start + int(np.argmax(text[start:] == _NEWLINE))
    line = text[start:stop].tobytes().decode().rstrip("\r")
    try:
        names = next(csv.reader([line], delimiter=separator))
    except csv.Error as error:
        said = str(error).split(" - ")[0]
        raise DatasetError(f"{path}: its first line is no line of columns: {said}. Correct it.") from None
    return (names, stop + 1) if named else ([""] * len(names), 0)


@dataclass
class _Cells:
    """The cells of one column: start, end and line of each."""

    text: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    lines: np.ndarray

    def strings(self) -> Strings:
        data, offsets = gather(self.text, self.starts, self.stops)
        if (self.text[np.maximum(self.starts - 1, 0)] == _QUOTE).any():
            data, offsets = _without_double_quotes(self.text, self.starts, self.stops)
        return Strings(data, offsets)


class _Reader:
    """Converts blocks of text to rows."""

    def __init__(self, path: Path, schema: Schema, separator: str, columns: list[str]) -> None:
        self.path, self.schema, self.separator, self.width = path, schema, ord(separator), len(columns)
        criteo = schema.format == "criteo"
        wanted = ("label", *schema.numeric, *(f.source_column for f in schema.fields)) if criteo else schema.columns
        places = [_place(column, columns, path) for column in wanted]
        self.used = sorted(set(places))
        self.slot_of_place = np.full(self.width, -1, np.int32)
        self.slot_of_place[self.used] = np.arange(len(self.used))
        self.slots = [int(self.slot_of_place[place]) for place in places]  # as `schema.columns`
        self.quotes = not criteo

    def read(self, text: np.ndarray, begin: int, first_line: int, max_rows: int) -> tuple[RawClicks, int, int]:
        """The next rows, and the position and line number after them."""
        count = min(max_rows, int(np.count_nonzero(text[begin:] == _NEWLINE)))
        starts = np.empty((len(self.used), count), np.int64)
        stops = np.empty((len(self.used), count), np.int64)
        lines = np.empty(count, np.int64)
        rows, begin, line, found = _scan(
            text, begin, first_line, self.separator, self.quotes, self.slot_of_place, starts, stops, lines
        )
        if found:
            said = _FAULTS.get(found) or f"{found:,} columns instead of {self.width:,}"
            raise DatasetError(f"{self.path}, line {line:,}: {said}. Correct the line.")
        cells = [_Cells(text, starts[slot, :rows], stops[slot, :rows], lines[:rows]) for slot in self.slots]
        return self._rows(iter(cells)), begin, line

    def _rows(self, cells: Iterator[_Cells]) -> RawClicks:
        schema = self.schema
        first = next(cells)
        labels, said, row = check_labels(self._numbers(first, "label"), schema.positive_from)
        if said:
            raise DatasetError(f"{self.path}, line {first.lines[row]:,}: {said}")
        times = None if schema.time is None else self._times(next(cells))
        numeric = np.zeros((len(labels), len(schema.numeric)), np.float32)
        for i, name in enumerate(schema.numeric):
            numeric[:, i] = log_scale(self._numbers(next(cells), f"value of {name}", may_lack=True))
        fields = []
        for field in schema.fields:
            strings = next(cells).strings()
            fields.append(split_cells(strings, field.separator) if field.separator else RawField(strings))
        return RawClicks(labels, numeric, tuple(fields), times)

    def _numbers(self, cells: _Cells, what: str, may_lack: bool = False) -> np.ndarray:
        """Converts cells to float64 (n,), with NaN for missing numbers."""
        import polars as pl

        raw = series(cells.strings())
        values = raw.cast(pl.Float64, strict=False)
        wrong = ~values.is_finite().fill_null(False)
        if may_lack:
            wrong &= raw != ""
        self._refuse(wrong, raw, cells, what, "a number")
        numbers: np.ndarray = values.to_numpy()
        return numbers

    def _times(self, cells: _Cells) -> np.ndarray:
        import polars as pl

        raw = series(cells.strings())
        values = raw.cast(pl.Float64, strict=False)
        if values.null_count():
            try:
                dates = raw.str.to_datetime(time_unit="us", strict=False, ambiguous="earliest")
            except pl.exceptions.PolarsError:  # no value suggests a date format
                dates = pl.Series([None] * len(raw), dtype=pl.Datetime("us"))
            if dates.null_count() < values.null_count():
                values = dates.cast(pl.Int64).cast(pl.Float64) / 1e6
        self._refuse(~values.is_finite().fill_null(False), raw, cells, "time", "a number or a date")
        times: np.ndarray = values.to_numpy()
        return times

    def _refuse(self, wrong: Any, raw: Any, cells: _Cells, what: str, wanted: str) -> None:
        if wrong.any():
            row = int(wrong.arg_max())
            raise DatasetError(
                f"{self.path}, line {cells.lines[row]:,}: the {what} {raw[row][:40]!r} is not {wanted}. Correct it."
            )


def check_labels(raw: np.ndarray, positive_from: float | None, signed: bool = False) -> tuple[np.ndarray, str, int]:
    """Labels of 0 and 1 from numbers.

    Args:
        raw: float (n,).
        positive_from: smallest number that is a click; None: numbers are 0 and 1.
        signed: accept −1 for 0.

    Returns:
        float32 (n,); an error message or an empty text; and the row of the error.
    """
    if positive_from is not None:
        return (raw >= positive_from).astype(np.float32), "", 0
    wrong = (raw != 0) & (raw != 1)
    if signed:
        wrong &= raw != -1
    if wrong.any():
        row = int(np.argmax(wrong))
        advice = "Correct it, or set `positive_from` to the smallest label that is a click."
        return raw, f"the label {raw[row]:g} is neither 0 nor 1. {advice}", row
    return (raw > 0).astype(np.float32), "", 0


def series(strings: Strings) -> Any:
    """Texts as a polars Series, without a loop."""
    import polars as pl
    import pyarrow as pa

    data, offsets = pa.py_buffer(strings.data), pa.py_buffer(np.ascontiguousarray(strings.offsets))
    return pl.from_arrow(pa.LargeStringArray.from_buffers(len(strings), offsets, data))


def strings_of(texts: Any) -> Strings:
    """Texts from a polars Series without missing values, without a loop."""
    import pyarrow as pa

    return strings_of_arrow(texts.to_arrow().cast(pa.large_string()))


def strings_of_arrow(array: Any) -> Strings:
    """Texts from an Arrow array of large strings without missing values."""
    if not len(array):
        return Strings(np.zeros(0, np.uint8), np.zeros(1, np.int64))
    _, bounds, data = array.buffers()
    offsets = np.frombuffer(bounds, np.int64)[array.offset : array.offset + len(array) + 1]
    text = np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    return Strings(text[offsets[0] : offsets[-1]], offsets - offsets[0])


def split_cells(cells: Strings, separator: str) -> RawField:
    """Splits cells into values; empty parts are dropped, so a cell may have no values."""
    starts, stops, rows = _split(cells.data, cells.offsets, ord(separator))
    return RawField(Strings(*gather(cells.data, starts, stops)), None, rows)


def _place(column: str | int, columns: list[str], path: Path) -> int:
    if isinstance(column, int):
        if 0 <= column < len(columns):
            return column
        raise DatasetError(f"{path} has no column {column}. Its columns: positions 0 to {len(columns) - 1}.")
    if columns.count(column) > 1:
        raise DatasetError(f"{path} has several columns {column!r}. Rename all but one, or name it by its position.")
    if column in columns:
        return columns.index(column)
    if not any(columns):
        raise DatasetError(f"{path} is read without a header, so column {column!r} must be a position, such as 0.")
    raise DatasetError(f"{path} has no column {column!r}. Its columns: {', '.join(columns)}.")


@njit(cache=True, nogil=True)
def _last_line_end(text, separator):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Number of bytes of complete lines; newlines within quotes do not end lines.

    As for `_scan`, a quote opens only at the start of a cell; elsewhere (5" screen) it is an ordinary character.
    """
    end, inside, begins = 0, False, True
    for place in range(text.size):
        if text[place] == _QUOTE and (inside or begins):
            inside = not inside
            begins = True  # a doubled quote closes the cell and opens it again
            continue
        if text[place] == _NEWLINE and not inside:
            end = place + 1
        begins = text[place] == separator or text[place] == _NEWLINE
    return end


@njit(cache=True, nogil=True)
def _scan(text, begin, line, separator, quotes, slots, starts, stops, lines):  # type: ignore[no-untyped-def] # pragma: no cover
    """Finds the cells of complete lines; returns rows, position, line, and a wrong number of columns, a fault, or 0."""
    width, row, place = slots.size, 0, begin
    while place < text.size and row < lines.size:
        if text[place] == _NEWLINE or (text[place] == _RETURN and text[place + 1] == _NEWLINE):
            place += 1 + (text[place] == _RETURN)
            line += 1
            continue
        column, first = 0, line
        while True:
            start = place
            if quotes and text[place] == _QUOTE:
                start += 1
                place += 1
                while place < text.size and (
                    text[place] != _QUOTE or (place + 1 < text.size and text[place + 1] == _QUOTE)
                ):
                    line += text[place] == _NEWLINE
                    place += 1 + (text[place] == _QUOTE)
                stop = place
                if stop >= text.size:
                    return row, place, first, -1
                place += 1
                place += text[place] == _RETURN and text[place + 1] == _NEWLINE
                if text[place] != separator and text[place] != _NEWLINE:
                    return row, place, first, -2
            else:
                while text[place] != separator and text[place] != _NEWLINE:
                    place += 1
                stop = place
                if text[place] == _NEWLINE and stop > start and text[stop - 1] == _RETURN:
                    stop -= 1
            if column < width and slots[column] >= 0:
                starts[slots[column], row] = start
                stops[slots[column], row] = stop
            column += 1
            if text[place] == _NEWLINE:
                break
            place += 1
        if column != width:
            return row, place, first, column
        place += 1
        lines[row] = first
        line += 1
        row += 1
    return row, place, line, 0


@njit(cache=True, nogil=True)
def _without_double_quotes(text, starts, stops):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Like `gather`; doubled quotes in quoted cells become one."""
    offsets = np.zeros(starts.size + 1, np.int64)
    gathered = np.empty((stops - starts).sum(), np.uint8)
    out = 0
    for i in range(starts.size):
        quoted = starts[i] > 0 and text[starts[i] - 1] == _QUOTE
        j = starts[i]
        while j < stops[i]:
            gathered[out] = text[j]
            out += 1
            j += 1 + (quoted and text[j] == _QUOTE)
        offsets[i + 1] = out
    return gathered[:out], offsets


@njit(cache=True, nogil=True)
def _split(data, bounds, separator):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Splits every text; returns start and end of the parts, and offsets of rows."""
    rows = np.zeros(bounds.size, np.int64)
    parts = 0
    for i in range(bounds.size - 1):
        inside = False
        for j in range(bounds[i], bounds[i + 1]):
            if data[j] == separator:
                inside = False
            elif not inside:
                inside = True
                parts += 1
        rows[i + 1] = parts
    starts, stops = np.empty(parts, np.int64), np.empty(parts, np.int64)
    part = -1
    for i in range(bounds.size - 1):
        inside = False
        for j in range(bounds[i], bounds[i + 1]):
            if data[j] == separator:
                inside = False
                continue
            if not inside:
                inside = True
                part += 1
                starts[part] = j
            stops[part] = j + 1
    return starts, stops, rows
