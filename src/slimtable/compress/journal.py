"""The journal of a long job: what is finished when the process is killed, and whether it can be trusted.

::

    .OUT.job/
      lock       locked by the process that works
      journal    a line for what the job is, then one for every finished chunk, each with a checksum
      output     the file in the making; renamed to OUT at the end

A line that was cut off or damaged is ignored: its chunk is done again. If the first line is not that of this job, all
is done again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import zlib
from pathlib import Path
from typing import Any, Self

from slimtable.errors import SlimtableError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Journal:
    """The folder of a job beside its output; a context manager for the one process that works on it.

    Args:
        out: path of the output; a link is followed.

    Raises:
        FileNotFoundError: the folder of the output does not exist.
        IsADirectoryError: the output is a folder.
    """

    def __init__(self, out: Path) -> None:
        try:
            self.out = out.resolve()  # a link stays a link
        except RuntimeError:  # before Python 3.13
            raise OSError(errno.ELOOP, "the link leads to itself", str(out)) from None
        if self.out.is_dir():
            raise IsADirectoryError(errno.EISDIR, "cannot write a file over a folder", str(out))
        if not self.out.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, "the folder does not exist", str(self.out.parent))
        self.folder = self.out.with_name(f".{self.out.name}.job")
        self.output = self.folder / "output"
        self._lock: Any = None
        self._lines: Any = None

    def __enter__(self) -> Self:
        """Takes the lock.

        Raises:
            SlimtableError: another process works on this output.
        """
        self.folder.mkdir(exist_ok=True)
        self._lock = (self.folder / "lock").open("a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise SlimtableError(
                f"Another process is writing {self.out}. Wait for it, or choose another output."
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self._lines, self._lock):
            if file is not None:
                file.close()

    def begin(self, job: str, size: int) -> list[Any]:
        """Starts or resumes a job, and makes room for its output.

        Args:
            job: everything that the output depends on.
            size: bytes of the output.

        Returns:
            What :meth:`record` was told by earlier processes; empty if the job is a new one.

        Raises:
            SlimtableError: the disk is full.
        """
        path = self.folder / "journal"
        found = _read(path)
        there = self.output.is_file() and self.output.stat().st_size == size
        if not found or found[0] != job or not there:
            found = [job]
            self.output.unlink(missing_ok=True)
            self._allocate(size)
        aside = self.folder / "journal.partial"
        aside.write_bytes(b"".join(map(_line, found)))  # without what was cut off
        aside.replace(path)
        self._lines = path.open("ab", buffering=0)
        return found[1:]

    def record(self, entry: Any) -> None:
        """Adds what is finished, in JSON types."""
        self._lines.write(_line(entry))

    def finish(self) -> None:
        """Flushes the output to disk, renames it, and deletes the folder."""
        with self.output.open("rb") as file:
            os.fsync(file.fileno())
        self.output.replace(self.out)
        descriptor = os.open(self.out.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self.discard()

    def discard(self) -> None:
        """Deletes the folder."""
        with contextlib.suppress(OSError):
            shutil.rmtree(self.folder)

    def _allocate(self, size: int) -> None:
        try:
            with self.output.open("xb") as file:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, size)
                else:
                    file.truncate(size)
        except OSError as error:
            self.output.unlink(missing_ok=True)
            if error.errno not in _FULL:
                raise
            raise SlimtableError(
                f"The disk of {self.out.parent} is full: {self.out.name} takes {size / 1e9:,.1f} GB. Free some space."
            ) from None


def _line(entry: Any) -> bytes:
    text = json.dumps(entry, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _read(path: Path) -> list[Any]:
    """The undamaged entries; empty if the first is damaged."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    found = []
    for place, line in enumerate(lines):
        checksum, _, text = line.partition(b" ")
        if checksum == b"%08x" % zlib.crc32(text) and text:
            found.append(json.loads(text))
        elif place == 0:
            return []
    return found
