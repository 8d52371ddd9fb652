"""Snapshots of uncompressed models: after every window, or once on a split; each is compressed and tested."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slimtable.data.clicks.clicks import Clicks
from slimtable.data.clicks.windows import encode_log, encode_windows, split_clicks
from slimtable.data.datasets import load_click_dataset
from slimtable.embeddings.base import MethodConfig
from slimtable.methods.full import Full
from slimtable.models.ctr import CTRModel, build_ctr_model
from slimtable.models.parts.fields import FieldTables
from slimtable.training.ctr_trainer import CTRTrainer, evaluate_clicks
from slimtable.training.distillation import soften
from slimtable.training.field_compression import compress_fields, field_bits
from slimtable.training.sensitivity import measure_sensitivity
from studies.saec.experiments import Entry, Panel
from studies.saec.plans import Fields, budget_of, find_plan, full_width

Measured = dict[str, Any]
"""Figures as JSON values."""

_MIN_COUNT = 1  # every value has a vector, as in production


@dataclass(frozen=True, eq=False)
class Log:
    """A click log, numbered.

    Attributes:
        parts: its windows; or the whole log alone where it has none.
        sizes: number of ids by field, after each of the parts.
    """

    parts: list[Clicks]
    sizes: list[dict[str, int]]

    @property
    def steps(self) -> int:
        """How many times something is tested."""
        return max(1, len(self.parts) - 1)


@dataclass(eq=False)
class Snapshot:
    """A model that has been trained and is about to be compressed.

    Attributes:
        panel: the log and model.
        number: how many came before.
        model: over tables of the values known by now.
        train: the clicks that it was trained on last.
        test: clicks that come next, with unknown values as id 0.
        unseen: the same with the ids that unknown values will have.
        before: number of ids by field before ``train`` came; none on a split.
        counts: by field, how often each id was seen.
        seconds: of training.
    """

    panel: Panel
    number: int
    model: CTRModel
    train: Clicks
    test: Clicks
    unseen: Clicks
    before: dict[str, int]
    counts: dict[str, np.ndarray]
    seconds: float

    @cached_property
    def sensitivity(self) -> dict[str, np.ndarray]:
        """What errors of each field's vectors cost."""
        return measure_sensitivity(self.model, self.train)

    @cached_property
    def soft(self) -> Clicks:
        """The clicks of ``train`` with the predictions of the model for labels."""
        return soften(self.train, self.model)

    @cached_property
    def metrics(self) -> dict[str, float]:
        """How well the model predicts ``test``."""
        return evaluate_clicks(self.model, self.test)

    @cached_property
    def tables(self) -> dict[str, np.ndarray]:
        """By field, the vectors (ids, width)."""
        return {field: table.weight.numpy() for field, table in self.model.fields.embeddings().items()}

    @property
    def sizes(self) -> dict[str, int]:
        """Number of ids by field."""
        return {field: table.num_embeddings for field, table in self.model.fields.embeddings().items()}

    def fields(self, entry: Entry) -> Fields:
        """What the plan of a row goes by."""
        bits = budget_of(entry, self.sizes, full_width(self.panel))
        sensitivity = self.sensitivity if entry.weighed else {}
        return Fields(self.sizes, self.model.fields.width, bits, self.counts, self.tables, sensitivity)


@lru_cache(maxsize=1)
def load_log(data: str, windows: int, data_root: Path | None) -> Log:
    """A log as its panel wants it; that of the last call is remembered."""
    dataset = load_click_dataset(data, data_root=data_root)
    if windows:
        return Log(*encode_windows(dataset, windows, _MIN_COUNT))
    clicks, vocabularies = encode_log(dataset, min_count=_MIN_COUNT)
    return Log([clicks], [vocabularies.sizes])


