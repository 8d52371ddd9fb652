"""Writing a file all or nothing."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterable
from pathlib import Path


def write_atomically(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write a file aside, make it durable, rename it: killed at any time, it leaves the old file or the new.

    Args:
        path: the file; where it is a link, the file that it leads to.
        parts: its bytes, piece by piece.

    Raises:
        FileNotFoundError: if the folder does not exist.
        IsADirectoryError: if ``path`` is a folder.
    """
    target = path.resolve()  # a link stays a link
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "cannot write an artifact over a folder", str(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "the folder does not exist", str(target.parent))
    aside = target.with_name(f".{target.name}.{secrets.token_hex(8)}.partial")
    try:
        with aside.open("xb") as file:
            for part in parts:
                file.write(part)
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
