"""Training of every model and method; interrupted runs resume from the last checkpoint."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from slimtable.config import Config, Count, NotNegative, Positive, PositiveInt
from slimtable.data.clicks.parts import ClickParts
from slimtable.data.interactions.interactions import Interactions
from slimtable.data.interactions.split import Split
from slimtable.embeddings.base import MethodConfig, method_of
from slimtable.errors import DatasetError
from slimtable.memory import require_memory
from slimtable.models.base import Ranker, build, counts_of_rows, get_model, get_ranker
from slimtable.training.ctr_run import CTRRunConfig, train_ctr
from slimtable.training.evaluation import evaluate
from slimtable.training.loop import OnStep, Trained, run_loop
from slimtable.training.run_folder import RunFolder
from slimtable.training.table_budget import described_tables, fit_tables

_LATER = ("weight_decay", "patience")  # fields of TrainConfig added after the first results were published


@dataclass(frozen=True)
class TrainConfig(Config):
    """Settings for training a ranker.

    The defaults are those of NCF and MGQE: Adam at 1e-3, batches of 256 samples, 4 fresh negatives per interaction.
    :meth:`for_model` returns those of any model.

    Attributes:
        embedding_dim: width of the tables, d.
        epochs: passes over the training data.
        batch_size: samples per step, positives and negatives together; for SASRec, sequences per step.
        learning_rate: learning rate of Adam.
        negatives: negatives per interaction, sampled again in every epoch.
        seed: seed of all randomness.
        evaluate_every: epochs between two evaluations on the validation part; 0 for never.
        ks: list lengths k of the reported metrics.
        device: "cpu" or a CUDA device.
        weight_decay: Adam's L2 penalty, on all parameters.
        patience: stop after this many epochs without improvement, and return the model of the best epoch; 0 trains all
            epochs and returns the last model.
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
                f"`TrainConfig.patience` of {self.patience} epochs ends training before the next validation. Make it "
                f"at least `TrainConfig.evaluate_every`, {self.evaluate_every}, or 0 for never."
            )
        if not self.ks or min(self.ks) < 1:
            raise ValueError(f"`TrainConfig.ks` must be positive list lengths, got {list(self.ks)}.")

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values; those of :data:`_LATER` only if they differ from their defaults.

        This keeps records from before these fields existed comparable.
        """
        defaults = {field.name: field.default for field in fields(self)}
        values = super().to_dict().items()
        return {name: value for name, value in values if name not in _LATER or value != defaults[name]}

    @classmethod
    def for_model(cls, name: str, **given: Any) -> Self:
        """The settings of the paper of a model, updated by ``given``.

        Args:
            name: registry name of the model.
            given: fields by name; they override the defaults of the model, which override the general ones.

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


def train(
    parts: Split | ClickParts,
    model_name: str,
    method_config: MethodConfig,
    config: TrainConfig | CTRRunConfig | None = None,
    *,
    budget: str | None = None,
    model_config: Config | None = None,
    out: str | Path | None = None,
    progress: bool = True,
) -> Trained:
    """Trains a recommender with compressed tables.

    Args:
        parts: training and validation part; the test part is ignored. A ranker takes a :class:`Split` of interactions,
            a CTR model :class:`slimtable.data.clicks.parts.ClickParts`.
        model_name: registry name of the recommender.
        method_config: configuration of the method of its tables.
        config: training settings; None for the defaults of the model.
        budget: bytes served by all tables together, such as "4%", "16x" or "3MB"; None to use the options of the
            method.
        model_config: options of the model; None for its defaults.
        out: folder for the checkpoint and the log. If it holds a run with the same settings and data, that run resumes
            from its last checkpoint, with the same result as without the interruption. Writing checkpoints takes at
            most a twentieth of the time. None saves nothing.
        progress: show a progress bar on a terminal.

    Returns:
        The trained model with its history.

    Raises:
        BudgetError: the budget is too small; the message gives the smallest one.
        CheckpointError: ``out`` holds a run with other settings or other data.
        DatasetError: the data does not suit the model.
        TypeError: the parts or the training settings are for another kind of model.
        ValueError: the training part is empty, or the loss is NaN because training diverged.
    """
    if get_model(model_name).task == "ctr":
        if not isinstance(parts, ClickParts) or not isinstance(config, (CTRRunConfig, type(None))):
            raise TypeError(f"{model_name} predicts clicks: it takes ClickParts and a CTRRunConfig.")
        ctr_config = config or CTRRunConfig.for_model(model_name)
        return train_ctr(parts, model_name, method_config, ctr_config, budget, model_config, out, progress)
    if not isinstance(parts, Split) or not isinstance(config, (TrainConfig, type(None))):
        raise TypeError(f"{model_name} learns from interactions: it takes a Split and a TrainConfig.")
    return _train_ranker(
        parts,
        model_name,
        method_config,
        config or TrainConfig.for_model(model_name),
        budget=budget,
        model_config=model_config,
        out=out,
        progress=progress,
    )


