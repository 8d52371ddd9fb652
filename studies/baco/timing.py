"""Seconds of groupings, each in a process of its own that is stopped after a while."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slimtable.bench.jobs import Source
from slimtable.bench.machine import cpu_name
from slimtable.data.interactions.interactions import Interactions
from slimtable.errors import BudgetError
from slimtable.grouping import InteractionGraph, group
from slimtable.pool import Failure, run_limited
from studies.baco.experiments import Entry, Panel, datasets, timed
from studies.kept import keep, read_kept_as
from studies.study import Place

_FILE = "timing.json"
_LIMIT, _QUICK_LIMIT = 600.0, 60.0  # seconds after which a grouping is stopped


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


def timings(place: Place[Panel], measure: bool = False) -> Iterator[tuple[Panel, Entry, Timing | None]]:
    """The time of each grouping that is wanted, kept beside the results.

    Args:
        place: whose.
        measure: take those that were not taken; else they are None.
    """
    limit = _QUICK_LIMIT if place.study.quick else _LIMIT
    for panel in datasets(place.study):
        for entry in timed(place.study):
            grouping, rows = entry.grouping(panel.size(place))
            key = timing_key(panel.name, grouping, rows, limit)
            timing = read_kept_as(place.out / _FILE, Timing).get(key)
            if timing is None and measure:
                timing = time_grouping(panel.source(place.data_root), grouping, rows, limit)
                keep_timing(place.out, key, timing)
            yield panel, entry, timing


def timing_key(panel: str, grouping: str, num_rows: int | None, limit: float) -> str:
    """What tells times apart."""
    return f"{panel}: {grouping}, {num_rows} rows, at most {limit:g} s"


def keep_timing(out: Path, key: str, timing: Timing) -> None:
    """Keeps a time beside the results."""
    keep(out / _FILE, key, asdict(timing))


def time_grouping(source: Source, grouping: str, num_rows: int | None, limit: float) -> Timing:
    """Times a grouping of a dataset's training part, with one thread; compiling is not counted.

    It is stopped after ``limit`` seconds, loading and compiling included.
    """
    found = run_limited((source, grouping, num_rows), _time, limit)
    if isinstance(found, dict):
        return Timing(**found, ended="done", limit=limit, cpu=cpu_name())
    ended = found.reason if isinstance(found, Failure) else "stopped"
    return Timing(None, None, None, ended, limit, cpu_name())


def _time(job: tuple[Source, str, int | None]) -> dict[str, Any]:
    source, grouping, num_rows = job
    graph = InteractionGraph.from_interactions(source.load_split().train)
    _compile(grouping)
    groups = group(graph, grouping, num_rows=num_rows)
    statistics = groups.statistics
    return {"rows": groups.num_rows, "seconds": statistics.seconds, "tuning_seconds": statistics.tuning_seconds}


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
