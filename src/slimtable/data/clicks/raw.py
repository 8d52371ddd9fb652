"""Rows of a click log as read, with raw values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numba import njit

from slimtable.artifact.vocabulary import Strings


@dataclass(frozen=True, eq=False)
class RawField:
    """The values of a categorical column.

    Attributes:
        values: int64 (T,), or T texts; an empty text is a missing value.
        present: bool (T,), False for missing integers; None if none is missing.
        offsets: int64 (n + 1,), start of the values of each row of a multi-valued field; None: one value per row.

    Example:
        >>> RawField.from_values(["a", "", "b"]).values[2]
        'b'
    """

    values: np.ndarray | Strings
    present: np.ndarray | None = None
    offsets: np.ndarray | None = None

    @classmethod
    def from_values(cls, values: np.ndarray | Sequence[str] | Strings, offsets: np.ndarray | None = None) -> Self:
        """From integers or texts in memory."""
        if isinstance(values, Strings):
            return cls(values, None, offsets)
        if isinstance(values, np.ndarray) and values.dtype.kind in "iu":
            return cls(values.astype(np.int64), None, offsets)
        encoded = [text.encode() for text in values]
        bounds = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum([len(text) for text in encoded], out=bounds[1:])
        return cls(Strings(np.frombuffer(b"".join(encoded), np.uint8), bounds), None, offsets)

    def __len__(self) -> int:
        return len(self.values) if self.offsets is None else len(self.offsets) - 1

    def slice(self, start: int, stop: int) -> Self:
        """The rows ``start … stop - 1``; texts are not copied."""
        offsets = None
        if self.offsets is not None:
            offsets = self.offsets[start : stop + 1] - self.offsets[start]
            start, stop = int(self.offsets[start]), int(self.offsets[stop])
        values = self.values
        if isinstance(values, Strings):
            bounds = values.offsets[start : stop + 1]
            values = Strings(values.data[bounds[0] : bounds[-1]], bounds - bounds[0])
        else:
            values = values[start:stop]
        return type(self)(values, None if self.present is None else self.present[start:stop], offsets)

    def take(self, rows: np.ndarray) -> Self:
        """Selects rows by index, integers (m,), in that order."""
        offsets = None
        if self.offsets is not None:
            counts = np.diff(self.offsets)[rows]
            offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
            rows = np.arange(offsets[-1]) + np.repeat(self.offsets[:-1][rows] - offsets[:-1], counts)
        values = take_strings(self.values, rows) if isinstance(self.values, Strings) else self.values[rows]
        return type(self)(values, None if self.present is None else self.present[rows], offsets)


@dataclass(frozen=True, eq=False)
class RawClicks:
    """Impressions with their labels and raw values.

    Attributes:
        labels: float32 (n,), 0 or 1.
        numeric: float32 (n, I), on a logarithmic scale; missing values are 0.
        fields: one for each field of the schema, of n rows each.
        times: float64 (n,); dates in seconds since 1970. None if the log has none.
    """

    labels: np.ndarray
    numeric: np.ndarray
    fields: tuple[RawField, ...]
    times: np.ndarray | None = None

    def __post_init__(self) -> None:
        lengths = {len(self.numeric), *map(len, self.fields)}
        if lengths - {len(self.labels)} or (self.times is not None and len(self.times) != len(self.labels)):
            raise ValueError(
                f"Numeric columns, fields and times must have one row for each of {len(self.labels)} labels."
            )

    def __len__(self) -> int:
        return len(self.labels)

    def slice(self, start: int, stop: int) -> Self:
        """The rows ``start … stop - 1``."""
        stop = min(stop, len(self))
        times = None if self.times is None else self.times[start:stop]
        fields = tuple(field.slice(start, stop) for field in self.fields)
        return type(self)(self.labels[start:stop], self.numeric[start:stop], fields, times)

    def take(self, rows: np.ndarray) -> Self:
        """Selects rows by index, integers (m,), in that order."""
        times = None if self.times is None else self.times[rows]
        return type(self)(self.labels[rows], self.numeric[rows], tuple(f.take(rows) for f in self.fields), times)


def concatenate(parts: Sequence[RawClicks]) -> RawClicks:
    """Concatenates the rows of one or more parts."""
    if len(parts) == 1:
        return parts[0]
    times = [part.times for part in parts if part.times is not None]
    return RawClicks(
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.numeric for part in parts]),
        tuple(_joined(fields) for fields in zip(*(part.fields for part in parts), strict=True)),
        np.concatenate(times) if times else None,
    )


def log_scale(numbers: np.ndarray) -> np.ndarray:
    """sign(x) · log(1 + |x|) in float32, and 0 for NaN."""
    scaled: np.ndarray = np.nan_to_num(np.sign(numbers) * np.log1p(np.abs(numbers)), nan=0.0).astype(np.float32)
    return scaled


def join_offsets(offsets: Sequence[np.ndarray]) -> np.ndarray:
    """Offsets (n + 1,) of concatenated parts, from those of each part."""
    counts = [np.diff(part) for part in offsets]
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(counts), dtype=np.int64)])


def take_strings(strings: Strings, rows: np.ndarray) -> Strings:
    """Selects texts by index, in that order."""
    starts, stops = strings.offsets[:-1][rows], strings.offsets[1:][rows]
    return Strings(*gather(strings.data, starts, stops))


@njit(cache=True, nogil=True)
def gather(data, starts, stops):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Copies pieces of ``data``; returns their bytes and offsets."""
    offsets = np.zeros(starts.size + 1, np.int64)
    for i in range(starts.size):
        offsets[i + 1] = offsets[i] + stops[i] - starts[i]
    gathered = np.empty(offsets[-1], np.uint8)
    for i in range(starts.size):
        place = offsets[i]
        for j in range(starts[i], stops[i]):
            gathered[place] = data[j]
            place += 1
    return gathered, offsets


