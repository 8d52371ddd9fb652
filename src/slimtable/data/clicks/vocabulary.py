"""Vocabularies of the fields of a click log: they only grow, so an id always keeps its value."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from slimtable.artifact.vocabulary import Strings
from slimtable.data.clicks.clicks import Bags, Clicks
from slimtable.data.clicks.raw import RawClicks, RawField, all_missing, gather
from slimtable.errors import DatasetError
from slimtable.files import replace_file

if TYPE_CHECKING:
    from slimtable.data.clicks.schema import Schema

#: Raw id shown for id 0. No value is mapped to it, not even an equal text.
OOV = "<oov>"

_FORMAT = "slimtable-vocabularies-1"
_MAX = np.iinfo(np.int32).max
_FREE_SLOTS = 2  # least number of hash table slots per value
_ROWS_AT_ONCE = 1 << 20


class FieldVocabulary:
    """The vocabulary of a field of texts or integers; ids are in the order in which values become frequent.

    A value gets an id at its ``min_count``-th occurrence, so ids depend only on the order of the rows, not on chunks.
    Values are found by a hash and compared byte by byte.

    Args:
        name: name of the field, for messages.
        min_count: number of occurrences over all chunks before a value gets an id.
    """

    def __init__(self, name: str, min_count: int = 1) -> None:
        self.name, self.min_count = name, min_count
        self.integers: bool | None = None  # unknown before the first value
        self._hash_bits = 64  # tests use fewer
        self._size = 1  # number of ids, including id 0
        # Of all values seen, in order; arrays have spare capacity.
        self._seen = 0
        self._data = np.zeros(0, np.uint8)
        self._offsets = np.zeros(1, np.int64)
        self._counts = np.zeros(0, np.int64)
        self._ids = np.zeros(0, np.int32)  # 0: not frequent enough
        self._hashes = np.zeros(0, np.uint64)
        self._slots = np.zeros(8, np.int32)  # 1 + number of the value; 0: free

    def __len__(self) -> int:
        return self._size

    def count(self, values: RawField) -> None:
        """Counts the values of a chunk and gives ids to those that have become frequent enough; ignores missing ones.

        Raises:
            DatasetError: the type changes between texts and integers, or there are too many values.
        """
        for data, offsets, present in self._pieces(values):
            self.integers = not isinstance(values.values, Strings)
            rows, size = len(offsets) - 1, int(offsets[-1] - offsets[0])
            self._make_room(rows, size)
            self._seen, self._size = _count(
                data,
                offsets,
                present,
                self._mask(),
                self.min_count,
                self._seen,
                self._size,
                self._data,
                self._offsets,
                self._counts,
                self._ids,
                self._hashes,
                self._slots,
            )

    def encode(self, values: RawField) -> np.ndarray:
        """Ids of values: int32 (T,); 0 if missing, unknown or not frequent enough.

        Raises:
            DatasetError: the types do not match (texts or integers).
        """
        ids = np.zeros(len(values.values), np.int32)
        start = 0
        for data, offsets, present in self._pieces(values):
            stop = start + len(offsets) - 1
            known = (self._data, self._offsets, self._ids, self._hashes, self._slots)
            _find(data, offsets, present, self._mask(), *known, ids[start:stop])
            start = stop
        return ids

    def values(self) -> np.ndarray | Strings:
        """Values of the ids 1, 2, …: int64 (n,), or texts."""
        data, offsets = self._of_ids()
        return data.view(np.int64) if self.integers else Strings(data, offsets)

    def counts(self) -> np.ndarray:
        """Count of the value of each id: int64 (len,); 0 for id 0."""
        counts = np.zeros(self._size, np.int64)
        counts[self._ids[: self._seen]] = self._counts[: self._seen]
        counts[0] = 0
        return counts

    def arrays(self) -> dict[str, np.ndarray]:
        """The state, including pending counts, as plain arrays; equal states give equal arrays."""
        seen = self._seen
        return {
            "bytes": self._data[: self._offsets[seen]].copy(),
            "offsets": self._offsets[: seen + 1].copy(),
            "counts": self._counts[:seen].copy(),
            "ids": self._ids[:seen].copy(),
        }

    def restore(self, arrays: Mapping[str, np.ndarray], integers: bool | None) -> None:
        """Restores the output of :meth:`arrays`.

        Raises:
            ValueError: the arrays contradict each other.
        """
        data, offsets, counts, ids = (np.array(arrays[part]) for part in ("bytes", "offsets", "counts", "ids"))
        kinds = [array.dtype for array in (data, offsets, counts, ids)]
        if kinds != [np.uint8, np.int64, np.int64, np.int32] or len({len(offsets) - 1, len(counts), len(ids)}) != 1:
            raise ValueError(f"the arrays of field {self.name!r} do not fit together")
        given = np.sort(ids[ids > 0])
        if offsets[0] != 0 or offsets[-1] != len(data) or (np.diff(offsets) <= 0).any():
            raise ValueError(f"the values of field {self.name!r} do not cover their bytes")
        if not np.array_equal(given, np.arange(1, len(given) + 1)) or ((ids > 0) != (counts >= self.min_count)).any():
            raise ValueError(f"the ids of field {self.name!r} are not 1, 2, … for the values that are frequent enough")
        if integers and (np.diff(offsets) != 8).any():
            raise ValueError(f"the integers of field {self.name!r} do not have 8 bytes each")
        self._data, self._offsets, self._counts, self._ids = data, offsets, counts, ids
        self._seen, self._size, self.integers = len(ids), len(given) + 1, integers
        self._hashes = _hashes(data, offsets, self._mask())
        self._fill_slots(len(ids))

    def _pieces(self, values: RawField) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yields bytes, offsets and presence of values in pieces; nothing if all are missing."""
        raw = values.values
        integers = not isinstance(raw, Strings)
        if all_missing(values):  # a column without values has no type
            return
        if self.integers is not None and self.integers != integers:
            kinds = ("texts", "integers")
            raise DatasetError(
                f"field {self.name!r} held {kinds[self.integers]} before and now holds {kinds[integers]}. "
                "Write all files with one type."
            )
        for start in range(0, len(raw), _ROWS_AT_ONCE):
            stop = min(start + _ROWS_AT_ONCE, len(raw))
            present = np.zeros(0, np.bool_) if values.present is None else values.present[start:stop]
            if isinstance(raw, Strings):
                yield raw.data, raw.offsets[start : stop + 1], present
            else:
                yield np.ascontiguousarray(raw[start:stop]).view(np.uint8), np.arange(stop - start + 1) * 8, present

    def _make_room(self, rows: int, size: int) -> None:
        """Grows the arrays to hold ``rows`` more values of ``size`` bytes in total."""
        needed = self._seen + rows
        if needed >= _MAX:
            raise DatasetError(f"field {self.name!r} has more than {_MAX:,} values. Raise its min_count or split it.")
        self._data = _longer(self._data, int(self._offsets[self._seen]) + size)
        self._offsets = _longer(self._offsets, needed + 1)
        self._counts, self._ids = _longer(self._counts, needed), _longer(self._ids, needed)
        self._hashes = _longer(self._hashes, needed)
        if len(self._slots) < _FREE_SLOTS * needed:
            self._fill_slots(needed)

    def _fill_slots(self, count: int) -> None:
        self._slots = np.zeros(1 << max(3, int(_FREE_SLOTS * count - 1).bit_length()), np.int32)
        _place(self._hashes[: self._seen], self._slots)

    def _mask(self) -> np.uint64:
        return np.uint64((1 << self._hash_bits) - 1)

    def _of_ids(self) -> tuple[np.ndarray, np.ndarray]:
        order = np.zeros(self._size, np.int64)
        order[self._ids[: self._seen]] = np.arange(self._seen)
        order = order[1:]
        data, offsets = gather(self._data, self._offsets[:-1][order], self._offsets[1:][order])
        return data, offsets


