"""Click logs in libFM files: ``label number:1 number:1 … # comment``; ranges of feature numbers are fields."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numba import njit

from slimtable.data.clicks.raw import RawClicks, RawField
from slimtable.data.clicks.schema import Schema, feature_range
from slimtable.data.clicks.text import check_labels, text_blocks
from slimtable.errors import DatasetError

_NEWLINE, _RETURN, _SPACE, _COLON, _ZERO, _NINE, _ONE, _HASH = 10, 13, 32, 58, 48, 57, 49, 35
_FAULTS = {
    1: "expected `label number:1 number:1 …`, separated by spaces",
    2: "a feature number is in the range of no field",
    3: "a feature has a value other than 0 and 1, but fields are categorical. Use a csv or parquet file for numbers",
}


def read_libfm(path: Path, schema: Schema, chunk_rows: int) -> Iterator[RawClicks]:
    """The rows of a libFM file, at most ``chunk_rows`` at a time; errors name the file and the line."""
    ranges = np.array([feature_range(field) for field in schema.fields], np.int64)
    order = np.argsort(ranges[:, 0])
    firsts, lasts = ranges[order, 0], ranges[order, 1]
    if (firsts[1:] <= lasts[:-1]).any():
        raise DatasetError("the ranges of feature numbers of two fields overlap. Separate them in the schema.")
    line = 1
    for text in text_blocks(path):
        begin = 0
        while begin < text.size:
            most = min(chunk_rows, int(np.count_nonzero(text[begin:] == _NEWLINE)))
            labels, lines = np.empty(most), np.empty(most, np.int64)
            colons = int(np.count_nonzero(text[begin:] == _COLON))
            owners, places, numbers = np.empty(colons, np.int64), np.empty(colons, np.int32), np.empty(colons, np.int64)
            rows, count, begin, line, fault = _scan(
                text, begin, line, firsts, lasts, labels, lines, owners, places, numbers
            )
            if fault:
                raise DatasetError(f"{path}, line {line:,}: {_FAULTS[fault]}. Correct the line.")
            if rows:
                fields = owners[:count], order[places[:count]], numbers[:count]
                yield _rows(path, schema, labels[:rows], lines[:rows], *fields)


def _rows(
    path: Path,
    schema: Schema,
    raw: np.ndarray,
    lines: np.ndarray,
    owners: np.ndarray,
    places: np.ndarray,
    numbers: np.ndarray,
) -> RawClicks:
    labels, said, row = check_labels(raw, schema.positive_from, signed=True)
    if said:
        raise DatasetError(f"{path}, line {lines[row]:,}: {said}")
    fields = []
    for place, field in enumerate(schema.fields):
        mine = places == place
        rows, values = owners[mine], numbers[mine]
        counts = np.bincount(rows, minlength=len(raw))
        if field.separator:
            fields.append(RawField(values, None, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)))
            continue
        if counts.max() > 1:
            raise DatasetError(
                f"{path}, line {lines[np.argmax(counts > 1)]:,}: several features of field {field.name!r}. "
                "Give the field a separator in the schema, such as a space, if this is intended."
            )
        single = np.zeros(len(raw), np.int64)
        single[rows] = values
        fields.append(RawField(single, None if counts.all() else counts > 0))
    return RawClicks(labels, np.zeros((len(raw), 0), np.float32), tuple(fields))


@njit(cache=True, nogil=True)
def _scan(text, place, line, firsts, lasts, labels, lines, owners, places, numbers):  # type: ignore[no-untyped-def] # pragma: no cover
    """Reads complete lines; returns rows, features, position, line, and a fault code or 0."""
    row, count = 0, 0
    while place < text.size and row < lines.size:
        if text[place] == _NEWLINE or text[place] == _RETURN:
            line += text[place] == _NEWLINE
            place += 1
            continue
        if text[place] == _HASH:
            while text[place] != _NEWLINE:
                place += 1
            continue
        # The label: an integer with an optional sign and fraction.
        sign = 1.0
        if text[place] == 45 or text[place] == 43:  # minus, plus
            sign = -1.0 if text[place] == 45 else 1.0
            place += 1
        value, scale, digits = 0.0, 0.0, 0
        while _ZERO <= text[place] <= _NINE or (text[place] == 46 and scale == 0.0):
            if text[place] == 46:
                scale = 1.0
            else:
                value = value * 10 + (text[place] - _ZERO)
                scale *= 10.0
                digits += 1
            place += 1
        if digits == 0:
            return row, count, place, line, 1
        labels[row] = sign * (value / scale if scale > 0 else value)
        lines[row] = line
        while True:
            parted = False
            while text[place] == _SPACE or text[place] == 9:
                place += 1
                parted = True
            if text[place] == _HASH:  # a comment up to the end of the line
                while text[place] != _NEWLINE:
                    place += 1
            if text[place] == _RETURN and text[place + 1] == _NEWLINE:
                place += 1
            if text[place] == _NEWLINE:
                break
            number, digits = 0, 0
            while _ZERO <= text[place] <= _NINE and digits < 18:
                number = number * 10 + (text[place] - _ZERO)
                digits += 1
                place += 1
            if not parted or digits == 0 or text[place] != _COLON:
                return row, count, place, line, 1
            zero = text[place + 1] == _ZERO
            if not zero and text[place + 1] != _ONE:
                return row, count, place, line, 3 if _ZERO <= text[place + 1] <= _NINE else 1
            place += 2
            if text[place] == 46:  # 1.0
                place += 1
                while text[place] == _ZERO:
                    place += 1
            if text[place] != _SPACE and text[place] != 9 and text[place] != _RETURN and text[place] != _NEWLINE:
                return row, count, place, line, 3 if _ZERO <= text[place] <= _NINE else 1
            if zero:  # an absent feature
                continue
            field = np.searchsorted(firsts, number, side="right") - 1
            if field < 0 or number > lasts[field]:
                return row, count, place, line, 2
            owners[count] = row
            places[count] = field
            numbers[count] = number
            count += 1
        place += 1
        line += 1
        row += 1
    return row, count, place, line, 0