def all_missing(field: RawField) -> bool:
    """True if a field holds no value."""
    if isinstance(field.values, Strings):
        return bool(field.values.offsets[-1] == field.values.offsets[0])
    return len(field.values) == 0 if field.present is None else not field.present.any()


def _joined(fields: Sequence[RawField]) -> RawField:
    fields = _of_one_kind(fields)
    strings = [field.values for field in fields if isinstance(field.values, Strings)]
    present = None
    if strings:
        if len(strings) < len(fields):
            raise ValueError("A field must hold integers in all parts, or texts in all.")
        data = np.concatenate([part.data for part in strings])
        values: np.ndarray | Strings = Strings(data, join_offsets([part.offsets for part in strings]))
    else:
        values = np.concatenate([np.asarray(field.values) for field in fields])
        if any(field.present is not None for field in fields):
            present = np.concatenate(
                [np.ones(len(field.values), bool) if field.present is None else field.present for field in fields]
            )
    if all(field.offsets is None for field in fields):
        return RawField(values, present, None)
    bounds = [np.arange(len(field.values) + 1) if field.offsets is None else field.offsets for field in fields]
    return RawField(values, present, join_offsets(bounds))


def _of_one_kind(fields: Sequence[RawField]) -> list[RawField]:
    """The fields with a common type: those without any value take the type of the others."""
    kinds = {isinstance(field.values, Strings) for field in fields if not all_missing(field)}
    if len(kinds) > 1:
        return list(fields)
    as_text = kinds.pop() if kinds else isinstance(fields[0].values, Strings)
    made = []
    for field in fields:
        count = len(field.values)
        if isinstance(field.values, Strings) == as_text:
            made.append(field)
        elif as_text:
            made.append(RawField(Strings(np.zeros(0, np.uint8), np.zeros(count + 1, np.int64)), None, field.offsets))
        else:
            made.append(RawField(np.zeros(count, np.int64), np.zeros(count, bool), field.offsets))
    return made
