"""Grids of runs in one folder: missing runs are trained, finished ones kept, and interrupted ones resumed."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from slimtable.bench.jobs import Job, Setting, Source, check_fits, load_again, plan, run_folder, run_job
from slimtable.bench.results import Record, ResultsFile
from slimtable.config import Config
from slimtable.data import Split
from slimtable.data.clicks.parts import ClickParts
from slimtable.embeddings.base import MethodConfig
from slimtable.errors import SlimtableError
from slimtable.pool import Failure, reason_of, run_here, run_parallel
from slimtable.progress import watch
from slimtable.training.ctr_run import CTRRunConfig
from slimtable.training.run_folder import LOG
from slimtable.training.trainer import TrainConfig

_WORKERS_PER_CORE = 4
_FAILURE_LOG = "error.log"

Parts = dict[Source, Split | ClickParts]


@dataclass(frozen=True)
class Grid:
    """Methods and seeds of one setting.

    Attributes:
        source: where the data comes from.
        model_name: registry name of the recommender.
        train: how to train; each of ``seeds`` takes the place of its seed.
        methods: configurations to test.
        seeds: seeds of each.
        model_config: options of the recommender; None for its defaults.
        checked: build every model before the first training, so that what cannot work fails at once. False where that
            takes long, as for methods that group users and items: what does not fit then fails in its own training.
    """

    source: Source
    model_name: str
    train: TrainConfig | CTRRunConfig
    methods: tuple[MethodConfig, ...]
    seeds: tuple[int, ...]
    model_config: Config | None = None
    checked: bool = True


@dataclass(frozen=True)
class GridsResult:
    """The result of running grids.

    Attributes:
        records: all finished runs of the folder, in the order in which they finished.
        failures: trainings that failed.
        num_jobs: number of trainings that were missing.
    """

    records: list[Record]
    failures: list[Failure[Job]]
    num_jobs: int

    def raise_failures(self) -> None:
        """Raises a SlimtableError that names the trainings that failed, if any did."""
        if self.failures:
            reasons = "; ".join(f"{failure.job.label}: {failure.reason}" for failure in self.failures)
            raise SlimtableError(f"{len(self.failures)} of {self.num_jobs} trainings failed. {reasons}")


def run_grids(
    grids: Sequence[Grid],
    out: Path,
    *,
    workers: int | None = None,
    progress: bool = True,
    on_change: Callable[[list[Record]], None] | None = None,
) -> GridsResult:
    """Trains and tests the missing runs of grids, in one process pool and one results file.

    Args:
        grids: the runs to do; a training that several grids need is done once.
        out: folder of the results.
        workers: number of processes, one thread each; 1 for this process alone, None for one per core.
        progress: show a progress bar on a terminal.
        on_change: called with all finished runs of the folder, once before the first training and whenever one is
            finished.

    Returns:
        The finished runs, and the failures.

    Raises:
        ValueError: a configuration does not fit the data, or there is no such model; nothing was trained.
        DatasetError: the data cannot be loaded.
        SlimtableError: another process writes to the folder, or its results are damaged.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"`workers` must be at least 1, got {workers}.")
    if workers is not None and workers > _WORKERS_PER_CORE * (os.cpu_count() or 1):
        raise ValueError(
            f"{workers:,} workers are more than {_WORKERS_PER_CORE} for each of {os.cpu_count()} cores. Use fewer."
        )
    loaded = {source: source.load() for source in dict.fromkeys(grid.source for grid in grids)}
    parts = {source: split for source, (split, _) in loaded.items()}
    for grid in (grid for grid in grids if grid.checked):
        check_fits(parts[grid.source], grid.model_name, grid.methods, grid.train, grid.model_config)
    settings = [_setting(grid, *loaded[grid.source]) for grid in grids]
    out.mkdir(parents=True, exist_ok=True)
    failures: list[Failure[Job]] = []
    with ResultsFile(out) as results:
        jobs = _merged(
            job
            for grid, setting in zip(grids, settings, strict=True)
            for job in plan(grid.source, setting, grid.methods, grid.seeds, results, out)
        )
        if on_change is not None:
            on_change(results.records)
        workers = min(workers if workers is not None else os.cpu_count() or 1, max(len(jobs), 1))
        ended: set[Path] = set()
        epochs = sum(job.setting.train.epochs for job in jobs)
        if workers == 1:
            outcomes = run_here(jobs, partial(_run, dict(parts)))
        else:
            outcomes = run_parallel(jobs, run_apart, workers)
        with (
            watch(f"{len(jobs)} trainings, epochs", epochs, partial(_all_epochs_done, jobs, ended), progress),
            closing(outcomes),  # ends the processes at once, whatever happens here
        ):
            for outcome in outcomes:
                if isinstance(outcome, Failure):
                    failures.append(outcome)
                    continue
                for record in outcome:
                    results.append(record)
                ended.update(run_folder(out, record) for record in outcome)
                if on_change is not None:
                    on_change(results.records)
        return GridsResult(results.records, failures, len(jobs))


def _setting(grid: Grid, parts: Split | ClickParts, split_name: str) -> Setting:
    return Setting.of(grid.source, parts, split_name, grid.model_name, grid.train, grid.model_config)


def _merged(jobs: Iterator[Job]) -> list[Job]:
    """Merges jobs with the same training, so that each training is done once."""
    by_folder: dict[Path, Job] = {}
    for job in jobs:
        same = by_folder.setdefault(job.folder, job)
        by_folder[job.folder] = replace(same, wanted=tuple(dict.fromkeys([*same.wanted, *job.wanted])))
    return list(by_folder.values())


_loaded: Parts = {}
"""The data that a worker process has loaded, each source once."""


def run_apart(job: Job) -> list[Record] | Failure[Job]:
    """Runs a job in a process of its own."""
    return _run(_loaded, job)


def _run(parts: Parts, job: Job) -> list[Record] | Failure[Job]:
    """Runs a job; an error becomes a failure, with its traceback in the run folder."""
    log = job.folder / _FAILURE_LOG
    try:
        if job.source not in parts:
            parts[job.source] = load_again(job)
        records = run_job(job, parts[job.source])
    except Exception as error:  # whatever it is, the other runs go on
        job.folder.mkdir(parents=True, exist_ok=True)
        log.write_text(traceback.format_exc())
        return Failure(job, f"{reason_of(error)} (see {log})")
    log.unlink(missing_ok=True)
    return records


def _all_epochs_done(jobs: Sequence[Job], ended: Container[Path]) -> int:
    """Finished epochs of all jobs, from the logs of their folders; jobs that ended count with all their epochs."""
    return sum(_epochs_done(job, ended) for job in jobs)


def _epochs_done(job: Job, ended: Container[Path]) -> int:
    if job.folder in ended:  # perhaps with epochs left, as patience may run out
        return job.setting.train.epochs
    try:
        return (job.folder / LOG).read_bytes().count(b"\n")
    except OSError:
        return 0  # not started
