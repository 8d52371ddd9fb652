"""Repair of a state folder whose journal, history or versions were lost, from the files that are left."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from slimtable.errors import CheckpointError, SlimtableError
from slimtable.files import replace_file
from slimtable.pipeline.folder import JOURNAL, PUBLISHED, RESULT, SETTINGS, StateFolder, delete, point_to, read_state
from slimtable.pipeline.history import HISTORY, Record
from slimtable.pipeline.publishing import CURRENT, META, damage_of, versions

BEFORE = "before-repair"
"""Folder for the versions of a pipeline that had to start again from the first window."""


def repair(state: str | Path) -> list[str]:
    """Repairs a state folder from the versions, stages and records on disk.

    The newest undamaged version is served. A lost or damaged journal is rebuilt from the history and the stages on
    disk: the window in progress repeats its stages, tables are clustered again, and the expected AUC of the served
    version is measured again. If the history or the vocabularies are lost, the pipeline starts again from the first
    window while that version is served. Damaged files are kept under names that end in ``.damaged``.

    Args:
        state: the state folder.

    Returns:
        What was repaired and what is lost, one line each; empty if nothing was wrong.

    Raises:
        SlimtableError: there is no pipeline, or another process runs it.
        CheckpointError: the settings of the pipeline are gone.
    """
    state = Path(state)
    if not (state / SETTINGS).is_file():
        if not any((state / name).exists() for name in (JOURNAL, HISTORY, PUBLISHED)):
            raise SlimtableError(f"{state} holds no pipeline. Start one with `slimtable pipeline run`.")
        raise CheckpointError(
            f"{state / SETTINGS} is missing. Restore it from a copy, or start again in another folder."
        )
    with StateFolder(state) as folder:
        notes: list[str] = []
        served = _repair_published(state, notes)
        journal = _undamaged_journal(folder, notes)
        records = _undamaged_records(state, notes)
        if journal is not None and len(records) >= journal["window"]:
            if journal["served"] != served:
                folder.write_journal({**journal, "served": served})
            return notes
        known = folder.stage(len(records), "ingest") / RESULT
        if journal is None and records and known.is_file():
            folder.write_journal(_continued(folder, records, served, notes))
        else:
            folder.write_journal(_restarted(folder, served, notes))
        return notes


def new_journal() -> dict[str, Any]:
    """The journal of a new pipeline."""
    return {
        "format": 1,
        "window": 0,
        "ingested": {},
        "stages": {},
        "accepted": None,
        "groups": None,
        "served": None,
        "served_auc": None,
    }


def _repair_published(state: Path, notes: list[str]) -> str | None:
    """Finds the newest undamaged version and points to it."""
    published = state / PUBLISHED
    older = [f"{BEFORE}/{name}" for name in versions(published / BEFORE)]
    for name in reversed([*older, *versions(published)]):
        reason = damage_of(published / name)
        if not reason and not (published / name / META).is_file():
            reason = f"it has no {META}"
        if reason:
            _keep_aside(published / name)
            notes.append(f"version {name} is lost: {reason}")
            continue
        pointer = published / CURRENT
        if not pointer.is_symlink() or os.readlink(pointer) != name:
            point_to(pointer, name)
            notes.append(f"{PUBLISHED}/{CURRENT} points to {name}, the newest undamaged version")
        return name
    return None


def _undamaged_journal(folder: StateFolder, notes: list[str]) -> dict[str, Any] | None:
    path = folder.path / JOURNAL
    try:
        journal = folder.journal()
    except CheckpointError:
        journal = {}
    if journal is not None and set(new_journal()) <= set(journal):
        return journal
    notes.append(f"{JOURNAL} was {'missing' if journal is None else 'damaged'}")
    _keep_aside(path)
    return None


def _undamaged_records(state: Path, notes: list[str]) -> list[Record]:
    """The undamaged records from the first on; the file is truncated to them."""
    path = state / HISTORY
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    records: list[Record] = []
    for number, line in enumerate(lines):
        try:
            record = json.loads(line)
            if record["window"] != number or not line.endswith(b"\n"):
                break
        except (ValueError, KeyError, TypeError):
            break
        records.append(record)
    if len(records) < len(lines):
        notes.append(f"{HISTORY}: {len(lines) - len(records)} of {len(lines)} lines were damaged and are lost")
        _keep_aside(path)
        with replace_file(path) as file:
            file.writelines(lines[: len(records)])
    return records


def _continued(folder: StateFolder, records: list[Record], served: str | None, notes: list[str]) -> dict[str, Any]:
    """A journal that continues after the last record."""
    window = len(records)
    journal = {**new_journal(), "window": window, "served": served}
    for number in (window, window + 1):
        found = read_state(folder.stage(number, "ingest") / RESULT)
        if found is not None:
            journal["ingested"][str(number)] = {**found, "seconds": 0.0}
    taken = [record for record in records if not record["verdict"]["roll_back"]]
    if taken and folder.stage(taken[-1]["window"], "train").is_dir():
        journal["accepted"] = {"window": taken[-1]["window"], "sizes": taken[-1]["sizes"]}
    else:
        notes.append("the training state is lost: training starts from fresh parameters")
    notes.append(f"{JOURNAL} was rebuilt: window {window} repeats its stages, and its tables are clustered again")
    return journal


def _restarted(folder: StateFolder, served: str | None, notes: list[str]) -> dict[str, Any]:
    """A journal that starts with the first window while the served version stays."""
    published = folder.path / PUBLISHED
    if served is not None and not served.startswith(BEFORE):
        (published / BEFORE).mkdir(exist_ok=True)
        for name in versions(published):
            delete(published / BEFORE / name)
            os.replace(published / name, published / BEFORE / name)
        served = f"{BEFORE}/{served}"
        point_to(published / CURRENT, served)
    _keep_aside(folder.path / JOURNAL)
    _keep_aside(folder.path / HISTORY)
    folder.keep_only(set())
    notes.append(
        "the vocabularies are lost: the pipeline starts again from the first window, while "
        f"{'nothing' if served is None else served} is served"
    )
    return {**new_journal(), "served": served}


def _keep_aside(path: Path) -> None:
    """Renames a damaged file, so that nothing is lost."""
    if path.exists():
        aside = path.with_name(f"{path.name}.damaged")
        os.replace(path, aside if not aside.exists() else path.with_name(f"{path.name}.{time.time_ns()}.damaged"))
