"""Training a CTR model with compressed tables: train, compress to a budget, retrain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import torch

from slimtable.config import Config, Count, Positive, PositiveInt
from slimtable.data.clicks.clicks import Clicks
from slimtable.data.clicks.parts import ClickParts
from slimtable.embeddings.base import MethodConfig, method_of
from slimtable.memory import require_memory
from slimtable.methods.full import FullConfig
from slimtable.models.ctr import CTRModel, build_ctr_model, get_ctr_model
from slimtable.training.ctr_trainer import CTRTrainConfig, CTRTrainer, evaluate_clicks
from slimtable.training.distillation import soften
from slimtable.training.field_budget import compress_to_budget
from slimtable.training.field_compression import compress_fields
from slimtable.training.loop import OnStep, Trained, run_loop
from slimtable.training.run_folder import RunFolder
from slimtable.training.table_budget import Configs, described_tables, fit_tables

RETRAIN_FOLDER = "retrain"
"""Subfolder of a run folder for the training after compression."""


@dataclass(frozen=True)
class CTRRunConfig(CTRTrainConfig):
    """Settings for training a CTR model from a log, in addition to :class:`CTRTrainConfig`.

    Attributes:
        embedding_dim: width of the vectors, d.
        evaluate_every: epochs between two evaluations on the validation part; 0 for never.
        patience: stop after this many epochs without improvement, and return the model of the best epoch; 0 trains all
            epochs and returns the last model.
        retrain_epochs: epochs of retraining on the predictions of the uncompressed model, for methods that compress
            trained tables; 0 for none.
        retrain_learning_rate: learning rate of rows and layers in those epochs.
    """

    embedding_dim: PositiveInt = 16
    evaluate_every: Count = 1
    patience: Count = 0
    retrain_epochs: Count = 1
    retrain_learning_rate: Positive = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        if 0 < self.patience < self.evaluate_every:
            raise ValueError(
                f"`CTRRunConfig.patience` of {self.patience} epochs ends training before the next validation. Make it "
                f"at least `CTRRunConfig.evaluate_every`, {self.evaluate_every}, or 0 for never."
            )

    @classmethod
    def for_model(cls, name: str, **given: Any) -> Self:
        """The default settings of a CTR model, updated by ``given``; errors as for any configuration."""
        return cls.from_dict({**get_ctr_model(name).train_defaults, **given})


def train_ctr(
    parts: ClickParts,
    model_name: str,
    method_config: MethodConfig,
    config: CTRRunConfig,
    budget: str | None = None,
    model_config: Config | None = None,
    out: str | Path | None = None,
    progress: bool = True,
) -> Trained:
    """Trains a CTR model with compressed tables; see :func:`slimtable.training.trainer.train`.

    Methods that train end to end start with compressed tables. Methods that need trained tables first train an
    uncompressed model, then compress it to the budget, with more rows for fields whose errors cost more, and retrain on
    its predictions. Other post-training methods compress at the end.
    """
    options = model_config or get_ctr_model(model_name).config_class()
    width = get_ctr_model(model_name).width(config.embedding_dim)
    what = f"Training {model_name} with vectors of {width:,} columns"
    require_memory(4 * max(parts.sizes.values()) * width, what, "Make them smaller.")
    counts = parts.counts()
    compressed_later = method_config.needs_trained or method_of(method_config).post_training
    configs: MethodConfig | Configs = method_config
    if budget is not None and not method_config.needs_trained:
        shapes = {field: (size, width) for field, size in parts.sizes.items()}
        configs = fit_tables(shapes, method_config, budget, counts)
    first = FullConfig(init_std=method_config.init_std) if compressed_later else configs
    identity = {
        "backbone": model_name,
        "backbone_config": options.to_dict(),
        "method": method_of(method_config).method,
        "method_config": method_config.to_dict(),
        "train": {k: v for k, v in config.to_dict().items() if k != "epochs"},
        "data": parts.fingerprint(),
        **({"budget": budget} if budget is not None else {}),
        **described_tables(configs),
    }
    frequencies = {field: torch.from_numpy(values) for field, values in counts.items()}
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model = build_ctr_model(
            model_name,
            parts.sizes,
            parts.num_numeric,
            config.embedding_dim,
            first,
            options,
            frequencies=frequencies,
        )
        folder = None if out is None else RunFolder(Path(out), identity, {})
        trained = run_loop(model, _CTRSteps(model, parts.train, parts.valid, config), config, folder, progress)
        if not compressed_later:
            return trained
        torch.manual_seed(config.seed)
        compressed = _compressed(model, parts, method_config, configs, budget, counts)
        if not method_config.needs_trained or not config.retrain_epochs:
            return replace(trained, model=compressed, best_state=None)
        return _retrain(compressed, model, parts, config, identity, out, progress)


def _compressed(
    model: CTRModel,
    parts: ClickParts,
    config: MethodConfig,
    configs: MethodConfig | Configs,
    budget: str | None,
    counts: Mapping[str, np.ndarray],
) -> CTRModel:
    """Returns a copy of the trained model with compressed tables."""
    if budget is None and getattr(config, "num_rows", None) is None:
        budget = getattr(config, "budget", None)  # for all tables together: most fields are too small for one each
    if config.needs_trained and budget is not None:
        return compress_to_budget(model, parts.train, budget, cast(Any, config))
    if isinstance(configs, MethodConfig):
        configs = dict.fromkeys(parts.sizes, configs)
    return compress_fields(model, configs, counts)


def _retrain(
    compressed: CTRModel,
    teacher: CTRModel,
    parts: ClickParts,
    config: CTRRunConfig,
    identity: dict[str, Any],
    out: str | Path | None,
    progress: bool,
) -> Trained:
    again = replace(
        config,
        epochs=config.retrain_epochs,
        learning_rate=config.retrain_learning_rate,
        row_learning_rate=config.retrain_learning_rate,
        row_optimizer="adam",
    )
    folder = None if out is None else RunFolder(Path(out) / RETRAIN_FOLDER, identity, {})
    labels = soften(parts.train, teacher)
    return run_loop(compressed, _CTRSteps(compressed, labels, parts.valid, again), again, folder, progress)


class _CTRSteps:
    """Trains a CTR model by :class:`CTRTrainer` and evaluates it on the validation part."""

    def __init__(self, model: CTRModel, clicks: Clicks, valid: Clicks, config: CTRRunConfig) -> None:
        self.model, self.clicks, self.valid = model, clicks, valid
        names = [field.name for field in fields(CTRTrainConfig)]
        self.trainer = CTRTrainer(model, CTRTrainConfig(**{name: getattr(config, name) for name in names}))

    def train_epoch(self, number: int, on_step: OnStep) -> tuple[float, float]:
        self.trainer.epochs_done = number - 1
        (loss,) = self.trainer.fit(self.clicks, epochs=1, on_batch=on_step, end_epochs=False)
        return loss, 0.0

    def validate(self) -> dict[str, float] | None:
        return evaluate_clicks(self.model, self.valid) if len(self.valid) else None

    def state(self) -> dict[str, Any]:
        return self.trainer.state_dict()

    def load_state(self, state: dict[str, Any]) -> None:
        self.trainer.load_state_dict(state)
