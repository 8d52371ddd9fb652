"""The folder of a training run: its settings, raw ids, log, and a checkpoint to resume from."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slimtable.errors import CheckpointError
from slimtable.files import check_archive, replace_file, write_json

SETTINGS, CHECKPOINT, VOCABULARIES, LOG = "run.json", "checkpoint.pt", "vocabularies.npz", "log.jsonl"
"""Files of a run folder."""

IDENTITY = ("backbone", "backbone_config", "method", "method_config", "train", "data")
_OPTIONAL = ("budget", "tables")  # only if a budget sets the sizes of tables
_STATE = ("model", "optimizer", "history", "best_epoch", "best_state")
_PAUSE = 20  # pause between checkpoints, in times the cost of one: they take at most a twentieth of the time


class RunFolder:
    """Stores a run so that it can be resumed after an interruption at any time.

    Each epoch is logged at once. A checkpoint is written after the last epoch, and after others if enough time has
    passed relative to the cost of writing. A resumed run continues from the checkpoint and repeats the epochs after it.

    Args:
        path: the folder; created if it does not exist.
        settings: model, method, training settings and digest of the data, which identify a run.
        vocabularies: raw ids of each "user" and "item" id; empty for click logs, whose vocabularies are packed.

    Raises:
        CheckpointError: the folder holds another run, or is damaged.
    """

    def __init__(self, path: Path, settings: dict[str, Any], vocabularies: Mapping[str, np.ndarray]) -> None:
        self.path, self._made = path, not path.exists()
        self._saved_at, self._took = -np.inf, 0.0
        self._board: Any = None
        path.mkdir(parents=True, exist_ok=True)
        for name in (SETTINGS, CHECKPOINT, VOCABULARIES, LOG):
            for abandoned in path.glob(f".{name}.*.partial"):  # left by a run that was killed while writing
                abandoned.unlink(missing_ok=True)
        if (path / SETTINGS).exists():
            self._check_same(settings)
        else:
            write_json(path / SETTINGS, settings)
        if not (path / VOCABULARIES).exists():
            with replace_file(path / VOCABULARIES) as file:
                np.savez(file, **dict(vocabularies))  # type: ignore[arg-type]

    def abandon(self) -> None:
        """Deletes the folder if this object created it, after a run that failed at the start."""
        if self._made:
            shutil.rmtree(self.path, ignore_errors=True)

    def checkpoint(self, device: str) -> dict[str, Any] | None:
        """The checkpoint from :func:`load_checkpoint`, or None if there is none."""
        path = self.path / CHECKPOINT
        return load_checkpoint(path, device) if path.exists() else None

    def begin_log(self, history: Sequence[dict[str, Any]]) -> None:
        """Starts the log with the epochs before the checkpoint."""
        with replace_file(self.path / LOG) as log:
            log.writelines(json.dumps(record).encode() + b"\n" for record in history)
        self._board = _tensorboard(self.path, len(history))

    def add(self, record: dict[str, Any], state: Callable[[], dict[str, Any]], *, last: bool) -> None:
        """Logs an epoch, and first writes a checkpoint if one is due.

        Args:
            record: record of the epoch.
            state: returns the content of a checkpoint: model, optimizer, history, best_epoch and best_state.
            last: true if the run ends here.
        """
        started = time.monotonic()
        if last or started - self._saved_at >= _PAUSE * self._took:
            with replace_file(self.path / CHECKPOINT) as file:
                torch.save(state(), file)
            self._saved_at = time.monotonic()
            self._took = self._saved_at - started
        with (self.path / LOG).open("a") as log:
            log.write(json.dumps(record) + "\n")
        if self._board is not None:
            for name in ("loss", "penalty", "seconds"):
                self._board.add_scalar(f"train/{name}", record[name], record["epoch"])
            for name, value in record.get("valid", {}).items():
                self._board.add_scalar(f"valid/{name}", value, record["epoch"])
            self._board.flush()

    def _check_same(self, settings: dict[str, Any]) -> None:
        saved = load_settings(self.path / SETTINGS)
        if saved == settings:
            return
        differing = sorted(k for k in {*saved, *settings} if saved.get(k) != settings.get(k))
        raise CheckpointError(
            f"{self.path} holds a run with other settings ({', '.join(differing)}). Choose another folder, "
            "or delete it."
        )


def load_settings(path: Path) -> dict[str, Any]:
    """The settings of a run.

    Raises:
        CheckpointError: the file is damaged.
    """
    try:
        settings: dict[str, Any] = json.loads(path.read_text())
        if set(settings) - set(_OPTIONAL) != set(IDENTITY):
            raise ValueError(f"expected the keys {', '.join(IDENTITY)}")
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged ({error}). Choose another folder, or delete this one.") from error
    return settings


def load_checkpoint(path: Path, device: str = "cpu") -> dict[str, Any]:
    """The checkpoint of a run: model, optimizer, history, best_epoch and best_state.

    Raises:
        CheckpointError: the file is damaged.
    """
    try:
        check_archive(path)
        saved: dict[str, Any] = torch.load(path, weights_only=True, map_location=device)
        if set(saved) != set(_STATE):
            raise ValueError("it is not a checkpoint of slimtable")
    except Exception as error:  # damage can raise any error in PyTorch
        reason = str(error).split("\n")[0]
        raise CheckpointError(f"{path} is damaged ({reason}). Choose another folder, or delete this one.") from error
    return saved


def _tensorboard(out: Path, epochs_done: int) -> Any:
    """A TensorBoard writer if TensorBoard is installed, else None."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(out / "tensorboard"), purge_step=epochs_done + 1)