def train_snapshots(
    panel: Panel,
    log: Log,
    seed: int,
    embedding_dim: int,
    configs: Mapping[str, MethodConfig] | None = None,
    frequencies: Mapping[str, np.ndarray] | None = None,
) -> Iterator[Snapshot]:
    """Trains a model and stops wherever it would be compressed; it goes on afterwards, so what is kept must be a copy.

    Args:
        panel: the log and model.
        log: the log.
        seed: of the initialisation, of the order of clicks, and of the split.
        embedding_dim: width of the vectors.
        configs: methods of the tables; None for uncompressed ones, which each snapshot has cut to the known values.
        frequencies: by field, for methods that go by them.

    Yields:
        Snapshots, in order.
    """
    known = log.sizes[log.steps - 1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_ctr_model(
            panel.model_name,
            known,
            log.parts[0].numeric.shape[1],
            embedding_dim,
            configs,
            frequencies={field: torch.from_numpy(counts) for field, counts in (frequencies or {}).items()},
        )
    if not panel.windows:
        yield _on_split(panel, log, seed, model)
        return
    trainer = CTRTrainer(model, replace(panel.train, seed=seed))
    counts = {field: np.zeros(size, np.int64) for field, size in known.items()}
    for number in range(log.steps):
        train, sizes = log.parts[number], log.sizes[number]
        start = time.perf_counter()
        trainer.fit(train)
        seconds = time.perf_counter() - start
        for total, more in zip(counts.values(), train.counts(known), strict=True):
            total += more
        yield Snapshot(
            panel,
            number,
            _known(model, sizes) if configs is None else model,
            train,
            log.parts[number + 1].with_known(sizes),
            log.parts[number + 1],
            log.sizes[number - 1] if number else {},
            {field: counts[field][:size].copy() for field, size in sizes.items()},
            seconds,
        )


def counts_of(log: Log, upto: int) -> dict[str, np.ndarray]:
    """By field, how often each id occurs in the first ``upto`` parts."""
    sizes = log.sizes[upto - 1]
    of_parts = [part.counts(sizes) for part in log.parts[:upto]]
    return {field: np.sum([counts[place] for counts in of_parts], axis=0) for place, field in enumerate(sizes)}


def over(model: CTRModel, tables: Mapping[str, torch.Tensor]) -> CTRModel:
    """A copy over uncompressed tables, by field."""
    fields = FieldTables({field: Full.from_table(table) for field, table in tables.items()})
    return copy.deepcopy(model, {id(model.fields): fields})


def _known(model: CTRModel, sizes: Mapping[str, int]) -> CTRModel:
    """A copy whose uncompressed tables hold the first ids of each field alone."""
    return over(model, {field: table.weight[: sizes[field]] for field, table in model.fields.embeddings().items()})


def _on_split(panel: Panel, log: Log, seed: int, model: CTRModel) -> Snapshot:
    """Trains until the validation log loss no longer falls, and goes back to the best epoch."""
    train, valid, test = split_clicks(log.parts[0], seed=seed)
    trainer = CTRTrainer(model, replace(panel.train, seed=seed))
    best, best_loss, since = copy.deepcopy(model.state_dict()), float("inf"), 0
    start = time.perf_counter()
    for _ in range(panel.train.epochs):
        trainer.fit(train, epochs=1)
        loss = evaluate_clicks(model, valid)["log_loss"]
        since += 1
        if loss < best_loss:
            best, best_loss, since = copy.deepcopy(model.state_dict()), loss, 0
        if since >= panel.patience:
            break
    model.load_state_dict(best)
    seconds = time.perf_counter() - start
    sizes = log.sizes[0]
    counts = dict(zip(sizes, train.counts(sizes), strict=True))
    return Snapshot(panel, 0, model, train, test, test, {}, counts, seconds)


def compress_at(
    seed: int, entry: Entry, snapshot: Snapshot, previous: CTRModel | None = None
) -> tuple[Measured, CTRModel]:
    """Compresses a model, tests it, trains it on and tests it again.

    Where the compressed model of the snapshot before is given, it is continued from. Returned are the figures and the
    model.
    """
    seconds = {"train": snapshot.seconds}

    @contextmanager
    def timed(stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        seconds[stage] = time.perf_counter() - start

    sensitivity = None
    if entry.weighed:
        with timed("sensitivity"):  # next to nothing where it is known already
            sensitivity = snapshot.sensitivity
    with timed("allocate"):
        configs = find_plan(entry, snapshot.fields(entry))
    with timed("compress"), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        compressed = compress_fields(
            snapshot.model, configs, snapshot.counts, previous=previous, sensitivity=sensitivity or None
        )
    before = evaluate_clicks(compressed, snapshot.test)
    with timed("retrain"):
        retrain(compressed, snapshot.panel, seed, snapshot.soft if entry.soft else snapshot.train)
    with timed("evaluate"):
        after = evaluate_clicks(compressed, snapshot.test)
    return figures_at(snapshot, compressed, before, after, seconds), compressed


def retrain(model: CTRModel, panel: Panel, seed: int, clicks: Clicks) -> None:
    """Trains a compressed model on, in place."""
    how = panel.retrain
    trainer = CTRTrainer(model, how.config(panel.train.batch_size, seed))
    for _ in range(how.epochs):
        trainer.fit(clicks, epochs=1)
        for optimizer in (trainer.optimizer, trainer.row_optimizer):
            for group in optimizer.param_groups if optimizer is not None else ():
                group["lr"] *= how.decay


def figures_at(
    snapshot: Snapshot,
    model: CTRModel,
    before: Mapping[str, float],
    after: Mapping[str, float],
    seconds: Mapping[str, float] | None = None,
) -> Measured:
    """What is kept of a model: its size, and its metrics before and after retraining."""
    size, values = field_bits(model), sum(len(counts) for counts in snapshot.counts.values())
    return {
        "window": snapshot.number,
        "bits": size.total,
        "vectors": size.num_vectors,
        "values": values,
        "dense_bits": 32 * values * full_width(snapshot.panel),
        "width": model.fields.width,
        "row_learning_rate": snapshot.panel.train.row_learning_rate,
        "before": dict(before),
        "after": dict(after),
        "seconds": dict(seconds or {"train": snapshot.seconds}),
    }
