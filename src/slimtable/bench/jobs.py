"""One training, and the measurements on the trained model."""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slimtable.bench.labels import label_of
from slimtable.bench.machine import cpu_name, versions
from slimtable.bench.measures import leading_measures
from slimtable.bench.results import Record, canonical, identity_of
from slimtable.compress import compress_
from slimtable.config import Config
from slimtable.data import Split, load_dataset, order_by_frequency
from slimtable.data import split as split_data
from slimtable.data.clicks.parts import ClickParts, load_click_parts
from slimtable.embeddings.base import MethodConfig, method_of
from slimtable.embeddings.registry import saved_config
from slimtable.errors import DatasetError
from slimtable.methods.full import FullConfig
from slimtable.models.base import Recommender, build, get_model
from slimtable.models.ctr import CTRModel, build_ctr_model
from slimtable.training.ctr_run import CTRRunConfig
from slimtable.training.evaluation import evaluate
from slimtable.training.loop import Trained
from slimtable.training.trainer import TrainConfig, train

_PARTS = ("train", "valid", "test")
_HEAD = ("data", "fingerprint", "counts", "split", "backbone", "train", "seed")


@dataclass(frozen=True)
class Source:
    """The source of the data of a bench.

    Attributes:
        data: name or path, as for :func:`slimtable.data.load_dataset`.
        data_root: folder of datasets, or None.
        split: name of the split; None for the default of the data.
        clicks: true for a click log.
    """

    data: str
    data_root: Path | None = None
    split: str | None = None
    clicks: bool = False

    def load(self) -> tuple[Split | ClickParts, str]:
        """The parts, with users and items numbered from most to least frequent, and the name of the split.

        Raises:
            DatasetError: the data cannot be loaded.
            ValueError: the data cannot be split in this way.
        """
        if self.clicks:
            return load_click_parts(self.data, self.data_root, self.split)
        dataset = load_dataset(self.data, data_root=self.data_root)
        how = self.split if self.split is not None else dataset.default_split
        return order_by_frequency(split_data(dataset, how)), how

    def load_split(self) -> Split:
        """The parts of interactions; errors as :meth:`load`."""
        parts, _ = self.load()
        assert isinstance(parts, Split)
        return parts


@dataclass(frozen=True)
class Setting:
    """The settings that all runs of one bench share.

    Attributes:
        data: name or path of the data.
        counts: users, items and interactions of each part.
        fingerprint: 16 hex digits of a digest of the parts.
        split: name of the split.
        model_name: registry name of the recommender.
        train: training settings; each run overrides the seed.
        model_config: options of the recommender; None for its defaults.
    """

    data: str
    counts: dict[str, int]
    fingerprint: str
    split: str
    model_name: str
    train: TrainConfig | CTRRunConfig
    model_config: Config | None = None

    @classmethod
    def of(
        cls,
        source: Source,
        parts: Split | ClickParts,
        split_name: str,
        model_name: str,
        config: TrainConfig | CTRRunConfig,
        model_config: Config | None = None,
    ) -> Setting:
        """The setting of a bench on loaded parts."""
        if isinstance(parts, ClickParts):
            counts = {"fields": len(parts.sizes), "values": sum(parts.sizes.values())}
        else:
            counts = {"users": parts.num_users, "items": parts.num_items}
        counts |= {name: len(getattr(parts, name)) for name in _PARTS}
        return cls(source.data, counts, fingerprint(parts), split_name, model_name, config, model_config)

    def head(self, config: MethodConfig, seed: int) -> Record:
        """The part of a record that is known before the run; includes non-default options of the model."""
        options = {} if self.model_config is None else self.model_config.non_defaults()
        return {
            "label": label_of(config),
            "data": self.data,
            "fingerprint": self.fingerprint,
            "counts": self.counts,
            "split": self.split,
            "backbone": self.model_name,
            **({"backbone_config": options} if options else {}),
            "train": {name: value for name, value in self.train.to_dict().items() if name != "seed"},
            "method": method_of(config).method,
            "method_config": config.to_dict(),
            "seed": seed,
        }


