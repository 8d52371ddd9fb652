"""Edits that turn an array into another: units kept, units changed, units appended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from slimtable.artifact.bits import MAX_WIDTH, pack_bits, packed_size, unpack_bits
from slimtable.artifact.header import check_keys
from slimtable.errors import ArtifactFormatError, ArtifactValueError

_BYTES_AT_ONCE = 1 << 24
_MAX_GAPS = 1 << 31  # largest number of units whose changed positions are stored as gaps, so that sums fit int64
_MAX_NUMBER = 1 << 62


@dataclass(frozen=True)
class Edit:
    """A new array in terms of units of the old one; the delta holds the changed positions, then the values.

    Attributes:
        unit: bits of a unit: a multiple of 8, or the width of a code.
        old_unit: bits of a unit in the old array; may differ from ``unit`` only for codes.
        kept: number of units copied from the start of the old array before any is changed. 0 replaces the array.
        changed: number of these that change.
        gap: bits of each gap between changed positions; 0 if a bitmap over the kept units marks them, or none changes.
        added: number of units appended.
    """

    unit: int
    old_unit: int
    kept: int
    changed: int
    gap: int
    added: int

    @property
    def codes(self) -> bool:
        """True if units are codes in a bit stream."""
        return self.unit != self.old_unit or self.unit % 8 != 0

    @property
    def places_size(self) -> int:
        """Bytes of the positions of changed units."""
        if not self.changed:
            return 0
        return packed_size(self.changed, self.gap) if self.gap else packed_size(self.kept, 1)

    @property
    def values_size(self) -> int:
        """Bytes of the changed and added units."""
        return packed_size(self.changed + self.added, self.unit)

    @property
    def size(self) -> int:
        """Bytes in the delta."""
        return self.places_size + self.values_size

    def to_dict(self) -> dict[str, int]:
        """As JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Candidate:
    """A division of both arrays into units, for which an edit is tried.

    Attributes:
        unit: bits of a unit of the new array.
        old_unit: bits of a unit of the old array.
        count: number of units of the new array.
        old_count: number of units of the old array.
    """

    unit: int
    old_unit: int
    count: int
    old_count: int


class Plan(NamedTuple):
    """An edit and the positions that change, int64 (changed,), ascending."""

    edit: Edit
    places: np.ndarray


def read_edit(value: Any, what: str, size: int, old_size: int) -> Edit:
    """Check an edit that a file describes.

    Args:
        value: the edit as JSON.
        what: its name in messages.
        size: bytes of the new array.
        old_size: bytes of the old array, 0 if there is none.

    Raises:
        ArtifactFormatError: if it does not turn an array of the old size into one of the new size.
    """
    check_keys(value, dict.fromkeys(Edit.__dataclass_fields__, int), what)
    if not all(0 <= number < _MAX_NUMBER for number in value.values()):
        raise ArtifactFormatError(f"{what} has a number that is out of range.")
    edit = Edit(**value)
    if not edit.unit or not edit.old_unit or (edit.codes and max(edit.unit, edit.old_unit) > MAX_WIDTH):
        raise ArtifactFormatError(f"{what} has units of {edit.unit} and {edit.old_unit} bits, which is impossible.")
    if edit.changed > edit.kept or edit.gap > MAX_WIDTH or (edit.gap and not 0 < edit.changed <= edit.kept):
        raise ArtifactFormatError(f"{what} changes {edit.changed} of {edit.kept} units, with gaps of {edit.gap} bits.")
    if edit.gap and edit.kept > _MAX_GAPS:
        raise ArtifactFormatError(f"{what} has gaps between {edit.kept} units; at most {_MAX_GAPS} are possible.")
    if packed_size(edit.kept, edit.old_unit) > old_size:
        raise ArtifactFormatError(f"{what} keeps {edit.kept} units of an array of {old_size} bytes.")
    if packed_size(edit.kept + edit.added, edit.unit) != size:
        raise ArtifactFormatError(f"{what} does not make an array of {size} bytes.")
    return edit


def replacement(size: int) -> Plan:
    """The edit that replaces the whole array."""
    return Plan(Edit(unit=8, old_unit=8, kept=0, changed=0, gap=0, added=size), np.empty(0, np.int64))