def _train_ranker(
    split: Split,
    model_name: str,
    method_config: MethodConfig,
    config: TrainConfig,
    *,
    budget: str | None,
    model_config: Config | None,
    out: str | Path | None,
    progress: bool,
) -> Trained:
    if len(split.train) == 0:
        raise ValueError("There is nothing to train on: the training part of the split is empty.")
    options = model_config or get_ranker(model_name).config_class()
    counts = {"user": split.train.user_counts(), "item": split.train.item_counts()}
    configs: MethodConfig | dict[str, MethodConfig] = method_config
    specs = get_ranker(model_name).table_specs(split.num_users, split.num_items, config.embedding_dim, options)
    require_memory(
        4 * max(spec.num_embeddings * spec.embedding_dim for spec in specs) + 8 * config.negatives * len(split.train),
        f"Training {model_name} with embedding_dim={config.embedding_dim} and {config.negatives:,} negatives",
        "Make them smaller.",
    )
    if budget is not None:
        configs = fit_tables(
            {spec.name: (spec.num_embeddings, spec.embedding_dim) for spec in specs},
            method_config,
            budget,
            {spec.name: counts_of_rows(counts[spec.side], spec) for spec in specs},
        )
    identity = {
        "backbone": model_name,
        "backbone_config": options.to_dict(),
        "method": method_of(method_config).method,
        "method_config": method_config.to_dict(),
        "train": {k: v for k, v in config.to_dict().items() if k != "epochs"},
        "data": _fingerprint(split),
        **described_tables(configs),
    }
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model = build(
            model_name,
            split.num_users,
            split.num_items,
            config.embedding_dim,
            configs,
            options,
            counts=counts,
            train=split.train,
        )
        model.init_from_data(split.train)
        model.to(config.device)
        steps = _RankerSteps(model, split, config)  # before anything is written, since it may refuse the data
        if model.sequential and not split.by_time:
            raise DatasetError(
                f"{model_name} predicts what comes next, but the data is not split by time. Split by "
                "leave-two-out or temporal."
            )
        folder = None
        if out is not None:
            raw_ids = {"user": split.train.user_vocabulary, "item": split.train.item_vocabulary}
            folder = RunFolder(Path(out), identity, raw_ids)
        return run_loop(model, steps, config, folder, progress)


class _RankerSteps:
    """Trains a ranker by Adam on sampled negatives, and ranks the validation part."""

    def __init__(self, model: Ranker, split: Split, config: TrainConfig) -> None:
        self.model, self.split, self.config = model, split, config
        self.batches = model.batch_sampler(split.train)
        self.optimizer = torch.optim.Adam(
            model.parameters(),
            lr=config.learning_rate,
            betas=model.adam_betas,
            weight_decay=config.weight_decay,
            fused=True,
        )

    def train_epoch(self, number: int, on_step: OnStep) -> tuple[float, float]:
        config = self.config
        generator = np.random.default_rng([config.seed, number])
        torch.manual_seed(int(np.random.SeedSequence([config.seed, number]).generate_state(1)[0]))
        self.model.train()
        steps, batches = self.batches.epoch(generator, config.batch_size, config.negatives)
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
            on_step(step + 1, steps)
        return float(loss_sum) / steps, float(penalty_sum) / steps

    def validate(self) -> dict[str, float] | None:
        if not len(self.split.valid):
            return None
        selection = self.model.selection
        ks = tuple(sorted({*self.config.ks, *selection.ks, 10}))
        return evaluate(self.model, self.split, "valid", ks, (selection.mask,))[selection.mask]

    def state(self) -> dict[str, Any]:
        return self.optimizer.state_dict()

    def load_state(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state)


def _fingerprint(split: Split) -> str:
    """A digest of the training data, so that a run is never resumed on other data."""
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
