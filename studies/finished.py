"""Finished measurements, one a line of JSON, added as soon as each is done; several processes may add to a file."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from slimtable.bench.results import Record
from slimtable.errors import SlimtableError
from slimtable.pool import Failure, run_here, run_parallel
from slimtable.progress import watch


class Keyed(Protocol):
    """A measurement to be made, with the key that finds it among the finished ones."""

    @property
    def key(self) -> Any: ...


C = TypeVar("C", bound=Keyed)


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


def measure_missing(
    groups: Iterable[Iterable[C]],
    read: Callable[[], Mapping[Any, Record]],
    measure: Callable[[tuple[Sequence[C], Path, Path | None]], None],
    out: Path,
    data_root: Path | None,
    *,
    workers: int = 1,
    progress: bool = True,
) -> list[Failure[tuple[Sequence[C], Path, Path | None]]]:
    """Measures what is not there yet, each group by one process.

    Args:
        groups: measurements that belong together.
        read: returns the finished measurements by key.
        measure: measures a group, given with the two folders, and keeps each measurement as soon as it is finished.
        out: the folder of the finished measurements.
        data_root: the folder of datasets.
        workers: number of processes.
        progress: show a progress bar on a terminal.

    Returns:
        What failed; the others are finished.
    """
    known = read()
    waiting = [left for group in groups if (left := [each for each in group if each.key not in known])]
    total = sum(map(len, waiting))
    jobs: list[tuple[Sequence[C], Path, Path | None]] = [(group, out, data_root) for group in waiting]
    workers = min(workers, len(jobs))
    done = run_here(jobs, measure) if workers <= 1 else run_parallel(jobs, measure, workers)
    with watch(f"{total} cells", total, lambda: len(read()) - len(known), progress):
        return [outcome for outcome in done if outcome is not None]
