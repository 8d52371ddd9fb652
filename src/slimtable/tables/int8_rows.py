"""Rows of 8-bit values with a scale and an offset each, as FBGEMM, TorchRec and TorchEasyRec keep them.

A value is ``scale · code + offset``, computed in float32. In one array of bytes, a row is

- ``fp32``: d codes, scale and offset in float32 (FBGEMM's fused rows, d + 8 bytes);
- ``fp16``: d codes, scale and offset in float16 (FBGEMM with half precision; TorchEasyRec's ``QUint8RowwiseF16``);
- ``fp16-first``: scale and offset in float16, d codes, and zeros up to a multiple of 16 bytes (tables of TorchRec's
  quantized modules).

TorchRec can also keep codes, scales and offsets in three arrays: ``t.weight``, ``t.weight_qscale``, ``t.weight_qbias``.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import numpy as np

from slimtable.codecs.vectors import BLOCK_ROWS, TableLike
from slimtable.files import replace_file
from slimtable.tables.base import Ids, Table, TableError, verify

LAYOUTS = ("fp32", "fp16", "fp16-first")
_ALIGNMENT = 16
_SAMPLE = 4096  # rows that tell the layout
_LEAST = 4  # rows below which the layout cannot be told


class Int8Rows(Table):
    """A table of 8-bit rows, which reads as float32.

    Args:
        rows: uint8 (N, bytes of a row).
        layout: one of :data:`LAYOUTS`.

    Raises:
        TableError: the rows are too short, or scales of the first rows are not finite.
    """

    def __init__(self, rows: TableLike, layout: str) -> None:
        if layout not in LAYOUTS:
            raise TableError(f"There is no layout {layout[:60]!r} of 8-bit rows. Layouts: {', '.join(LAYOUTS)}.")
        self._rows, self._layout = rows, layout
        self._number = np.dtype("<f4" if layout == "fp32" else "<f2")
        self._dim = rows.shape[1] - 2 * self._number.itemsize
        if self._dim < 1 or rows.dtype != np.uint8:
            raise TableError(f"8-bit rows are bytes, at least {2 * self._number.itemsize + 1} a row, got {rows.shape}.")
        if layout == "fp16-first":
            self._dim -= _padding(rows)
        self.shape, self.dtype = (rows.shape[0], self._dim), np.dtype(np.float32)
        self.costly = getattr(rows, "costly", False)

    @property
    def ids(self) -> Ids | None:
        return self._rows.ids if isinstance(self._rows, Table) else None

    def files(self) -> tuple[Path, ...] | None:
        return self._rows.files() if isinstance(self._rows, Table) else None

    def verify(self) -> None:
        verify(self._rows)

    def _read(self, start: int, stop: int) -> np.ndarray:
        codes, scales, offsets = _split(np.asarray(self._rows[start:stop]), self._layout, self._dim)
        return decoded(codes, scales, offsets)


class SplitInt8Rows(Table):
    """A table of 8-bit codes (N, d), with scales (N, 1) and offsets (N, 1) in arrays of their own."""

    def __init__(self, codes: Table, scales: Table, offsets: Table) -> None:
        for each in (scales, offsets):
            if each.size != codes.shape[0] or each.dtype.kind != "f":
                raise TableError(
                    f"Scales and offsets of 8-bit rows must be {codes.shape[0]:,} floats, got {each.shape}."
                )
        self._codes, self._scales, self._offsets = codes, scales, offsets
        self.shape, self.dtype = codes.shape, np.dtype(np.float32)
        self.costly = codes.costly

    def files(self) -> tuple[Path, ...] | None:
        return self._codes.files()

    def verify(self) -> None:
        for each in (self._codes, self._scales, self._offsets):
            each.verify()

    def _read(self, start: int, stop: int) -> np.ndarray:
        scales, offsets = (each[start:stop].reshape(-1, 1) for each in (self._scales, self._offsets))
        return decoded(self._codes[start:stop], scales, offsets)


def decoded(codes: np.ndarray, scales: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """float32 (n, d) values of codes uint8 (n, d), with scales (n, 1) and offsets (n, 1)."""
    values = codes.astype(np.float32)
    values *= scales.astype(np.float32)
    values += offsets.astype(np.float32)
    return values


def layout_of(rows: TableLike) -> str | None:
    """The layout of 8-bit rows, told from their first rows; None if none fits, or more than one does."""
    fitting = [layout for layout in LAYOUTS if _fits(np.asarray(rows[:_SAMPLE]), layout)]
    return fitting[0] if len(fitting) == 1 and rows.shape[0] >= _LEAST else None


def encode_int8_rows(rows: np.ndarray) -> np.ndarray:
    """Rows in the layout ``fp16``, rounded to the nearest code.

    Args:
        rows: float32 (n, d), finite.

    Returns:
        uint8 (n, d + 4).

    Raises:
        ValueError: a row does not fit the range of float16.
    """
    low, high = rows.min(axis=1, keepdims=True), rows.max(axis=1, keepdims=True)
    with np.errstate(over="ignore"):
        offsets = low.astype("<f2")
        scales = ((high - offsets.astype(np.float32)) / np.float32(255)).astype("<f2")
    if not (np.isfinite(offsets).all() and np.isfinite(scales).all()):
        raise ValueError("A row is beyond the range of float16, ±65,504, in which its scale and offset are kept.")
    scales[scales <= 0] = 1  # of rows whose values are all equal
    steps = (rows - offsets.astype(np.float32)) / scales.astype(np.float32)
    codes = np.clip(np.rint(steps), 0, 255).astype(np.uint8)
    return np.hstack([codes, scales.view(np.uint8), offsets.view(np.uint8)])


def write_int8_rows(path: str | Path, tables: Mapping[str, tuple[TableLike, np.ndarray | None]]) -> None:
    """Writes tables as TorchEasyRec's distributed export does: an ``.npz`` archive of keys and 8-bit rows.

    The archive holds ``<name>.keys`` int64 (N,) and ``<name>.values`` uint8 (N, d + 4) in the layout ``fp16``,
    uncompressed; it is written atomically, a block at a time.

    Args:
        path: the file.
        tables: table float (N, d), with even d, and raw ids int64 (N,) by name; None for the ids 0 … N - 1.

    Raises:
        ValueError: d is odd, ids are not N whole numbers, or a row does not fit the range of float16.
    """
    for name, (table, keys) in tables.items():
        if table.shape[1] % 2:
            raise ValueError(f"Table {name!r} has {table.shape[1]} columns; these rows need an even number.")
        if keys is not None and (keys.shape != table.shape[:1] or keys.dtype.kind not in "iu"):
            raise ValueError(f"Ids of table {name!r} must be {table.shape[0]:,} whole numbers, got {keys.shape}.")
    with replace_file(Path(path)) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, (table, keys) in tables.items():
            ids = np.arange(table.shape[0]) if keys is None else keys
            with archive.open(_member(f"{name}.keys.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(ids, np.int64))
            with archive.open(_member(f"{name}.values.npy"), "w", force_zip64=True) as member:
                _write_rows(member, table)


def _member(name: str) -> zipfile.ZipInfo:
    """A member with a fixed time, so that equal tables give equal bytes."""
    return zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))


def _write_rows(member: IO[bytes], table: TableLike) -> None:
    shape = (table.shape[0], table.shape[1] + 4)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(member, header)
    for block in _encoded(table):
        member.write(block.tobytes())


def _encoded(table: TableLike) -> Iterator[np.ndarray]:
    for first in range(0, table.shape[0], BLOCK_ROWS):
        yield encode_int8_rows(np.asarray(table[first : first + BLOCK_ROWS], np.float32))


def _split(rows: np.ndarray, layout: str, dim: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes (n, d), scales (n, 1) and offsets (n, 1) of rows (n, bytes)."""
    number = np.dtype("<f4" if layout == "fp32" else "<f2")
    start = 0 if layout == "fp16-first" else dim
    codes = rows[:, 2 * number.itemsize : 2 * number.itemsize + dim] if start == 0 else rows[:, :dim]
    both = np.ascontiguousarray(rows[:, start : start + 2 * number.itemsize]).view(number)
    return codes, both[:, :1], both[:, 1:]


