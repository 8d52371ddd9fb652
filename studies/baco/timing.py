"""Seconds of groupings, each in a process of its own that is stopped after a while."""

from __future__ import annotations

import multiprocessing
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from slimtable.bench.jobs import Source
from slimtable.bench.machine import cpu_name
from slimtable.data.interactions.interactions import Interactions
from slimtable.errors import BudgetError, SlimtableError
from slimtable.files import write_json
from slimtable.grouping import InteractionGraph, group
from slimtable.training.threads import one_thread
from studies.kept import read_kept

_FILE = "timing.json"


@dataclass(frozen=True)
class Timing:
    """How long a grouping took.

    Attributes:
        rows: rows of both sides; None where it was stopped or failed.
        seconds: of the grouping itself.
        tuning_seconds: of finding the option that gives so many rows.
        ended: "done", "stopped", or why it failed.
        limit: seconds after which it would be stopped.
        cpu: the processor.
    """

    rows: int | None
    seconds: float | None
    tuning_seconds: float | None
    ended: str
    limit: float
    cpu: str


def time_grouping(source: Source, grouping: str, num_rows: int | None, limit: float) -> Timing:
    """Times a grouping of a dataset's training part, with one thread; compiling is not counted.

    Args:
        source: the data.
        grouping: its text.
        num_rows: rows of both sides; None for as many as its options give.
        limit: seconds, loading and compiling included, after which it is stopped.

    Returns:
        The times.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, source, grouping, num_rows), daemon=True)
    process.start()
    theirs.close()
    try:
        found = ours.recv() if ours.poll(limit) else None
    except EOFError:
        found = {"ended": "its process ended without a word"}
    finally:
        process.kill()
        process.join()
    values: dict[str, Any] = {"rows": None, "seconds": None, "tuning_seconds": None, "ended": "stopped"}
    return Timing(**(values | (found or {})), limit=limit, cpu=cpu_name())


def known_timings(out: Path) -> dict[str, Timing]:
    """What was timed before, by :func:`timing_key`."""
    path = out / _FILE
    try:
        return {key: Timing(**values) for key, values in read_kept(path).items()}
    except TypeError as error:
        raise SlimtableError(f"{path} is damaged ({error}). Delete it.") from error


def keep_timing(out: Path, key: str, timing: Timing) -> None:
    """Keeps a time beside the results."""
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / _FILE, {name: asdict(each) for name, each in (known_timings(out) | {key: timing}).items()})


def timing_key(panel: str, grouping: str, num_rows: int | None, limit: float) -> str:
    """What tells times apart."""
    return f"{panel}: {grouping}, {num_rows} rows, at most {limit:g} s"


def _work(connection: Connection, source: Source, grouping: str, num_rows: int | None) -> None:
    try:
        with one_thread():
            graph = InteractionGraph.from_interactions(source.load_split().train)
            _compile(grouping)
            groups = group(graph, grouping, num_rows=num_rows)
    except Exception as error:  # the other groupings can still be timed
        connection.send({"ended": f"{type(error).__name__}: {error}".split("\n")[0]})
        return
    statistics = groups.statistics
    connection.send(
        {
            "rows": groups.num_rows,
            "seconds": statistics.seconds,
            "tuning_seconds": statistics.tuning_seconds,
            "ended": "done",
        }
    )


def _compile(grouping: str) -> None:
    """Groups a small graph, so that compiled code is there."""
    generator = np.random.default_rng(0)
    edges = Interactions.from_raw(generator.integers(40, size=300), generator.integers(30, size=300))
    graph = InteractionGraph.from_interactions(edges)
    try:
        group(graph, grouping, num_rows=20)
    except (BudgetError, ValueError):  # some cannot be told their rows, or are told those of the real data
        try:
            group(graph, grouping)
        except (BudgetError, ValueError):
            return