def plan_edit(old: np.ndarray, new: np.ndarray, candidates: Iterable[Candidate]) -> Plan:
    """The smallest edit that makes ``new`` from ``old``, both uint8 (bytes,)."""
    best = replacement(new.size)
    for candidate in candidates:
        kept = min(candidate.count, candidate.old_count)
        places = changed_units(old, new, candidate)
        gap = 0
        if places.size and kept <= _MAX_GAPS:
            gap = max(1, int(_gaps(places).max()).bit_length())
            if gap > MAX_WIDTH or packed_size(places.size, gap) > packed_size(kept, 1):
                gap = 0
        edit = Edit(candidate.unit, candidate.old_unit, kept, places.size, gap, candidate.count - kept)
        if edit.size < best.edit.size:
            best = Plan(edit, places)
    return best


def changed_units(old: np.ndarray, new: np.ndarray, candidate: Candidate) -> np.ndarray:
    """Positions of units that differ, among those that both arrays have: int64 (changed,), ascending."""
    kept = min(candidate.count, candidate.old_count)
    if candidate.unit != candidate.old_unit or candidate.unit % 8:
        return np.flatnonzero(unpack_bits(old, candidate.old_unit, kept) != unpack_bits(new, candidate.unit, kept))
    size = candidate.unit // 8
    units = max(1, _BYTES_AT_ONCE // size)
    found = [np.empty(0, np.int64)]
    for start in range(0, kept, units):
        part = slice(start * size, min(start + units, kept) * size)
        found.append(start + np.flatnonzero((old[part] != new[part]).reshape(-1, size).any(axis=1)))
    return np.concatenate(found)


def encode_edit(plan: Plan, new: np.ndarray) -> list[np.ndarray]:
    """The parts of an edit in a delta: positions, then values; uint8 each, ``edit.size`` bytes in total."""
    edit, places = plan
    if not edit.codes:
        units = new.reshape(-1, edit.unit // 8)
        values = np.concatenate([units[places], units[edit.kept :]]).reshape(-1)
    else:
        codes = unpack_bits(new, edit.unit, edit.kept + edit.added)
        values = pack_bits(np.concatenate([codes[places], codes[edit.kept :]]), edit.unit)
    if not edit.changed:
        return [values]
    if edit.gap:
        return [pack_bits(_gaps(places), edit.gap), values]
    marks = np.zeros(edit.kept, bool)
    marks[places] = True
    return [np.packbits(marks, bitorder="little"), values]


def apply_edit(edit: Edit, old: np.ndarray, data: np.ndarray) -> np.ndarray:
    """Apply an edit to an array.

    Args:
        edit: checked by :func:`read_edit`.
        old: uint8 (bytes,), the old array.
        data: uint8 (edit.size,), the output of :func:`encode_edit`.

    Returns:
        uint8 (bytes,), the new array.

    Raises:
        ArtifactValueError: if a position or a value is out of range.
    """
    places = _read_places(edit, data[: edit.places_size])
    values = data[edit.places_size :]
    if not edit.codes:
        size = edit.unit // 8
        made = np.empty((edit.kept + edit.added, size), np.uint8)
        made[: edit.kept] = old[: edit.kept * size].reshape(-1, size)
        _fill(made, places, edit.kept, values.reshape(-1, size))
        return made.reshape(-1)
    codes = np.empty(edit.kept + edit.added, np.uint32)
    codes[: edit.kept] = unpack_bits(old, edit.old_unit, edit.kept)
    _fill(codes, places, edit.kept, unpack_bits(values, edit.unit, edit.changed + edit.added))
    if codes.size and int(codes.max()) >> edit.unit:
        raise ArtifactValueError(f"a code that is kept does not fit {edit.unit} bits.")
    return pack_bits(codes, edit.unit)


def _fill(made: np.ndarray, places: np.ndarray, kept: int, values: np.ndarray) -> None:
    made[places] = values[: places.size]
    made[kept:] = values[places.size :]


def _read_places(edit: Edit, data: np.ndarray) -> np.ndarray:
    """Positions of changed units, int64 (changed,), all different and below ``kept``."""
    if not edit.changed:
        return np.empty(0, np.int64)
    if edit.gap:
        places = np.cumsum(unpack_bits(data, edit.gap, edit.changed).astype(np.int64) + 1) - 1
        fits = int(places[-1]) < edit.kept
    else:
        places = np.flatnonzero(np.unpackbits(data, count=edit.kept, bitorder="little"))
        fits = places.size == edit.changed
    if not fits:
        raise ArtifactValueError(f"the positions of {edit.changed} changes among {edit.kept} units are not valid.")
    return places


def _gaps(places: np.ndarray) -> np.ndarray:
    """Number of units between each changed one and the one before it."""
    return np.diff(places, prepend=-1) - 1