def _fits(rows: np.ndarray, layout: str) -> bool:
    """True if scales are sound in this layout: finite, not negative, and zero only where codes are."""
    dim = rows.shape[1] - (8 if layout == "fp32" else 4)
    if dim < 1 or (layout == "fp16-first" and rows.shape[1] % _ALIGNMENT):
        return False
    codes, scales, offsets = _split(rows, layout, dim)
    if not (np.isfinite(scales).all() and np.isfinite(offsets).all() and not np.signbit(scales).any()):
        return False
    with np.errstate(over="ignore"):
        ranges = scales.astype(np.float64) * 255
    small = ranges <= 1e-6 * np.abs(offsets.astype(np.float64))
    return not (small & (codes.max(axis=1, keepdims=True) > 0)).any() and bool((ranges < 1e9).all())


def _padding(rows: TableLike) -> int:
    """The number of columns at the end, below 16, that are zero in all rows."""
    used = 0
    for first in range(0, rows.shape[0], BLOCK_ROWS):
        tail = np.asarray(rows[first : first + BLOCK_ROWS])[:, -_ALIGNMENT + 1 :]
        used = max(used, int(np.flatnonzero(tail.any(axis=0)).max(initial=-1)) + 1)
    return min(_ALIGNMENT - 1 - used, rows.shape[1] - 5)
