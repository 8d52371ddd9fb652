"""Atomic writes, and checks of archives."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def replace_file(path: Path) -> Iterator[IO[bytes]]:
    """Opens a temporary file for writing bytes, and renames it to ``path`` once it is on disk.

    If the process is killed, ``path`` is the old file or the complete new one; a ``.partial`` file may be left. If the
    block raises, the temporary file is removed.

    Args:
        path: the file; a link is followed.

    Yields:
        The open file.

    Raises:
        FileNotFoundError: the folder does not exist.
        IsADirectoryError: ``path`` is a folder.
    """
    try:
        target = path.resolve()  # a link stays a link
    except RuntimeError:  # before Python 3.13
        raise OSError(errno.ELOOP, "the link leads to itself", str(path)) from None
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "cannot write a file over a folder", str(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "the folder does not exist", str(target.parent))
    aside = target.with_name(f".{target.name}.{secrets.token_hex(8)}.partial")
    try:
        with aside.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(target)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


DAMAGED_ARCHIVE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
"""What reading a damaged or encrypted zip archive may raise."""


def check_archive(path: Path) -> None:
    """Checks a zip archive, such as a PyTorch file, against its checksums, which PyTorch does not check.

    Raises:
        ValueError: it is not such an archive, or is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except DAMAGED_ARCHIVE as error:
        raise ValueError(f"it is not a whole archive: {error}") from error
    if bad is not None:
        raise ValueError(f"its part {bad} is not what was written")


def write_json(path: Path, value: Any) -> None:
    """Writes ``value`` as indented JSON, atomically; arguments and errors as for :func:`replace_file`."""
    with replace_file(path) as file:
        file.write(json.dumps(value, indent=2).encode() + b"\n")


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """A sort key by which ``day_2`` comes before ``day_11``.

    Example:
        >>> sorted(["day_11", "day_2", "day_1"], key=natural_key)
        ['day_1', 'day_2', 'day_11']
    """
    pieces = re.findall(r"[0-9]+|[^0-9]+", name)
    return [(0, int(piece), "") if piece.isdecimal() else (1, 0, piece) for piece in pieces]