class Vocabularies:
    """The vocabularies of all fields of a click log.

    Args:
        min_counts: minimum count by field, in the order of the fields.
    """

    def __init__(self, min_counts: Mapping[str, int]) -> None:
        self.fields = {name: FieldVocabulary(name, count) for name, count in min_counts.items()}

    @classmethod
    def from_schema(cls, schema: Schema) -> Vocabularies:
        """Empty vocabularies for the fields of a schema."""
        return cls({field.name: field.min_count for field in schema.fields})

    def __getitem__(self, name: str) -> FieldVocabulary:
        return self.fields[name]

    @property
    def sizes(self) -> dict[str, int]:
        """Number of ids by field, including id 0."""
        return {name: len(field) for name, field in self.fields.items()}

    def count(self, raw: RawClicks) -> None:
        """Counts the values of a chunk and gives new ids; errors as for :meth:`FieldVocabulary.count`."""
        for vocabulary, values in zip(self.fields.values(), raw.fields, strict=True):
            vocabulary.count(values)

    def encode(self, raw: RawClicks) -> Clicks:
        """Encodes values as ids."""
        ids: list[np.ndarray | Bags] = []
        for vocabulary, values in zip(self.fields.values(), raw.fields, strict=True):
            found = vocabulary.encode(values)
            ids.append(found if values.offsets is None else Bags(found, values.offsets))
        return Clicks(raw.labels, raw.numeric, tuple(ids))

    def save(self, path: str | Path) -> None:
        """Writes one safetensors file, atomically; equal states give equal bytes.

        Raises:
            OSError: it cannot be written.
        """
        from safetensors.numpy import save

        arrays: dict[str, np.ndarray] = {}
        about: list[dict[str, Any]] = []
        for name, field in self.fields.items():
            about.append({"name": name, "min_count": field.min_count, "integers": field.integers})
            arrays.update({f"{name}/{part}": array for part, array in field.arrays().items()})
        with replace_file(Path(path)) as file:
            file.write(save(arrays, {_FORMAT: json.dumps(about)}))

    @classmethod
    def load(cls, path: str | Path) -> Vocabularies:
        """Reads the output of :meth:`save`.

        Raises:
            DatasetError: the file is missing, or not such a file.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "np") as file:
                about = json.loads((file.metadata() or {})[_FORMAT])
                made = cls({field["name"]: field["min_count"] for field in about})
                for field in about:
                    parts = ("bytes", "offsets", "counts", "ids")
                    arrays = {part: file.get_tensor(f"{field['name']}/{part}") for part in parts}
                    made[field["name"]].restore(arrays, field["integers"])
        except OSError as error:
            raise DatasetError(f"cannot read {path}: {error.strerror or error}.") from None
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise DatasetError(f"{path} does not hold the vocabularies of a click log: {error}.") from None
        return made


def _longer(array: np.ndarray, size: int) -> np.ndarray:
    """The array with capacity for ``size`` elements, grown by half if it must be copied."""
    if len(array) >= size:
        return array
    longer = np.zeros(max(size, len(array) + len(array) // 2), array.dtype)
    longer[: len(array)] = array
    return longer


@njit(cache=True, nogil=True)
def _hash(data, start, stop, mask):  # type: ignore[no-untyped-def]  # pragma: no cover
    """FNV-1a with a finalizer, so that its low bits are well distributed."""
    state = np.uint64(0xCBF29CE484222325)
    for place in range(start, stop):
        state = (state ^ np.uint64(data[place])) * np.uint64(0x100000001B3)
    state = (state ^ (state >> np.uint64(32))) * np.uint64(0x94D049BB133111EB)
    return (state ^ (state >> np.uint64(29))) & mask


@njit(cache=True, nogil=True)
def _slot(data, start, stop, code, known, offsets, hashes, slots):  # type: ignore[no-untyped-def]  # pragma: no cover
    """The slot of the value, or the free slot for it."""
    last = slots.size - 1
    slot = np.int64(code & np.uint64(last))
    while slots[slot]:
        value = slots[slot] - 1
        begin = offsets[value]
        if hashes[value] == code and offsets[value + 1] - begin == stop - start:
            same = True
            for i in range(stop - start):
                if known[begin + i] != data[start + i]:
                    same = False
                    break
            if same:
                return slot
        slot = (slot + 1) & last
    return slot


@njit(cache=True, nogil=True)
def _count(  # type: ignore[no-untyped-def]  # pragma: no cover
    data, bounds, present, mask, min_count, seen, size, known, offsets, counts, ids, hashes, slots
):
    for row in range(bounds.size - 1):
        start, stop = bounds[row], bounds[row + 1]
        if start == stop or (present.size and not present[row]):
            continue
        code = _hash(data, start, stop, mask)
        slot = _slot(data, start, stop, code, known, offsets, hashes, slots)
        value = slots[slot] - 1
        if value < 0:
            value = seen
            begin = offsets[value]
            for i in range(stop - start):
                known[begin + i] = data[start + i]
            offsets[value + 1] = begin + stop - start
            hashes[value] = code
            slots[slot] = value + 1
            seen += 1
        counts[value] += 1
        if counts[value] == min_count:
            ids[value] = size
            size += 1
    return seen, size


@njit(cache=True, nogil=True)
def _find(data, bounds, present, mask, known, offsets, ids, hashes, slots, found):  # type: ignore[no-untyped-def]  # pragma: no cover
    for row in range(bounds.size - 1):
        start, stop = bounds[row], bounds[row + 1]
        if start < stop and (not present.size or present[row]):
            code = _hash(data, start, stop, mask)
            value = slots[_slot(data, start, stop, code, known, offsets, hashes, slots)] - 1
            if value >= 0:
                found[row] = ids[value]


@njit(cache=True, nogil=True)
def _hashes(data, offsets, mask):  # type: ignore[no-untyped-def]  # pragma: no cover
    codes = np.empty(offsets.size - 1, np.uint64)
    for value in range(codes.size):
        codes[value] = _hash(data, offsets[value], offsets[value + 1], mask)
    return codes


@njit(cache=True, nogil=True)
def _place(hashes, slots):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Inserts distinct values into an empty hash table."""
    last = slots.size - 1
    for value in range(hashes.size):
        slot = np.int64(hashes[value] & np.uint64(last))
        while slots[slot]:
            slot = (slot + 1) & last
        slots[slot] = value + 1
