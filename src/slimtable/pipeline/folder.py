"""The state folder of a pipeline: finished stages, a journal of them, and a lock.

::

    STATE/
      lock                      locked by the process that runs the pipeline
      settings.json             settings that must not change
      journal.json              window in progress, its finished stages, served version; replaced atomically
      history.jsonl             a line for every finished window
      windows/00012/train/…     files of the stages; a folder appears when its stage is finished
      published/v00012/…        published versions; published/current is a link to the served one

A stage writes into a hidden folder, which is flushed to disk and renamed; then the journal records it. A stage that
the journal does not record was interrupted: its files are deleted and it runs again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from slimtable.errors import CheckpointError, SlimtableError
from slimtable.files import write_json

SETTINGS, JOURNAL, LOCK = "settings.json", "journal.json", "lock"
WINDOWS, PUBLISHED = "windows", "published"
RESULT = "result.json"
"""What a stage found, in its folder; the journal holds it too."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PATIENCE = 0.5  # seconds to wait for a lock, which `status` may take for a moment


class StateFolder:
    """A state folder; a context manager for the one process that may change it.

    Args:
        path: the folder; created if it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: Any = None

    def __enter__(self) -> Self:
        """Takes the lock and deletes files that a killed process left behind.

        Raises:
            SlimtableError: another process runs the pipeline.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = (self.path / LOCK).open("a")
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    self._lock.close()
                    raise SlimtableError(
                        f"Another process runs the pipeline in {self.path}. Wait for it, or choose another folder."
                    ) from None
                time.sleep(0.05)
        for folder in (self.path, self.path / PUBLISHED):
            for abandoned in folder.glob(".*.partial"):
                delete(abandoned)
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    # The journal.

    def journal(self) -> dict[str, Any] | None:
        """The journal, or None if there is none yet.

        Raises:
            CheckpointError: it is damaged.
        """
        return read_state(self.path / JOURNAL)

    def write_journal(self, journal: dict[str, Any]) -> None:
        """Replaces the journal; it is on disk when this returns."""
        write_json(self.path / JOURNAL, journal)

    # Stages.

    def stage(self, window: int, name: str) -> Path:
        """The folder of a finished stage."""
        return self.path / WINDOWS / f"{window:05d}" / name

    @contextlib.contextmanager
    def finishing(self, window: int, name: str) -> Iterator[Path]:
        """Yields a folder for the files of a stage; it becomes :meth:`stage` when the block ends."""
        target = self.stage(window, name)
        delete(target)  # left by a process that was killed before it wrote the journal
        with finishing(target) as aside:
            yield aside

    def keep_only(self, needed: set[tuple[int, str]]) -> None:
        """Deletes the files of all stages except the given ones."""
        for window in sorted(self.path.glob(f"{WINDOWS}/*")):
            for stage in sorted(window.iterdir()):
                if not window.name.isdecimal() or (int(window.name), stage.name) not in needed:
                    delete(stage)
            with contextlib.suppress(OSError):  # not empty
                window.rmdir()


@contextlib.contextmanager
def finishing(target: Path) -> Iterator[Path]:
    """Yields a temporary folder; when the block ends it is flushed and renamed to ``target``, which must not exist."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.partial")
    delete(aside)
    aside.mkdir()
    try:
        yield aside
        for file in sorted(aside.iterdir()):
            _flush(file)
        _flush(aside)
        os.replace(aside, target)
    except BaseException:
        with contextlib.suppress(OSError):
            delete(aside)
        raise
    _flush(target.parent)


def point_to(link: Path, target: str) -> None:
    """Makes ``link`` a link to ``target``, replacing the old one atomically."""
    aside = link.with_name(f".{link.name}.partial")
    aside.unlink(missing_ok=True)
    aside.symlink_to(target)
    os.replace(aside, link)
    _flush(link.parent)


def delete(path: Path) -> None:
    """Deletes a file or a folder if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def read_state(path: Path) -> dict[str, Any] | None:
    """Reads a JSON object; None if there is no file.

    Raises:
        CheckpointError: it is damaged.
    """
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise CheckpointError(
            f"{path} is damaged ({str(error)[:80]}). Restore it from a copy, or run `slimtable pipeline repair`."
        ) from error
    if not isinstance(found, dict):
        raise CheckpointError(
            f"{path} is damaged (it holds no object). Restore it from a copy, or run `slimtable pipeline repair`."
        )
    return found


@contextlib.contextmanager
def explaining_a_full_disk(folder: Path) -> Iterator[None]:
    """Turns errors of a full disk, including nested ones, into a message of one line."""
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, OSError) and cause.errno in _FULL:
                raise SlimtableError(
                    f"The disk of {folder} is full. Free some space and run again: finished stages are kept, and "
                    "the served version has not changed."
                ) from error
            cause = cause.__cause__ or cause.__context__
        raise


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
