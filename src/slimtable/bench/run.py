"""A grid of runs: every method with every seed, finished ones once, unfinished ones continued."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from slimtable.bench.jobs import Job, Setting, Source, check_fits, plan
from slimtable.bench.machine import one_thread
from slimtable.bench.report import BenchResult, render
from slimtable.bench.results import ResultsFile
from slimtable.bench.workers import Failure, run_here, run_parallel
from slimtable.embedding import MethodConfig
from slimtable.errors import SlimtableError
from slimtable.progress import progress_bar
from slimtable.train import LOG, TrainConfig

_LOOK_EVERY = 0.5  # seconds between two looks at the logs of the runs


def run_bench(
    data: str,
    backbone: str,
    methods: Sequence[MethodConfig],
    *,
    train: TrainConfig,
    seeds: Sequence[int],
    out: str | Path,
    data_root: str | Path | None = None,
    split: str | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> BenchResult:
    """Trains and tests every method with every seed, and reports quality against size.

    A run that is finished is never repeated, one that was cut off continues from its last epoch, and other settings
    in the same folder add rows. Methods that compress after training share one training of the uncompressed table.

    With several workers, a script that calls this must guard the call by ``if __name__ == "__main__":``.

    Args:
        data: name or path, as :func:`slimtable.data.load_dataset` takes it.
        backbone: registry name of the recommender.
        methods: configurations to compare.
        train: how to train; each of ``seeds`` takes the place of its seed.
        seeds: seeds of each method.
        out: folder of the results.
        data_root: folder of datasets; None for the usual one.
        split: name of the split; None for the one that is usual for the data.
        workers: processes, one thread each; 1 for this process alone, None for one per core.
        progress: show a progress bar on a terminal.

    Returns:
        All finished runs of the folder, and where their report is.

    Raises:
        ValueError: there is no method or seed, there is no such backbone, or a configuration does not fit the data;
            nothing was trained.
        DatasetError: the data cannot be had.
        SlimtableError: runs failed; the others are finished and reported.
    """
    if not methods or not seeds:
        raise ValueError("A bench needs at least one method and one seed.")
    if workers is not None and workers < 1:
        raise ValueError(f"`workers` must be at least 1, got {workers}.")
    source = Source(data, None if data_root is None else Path(data_root), split)
    parts, split_name = source.load()
    check_fits(parts, backbone, methods, train)
    setting = Setting.of(source, parts, split_name, backbone, train)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    failures = []
    with ResultsFile(out) as results:
        jobs = plan(source, setting, methods, seeds, results, out)
        workers = min(workers if workers is not None else os.cpu_count() or 1, max(len(jobs), 1))
        with one_thread(), _watched(jobs, train.epochs, progress):
            outcomes = run_here(jobs, parts) if workers == 1 else run_parallel(jobs, workers)
            with closing(outcomes):  # ends the processes at once, whatever happens here
                for outcome in outcomes:
                    if isinstance(outcome, Failure):
                        failures.append(outcome)
                    else:
                        for record in outcome:
                            results.append(record)
        result = render(out) if results.records else None
    if failures:
        reasons = "; ".join(f"{failure.job.label}: {failure.reason}" for failure in failures)
        raise SlimtableError(f"{len(failures)} of {len(jobs)} trainings failed. {reasons}")
    assert result is not None  # no failure, so every run is finished
    return result


@contextmanager
def _watched(jobs: Sequence[Job], epochs: int, progress: bool) -> Iterator[None]:
    """One bar over all epochs of all jobs, read from the logs of their folders."""
    with progress_bar(progress) as bar:
        if bar.disable or not jobs:
            yield
            return
        task = bar.add_task(f"{len(jobs)} trainings, epochs", total=len(jobs) * epochs)
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(_LOOK_EVERY):
                bar.update(task, completed=sum(_epochs_done(job.folder / LOG) for job in jobs))

        watcher = threading.Thread(target=look, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()


def _epochs_done(log: Path) -> int:
    try:
        return log.read_bytes().count(b"\n")
    except OSError:
        return 0  # not begun
