"""One training loop for every model and method; a run that is cut off continues from its last checkpoint."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from slimtable.config import Config, Count, NotNegative, Positive, PositiveInt
from slimtable.data.interactions.interactions import Interactions
from slimtable.data.interactions.split import Split
from slimtable.embeddings.base import MethodConfig, method_of
from slimtable.errors import CheckpointError, DatasetError
from slimtable.models.base import Feed, Ranker, build, get_ranker
from slimtable.progress import progress_bar
from slimtable.training.evaluation import evaluate
from slimtable.training.run_folder import RunFolder

_LATER = ("weight_decay", "patience")  # fields of TrainConfig that came after the first results were published


@dataclass(frozen=True)
class TrainConfig(Config):
    """How to train.

    The defaults are NCF's and MGQE's: Adam at 1e-3, batches of 256 samples, 4 fresh negatives per interaction.
    :meth:`for_model` has those of any model.

    Attributes:
        embedding_dim: width of the tables, d.
        epochs: passes over the training interactions.
        batch_size: samples per step, positives and negatives together; for SASRec, sequences per step.
        learning_rate: of Adam.
        negatives: negatives per interaction, drawn anew every epoch.
        seed: of everything random.
        evaluate_every: epochs between two rankings of the validation part; 0 for never.
        ks: lengths of the ranked lists that are reported.
        device: "cpu" or a CUDA device.
        weight_decay: Adam's L2 penalty, on all parameters.
        patience: stop after this many epochs without a better validation, and give the best epoch's model; 0 trains all
            epochs and gives the last one's.
    """

    embedding_dim: PositiveInt = 64
    epochs: PositiveInt = 20
    batch_size: PositiveInt = 256
    learning_rate: Positive = 1e-3
    negatives: PositiveInt = 4
    seed: Count = 0
    evaluate_every: Count = 1
    ks: tuple[int, ...] = (10,)
    device: str = "cpu"
    weight_decay: NotNegative = 0.0
    patience: Count = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if 0 < self.patience < self.evaluate_every:
            raise ValueError(
                f"`TrainConfig.patience` of {self.patience} epochs ends a training before its next validation. Make it "
                f"at least `TrainConfig.evaluate_every`, {self.evaluate_every}, or 0 for never."
            )
        if not self.ks or min(self.ks) < 1:
            raise ValueError(f"`TrainConfig.ks` must be positive list lengths, got {list(self.ks)}.")

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values, those of :data:`_LATER` only where they differ from their defaults.

        So what was recorded before these fields came is still found to be the same setting.
        """
        defaults = {field.name: field.default for field in fields(self)}
        values = super().to_dict().items()
        return {name: value for name, value in values if name not in _LATER or value != defaults[name]}

    @classmethod
    def for_model(cls, name: str, **given: Any) -> Self:
        """How the paper of a model trains it, but for the settings that are given.

        Args:
            name: registry name of the model.
            given: fields by name; they go before the model's own defaults, and these before the usual ones.

        Returns:
            The configuration.

        Raises:
            ValueError: there is no such model or field, or a value is out of range.
            TypeError: a value has the wrong type.

        Example:
            >>> config = TrainConfig.for_model("sasrec", epochs=3)
            >>> config.epochs, config.batch_size, config.learning_rate
            (3, 128, 0.001)
        """
        return cls.from_dict({**get_ranker(name).train_defaults, **given})


@dataclass
class Trained:
    """What training gives.

    Attributes:
        model: the recommender after ``epoch``.
        history: one record per epoch: loss, penalty, seconds and, where ranked, the validation metrics.
        epoch: the epoch that the parameters of the model are from, from 1: the best one where there was patience and a
            validation, else the last one.
        best_epoch: the epoch that the model's ``selection`` prefers, such as the best validation NDCG@10 (mask
            "train"), from 1; None without validation.
        best_state: the model's state dict after that epoch, or None.
        seconds_per_epoch: median time of the training steps of an epoch.
    """

    model: Ranker
    history: list[dict[str, Any]]
    epoch: int
    best_epoch: int | None
    best_state: dict[str, torch.Tensor] | None
    seconds_per_epoch: float


