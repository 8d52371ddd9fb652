"""Tables in ``.npy`` and ``.npz`` files, and folders of numbered ``.npy`` files."""

from __future__ import annotations

import math
import re
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO

import numpy as np

from slimtable.codecs.vectors import BLOCK_ROWS
from slimtable.files import natural_key
from slimtable.tables.archives import checksum_of, members, opened, start_of
from slimtable.tables.base import InMemory, Joined, Stored, Streamed, Table, TableError

MAGIC = b"\x93NUMPY"
ALONE = "table"
"""Name of the table of a file that has no names."""

_SHARD = re.compile(r"^(.*?)[-_. ]?([0-9]+)$")


@dataclass(frozen=True)
class _Header:
    """What the header of an ``.npy`` file says; ``size`` is its bytes."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype
    size: int


def read_npy(path: Path) -> dict[str, Table]:
    """The array of an ``.npy`` file.

    Raises:
        TableError: the file is damaged, or holds objects.
    """
    with path.open("rb") as file:
        header = _header(file, path, "")
    if header.fortran and len(header.shape) > 1:
        if math.prod(header.shape) * header.dtype.itemsize > path.stat().st_size - header.size:
            raise TableError(_too_short(path, header, path.stat().st_size - header.size))
        mapped = np.memmap(path, header.dtype, "r", header.size, header.shape, order="F")
        return {ALONE: InMemory(mapped)}
    there = path.stat().st_size - header.size
    if min(header.shape, default=1) < 0 or math.prod(header.shape) * header.dtype.itemsize > there:
        raise TableError(_too_short(path, header, there))
    return {ALONE: Stored(path, header.size, header.shape, header.dtype)}


def read_npz(path: Path) -> dict[str, Table]:
    """The arrays of an ``.npz`` archive by name, without those that hold objects.

    Members that are compressed are read in order, a block at a time: an archive cannot claim more memory than a block.

    Raises:
        TableError: the archive is damaged.
    """
    found: dict[str, Table] = {}
    for name, info in members(path).items():
        with opened(path, name) as member:
            header = _header(member, path, name, objects=True)
        if header.dtype.hasobject:
            continue
        short = name.removesuffix(".npy")
        if math.prod(header.shape) * header.dtype.itemsize != info.file_size - header.size:
            raise TableError(_too_short(path, header, info.file_size - header.size))
        if header.fortran and len(header.shape) > 1:
            found[short] = _FortranMember(path, name, header)
        elif info.compress_type == zipfile.ZIP_STORED:
            place = start_of(path, info) + header.size
            found[short] = Stored(path, place, header.shape, header.dtype, checksum=checksum_of(path, info))
        else:
            found[short] = _Compressed(path, name, header)
    return found


def read_shards(folder: Path) -> dict[str, Table]:
    """The tables of a folder of ``.npy`` files: numbered files are one table, in the order of their numbers.

    Raises:
        TableError: a number is missing or appears twice, or shards differ in width or type.
    """
    groups: dict[str, list[tuple[int, Path]]] = {}
    found: dict[str, Table] = {}
    for path in sorted(folder.glob("*.npy"), key=lambda path: natural_key(path.name)):
        numbered = _SHARD.match(path.stem)
        if numbered is None:
            found[path.stem] = read_npy(path)[ALONE]
        else:
            groups.setdefault(numbered[1], []).append((int(numbered[2]), path))
    for name, shards in groups.items():
        found[name or ALONE] = join_shards(folder, [number for number, _ in shards], [path for _, path in shards])
    return found


def join_shards(folder: Path, numbers: list[int], paths: list[Path]) -> Table:
    """The table of numbered ``.npy`` files.

    Raises:
        TableError: a number is missing or appears twice, or shards differ in width or type.
    """
    for before, after in pairwise(numbers):
        if after != before + 1:
            what = f"shard {before + 1} is missing" if after > before else f"shard {after} is there twice"
            raise TableError(f"{folder}: {what}. Shards are numbered without gaps, such as part-000.npy, part-001.npy.")
    parts = [read_npy(path)[ALONE] for path in paths]
    for path, part in zip(paths, parts, strict=True):
        if part.ndim == 0 or part.shape[1:] != parts[0].shape[1:] or part.dtype != parts[0].dtype:
            raise TableError(
                f"{path} holds {part.dtype} of shape {part.shape}, but {paths[0].name} {parts[0].dtype} of shape "
                f"{parts[0].shape}. Shards of one table have equal width and type."
            )
    return parts[0] if len(parts) == 1 else Joined(parts)


def _too_short(path: Path, header: _Header, there: int) -> str:
    said = str(header.shape)[:60]
    return f"{path} is not a readable .npy table: its header says shape {said}, which its {there:,} bytes do not hold."


def _header(file: IO[bytes], path: Path, name: str, objects: bool = False) -> _Header:
    """Reads the header of an array, and checks that its values may be read."""
    what = f"{path} ({name[:60]})" if name else str(path)
    counted = _Counted(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of headers that are not quite right
            version = np.lib.format.read_magic(counted)
            read = np.lib.format.read_array_header_1_0 if version[0] == 1 else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = read(counted)
    except Exception as error:  # of the parser of Python, which reads the header
        raise TableError(f"{what} is not a readable .npy table: {str(error)[:100]}") from error
    if min(shape, default=1) < 0:
        raise TableError(f"{what} is not a readable .npy table: its header says shape {str(shape)[:60]}.")
    if dtype.hasobject and not objects:
        raise TableError(f"{what} holds Python objects, which are never opened. Save a plain array of numbers.")
    return _Header(shape, fortran, dtype, counted.count)


class _Counted:
    """A stream that counts the bytes read, since members of archives cannot always tell."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.count = file, 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        self.count += len(data)
        return data


