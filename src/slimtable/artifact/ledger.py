"""Where the bytes of a file go: codes, codebooks, gains, maps, rows, raw ids, padding, tensors and the header."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from slimtable.artifact.file import ArtifactFile
from slimtable.artifact.layouts import roles_of
from slimtable.artifact.vocabulary import NAMES as VOCABULARY_ARRAYS

CODES, CODEBOOKS, GAINS, MAPS, ROWS = "codes", "codebooks", "gains and scales", "maps", "rows"
RAW_IDS, PADDING, TENSORS, HEADER = "raw ids", "padding", "tensors", "header"
KINDS: Mapping[str, str] = MappingProxyType(
    {
        CODES: "codes of centroids or of values, one or more per id",
        CODEBOOKS: "centroids, their scales, and rotations",
        GAINS: "gains, steps, offsets and zero points",
        MAPS: "shared row, weight, tier or nonzero positions of each id",
        ROWS: "rows and factors stored as values: uncompressed, shared, or left after pruning",
        RAW_IDS: "the raw id of each row",
        PADDING: "unused bits that fill bit streams up to whole bytes",
        TENSORS: "uncompressed tensors of the model beside its tables",
        HEADER: "names, shapes, options and checksums",
    }
)
"""What bytes are for, in the order of reports."""

_KIND_OF = {
    "codes": CODES,
    "codebook": CODEBOOKS,
    "codebook_scale": CODEBOOKS,
    "rotation": CODEBOOKS,
    "gain": GAINS,
    "gain_range": GAINS,
    "step": GAINS,
    "step_range": GAINS,
    "offset": GAINS,
    "zero": GAINS,
    "tiers": MAPS,
    "map": MAPS,
    "weights": MAPS,
    "bitmap": MAPS,
    "rows": ROWS,
    "left": ROWS,
    "right": ROWS,
    "table": ROWS,
    "values": ROWS,
}


@dataclass(frozen=True)
class Entry:
    """The bits of a file for one purpose.

    Attributes:
        table: name of the table; empty for what belongs to the whole file.
        kind: purpose, a key of :data:`KINDS`.
        bits: number of bits.
    """

    table: str
    kind: str
    bits: int

    @property
    def bytes(self) -> float:
        """The bits as bytes; a bit stream may end within a byte."""
        return self.bits / 8

    def to_dict(self) -> dict[str, Any]:
        """The entry as JSON values."""
        return {"table": self.table, "kind": self.kind, "bits": self.bits, "bytes": self.bytes}


def ledger(opened: ArtifactFile) -> list[Entry]:
    """The bits of an open file by table and purpose; they add up to exactly its size.

    Args:
        opened: the file.

    Returns:
        Entries with at least one bit, table by table, in the order of :data:`KINDS`.
    """
    entries = []
    for name, packed in opened.tables.items():
        bits = dict.fromkeys(KINDS, 0)
        roles = roles_of(packed)
        for array_name, array in packed.arrays.items():
            role, stored = roles[array_name], 8 * array.nbytes
            used = role.width * role.count if role.stream else stored
            bits[_kind_of(array_name)] += used
            bits[PADDING] += stored - used
        bits[RAW_IDS] = sum(8 * opened.arrays[f"{name}/{key}"].nbytes for key in _vocabulary_of(opened, name))
        entries += [Entry(name, kind, count) for kind, count in bits.items() if count]
    tensors = sum(8 * tensor.nbytes for tensor in opened.tensors.values())
    entries += [Entry("", TENSORS, tensors)] if tensors else []
    return [*entries, Entry("", HEADER, 8 * opened.header_size)]


def _vocabulary_of(opened: ArtifactFile, table: str) -> list[str]:
    return [key for key in VOCABULARY_ARRAYS if f"{table}/{key}" in opened.arrays]


def _kind_of(name: str) -> str:
    """The purpose of an array of a table; arrays of a part of a table are named after the part."""
    pieces = name.split(".")
    return _KIND_OF[pieces[2] if pieces[0] == "part" else pieces[0]]