@dataclass(frozen=True)
class Job:
    """One training, and the configurations that are measured on its model.

    Attributes:
        source: source of the data.
        setting: settings shared with the other jobs.
        trained: configuration that is trained.
        seed: seed of the training.
        wanted: configurations to report: the trained one, and those that compress it after training.
        folder: run folder, from which an interrupted training resumes.
    """

    source: Source
    setting: Setting
    trained: MethodConfig
    seed: int
    wanted: tuple[MethodConfig, ...]
    folder: Path

    @property
    def label(self) -> str:
        """Name of the job in messages."""
        return f"{', '.join(map(label_of, self.wanted))} (seed {self.seed})"


def plan(
    source: Source, setting: Setting, methods: Sequence[MethodConfig], seeds: Sequence[int], done: Any, out: Path
) -> list[Job]:
    """The missing trainings, all methods of a seed before the next seed.

    Args:
        source: source of the data.
        setting: settings shared by all runs.
        methods: configurations to report.
        seeds: seeds of each configuration.
        done: container of the identities of finished runs.
        out: folder of the bench.

    Returns:
        One job per training that missing runs need.
    """
    jobs = []
    for seed in dict.fromkeys(seeds):
        wanted_of: dict[MethodConfig, list[MethodConfig]] = {}
        for config in dict.fromkeys(methods):
            if identity_of(setting.head(config, seed)) not in done:
                wanted_of.setdefault(_trained_config(config), []).append(config)
        for trained, wanted in wanted_of.items():
            folder = out / "runs" / _folder_name(setting.head(trained, seed))
            jobs.append(Job(source, setting, trained, seed, tuple(wanted), folder))
    return jobs


def run_job(job: Job, parts: Split | ClickParts) -> list[Record]:
    """Trains or resumes, and evaluates every wanted configuration after the last and the best epoch.

    With patience, training returns the model of the best epoch, so both are the same.

    Args:
        job: the job.
        parts: the loaded data of its source.

    Returns:
        One record for each wanted configuration.

    Raises:
        ValueError: the training diverged.
        CheckpointError: the run folder cannot be resumed.
    """
    setting = job.setting
    trained = train(
        parts,
        setting.model_name,
        job.trained,
        replace(setting.train, seed=job.seed),
        model_config=setting.model_config,
        out=job.folder,
        progress=False,
    )
    return [_measure(job, wanted, trained, parts) for wanted in job.wanted]


def run_folder(out: Path, record: Record) -> Path:
    """The run folder of the training of a finished run, which may have been deleted."""
    trained = _trained_config(saved_config(record["method"], record["method_config"]))
    head = {name: record[name] for name in (*_HEAD, "backbone_config") if name in record}
    head |= {"label": label_of(trained), "method": method_of(trained).method, "method_config": trained.to_dict()}
    return out / "runs" / _folder_name(head)


def check_fits(
    parts: Split | ClickParts,
    model_name: str,
    methods: Sequence[MethodConfig],
    config: TrainConfig | CTRRunConfig,
    model_config: Config | None = None,
) -> None:
    """Builds every model once, so that invalid configurations raise an error before training starts.

    Raises:
        ValueError: a configuration does not fit the sizes, or there is nothing to test on.
    """
    if len(parts.test) == 0:
        raise ValueError("There is nothing to test: the test part of the split is empty. Use another split.")
    with torch.random.fork_rng():
        for method in methods:
            _fresh(parts, model_name, method, config, model_config)


def fingerprint(parts: Split | ClickParts) -> str:
    """Digest of a split, 16 hex digits."""
    if isinstance(parts, ClickParts):
        return parts.fingerprint()
    digest = hashlib.sha256()
    for name in _PARTS:
        part = getattr(parts, name)
        for values in part.content():
            digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()[:16]


def load_again(job: Job) -> Split | ClickParts:
    """Loads the data of a job in a worker process.

    Raises:
        DatasetError: the data changed since the bench started.
    """
    parts, _ = job.source.load()
    if fingerprint(parts) != job.setting.fingerprint:
        raise DatasetError(f"{job.source.data} changed while the bench was running. Start again in another folder.")
    return parts


