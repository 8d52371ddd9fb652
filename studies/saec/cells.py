"""Measures the cells of the experiments on Saec, and keeps each as a line of JSON as soon as it is finished."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import numpy as np

from slimtable.bench.machine import cpu_name, versions
from slimtable.bench.results import Record
from slimtable.errors import BudgetError
from slimtable.pool import Failure
from studies.finished import add_finished, measure_missing, read_finished
from studies.saec.experiments import EMBEDDING_DIM, OTHER_RATES, Cell, Panel
from studies.saec.other_measurements import measure_moving, measure_new_values
from studies.saec.plans import Fields, budget_of, find_plan, full_width, widest
from studies.saec.snapshots import (
    Measured,
    Snapshot,
    compress_at,
    counts_of,
    figures_at,
    load_log,
    train_snapshots,
)

CELLS = "cells.jsonl"
_KEYS = {"panel", "seed", "entry", "windows", "date", "versions", "cpu"}

Cells = dict[tuple[str, int, str], Record]
"""Finished cells by :attr:`studies.saec.experiments.Cell.key`."""
Group = tuple[Sequence[Cell], Path, Path | None]
"""Cells of one panel and seed, the folder, and that of datasets."""


def read_cells(out: Path) -> Cells:
    """The finished cells of a folder; a last line cut off is none.

    Raises:
        SlimtableError: a line is damaged.
    """
    found = read_finished(out / CELLS, _KEYS)
    return {(record["panel"], record["seed"], record["entry"]): record for record in found}


def keep_cell(out: Path, cell: Cell, measured: list[Measured], why: str = "") -> None:
    """Adds what was measured of a cell in each window, or why it cannot be; several processes may do so at once."""
    record = {
        **dict(zip(("panel", "seed", "entry"), cell.key, strict=True)),
        "windows": measured,
        "why": why,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "cpu": cpu_name(),
    }
    add_finished(out / CELLS, record)


def measure_cells(
    cells: Sequence[Cell], out: Path, data_root: Path | None, *, workers: int = 1, progress: bool = True
) -> list[Failure[Group]]:
    """Measures what is not there yet, and keeps each cell as soon as it is finished.

    A panel with a seed is done by one process. Returned is what failed; the others are finished.
    """
    groups = [list(group) for _, group in groupby(cells, lambda cell: (cell.panel.name, cell.seed))]
    return measure_missing(
        groups, lambda: read_cells(out), _measure_group, out, data_root, workers=workers, progress=progress
    )


def _measure_group(group: Group) -> None:
    """Measures and keeps cells."""
    cells, out, data_root = group
    for cell in cells:
        try:
            measured, why = measure_cell(cell, data_root), ""
        except BudgetError as error:  # a finding too: the row has no size as small as that
            measured, why = [], str(error)
        keep_cell(out, cell, measured, why)


def measure_cell(cell: Cell, data_root: Path | None) -> list[Measured]:
    """The figures of a cell, one for every time that something is tested.

    Returns:
        For a row of a comparison "bits", "vectors", those of uncompressed tables, "before" and "after" retraining with
        the metrics, and "seconds" by stage. What other measurements give is said where they are made.

    Raises:
        BudgetError: nothing fits into the budget of the row.
    """
    tried = [_measure_at(replace(cell, panel=panel), data_root) for panel in _rates(cell, data_root)]
    if len(tried) == 1:
        return tried[0]
    return min(tried, key=lambda measured: float(np.mean([snapshot["after"]["log_loss"] for snapshot in measured])))


def _rates(cell: Cell, data_root: Path | None) -> list[Panel]:
    """The panel with each learning rate of rows that a cell is measured with; the best log loss counts."""
    panel, entry = cell.panel, cell.entry
    if entry.kind not in ("trained", "uncompressed", "compressed") or not panel.windows:
        return [panel]
    if entry.kind != "trained" and _width(cell, data_root) == EMBEDDING_DIM:
        return [panel]
    return [panel.trained(row_learning_rate=panel.train.row_learning_rate * factor) for factor in OTHER_RATES]


def _width(cell: Cell, data_root: Path | None) -> int:
    log = load_log(cell.panel.data, cell.panel.windows, data_root)
    return cell.entry.embedding_dim or widest(cell.entry, cell.panel, log.sizes[: log.steps])


def _measure_at(cell: Cell, data_root: Path | None) -> list[Measured]:
    panel, seed, entry = cell.panel, cell.seed, cell.entry
    if entry.kind == "trained":
        return _trained(cell, data_root)
    snapshots = _snapshots(panel, seed, _width(cell, data_root), data_root)
    if entry.kind == "uncompressed":
        return [figures_at(snapshot, snapshot.model, snapshot.metrics, snapshot.metrics) for snapshot in snapshots]
    if entry.kind == "new-values":
        return [measure_new_values(seed, entry, snapshot) for snapshot in snapshots if snapshot.number]
    if entry.kind == "hysteresis":
        return measure_moving(seed, entry, snapshots)
    return [compress_at(seed, entry, snapshot)[0] for snapshot in snapshots]


@lru_cache(maxsize=2)  # the usual width, and one other
def _snapshots(panel: Panel, seed: int, embedding_dim: int, data_root: Path | None) -> list[Snapshot]:
    log = load_log(panel.data, panel.windows, data_root)
    return list(train_snapshots(panel, log, seed, embedding_dim))


def _trained(cell: Cell, data_root: Path | None) -> list[Measured]:
    """Tables that are compressed from the start, as large as the last vocabulary allows; nothing is retrained."""
    panel, log = cell.panel, load_log(cell.panel.data, cell.panel.windows, data_root)
    sizes, counts, width = log.sizes[log.steps - 1], counts_of(log, log.steps), full_width(panel)
    fields = Fields(sizes, width, budget_of(cell.entry, sizes, width), counts, {}, {})
    configs = find_plan(cell.entry, fields)
    snapshots = train_snapshots(panel, log, cell.seed, EMBEDDING_DIM, configs, counts)
    return [figures_at(snapshot, snapshot.model, snapshot.metrics, snapshot.metrics) for snapshot in snapshots]