def train(
    split: Split,
    model_name: str,
    method_config: MethodConfig,
    config: TrainConfig | None = None,
    *,
    model_config: Config | None = None,
    out: str | Path | None = None,
    progress: bool = True,
) -> Trained:
    """Trains a recommender with compressed tables.

    Args:
        split: training and validation interactions; the test part is not looked at.
        model_name: registry name of the recommender.
        method_config: configuration of the method of its tables.
        config: how to train; None for the defaults of the model.
        model_config: options of the model; None for its defaults.
        out: folder for the checkpoint and the log. If it holds a run of the same settings and data, that run is
            continued from its last checkpoint, with the same result as if it had never stopped. Writing checkpoints
            takes a twentieth of the time at most. None keeps nothing.
        progress: show a progress bar on a terminal.

    Returns:
        The trained model with its history.

    Raises:
        CheckpointError: ``out`` holds a run of other settings or other data.
        DatasetError: the model cannot learn from such data.
        ValueError: there is nothing to train on, or the loss is not a number, because training diverged.
    """
    config = config if config is not None else TrainConfig.for_model(model_name)
    if len(split.train) == 0:
        raise ValueError("There is nothing to train on: the training part of the split is empty.")
    identity = {
        "backbone": model_name,
        "backbone_config": (model_config or get_ranker(model_name).config_class()).to_dict(),
        "method": method_of(method_config).method,
        "method_config": method_config.to_dict(),
        "train": {k: v for k, v in config.to_dict().items() if k != "epochs"},
        "data": _fingerprint(split),
    }
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model = build(
            model_name,
            split.num_users,
            split.num_items,
            config.embedding_dim,
            method_config,
            model_config,
            counts={"user": split.train.user_counts(), "item": split.train.item_counts()},
            train=split.train,
        )
        model.begin(split.train)
        model.to(config.device)
        feed = model.feed(split.train)  # before anything is written, since it refuses data that it cannot use
        if model.sequential and not split.by_time:
            raise DatasetError(
                f"{model_name} predicts what comes later, but the parts of the data are not cut by time. Split by "
                "leave-two-out or temporal."
            )
        run = _Run(model, config)
        if out is not None:
            raw_ids = {"user": split.train.user_vocabulary, "item": split.train.item_vocabulary}
            run.resume(RunFolder(Path(out), identity, raw_ids))
        with progress_bar(progress) as bar:
            while not run.finished():
                run.epoch(len(run.history) + 1, feed, split, bar)
    epoch = len(run.history)
    if config.patience and run.best_epoch is not None and run.best_state is not None:
        model.load_state_dict(run.best_state)
        epoch = run.best_epoch
    seconds = [record["seconds"] for record in run.history]
    return Trained(model, run.history, epoch, run.best_epoch, run.best_state, float(np.median(seconds)))


class _Run:
    """A training run and what must survive an interruption: model, optimizer, history and best epoch."""

    def __init__(self, model: Ranker, config: TrainConfig) -> None:
        self.model, self.config = model, config
        self.optimizer = torch.optim.Adam(
            model.parameters(),
            lr=config.learning_rate,
            betas=model.adam_betas,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.history: list[dict[str, Any]] = []
        self.best_epoch: int | None = None
        self.best_state: dict[str, torch.Tensor] | None = None
        self.folder: RunFolder | None = None

    def resume(self, folder: RunFolder) -> None:
        """Continues what the folder holds, or starts it."""
        self.folder = folder
        saved = folder.checkpoint(self.config.device)
        if saved is not None:
            if len(saved["history"]) > self.config.epochs:
                raise CheckpointError(
                    f"{folder.path} was trained for {len(saved['history'])} epochs, more than the {self.config.epochs} "
                    "asked for. Choose another folder."
                )
            self.model.load_state_dict(saved["model"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.history, self.best_epoch, self.best_state = (
                saved["history"],
                saved["best_epoch"],
                saved["best_state"],
            )
        folder.begin_log(self.history)

    def finished(self) -> bool:
        """Whether all epochs are done, or patience has run out; a run that stopped early stays so when continued."""
        waited = 0 if self.best_epoch is None else len(self.history) - self.best_epoch
        return len(self.history) >= self.config.epochs or 0 < self.config.patience <= waited

    def epoch(self, number: int, feed: Feed, split: Split, bar: Any) -> None:
        """Trains one epoch, ranks the validation part if it is time, and saves."""
        config = self.config
        # Every epoch draws from its own seeds, so nothing random needs to be saved.
        generator = np.random.default_rng([config.seed, number])
        torch.manual_seed(int(np.random.SeedSequence([config.seed, number]).generate_state(1)[0]))
        self.model.train()
        started = time.perf_counter()
        steps, batches = feed.epoch(generator, config.batch_size, config.negatives)
        task = bar.add_task(f"epoch {number}/{config.epochs}", total=steps)
        loss_sum = torch.zeros((), device=config.device)
        penalty_sum = torch.zeros((), device=config.device)
        for step, batch in enumerate(batches):
            if config.device != "cpu":
                batch = tuple(tensor.to(config.device, non_blocking=True) for tensor in batch)
            loss = self.model.loss(batch)
            penalty = self.model.penalty()
            self.optimizer.zero_grad()
            (loss + penalty).backward()
            self.optimizer.step()
            loss_sum += loss.detach()
            penalty_sum += penalty.detach()
            if step % 64 == 63:
                bar.update(task, completed=step + 1)
        bar.remove_task(task)
        self.model.end_epoch()
        record: dict[str, Any] = {
            "epoch": number,
            "loss": float(loss_sum) / steps,
            "penalty": float(penalty_sum) / steps,
            "seconds": time.perf_counter() - started,
        }
        if not np.isfinite(record["loss"]):
            raise ValueError(f"The loss of epoch {number} is not a number: training diverged. Lower the learning rate.")
        if config.evaluate_every and number % config.evaluate_every == 0 and len(split.valid):
            selection = self.model.selection
            ks = tuple(sorted({*config.ks, *selection.ks, 10}))
            record["valid"] = evaluate(self.model, split, "valid", ks, (selection.mask,))[selection.mask]
            self._keep_best(number, record["valid"])
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
            "optimizer": self.optimizer.state_dict(),
            "history": self.history,
            "best_epoch": self.best_epoch,
            "best_state": self.best_state,
        }


def _fingerprint(split: Split) -> str:
    """A digest of what is trained on, so that a run is never continued on other data."""
    digest = hashlib.sha256()
    for part in (split.train, split.valid):
        digest.update(_digest_of(part))
    for vocabulary in (split.train.user_vocabulary, split.train.item_vocabulary):
        digest.update(np.ascontiguousarray(vocabulary).tobytes())
    return digest.hexdigest()[:16]


def _digest_of(part: Interactions) -> bytes:
    digest = hashlib.sha256()
    for array in part.content():
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()
