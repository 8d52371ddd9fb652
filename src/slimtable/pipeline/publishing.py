"""Versions of the model for readers: a folder each, a pointer to the served one, and only so many kept."""

from __future__ import annotations

import filecmp
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slimtable.artifact.file import verify_artifact
from slimtable.errors import ArtifactError, CheckpointError
from slimtable.files import write_json
from slimtable.pipeline.folder import delete, finishing, point_to, read_state

MODEL, DELTA, META, CURRENT = "model.safetensors", "delta.safetensors", "meta.json", "current"

_VERSION = re.compile(r"v\d{5,}")


def version_name(window: int) -> str:
    """Name of the version that a window gave.

    Example:
        >>> version_name(12)
        'v00012'
    """
    return f"v{window:05d}"


def served_model(published: Path) -> Path | None:
    """The file of the version being served, or None before there is one.

    Raises:
        CheckpointError: the pointer leads nowhere.
    """
    pointer = published / CURRENT
    if not pointer.is_symlink():
        return None
    folder = pointer.resolve()
    if not (folder / MODEL).is_file():
        raise CheckpointError(f"{pointer} leads to {folder}, which holds no {MODEL}. Point it to another version.")
    return folder / MODEL


def repair_pointer(published: Path, served: str | None) -> str:
    """Makes what readers see what the journal knows to be served, from the versions that are kept.

    Args:
        published: the folder of versions.
        served: the version that the journal names, or None.

    Returns:
        What was mended, in words; empty where all is well.

    Raises:
        CheckpointError: the version is gone or damaged, and cannot be mended from here.
    """
    if served is None:
        return ""
    if reason := damage_of(published / served):
        raise CheckpointError(
            f"The served version {published / served} is damaged: {reason}. Restore it from a copy, or run `slimtable "
            "pipeline repair`, which serves the newest whole version."
        )
    pointer = published / CURRENT
    target = os.readlink(pointer) if pointer.is_symlink() else ""
    if target == served or (target in versions(published) and not damage_of(published / target)):
        return ""  # perhaps of a process that was killed before it could write the journal
    point_to(pointer, served)
    return f"{pointer} led nowhere; it leads to {served} again"


def damage_of(version: Path) -> str:
    """What is wrong with the file of a version, in words; empty where it is whole, every byte checked."""
    if not (version / MODEL).is_file():
        return f"it has no {MODEL}"
    try:
        verify_artifact(version / MODEL)
    except ArtifactError as error:
        return str(error)
    return ""


def publish(
    published: Path,
    window: int,
    model: Path,
    meta: dict[str, Any],
    *,
    keep: int,
    write_delta: Callable[[Path, Path, Path], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Makes a model the served one, and deletes versions that are too old.

    A version folder appears whole, then the pointer moves, then old folders go: a reader that opens ``current`` finds
    a whole version at every moment, and one that has a file open keeps it. Killed at any time, the same call again
    ends with the same files.

    Args:
        published: the folder of versions.
        window: the window that the model was trained on last.
        model: its file; it is linked where the file system can do that.
        meta: what is known of it, JSON values without times.
        keep: versions to keep, this one included.
        write_delta: called with the old file, the new one, and where to write what changed; gives facts about it.

    Returns:
        What ``meta.json`` says: ``meta``, ``version``, and under ``delta`` what ``write_delta`` gave (None where there
        is no delta).

    Raises:
        CheckpointError: the pointer leads nowhere, or there is another version of this name.
    """
    name = version_name(window)
    if (published / name).exists():  # a killed process got this far
        if not _same(published / name / MODEL, model):
            raise CheckpointError(
                f"{published / name} is there, but holds another model than window {window} gave. Take it away, if the "
                "state folder was restored from an older copy."
            )
    else:
        old = served_model(published)
        with finishing(published / name) as folder:
            _link(model, folder / MODEL)
            delta = None
            if old is not None and write_delta is not None:
                delta = {"from": old.parent.name, **write_delta(old, folder / MODEL, folder / DELTA)}
            write_json(folder / META, {"version": name, **meta, "delta": delta})
    point_to(published / CURRENT, name)
    older = [other for other in versions(published) if _window(other) < window]
    for outdated in older[: max(0, len(older) + 1 - keep)]:
        aside = published / f".{outdated}.partial"  # a name that nobody reads, while it is deleted
        os.replace(published / outdated, aside)
        delete(aside)
    return read_state(published / name / META) or {}


def versions(published: Path) -> list[str]:
    """Names of the versions that are there, oldest first; other files and folders are ignored."""
    names = [path.name for path in published.glob("v*") if _VERSION.fullmatch(path.name) and path.is_dir()]
    return sorted(names, key=_window)


def _window(version: str) -> int:
    return int(version[1:])


def _same(file: Path, other: Path) -> bool:
    return file.is_file() and (file.samefile(other) or filecmp.cmp(file, other, shallow=False))


def _link(file: Path, target: Path) -> None:
    """The same file under another name: it is never changed, so it needs no second place on the disk."""
    try:
        os.link(file, target)
    except OSError:
        shutil.copyfile(file, target)
