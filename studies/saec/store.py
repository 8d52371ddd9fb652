"""Finished cells of the experiments on Saec: a line of JSON each, added as soon as a cell is finished."""

from __future__ import annotations

import fcntl
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from slimtable.bench.machine import cpu_name, versions
from slimtable.bench.results import Record
from slimtable.errors import SlimtableError
from studies.saec.experiments import Cell

CELLS = "cells.jsonl"
_KEYS = {"panel", "seed", "entry", "windows", "date", "versions", "cpu"}


def read_cells(out: Path) -> dict[tuple[str, int, str], Record]:
    """The finished cells of a folder, by :attr:`studies.saec.experiments.Cell.key`; a last line cut off is none.

    Raises:
        SlimtableError: a line is damaged.
    """
    path = out / CELLS
    content = path.read_bytes() if path.is_file() else b""
    found = {}
    for number, line in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), start=1):
        try:
            record = json.loads(line)
            if missing := _KEYS - set(record):
                raise KeyError(f"no {missing}")
            found[record["panel"], record["seed"], record["entry"]] = record
        except (ValueError, KeyError, TypeError):
            raise SlimtableError(f"Line {number} of {path} is no finished cell. Delete the line.") from None
    return found


def keep_cell(out: Path, cell: Cell, measured: list[dict[str, Any]], why: str = "") -> None:
    """Adds a finished cell and waits until it is on disk; several processes may do so at once.

    Args:
        out: the folder.
        cell: what was measured.
        measured: for every tested window its figures as JSON values; nothing where it cannot be.
        why: it cannot be.
    """
    panel, seed, entry = cell.key
    record = {
        "panel": panel,
        "seed": seed,
        "entry": entry,
        "windows": measured,
        "why": why,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "cpu": cpu_name(),
    }
    with (out / CELLS).open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)  # a kill may have cut the last line off
        file.write(json.dumps(record, allow_nan=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
