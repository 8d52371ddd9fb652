"""The status of a pipeline, read without its lock."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path
from typing import Any

from slimtable.errors import SlimtableError
from slimtable.pipeline.folder import JOURNAL, LOCK, PUBLISHED, read_state
from slimtable.pipeline.history import read_history
from slimtable.pipeline.publishing import CURRENT, damage_of, served_model, versions
from slimtable.pipeline.settings import read_settings


def state_of(path: str | Path) -> Path:
    """The state folder that a path refers to: itself, or the one named in a settings file."""
    path = Path(path)
    if path.is_file():
        return read_settings(path).state
    if not path.is_dir():
        raise SlimtableError(f"{path} is neither a state folder nor a settings file.")
    return path


def pipeline_status(state: str | Path) -> dict[str, Any]:
    """The status of a pipeline.

    Args:
        state: its state folder.

    Returns:
        ``running``, ``finished`` (number of windows), ``window`` (in progress), ``stages`` (its finished stages),
        ``served`` (version or None), ``problem`` (description of its damage, or an empty text), ``bytes`` (of its
        file), ``published`` (existing versions), ``refused`` (windows), ``disk`` (bytes of the state folder) and
        ``last`` (record of the last finished window, or None).

    Raises:
        SlimtableError: there is no pipeline.
    """
    state = Path(state)
    journal = read_state(state / JOURNAL)
    if journal is None:
        raise SlimtableError(f"{state} holds no pipeline yet. Start one with `slimtable pipeline run`.")
    history = read_history(state)[: journal["window"]]
    served, problem = journal["served"], ""
    if served is not None and (reason := damage_of(state / PUBLISHED / served)):
        problem = f"the served version {served} is damaged: {reason}"
    elif served is not None and not (state / PUBLISHED / CURRENT).is_symlink():
        problem = f"{PUBLISHED}/{CURRENT} is missing; `pipeline run` points it to {served} again"
    model = None if problem else served_model(state / PUBLISHED)
    return {
        "state": str(state),
        "running": _is_locked(state / LOCK),
        "finished": len(history),
        "window": journal["window"],
        "stages": list(journal["stages"]),
        "served": model.parent.name if model else served,
        "problem": problem,
        "bytes": model and model.stat().st_size,
        "published": versions(state / PUBLISHED),
        "refused": [record["window"] for record in history if record["verdict"]["decision"] == "refuse"],
        "disk": disk_use(state),
        "last": history[-1] if history else None,
    }


def disk_use(folder: Path) -> int:
    """Bytes of the files under a folder; hard links to the same file count once."""
    sizes = {}
    for path, _, names in os.walk(folder):  # tolerates folders that vanish while the pipeline runs
        for name in names:
            try:
                found = os.lstat(os.path.join(path, name))
            except FileNotFoundError:
                continue
            if stat.S_ISREG(found.st_mode):
                sizes[found.st_dev, found.st_ino] = found.st_size
    return sum(sizes.values())


def _is_locked(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("r") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