def _trained_config(config: MethodConfig) -> MethodConfig:
    """The configuration to train: itself, or the uncompressed table for a post-training method."""
    return FullConfig(init_std=config.init_std) if method_of(config).post_training else config


def _folder_name(head: Record) -> str:
    """Name of the run folder of a training."""
    digest = hashlib.sha256(canonical({k: v for k, v in head.items() if k != "seed"}).encode()).hexdigest()
    readable = re.sub(r"[^\w.]+", "-", head["label"]).strip("-")[:60]
    return f"{readable}-{digest[:8]}-s{head['seed']}"


def _fresh(
    parts: Split | ClickParts,
    model_name: str,
    method: MethodConfig,
    config: TrainConfig | CTRRunConfig,
    options: Config | None,
) -> Recommender:
    """A new model, built as by :func:`slimtable.training.trainer.train`."""
    if isinstance(parts, ClickParts):
        return build_ctr_model(model_name, parts.sizes, parts.num_numeric, config.embedding_dim, method, options)
    counts = {"user": parts.train.user_counts(), "item": parts.train.item_counts()}
    model = build(
        model_name,
        parts.num_users,
        parts.num_items,
        config.embedding_dim,
        method,
        options,
        counts=counts,
        train=parts.train,
    )
    model.init_from_data(parts.train)
    return model


def _measured_model(
    job: Job, wanted: MethodConfig, trained: Trained, state: dict[str, torch.Tensor], parts: Split | ClickParts
) -> Recommender:
    """The trained model with given parameters, compressed if the method compresses after training."""
    setting = job.setting
    if isinstance(trained.model, CTRModel):  # its tables may have sizes that training chose
        model: Recommender = copy.deepcopy(trained.model)
    else:
        model = _fresh(parts, setting.model_name, job.trained, setting.train, setting.model_config)
    model.load_state_dict(state)
    model.to(setting.train.device).eval()
    if wanted != job.trained:
        compress_(model, wanted)
    return model


def _measure(job: Job, wanted: MethodConfig, trained: Trained, parts: Split | ClickParts) -> Record:
    asked = getattr(job.setting.train, "ks", ())
    ks = tuple(sorted({*asked, *get_model(job.setting.model_name).selection.ks, 10}))
    model = _measured_model(job, wanted, trained, trained.model.state_dict(), parts)
    last = evaluate(model, parts, "test", ks)
    best = last if trained.epoch == trained.best_epoch else None
    if best is None and trained.best_state is not None:
        best = evaluate(_measured_model(job, wanted, trained, trained.best_state, parts), parts, "test", ks)
    bits, full_bits = model.bits(), model.full_bits()
    tables = list(model.embeddings().values())
    embedding_bits = sum(table.bits() for table in tables)
    return {
        **job.setting.head(wanted, job.seed),
        "compressed_after_training": wanted != job.trained,
        "bits": bits,
        "full_bits": full_bits,
        "size_percent": 100 * bits / full_bits,
        "embedding_bits": embedding_bits,
        "embedding_compression_ratio": sum(table.dense_bits for table in tables) / embedding_bits,
        "trained_parameters": sum(parameter.numel() for parameter in trained.model.parameters()),
        "second_rows": sum(
            row_map.num_secondary for table in tables for row_map in getattr(table, "row_maps", None) or ()
        ),
        "metrics": {"last": last, "best": best},
        "best_epoch": trained.best_epoch,
        "seconds_per_epoch": trained.seconds_per_epoch,
        "penalty": trained.history[-1]["penalty"],
        "curve": [] if wanted != job.trained else _curve(trained, job.setting.model_name),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "cpu": cpu_name(),
    }


def _curve(trained: Trained, model_name: str) -> list[dict[str, float]]:
    """The training loss of every epoch, and the main metrics of validated epochs."""
    leading = {measure.metric for measure in leading_measures(model_name)}
    return [
        {"epoch": epoch["epoch"], "loss": epoch["loss"]}
        | {metric: value for metric, value in epoch.get("valid", {}).items() if metric in leading}
        for epoch in trained.history
    ]