class _Compressed(Streamed):
    """A compressed member of an ``.npz`` archive."""

    def __init__(self, path: Path, name: str, header: _Header) -> None:
        self._path, self._name, self._header = path, name, header
        self.shape, self.dtype = header.shape, header.dtype.newbyteorder("=")
        super().__init__()

    def __len__(self) -> int:
        return self.shape[0] if self.shape else 1

    def files(self) -> tuple[Path, ...]:
        return (self._path,)

    def _stream(self, part: int) -> Iterator[np.ndarray]:
        width = math.prod(self.shape[1:]) * self._header.dtype.itemsize
        with opened(self._path, self._name) as member:
            member.read(self._header.size)
            for first in range(0, len(self), BLOCK_ROWS):
                rows = min(BLOCK_ROWS, len(self) - first)
                data = member.read(rows * width)
                if len(data) != rows * width:
                    raise TableError(f"{self._path} is damaged: its part {self._name[:60]} is cut off.")
                if first + rows == len(self):
                    member.read(1)  # reaching the end checks the checksum
                yield np.frombuffer(data, self._header.dtype).reshape(rows, *self.shape[1:])


class _FortranMember(Table):
    """A member whose values lie column by column: it is read whole, once its size is known to fit into memory."""

    costly = True

    def __init__(self, path: Path, name: str, header: _Header) -> None:
        self._path, self._name, self._header = path, name, header
        self.shape, self.dtype = header.shape, header.dtype.newbyteorder("=")

    def files(self) -> tuple[Path, ...]:
        return (self._path,)

    def _read(self, start: int, stop: int) -> np.ndarray:
        from slimtable.memory import require_memory

        wanted = self.size * self._header.dtype.itemsize
        require_memory(2 * wanted, f"{self._path}, saved in Fortran order,", "Save it in C order.")
        with opened(self._path, self._name) as member:
            member.read(self._header.size)
            values = np.frombuffer(member.read(wanted), self._header.dtype)
        columns = values.reshape(self.shape[::-1]).transpose()
        return np.ascontiguousarray(columns[start:stop], dtype=self.dtype)

    def verify(self) -> None:
        self._read(0, 0)
