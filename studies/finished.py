"""Finished measurements, one a line of JSON, added as soon as each is done; several processes may add to a file."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Collection
from pathlib import Path

from slimtable.bench.results import Record
from slimtable.errors import SlimtableError


def read_finished(path: Path, keys: Collection[str]) -> list[Record]:
    """The measurements of a file; a last line cut off is none.

    Args:
        path: the file, which may not exist.
        keys: what every line must hold.

    Raises:
        SlimtableError: a line is damaged.
    """
    content = path.read_bytes() if path.is_file() else b""
    found = []
    for number, line in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), start=1):
        try:
            record = json.loads(line)
            if missing := set(keys) - set(record):
                raise KeyError(f"no {missing}")
            found.append(record)
        except (ValueError, KeyError, TypeError):
            raise SlimtableError(f"Line {number} of {path} is no finished cell. Delete the line.") from None
    return found


def add_finished(path: Path, record: Record) -> None:
    """Adds a measurement to a file, after what a kill may have left of a line is removed."""
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        file.write(json.dumps(record, allow_nan=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
