"""Members of zip archives, such as ``.npz`` and PyTorch files, without unpacking them."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from slimtable.files import DAMAGED_ARCHIVE
from slimtable.tables.base import TableError

_LOCAL_HEADER = 30
_DAMAGE = (*DAMAGED_ARCHIVE, OSError, ValueError)


def is_archive(path: Path) -> bool:
    """True if a file is a zip archive, or was one."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:
        return True


def members(path: Path) -> dict[str, zipfile.ZipInfo]:
    """The members of an archive by name.

    Raises:
        TableError: it is not a whole archive, or its members overlap or are encrypted.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            found = archive.infolist()
    except _DAMAGE as error:
        raise TableError(f"{path} is damaged: it is not a whole archive: {error}.") from error
    if sum(info.compress_size for info in found) > path.stat().st_size:
        raise TableError(f"{path} is damaged: its members are larger than the file.")
    if any(info.flag_bits & 1 for info in found):
        raise TableError(f"{path} is encrypted. Save its tables without a password.")
    by_name = {info.filename: info for info in found}
    if len(by_name) != len(found):
        raise TableError(f"{path} is damaged: two of its members have the same name.")
    return by_name


def start_of(path: Path, info: zipfile.ZipInfo) -> int:
    """The byte of the file where a member that is stored uncompressed starts.

    Raises:
        TableError: the archive contradicts itself.
    """
    with path.open("rb") as file:
        file.seek(info.header_offset)
        header = file.read(_LOCAL_HEADER)
    if len(header) < _LOCAL_HEADER or not header.startswith(b"PK\x03\x04") or info.compress_size != info.file_size:
        raise TableError(f"{path} is damaged: its part {info.filename} is not where its directory says.")
    name, extra = int.from_bytes(header[26:28], "little"), int.from_bytes(header[28:30], "little")
    start = info.header_offset + _LOCAL_HEADER + name + extra
    if start + info.file_size > path.stat().st_size:
        raise TableError(f"{path} is damaged: its part {info.filename} is cut off.")
    return start


def checksum_of(path: Path, info: zipfile.ZipInfo) -> tuple[int, int, int]:
    """Start, bytes and CRC-32 of a member that is stored uncompressed."""
    return start_of(path, info), info.file_size, info.CRC


@contextmanager
def opened(path: Path, name: str) -> Iterator[IO[bytes]]:
    """Opens a member for reading; its checksum is checked at its end.

    Raises:
        TableError: the member is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(name) as member:
            yield member
    except TableError:
        raise
    except (*_DAMAGE, KeyError) as error:
        raise TableError(f"{path} is damaged: its part {name[:60]} cannot be read: {error}.") from error


def read_member(path: Path, info: zipfile.ZipInfo, limit: int) -> bytes:
    """The bytes of a small member.

    Args:
        path: the archive.
        info: the member.
        limit: the largest size in bytes that is accepted.

    Raises:
        TableError: the member is larger, or damaged.
    """
    if info.file_size > limit:
        raise TableError(f"{path}: its part {info.filename} takes {info.file_size:,} bytes, more than {limit:,}.")
    with opened(path, info.filename) as member:
        return member.read()
