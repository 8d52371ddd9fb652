"""The results file: one line of JSON per finished run, written as soon as the run is finished."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from slimtable.errors import SlimtableError

Record = dict[str, Any]
"""The record of a finished run; docs/benchmarks/protocol.md lists its keys."""

RESULTS = "results.jsonl"

_SETTING = ("data", "fingerprint", "split", "backbone", "train")
_OPTIONAL_SETTING = "backbone_config"  # only in records of a model with non-default options
_REPORTED = {"label", "metrics", "bits", "full_bits", "size_percent", "seconds_per_epoch"}
_IDENTITY = (*_SETTING, "method", "method_config", "seed")


def canonical(value: Any) -> str:
    """JSON text that is equal for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def setting_of(record: Record) -> str:
    """Data, split, model and training settings: runs with equal values can be compared."""
    return canonical(_picked(record, _SETTING))


def identity_of(record: Record) -> str:
    """Setting, method and seed, which identify a run; each record has a different one."""
    return canonical(_picked(record, _IDENTITY))


def _picked(record: Record, names: tuple[str, ...]) -> Record:
    picked = {name: record[name] for name in names}
    if record.get(_OPTIONAL_SETTING):
        picked[_OPTIONAL_SETTING] = record[_OPTIONAL_SETTING]
    return picked


def read_results(out: Path) -> list[Record]:
    """Reads the finished runs of a folder.

    Args:
        out: the folder of a bench.

    Returns:
        The records, in the order in which they finished; an incomplete last line is ignored.

    Raises:
        SlimtableError: there is no finished run, or a line is damaged or occurs twice.
    """
    path = out / RESULTS
    records = _parse(path, path.read_bytes())[0] if path.is_file() else []
    if not records:
        raise SlimtableError(f"{path} holds no finished run. Start one with `slimtable bench`.")
    return records


class ResultsFile:
    """The results of a folder, opened for appending by one process at a time.

    Args:
        out: the folder; it must exist.

    Raises:
        SlimtableError: another process writes to the folder, or a line is damaged or occurs twice.
    """

    def __init__(self, out: Path) -> None:
        path = out / RESULTS
        self._file = path.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._file.seek(0)
            self.records, whole = _parse(path, self._file.read())
            self._file.truncate(whole)  # the last line of a killed process may be incomplete
        except BlockingIOError:
            self._file.close()
            raise SlimtableError(f"Another bench is writing to {out}. Wait for it, or choose another folder.") from None
        except BaseException:
            self._file.close()
            raise
        self._known = {identity_of(record) for record in self.records}

    def __contains__(self, identity: str) -> bool:
        return identity in self._known

    def append(self, record: Record) -> None:
        """Adds a finished run and waits until it is on disk.

        Raises:
            ValueError: the run is already in the results, or has a number that is not finite.
        """
        identity = identity_of(record)
        if identity in self._known:
            raise ValueError(f"The run {record['label']}, seed {record['seed']}, is already in the results.")
        self._file.write(json.dumps(record, allow_nan=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._known.add(identity)
        self.records.append(record)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()


def _parse(path: Path, content: bytes) -> tuple[list[Record], int]:
    """The records of complete lines, and the number of bytes of these lines."""
    whole = content.rfind(b"\n") + 1
    records: list[Record] = []
    line_of: dict[str, int] = {}
    for number, line in enumerate(content[:whole].splitlines(), start=1):
        try:
            record = json.loads(line)
            identity = identity_of(record)
            if missing := _REPORTED - set(record):
                raise KeyError(f"no {missing}")
        except (ValueError, KeyError, TypeError):
            raise SlimtableError(f"Line {number} of {path} is not a finished run. Delete the line.") from None
        if identity in line_of:
            raise SlimtableError(f"Lines {line_of[identity]} and {number} of {path} are the same run. Delete one.")
        line_of[identity] = number
        records.append(record)
    return records, whole
