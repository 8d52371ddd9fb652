"""The history of a pipeline: one line of JSON for every finished window."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from slimtable.errors import CheckpointError, SlimtableError

Record = dict[str, Any]
"""The record of a finished window; docs/pipeline.md lists its keys."""

HISTORY = "history.jsonl"


def read_history(state: str | Path) -> list[Record]:
    """Reads the finished windows of a pipeline, in order; an incomplete last line is ignored.

    Args:
        state: the state folder.

    Returns:
        A record for each window.

    Raises:
        SlimtableError: there is no such pipeline, or a line is damaged.
    """
    state = Path(state)
    if not state.is_dir():
        raise SlimtableError(f"{state} is not the state folder of a pipeline. Start one with `slimtable pipeline run`.")
    path = state / HISTORY
    return _parse(path, path.read_bytes())[0] if path.is_file() else []


def explain(record: Record) -> str:
    """The verdict on a window in words."""
    verdict = record["verdict"]
    word = {"publish": "published", "refuse": "refused", "hold": "not published"}[verdict["decision"]]
    text = word + (": " + "; ".join(verdict["reasons"]) if verdict["reasons"] else "")
    if verdict["roll_back"]:
        text += ". Training continues from the state before this window"
    return text


class History:
    """The history of a state folder, for the process that holds its lock.

    Args:
        state: the state folder.
        finished: number of finished windows according to the journal; a line beyond was written just before a kill
            and is dropped, since its window is repeated.

    Raises:
        CheckpointError: a line is damaged or missing, or the journal is older than the history.
    """

    def __init__(self, state: Path, finished: int) -> None:
        self._path = state / HISTORY
        content = self._path.read_bytes() if self._path.is_file() else b""
        records, ends = _parse(self._path, content)
        if len(records) < finished:
            raise CheckpointError(
                f"{self._path} has {len(records)} of {finished} windows. Restore it, or run `pipeline repair`."
            )
        if len(records) > finished + 1:  # a kill leaves at most one
            raise CheckpointError(
                f"{self._path} has {len(records)} windows, but the journal has {finished}. Restore both "
                "from the same copy."
            )
        self.records = records[:finished]
        keep = ends[finished - 1] if finished else 0
        if keep < len(content):
            os.truncate(self._path, keep)

    def append(self, record: Record) -> None:
        """Appends a record and waits until it is on disk."""
        line = json.dumps(record, allow_nan=False).encode() + b"\n"
        with self._path.open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self.records.append(record)


def _parse(path: Path, content: bytes) -> tuple[list[Record], list[int]]:
    """The records of complete lines, and the end of each line in bytes."""
    records: list[Record] = []
    ends: list[int] = []
    whole = content[: content.rfind(b"\n") + 1]
    for number, line in enumerate(whole.splitlines(keepends=True)):
        try:
            record = json.loads(line)
            if record["window"] != number:
                raise ValueError
        except (ValueError, KeyError, TypeError):
            raise CheckpointError(
                f"Line {number + 1} of {path} is not the record of window {number}. Restore it, or run `slimtable "
                "pipeline repair`."
            ) from None
        records.append(record)
        ends.append((ends[-1] if ends else 0) + len(line))
    return records, ends
