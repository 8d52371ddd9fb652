"""Measures the cells of the experiments on Saec: compress, test, train on, test again, at every moment."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from dataclasses import replace
from functools import lru_cache
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slimtable.data.clicks.clicks import Clicks
from slimtable.embeddings.base import MethodConfig
from slimtable.errors import BudgetError
from slimtable.models.ctr import CTRModel, get_ctr_model
from slimtable.progress import progress_bar
from slimtable.training.ctr_trainer import CTRTrainer, evaluate_clicks
from slimtable.training.field_compression import compress_fields, field_bits
from slimtable.training.threads import one_thread
from studies.saec.experiments import EMBEDDING_DIM, OTHER_RATES, Cell, Entry, Panel
from studies.saec.moments import Log, Moment, counts_of, load_log, trained_moments
from studies.saec.plans import Configs, Fields, budget_of, find_plan, widest
from studies.saec.store import keep_cell, read_cells

Measured = dict[str, Any]
_LOOK_EVERY = 1.0  # seconds between two looks at the file of finished cells


def measure_cells(
    cells: Sequence[Cell], out: Path, data_root: Path | None, *, workers: int = 1, progress: bool = True
) -> None:
    """Measures what is not there yet, and keeps each cell as soon as it is finished.

    Args:
        cells: what is wanted, those of one panel and seed together.
        out: the folder.
        data_root: folder of datasets; None for the usual one.
        workers: processes, one thread each; a panel with a seed is done by one of them.
        progress: show a progress bar on a terminal.
    """
    known = read_cells(out)
    groups = [list(group) for _, group in groupby(cells, lambda cell: (cell.panel.name, cell.seed))]
    waiting = [left for group in groups if (left := [cell for cell in group if cell.key not in known])]
    total = sum(map(len, waiting))
    if not total:
        return
    with progress_bar(progress) as bar:
        task = bar.add_task(f"{total} cells", total=total)
        if workers == 1 or len(waiting) == 1:
            for group in waiting:
                for _ in _measure_group(group, out, data_root):
                    bar.advance(task)
            return
        with ProcessPoolExecutor(min(workers, len(waiting)), get_context("spawn")) as pool:
            running = {pool.submit(_measure_whole_group, group, out, data_root) for group in waiting}
            try:
                while running:
                    done, running = wait(running, timeout=_LOOK_EVERY)
                    for future in done:
                        future.result()
                    bar.update(task, completed=len(read_cells(out)) - len(known))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


def _measure_whole_group(cells: Sequence[Cell], out: Path, data_root: Path | None) -> None:
    for _ in _measure_group(cells, out, data_root):
        pass


def _measure_group(cells: Sequence[Cell], out: Path, data_root: Path | None) -> Iterator[None]:
    """Measures and keeps the cells of one panel and seed."""
    for cell in cells:
        with one_thread():
            try:
                measured, why = measure_cell(cell, data_root), ""
            except BudgetError as error:  # a finding too: the row has no size as small as that
                measured, why = [], str(error)
        keep_cell(out, cell, measured, why)
        yield


def measure_cell(cell: Cell, data_root: Path | None) -> list[Measured]:
    """The figures of a cell, one for every time that something is tested.

    Args:
        cell: what to measure.
        data_root: folder of datasets; None for the usual one.

    Returns:
        For a row of a comparison "bits", "vectors", those of uncompressed tables, "before" and "after" retraining with
        the metrics, and "seconds" by stage. What other measurements give is said where they are made.

    Raises:
        BudgetError: nothing fits into the budget of the row.
    """
    tried = [_measure_at(replace(cell, panel=panel), data_root) for panel in _rates(cell, data_root)]
    if len(tried) == 1:
        return tried[0]
    return min(tried, key=lambda measured: float(np.mean([moment["after"]["log_loss"] for moment in measured])))


def _rates(cell: Cell, data_root: Path | None) -> list[Panel]:
    """The panel with each learning rate of rows that a cell is measured with; the best log loss counts."""
    panel, entry = cell.panel, cell.entry
    if entry.kind not in ("trained", "uncompressed", "compressed") or not panel.windows:
        return [panel]
    if entry.kind != "trained":
        log = load_log(panel.data, panel.windows, data_root)
        if (entry.embedding_dim or widest(entry, panel, log)) == EMBEDDING_DIM:
            return [panel]
    rate = panel.train.row_learning_rate
    return [replace(panel, train=replace(panel.train, row_learning_rate=rate * factor)) for factor in OTHER_RATES]


def _measure_at(cell: Cell, data_root: Path | None) -> list[Measured]:
    panel, seed, entry = cell.panel, cell.seed, cell.entry
    log = load_log(panel.data, panel.windows, data_root)
    if entry.kind == "trained":
        return _trained(panel, log, seed, entry)
    width = entry.embedding_dim or widest(entry, panel, log)
    moments = _moments(panel, seed, width, data_root)
    if entry.kind == "uncompressed":
        return [_uncompressed(panel, moment) for moment in moments]
    if entry.kind == "new-values":
        from studies.saec.new_values import measure_new_values

        return [measure_new_values(panel, seed, entry, moment) for moment in moments if moment.number]
    if entry.kind == "hysteresis":
        from studies.saec.moving import measure_moving

        return measure_moving(panel, seed, entry, moments)
    return [compress_at(panel, seed, entry, moment)[0] for moment in moments]


@lru_cache(maxsize=2)  # the usual width, and one other
def _moments(panel: Panel, seed: int, embedding_dim: int, data_root: Path | None) -> list[Moment]:
    log = load_log(panel.data, panel.windows, data_root)
    return list(trained_moments(panel, log, seed, embedding_dim))


def compress_at(
    panel: Panel,
    seed: int,
    entry: Entry,
    moment: Moment,
    previous: CTRModel | None = None,
    configs: Configs | None = None,
) -> tuple[Measured, CTRModel]:
    """Compresses a model, tests it, trains it on and tests it again.

    Args:
        panel: the log and model.
        seed: of what is drawn.
        entry: how.
        moment: when.
        previous: the compressed model of the moment before, to continue from.
        configs: of every field; None to find them.

    Returns:
        The figures, and the model.
    """
    seconds = {"train": moment.seconds}
    if entry.weighed:
        start = time.perf_counter()
        sensitivity = moment.sensitivity
        moment_seconds = time.perf_counter() - start  # next to nothing where it is known already
        seconds["sensitivity"] = moment_seconds
    else:
        sensitivity = {}
    start = time.perf_counter()
    if configs is None:
        configs = find_plan(entry, fields_at(panel, entry, moment, sensitivity))
    seconds["allocate"] = time.perf_counter() - start
    start = time.perf_counter()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        compressed = compress_fields(
            moment.model, configs, moment.counts, previous=previous, sensitivity=sensitivity or None
        )
    seconds["compress"] = time.perf_counter() - start
    before = evaluate_clicks(compressed, moment.test)
    start = time.perf_counter()
    retrain(compressed, panel, seed, moment.soft if entry.soft else moment.train)
    seconds["retrain"] = time.perf_counter() - start
    start = time.perf_counter()
    after = evaluate_clicks(compressed, moment.test)
    seconds["evaluate"] = time.perf_counter() - start
    return _figures(panel, moment, compressed, before, after, seconds), compressed


def retrain(model: CTRModel, panel: Panel, seed: int, clicks: Clicks) -> None:
    """Trains a compressed model on, in place."""
    how = panel.retrain
    trainer = CTRTrainer(model, how.config(panel.train.batch_size, seed))
    for _ in range(how.epochs):
        trainer.fit(clicks, epochs=1)
        for optimizer in (trainer.optimizer, trainer.row_optimizer):
            for group in optimizer.param_groups if optimizer is not None else ():
                group["lr"] *= how.decay


def fields_at(panel: Panel, entry: Entry, moment: Moment, sensitivity: Mapping[str, np.ndarray]) -> Fields:
    """What plans go by at a moment."""
    sizes = {field: table.num_embeddings for field, table in moment.model.fields.embeddings().items()}
    full_width = get_ctr_model(panel.model).width(EMBEDDING_DIM)
    bits = budget_of(entry, sizes, full_width)
    return Fields(sizes, moment.model.fields.width, bits, moment.counts, moment.tables, sensitivity)


def _uncompressed(panel: Panel, moment: Moment) -> Measured:
    return _figures(panel, moment, moment.model, moment.metrics, moment.metrics, {"train": moment.seconds})


def _trained(panel: Panel, log: Log, seed: int, entry: Entry) -> list[Measured]:
    """Tables that are compressed from the start, as large as the last vocabulary allows; nothing is retrained."""
    sizes = log.sizes[log.steps - 1]
    full_width = get_ctr_model(panel.model).width(EMBEDDING_DIM)
    counts = counts_of(log, log.steps)
    configs: dict[str, MethodConfig] = find_plan(
        entry, Fields(sizes, full_width, budget_of(entry, sizes, full_width), counts, {}, {})
    )
    found = []
    for moment in trained_moments(panel, log, seed, EMBEDDING_DIM, configs, counts):
        metrics = evaluate_clicks(moment.model, moment.test)
        found.append(_figures(panel, moment, moment.model, metrics, metrics, {"train": moment.seconds}))
    return found


def _figures(
    panel: Panel,
    moment: Moment,
    model: CTRModel,
    before: Mapping[str, float],
    after: Mapping[str, float],
    seconds: Mapping[str, float],
) -> Measured:
    size, values = field_bits(model), sum(len(counts) for counts in moment.counts.values())
    return {
        "window": moment.number,
        "bits": size.total,
        "vectors": size.num_vectors,
        "values": values,
        "dense_bits": 32 * values * get_ctr_model(panel.model).width(EMBEDDING_DIM),
        "width": model.fields.width,
        "row_learning_rate": panel.train.row_learning_rate,
        "before": dict(before),
        "after": dict(after),
        "seconds": dict(seconds),
    }
