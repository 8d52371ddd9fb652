"""What was measured once and is kept beside the results as JSON."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from slimtable.errors import SlimtableError
from slimtable.files import write_json

T = TypeVar("T")


def read_kept(path: Path) -> dict[str, Any]:
    """What a file keeps, by key; nothing where there is no such file.

    Raises:
        SlimtableError: the file is damaged.
    """
    if not path.is_file():
        return {}
    try:
        kept = json.loads(path.read_text())
    except ValueError as error:
        raise SlimtableError(f"{path} is damaged ({error}). Delete it.") from error
    if not isinstance(kept, dict):
        raise SlimtableError(f"{path} is damaged: it should hold values by key. Delete it.")
    return kept


def read_kept_as(path: Path, kind: type[T]) -> dict[str, T]:
    """What a file keeps of some kind, by key; errors as :func:`read_kept`."""
    try:
        return {key: kind(**values) for key, values in read_kept(path).items()}
    except TypeError as error:
        raise SlimtableError(f"{path} is damaged ({error}). Delete it.") from error


def keep(path: Path, key: str, value: Any) -> Any:
    """Adds a value to what a file keeps, and returns it; errors as :func:`read_kept`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)  # locked, since other processes may add to the file too
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        write_json(path, read_kept(path) | {key: value})
    finally:
        os.close(folder)
    return value


def kept(path: Path, key: str, measure: Callable[[], Any]) -> Any:
    """What a file keeps under a key; measured where it is not there; errors as :func:`read_kept`."""
    known = read_kept(path)
    return known[key] if key in known else keep(path, key, measure())
