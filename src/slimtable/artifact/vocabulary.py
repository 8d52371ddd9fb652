"""The raw id of each row: integers, or strings kept as UTF-8 bytes and offsets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Self, overload

import numpy as np

from slimtable.artifact.bits import exact_array
from slimtable.errors import ArtifactFormatError, ArtifactValueError

INTEGERS = "vocabulary"
STRING_BYTES = "vocabulary.bytes"
STRING_OFFSETS = "vocabulary.offsets"
NAMES = (INTEGERS, STRING_BYTES, STRING_OFFSETS)


class Strings(Sequence[str]):
    """Many strings in two arrays, decoded on access.

    Args:
        data: uint8 (bytes,), the UTF-8 bytes of all strings.
        offsets: int64 (n + 1,), start of each string and end of the last one.
    """

    def __init__(self, data: np.ndarray, offsets: np.ndarray) -> None:
        self.data = data
        self.offsets = offsets

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> Self:
        """Builds the arrays from texts."""
        encoded = [text.encode() for text in texts]
        offsets = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum([len(text) for text in encoded], out=offsets[1:])
        return cls(np.frombuffer(b"".join(encoded), np.uint8), offsets)

    def __len__(self) -> int:
        return self.offsets.size - 1

    def inserted(self, index: int, text: str) -> Strings:
        """A copy with one more string inserted before ``index``."""
        new, place = np.frombuffer(text.encode(), np.uint8), self.offsets[index]
        data = np.concatenate([self.data[:place], new, self.data[place:]])
        offsets = np.concatenate([self.offsets[: index + 1], self.offsets[index:] + new.size])
        return Strings(data, offsets)

    def has(self, text: str) -> bool:
        """True if it contains a string."""
        wanted = np.frombuffer(text.encode(), np.uint8)
        begins = self.offsets[:-1][np.diff(self.offsets) == wanted.size]
        for place, byte in enumerate(wanted):
            begins = begins[self.data[begins + place] == byte]
        return len(begins) > 0

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        i = range(len(self))[index]
        data = self.data[self.offsets[i] : self.offsets[i + 1]].tobytes()
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise ArtifactValueError(f"string {i} of a vocabulary is not valid UTF-8: {error}.") from None

    def __iter__(self) -> Iterator[str]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"Strings({len(self)} strings, {self.data.size} bytes)"


def encode(vocabulary: Any, count: int) -> dict[str, np.ndarray]:
    """The arrays that store a vocabulary.

    Args:
        vocabulary: ``count`` integers or strings, all different; strings preferably as :class:`Strings`.
        count: number of rows of the table.

    Returns:
        The arrays by name: ``vocabulary``, or ``vocabulary.bytes`` and ``vocabulary.offsets``.

    Raises:
        TypeError: if the raw ids are neither all integers nor all strings.
        ValueError: if there are not ``count`` of them, one occurs twice, or one is not UTF-8.
    """
    if isinstance(vocabulary, Strings):
        return _encode_strings(vocabulary, count)
    raw = vocabulary if isinstance(vocabulary, np.ndarray) else _array(list(vocabulary))
    if raw.shape != (count,):
        raise _not_for_each_row(count, raw.shape)
    if raw.dtype.kind in "iu":
        if raw.dtype == np.uint64 and raw.max() > np.iinfo(np.int64).max:
            raise ValueError("raw ids must fit in int64; give larger ones as strings.")
        integers = raw.astype(np.int64)
        Index(integers)  # finds duplicates
        return {INTEGERS: integers}
    texts = raw.tolist()
    odd = next((text for text in texts if type(text) is not str), None)
    if odd is not None:
        raise TypeError(f"raw ids must be all integers or all strings, got {odd!r}.")
    return _encode_strings(Strings.from_texts(texts), count)


def _encode_strings(texts: Strings, count: int) -> dict[str, np.ndarray]:
    """The arrays of strings, made without a Python loop."""
    first, last = int(texts.offsets[0]), int(texts.offsets[-1])
    data, offsets = texts.data[first:last], texts.offsets - first
    if len(texts) != count:
        raise _not_for_each_row(count, (len(texts),))
    if (data > 127).any():
        _check_utf8(data, offsets)
    from slimtable.artifact.texts import first_repeated  # numba is imported on first use

    repeated = first_repeated(data, offsets)
    if repeated >= 0:
        raise ValueError(f"raw ids must be different, but {texts[repeated]!r} occurs twice.")
    return {STRING_BYTES: data, STRING_OFFSETS: offsets}


def _check_utf8(data: np.ndarray, offsets: np.ndarray) -> None:
    """Raises ValueError if a string is not UTF-8 or ends within a character."""
    try:
        data.tobytes().decode()
    except UnicodeDecodeError as error:
        wrong = int(np.searchsorted(offsets, error.start, "right")) - 1
    else:
        begins = np.flatnonzero(offsets[:-1] < offsets[1:])
        within = begins[data[offsets[begins]] & 0xC0 == 0x80]
        if not len(within):
            return
        wrong = int(within[0])
    raise ValueError(f"string {wrong} of a vocabulary is not valid UTF-8.")


def _not_for_each_row(count: int, shape: tuple[int, ...]) -> ValueError:
    return ValueError(f"a vocabulary must hold one raw id for each of the {count} rows, got shape {shape}.")


def decode(arrays: Mapping[str, np.ndarray], count: int) -> np.ndarray | Strings | None:
    """The vocabulary of a table from its arrays, or None; reads offsets but no raw ids.

    Raises:
        ArtifactFormatError: if its arrays do not have the right types and shapes.
        ArtifactValueError: if the offsets of strings descend or exceed the bytes.
    """
    found = sorted(name for name in NAMES if name in arrays)
    if not found:
        return None
    if found == [INTEGERS]:
        _check(arrays[INTEGERS], INTEGERS, np.int64, count)
        return arrays[INTEGERS]
    if found != [STRING_BYTES, STRING_OFFSETS]:
        raise ArtifactFormatError(f"a vocabulary is `{INTEGERS}`, or `{STRING_BYTES}` and `{STRING_OFFSETS}`.")
    data, offsets = arrays[STRING_BYTES], arrays[STRING_OFFSETS]
    _check(data, STRING_BYTES, np.uint8, data.size)
    _check(offsets, STRING_OFFSETS, np.int64, count + 1)
    if offsets[0] != 0 or offsets[-1] != data.size or (offsets[1:] < offsets[:-1]).any():
        raise ArtifactValueError(f"array `{STRING_OFFSETS}` must rise from 0 to {data.size}.")
    return Strings(data, offsets)


class Index:
    """Finds the row of a raw id.

    Args:
        vocabulary: int64 (n,) or :class:`Strings`.

    Raises:
        ValueError: if a raw id occurs twice.
    """

    def __init__(self, vocabulary: np.ndarray | Strings | None) -> None:
        self._rows: dict[str, int] = {}
        self._order = self._sorted = np.empty(0, np.int64)
        if isinstance(vocabulary, Strings):
            self._rows = {text: row for row, text in enumerate(vocabulary)}
            if len(self._rows) < len(vocabulary):
                twice = next(text for row, text in enumerate(vocabulary) if self._rows[text] != row)
                raise ValueError(f"raw ids must be different, but {twice!r} occurs twice.")
        elif vocabulary is not None:
            self._order = np.argsort(vocabulary, kind="stable")
            self._sorted = vocabulary[self._order]
            same = self._sorted[1:] == self._sorted[:-1]
            if same.any():
                raise ValueError(f"raw ids must be different, but {self._sorted[same.argmax()]} occurs twice.")

    def find(self, raw_ids: Any) -> np.ndarray:
        """Rows of raw ids of any shape.

        Args:
            raw_ids: integers or strings, as the vocabulary holds them.

        Returns:
            int64 of the same shape; -1 for unknown raw ids.

        Raises:
            TypeError: if the vocabulary holds integers and a raw id is not an integer.
        """
        if self._rows:
            texts = np.asarray(raw_ids, dtype=object)
            rows = np.fromiter((self._rows.get(text, -1) for text in texts.reshape(-1)), np.int64, texts.size)
            return rows.reshape(texts.shape)
        raw = exact_array(raw_ids)
        large = raw.dtype == object and all(isinstance(value, int) for value in raw.reshape(-1))
        if raw.size and raw.dtype.kind not in "iu" and not large:
            raise TypeError(f"raw ids of this vocabulary are integers, got {raw.dtype}.")
        limits = np.iinfo(np.int64)
        inside = ((raw >= limits.min) & (raw <= limits.max)).astype(bool)
        wanted = np.where(inside, raw, 0).astype(np.int64)
        place = np.minimum(np.searchsorted(self._sorted, wanted), self._sorted.size - 1)
        return np.where((self._sorted[place] == wanted) & inside, self._order[place], -1)


def _array(raw_ids: list[Any]) -> np.ndarray:
    """An array of integers or objects; NumPy strings would drop trailing NULs and convert numbers."""
    integers = all(isinstance(raw, int | np.integer) and not isinstance(raw, bool) for raw in raw_ids)
    array = np.empty(len(raw_ids), object)
    array[:] = raw_ids
    if not integers:
        return array
    try:
        return array.astype(np.int64)
    except OverflowError:
        raise ValueError("raw ids must fit in int64; give larger ones as strings.") from None


def _check(array: np.ndarray, name: str, dtype: Any, size: int) -> None:
    if array.dtype != dtype or array.shape != (size,):
        raise ArtifactFormatError(
            f"array `{name}` must be {np.dtype(dtype)} of shape ({size},), got {array.dtype} {array.shape}."
        )
