"""The training loop of every recommender: epochs, validation, the best epoch, checkpoints, and early stopping."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from slimtable.errors import CheckpointError
from slimtable.models.base import Recommender
from slimtable.progress import progress_bar
from slimtable.training.run_folder import RunFolder

OnStep = Callable[[int, int], None]

_SHOWN_STEPS = 64  # steps between two updates of the progress bar


class Steps(Protocol):
    """Training and validation of one epoch, which differ between kinds of recommenders."""

    def train_epoch(self, number: int, on_step: OnStep) -> tuple[float, float]:
        """Trains one epoch.

        Args:
            number: number of the epoch, from 1; it seeds all randomness, so that no random state needs to be saved.
            on_step: called after steps with the number of steps done and of all steps.

        Returns:
            The mean loss and the mean penalty.
        """
        ...

    def validate(self) -> dict[str, float] | None:
        """Metrics on the validation part, or None without one."""
        ...

    def state(self) -> dict[str, Any]:
        """The state of the optimizers."""
        ...

    def load_state(self, state: dict[str, Any]) -> None:
        """Restores the output of :meth:`state`."""
        ...


class LoopConfig(Protocol):
    """The settings that the loop reads."""

    @property
    def epochs(self) -> int:
        """Passes over the training part."""
        ...

    @property
    def evaluate_every(self) -> int:
        """Epochs between two validations; 0 for never."""
        ...

    @property
    def patience(self) -> int:
        """Epochs without improvement before training stops; 0 for never."""
        ...

    @property
    def device(self) -> str:
        """Device to train on."""
        ...


@dataclass
class Trained:
    """The result of training.

    Attributes:
        model: the recommender after ``epoch``.
        history: one record per epoch: loss, penalty, seconds and, where validated, the validation metrics.
        epoch: epoch of the parameters of the model, from 1: the best one if there was patience and a validation, else
            the last one.
        best_epoch: the best epoch by the model's ``selection``, such as the highest validation NDCG@10 (mask "train"),
            from 1; None without validation.
        best_state: state dict of the model after that epoch, or None.
        seconds_per_epoch: median time of the training steps of an epoch.
    """

    model: Recommender
    history: list[dict[str, Any]]
    epoch: int
    best_epoch: int | None
    best_state: dict[str, torch.Tensor] | None
    seconds_per_epoch: float


def run_loop(
    model: Recommender, steps: Steps, config: LoopConfig, folder: RunFolder | None, progress: bool = True
) -> Trained:
    """Trains a model, resuming from the last checkpoint of its folder if there is one.

    Args:
        model: the model, on its device.
        steps: training and validation of an epoch.
        config: settings of the loop.
        folder: folder of the checkpoint and the log; None saves nothing.
        progress: show a progress bar on a terminal.

    Returns:
        The model with its history.

    Raises:
        CheckpointError: the folder holds more epochs than requested.
        ValueError: the loss is NaN because training diverged.
    """
    run = _Run(model, steps, config)
    if folder is not None:
        run.resume(folder)
    with progress_bar(progress) as bar:
        try:
            while not run.finished():
                run.epoch(len(run.history) + 1, bar)
        except Exception:
            if folder is not None and not run.history:  # refused at the start: leave no folder
                folder.abandon()
            raise
    epoch = len(run.history)
    if config.patience and run.best_epoch is not None and run.best_state is not None:
        model.load_state_dict(run.best_state)
        epoch = run.best_epoch
    seconds = [record["seconds"] for record in run.history]
    return Trained(model, run.history, epoch, run.best_epoch, run.best_state, float(np.median(seconds)))


class _Run:
    """The state that a checkpoint saves: model, optimizers, history and best epoch."""

    def __init__(self, model: Recommender, steps: Steps, config: LoopConfig) -> None:
        self.model, self.steps, self.config = model, steps, config
        self.history: list[dict[str, Any]] = []
        self.best_epoch: int | None = None
        self.best_state: dict[str, torch.Tensor] | None = None
        self.folder: RunFolder | None = None

    def resume(self, folder: RunFolder) -> None:
        """Resumes from the folder, or initializes it."""
        self.folder = folder
        saved = folder.checkpoint(self.config.device)
        if saved is not None:
            if len(saved["history"]) > self.config.epochs:
                raise CheckpointError(
                    f"{folder.path} was trained for {len(saved['history'])} epochs, more than the {self.config.epochs} "
                    "asked for. Choose another folder."
                )
            self.model.load_state_dict(saved["model"])
            self.steps.load_state(saved["optimizer"])
            self.history, self.best_epoch, self.best_state = (
                saved["history"],
                saved["best_epoch"],
                saved["best_state"],
            )
        folder.begin_log(self.history)

    def finished(self) -> bool:
        """True if all epochs are done or patience has run out; a run that stopped early does not continue."""
        waited = 0 if self.best_epoch is None else len(self.history) - self.best_epoch
        return len(self.history) >= self.config.epochs or 0 < self.config.patience <= waited

    def epoch(self, number: int, bar: Any) -> None:
        """Trains one epoch, validates if due, and saves."""
        started = time.perf_counter()
        task = bar.add_task(f"epoch {number}/{self.config.epochs}", total=None)

        def on_step(done: int, total: int) -> None:
            if done % _SHOWN_STEPS == 0:
                bar.update(task, completed=done, total=total)

        loss, penalty = self.steps.train_epoch(number, on_step)
        bar.remove_task(task)
        self.model.end_epoch()
        record: dict[str, Any] = {
            "epoch": number,
            "loss": loss,
            "penalty": penalty,
            "seconds": time.perf_counter() - started,
        }
        if not np.isfinite(loss):
            raise ValueError(f"The loss of epoch {number} is not a number: training diverged. Lower the learning rate.")
        if self.config.evaluate_every and number % self.config.evaluate_every == 0:
            metrics = self.steps.validate()
            if metrics is not None:
                record["valid"] = metrics
                self._keep_best(number, metrics)
        self.history.append(record)
        if self.folder is not None:
            self.folder.add(record, self._state, last=self.finished())

    def _keep_best(self, number: int, metrics: dict[str, float]) -> None:
        selection = self.model.selection
        best = None if self.best_epoch is None else self.history[self.best_epoch - 1]["valid"][selection.metric]
        if best is None or selection.prefers(metrics[selection.metric], best):
            self.best_epoch = number
            self.best_state = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}

    def _state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.steps.state(),
            "history": self.history,
            "best_epoch": self.best_epoch,
            "best_state": self.best_state,
        }
