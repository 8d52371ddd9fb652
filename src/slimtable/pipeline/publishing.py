"""Published versions of the model: one folder each, a pointer to the served one, and a limit on their number."""

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
    """Name of the version of a window.

    Example:
        >>> version_name(12)
        'v00012'
    """
    return f"v{window:05d}"


def served_model(published: Path) -> Path | None:
    """The model file of the served version, or None if there is none yet.

    Raises:
        CheckpointError: the pointer is broken.
    """
    pointer = published / CURRENT
    if not pointer.is_symlink():
        return None
    folder = pointer.resolve()
    if not (folder / MODEL).is_file():
        raise CheckpointError(f"{pointer} points to {folder}, which has no {MODEL}. Point it to another version.")
    return folder / MODEL


def repair_pointer(published: Path, served: str | None) -> str:
    """Makes the pointer agree with the journal, if the version is still there.

    Args:
        published: the folder of versions.
        served: the version that the journal names, or None.

    Returns:
        A description of the repair; empty if none was needed.

    Raises:
        CheckpointError: the version is missing or damaged.
    """
    if served is None:
        return ""
    if reason := damage_of(published / served):
        raise CheckpointError(
            f"The served version {published / served} is damaged: {reason}. Restore it from a copy, or run `slimtable "
            "pipeline repair`, which serves the newest undamaged version."
        )
    pointer = published / CURRENT
    target = os.readlink(pointer) if pointer.is_symlink() else ""
    if target == served or (target in versions(published) and not damage_of(published / target)):
        return ""  # published by a process that was killed before it wrote the journal
    point_to(pointer, served)
    return f"{pointer} was broken; it points to {served} again"


def damage_of(version: Path) -> str:
    """Describes the damage of the file of a version; empty if every byte of it is right."""
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
    """Publishes a model as the served version, and deletes old versions.

    The version folder appears complete, then the pointer moves, then old folders are deleted: a reader that opens
    ``current`` always finds a complete version, and one that has a file open keeps it. If the process is killed,
    repeating the call ends with the same files.

    Args:
        published: the folder of versions.
        window: the last window that the model was trained on.
        model: its file; hard-linked if the file system allows it.
        meta: description of the model, JSON values without times.
        keep: number of versions to keep, including this one.
        write_delta: called with the old file, the new file and the path of the delta; returns a description of it.

    Returns:
        The content of ``meta.json``: ``meta``, ``version``, and under ``delta`` the result of ``write_delta`` (None
        without a delta).

    Raises:
        CheckpointError: the pointer is broken, or there is another version of this name.
    """
    name = version_name(window)
    if (published / name).exists():  # a killed process got to this point
        if not _same(published / name / MODEL, model):
            raise CheckpointError(
                f"{published / name} exists, but holds another model than that of window {window}. Remove it if the "
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
        aside = published / f".{outdated}.partial"  # a name that readers ignore, while it is deleted
        os.replace(published / outdated, aside)
        delete(aside)
    return read_state(published / name / META) or {}


def versions(published: Path) -> list[str]:
    """Names of the existing versions, oldest first; other files and folders are ignored."""
    names = [path.name for path in published.glob("v*") if _VERSION.fullmatch(path.name) and path.is_dir()]
    return sorted(names, key=_window)


def _window(version: str) -> int:
    return int(version[1:])


def _same(file: Path, other: Path) -> bool:
    return file.is_file() and (file.samefile(other) or filecmp.cmp(file, other, shallow=False))


def _link(file: Path, target: Path) -> None:
    """Hard-links a file, which is never changed, or copies it if that fails."""
    try:
        os.link(file, target)
    except OSError:
        shutil.copyfile(file, target)
