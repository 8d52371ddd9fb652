"""The stages of a window: each reads files of earlier stages, writes its own, and returns its results.

Nothing is passed on in memory, so a stage gives the same result whether or not earlier stages ran in this process.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slimtable.artifact.delta import write_delta
from slimtable.data.clicks.vocabulary import Vocabularies
from slimtable.embeddings.base import MethodConfig
from slimtable.errors import ArtifactValueError, BudgetError, CheckpointError
from slimtable.files import write_json
from slimtable.models.base import Recommender
from slimtable.models.ctr import CTRModel, build_ctr_model
from slimtable.pipeline.compression import (
    choose_configs,
    fits_budget,
    format_configs,
    parse_configs,
    relative_distortion,
)
from slimtable.pipeline.folder import read_state
from slimtable.pipeline.publishing import MODEL
from slimtable.pipeline.settings import PipelineSettings
from slimtable.pipeline.state import load_arrays, load_clicks, load_tensors, save_arrays, save_clicks, save_tensors
from slimtable.pipeline.windows import Window
from slimtable.training.ctr_trainer import CTRTrainer, evaluate_clicks
from slimtable.training.distillation import soften
from slimtable.training.field_compression import compress_fields, decoded, field_bits
from slimtable.training.growth import grow_
from slimtable.training.new_values import cooccurrence_vectors
from slimtable.training.packing import load_model, pack_model
from slimtable.training.sensitivity import measure_sensitivity

Result = dict[str, Any]
"""Results of a stage, as JSON values."""
Sizes = Mapping[str, int]

CLICKS, VOCABULARIES = "clicks.npz", "vocabularies.safetensors"
PARAMETERS, TRAINER, COUNTS, CONFIGS = "model.npz", "trainer.npz", "counts.npz", "configs.json"
SENSITIVITY = "sensitivity.npz"

_NEGLIGIBLE = 1e-3  # a relative error that may double without consequences


@dataclass(frozen=True)
class Task:
    """A window and its files.

    Attributes:
        settings: settings of the pipeline.
        num_numeric: number of numeric columns of the log.
        window: number of the window.
        sizes: number of ids of each field, including those of this window.
        files: folder of each stage of the window: ``ingest``, ``train``, ``compress`` and ``retrain``; and ``next``,
            the ingested next window.
        before: files and sizes of the training state to continue; None for a fresh start.
        groups: files of the row maps to continue, and their entry in the journal: ``since``, ``distortion`` and
            ``key``; None to cluster from scratch.
        served: file of the served model; None if there is none yet.
        on_batch: called during training with the number of steps done and of all steps; may be None.
    """

    settings: PipelineSettings
    num_numeric: int
    window: int
    sizes: Sizes
    files: Mapping[str, Path]
    before: tuple[Path, Sizes] | None
    groups: tuple[Path, dict[str, Any]] | None
    served: Path | None
    on_batch: Callable[[int, int], None] | None = None

    def seed(self, number: int) -> int:
        """The seed of a stage, independent of the other stages."""
        return int(np.random.SeedSequence([self.settings.seed, self.window, number]).generate_state(1)[0] >> 1)

    def build(
        self,
        sizes: Sizes,
        configs: Mapping[str, MethodConfig] | None = None,
        frequencies: Mapping[str, np.ndarray] | None = None,
    ) -> CTRModel:
        """A fresh model."""
        model = self.settings.model
        counts = {field: torch.from_numpy(own) for field, own in (frequencies or {}).items()}
        return build_ctr_model(
            model.name, sizes, self.num_numeric, model.embedding_dim, configs, model.config, frequencies=counts
        )

    def load(self, folder: Path, sizes: Sizes) -> CTRModel:
        """Loads the uncompressed model that :func:`train` saved."""
        model = self.build(sizes)
        model.load_state_dict(load_tensors(folder / PARAMETERS))
        return model

    def load_compressed(self, folder: Path) -> tuple[CTRModel, dict[str, MethodConfig]]:
        """Loads the model that :func:`compress` saved, and the configurations of its fields."""
        formatted = read_state(folder / CONFIGS) or {}
        if missing := [key for key in ("sizes", "fields") if key not in formatted]:
            raise CheckpointError(
                f"{folder / CONFIGS} has no {missing[0]}. Restore the state folder, or start a new one."
            )
        configs = parse_configs(formatted["fields"])
        model = self.build(formatted["sizes"], configs, load_arrays(folder / COUNTS))
        model.load_state_dict(load_tensors(folder / PARAMETERS))
        return model, configs


def ingest(out: Path, window: Window, vocabularies: Vocabularies) -> Result:
    """Extends the vocabularies by a window and numbers its values.

    Args:
        out: folder to write into.
        window: the window.
        vocabularies: vocabularies of all earlier windows; extended in place.

    Returns:
        ``source``, ``last_time``, ``rows``, ``integers`` (columns), ``positives`` (share), and ``sizes`` and
        ``new_values`` by field.
    """
    known = vocabularies.sizes
    vocabularies.count(window.rows)
    clicks = vocabularies.encode(window.rows)
    save_clicks(out / CLICKS, clicks)
    vocabularies.save(out / VOCABULARIES)
    return {
        "source": window.source,
        "last_time": window.last_time,
        "rows": len(clicks),
        "integers": clicks.numeric.shape[1],
        "positives": float(clicks.labels.mean(dtype=np.float64)),
        "sizes": vocabularies.sizes,
        "new_values": {field: size - known[field] for field, size in vocabularies.sizes.items()},
    }


def train(out: Path, task: Task) -> Result:
    """Trains the uncompressed model on the window, from the state after an earlier one.

    Args:
        out: folder to write into.
        task: the window.

    Returns:
        ``loss`` of each epoch.
    """
    clicks = load_clicks(task.files["ingest"] / CLICKS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(task.seed(0))
        if task.before is None:
            model = task.build(task.sizes)
            trainer = CTRTrainer(model, task.settings.train_config)
            before = {field: np.zeros(0) for field in task.sizes}
        else:
            earlier, known = task.before
            model = task.load(earlier, known)
            trainer = CTRTrainer(model, task.settings.train_config)
            trainer.load_state_dict(load_tensors(earlier / TRAINER))
            grow_(model, task.sizes, task.settings.model.new_rows, trainer)
            before = load_arrays(earlier / COUNTS)
        losses = trainer.fit(clicks, on_batch=task.on_batch)
    decay = task.settings.compress.frequency_decay
    counts = {}
    for field, now in zip(task.sizes, clicks.counts(list(task.sizes.values())), strict=True):
        counts[field] = now.astype(np.float64)
        counts[field][: len(before[field])] += decay * before[field]
    save_tensors(out / PARAMETERS, model.state_dict())
    save_tensors(out / TRAINER, trainer.state_dict())
    save_arrays(out / COUNTS, counts)
    return {"loss": losses}


def compress(out: Path, task: Task) -> Result:
    """Compresses the trained model, warm-started from the row maps of the served version if they are good enough.

    Args:
        out: folder to write into.
        task: the window.

    Returns:
        ``too_large``, why the budget could not be kept, empty if it was; ``reclustered`` and ``why``; ``resized``,
        true if the sizes were chosen again to fit the budget; ``since``, the window in which tables were clustered;
        ``distortion`` now and ``reference``, that of the clustering; ``guessed``, the number of rows set from
        co-occurring values; and ``bits`` by field.
    """
    settings = task.settings.compress
    model, counts = task.load(task.files["train"], task.sizes), load_arrays(task.files["train"] / COUNTS)
    guessed, too_large = _guess_new_values(task, model, counts), ""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(task.seed(1))
        why = _reason_to_recluster(task)
        if task.groups is not None and not why:
            place, groups = task.groups
            since, reference = groups["since"], groups["distortion"]
            previous, configs = task.load_compressed(place)
            # A new sensitivity would move values whose vectors did not change, so it is kept as long as the row maps.
            sensitivity = load_arrays(place / SENSITIVITY) if settings.sensitivity else None
            compressed, configs, too_large = _compressed(model, configs, counts, sensitivity, previous)
            before, resized = configs, False
            if not too_large and not fits_budget(settings, compressed):
                configs, too_large = _choose(task, model, counts, sensitivity)
                resized = configs != before
            if resized and not too_large:  # other sizes, from the same row maps
                compressed, configs, too_large = _compressed(model, configs, counts, sensitivity, previous)
            distortion = relative_distortion(model, compressed, counts, sensitivity)
            grown = distortion / max(reference, _NEGLIGIBLE) - 1
            if settings.recluster_when is not None and grown > settings.recluster_when:
                why = f"the error grew by {100 * grown:.0f}%"
        if why:
            sensitivity = _measure_sensitivity(task, model) if settings.sensitivity else None
            configs, too_large = _choose(task, model, counts, sensitivity)
            compressed, configs, failed = _compressed(model, configs, counts, sensitivity)
            too_large = too_large or failed
            since, reference = task.window, relative_distortion(model, compressed, counts, sensitivity)
            distortion, resized = reference, False
    if sensitivity is not None:
        save_arrays(out / SENSITIVITY, sensitivity)
    save_tensors(out / PARAMETERS, compressed.state_dict())
    save_arrays(out / COUNTS, counts)
    write_json(out / CONFIGS, {"sizes": dict(task.sizes), "fields": format_configs(configs)})
    return {
        "too_large": too_large,
        "reclustered": bool(why),
        "why": why,
        "resized": resized,
        "since": since,
        "distortion": distortion,
        "reference": reference,
        "guessed": guessed,
        "bits": field_bits(compressed).bits,
    }


def retrain(out: Path, task: Task) -> Result:
    """Trains the compressed model on the newest rows of the window, and packs it.

    Args:
        out: folder to write into.
        task: the window.

    Returns:
        ``loss`` of each epoch; ``bits``, ``dense_bits``, ``vectors`` and ``dense_vectors`` of all tables; and
        ``file_bytes``.
    """
    settings = task.settings.retrain
    model, _ = task.load_compressed(task.files["compress"])
    clicks = load_clicks(task.files["ingest"] / CLICKS)
    newest = clicks.slice(len(clicks) - math.ceil(settings.share * len(clicks)), len(clicks))
    losses: list[float] = []
    if settings.epochs:
        if settings.teacher:
            newest = soften(newest, task.load(task.files["train"], task.sizes), settings.teacher)
        trainer = CTRTrainer(model, replace(task.settings.retrain_config, seed=task.seed(2)))
        losses = trainer.fit(newest, epochs=settings.epochs, on_batch=task.on_batch)
    vocabularies = Vocabularies.load(task.files["ingest"] / VOCABULARIES)
    values = {field: vocabulary.values() for field, vocabulary in vocabularies.fields.items()}
    file_bytes = pack_model(model, out / MODEL, values, {"window": task.window})
    size = field_bits(model)
    return {
        "loss": losses,
        "bits": size.total,
        "dense_bits": size.dense_bits,
        "vectors": size.num_vectors,
        "dense_vectors": sum(task.sizes.values()),
        "file_bytes": file_bytes,
    }


def evaluate(out: Path, task: Task) -> Result:
    """Evaluates all models on the next window, on which none was trained.

    Args:
        out: unused.
        task: the window.

    Returns:
        ``metrics`` by model: ``uncompressed``, ``compressed``, ``retrained``, and ``served`` (or None).
    """
    clicks = load_clicks(task.files["next"] / CLICKS)

    def measure(model: Recommender) -> dict[str, float | None]:
        if not isinstance(model, CTRModel):
            raise ArtifactValueError(f"A packed model of the pipeline must predict clicks, but {model.name} does not.")
        known = [table.num_embeddings for table in model.fields.embeddings().values()]
        found = evaluate_clicks(model, clicks.with_known(known))
        return {name: float(value) if math.isfinite(value) else None for name, value in found.items()}

    metrics = {
        "uncompressed": measure(task.load(task.files["train"], task.sizes)),
        "compressed": measure(task.load_compressed(task.files["compress"])[0]),
        "retrained": measure(load_model(task.files["retrain"] / MODEL)),
        "served": None if task.served is None else measure(load_model(task.served)),
    }
    return {"metrics": metrics}


def describe_changes(old: Path, new: Path, out: Path) -> Result:
    """Writes the delta between two versions, and returns its statistics."""
    size = write_delta(old, new, out)
    return {"bytes": size.bytes, "changed_rows": size.changed_rows, "moved": size.changed_assignments}


def _reason_to_recluster(task: Task) -> str:
    """The reason for clustering from scratch; empty if the row maps of the served version are continued."""
    every = task.settings.compress.recluster_every
    if task.groups is None:
        return "there are no row maps to continue"
    groups = task.groups[1]
    if groups["key"] != task.settings.compression_key():
        return "the settings of compression changed"
    if every and task.window - groups["since"] >= every:
        return f"{every} windows have passed"
    return ""


def _choose(
    task: Task, model: CTRModel, counts: Mapping[str, np.ndarray], sensitivity: Mapping[str, np.ndarray] | None
) -> tuple[dict[str, MethodConfig], str]:
    """Configurations of all fields; if the budget is too small, those of uncompressed tables, and the reason."""
    try:
        return choose_configs(task.settings.compress, model, counts, sensitivity), ""
    except BudgetError as error:
        return {field: table.config for field, table in model.fields.embeddings().items()}, str(error).rstrip(".")


def _compressed(
    model: CTRModel,
    configs: dict[str, MethodConfig],
    counts: Mapping[str, np.ndarray],
    sensitivity: Mapping[str, np.ndarray] | None,
    previous: CTRModel | None = None,
) -> tuple[CTRModel, dict[str, MethodConfig], str]:
    """The compressed model and its configurations; the uncompressed model and a reason if a table does not fit.

    A window whose tables do not fit the method is thus refused, and the loop continues.
    """
    try:
        return compress_fields(model, configs, counts, previous=previous, sensitivity=sensitivity), configs, ""
    except (ValueError, BudgetError) as error:
        as_it_is = {field: table.config for field, table in model.fields.embeddings().items()}
        return copy.deepcopy(model), as_it_is, str(error).rstrip(".")


def _measure_sensitivity(task: Task, model: CTRModel) -> dict[str, np.ndarray]:
    """The cost of errors in the vectors of each field, measured on the window."""
    clicks = load_clicks(task.files["ingest"] / CLICKS)
    return measure_sensitivity(model, clicks, seed=task.seed(3))


def _guess_new_values(task: Task, model: CTRModel, counts: Mapping[str, np.ndarray]) -> int:
    """Sets the rows of rarely seen values to the mean of co-occurring values; returns their number."""
    if task.settings.new_values == "default":
        return 0
    clicks = load_clicks(task.files["ingest"] / CLICKS)
    present = clicks.counts(list(task.sizes.values()))
    wanted = {}
    for place, (own, now) in enumerate(zip(counts.values(), present, strict=True)):
        rare = np.flatnonzero((own < task.settings.new_values_below) & (now > 0))
        wanted[place] = rare[rare > 0]
    tables = [decoded(table) for table in model.fields.embeddings().values()]
    for place, rows in cooccurrence_vectors(clicks, [table.numpy() for table in tables], wanted).items():
        tables[place][torch.from_numpy(wanted[place])] = torch.from_numpy(rows)
    return sum(map(len, wanted.values()))
