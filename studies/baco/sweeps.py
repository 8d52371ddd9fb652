"""How many rows BACO has after each sweep."""

from __future__ import annotations

from pathlib import Path

from slimtable.bench.jobs import Source
from slimtable.files import write_json
from slimtable.grouping import InteractionGraph, group
from slimtable.grouping.algorithms.baco import BACO
from studies.kept import read_kept

_FILE = "sweeps.json"


def rows_after_sweeps(panel: str, source: Source, num_rows: int, sweeps: int, out: Path) -> tuple[float, list[int]]:
    """Sweeps on with the γ that meets a budget after the usual number of sweeps; kept beside the results.

    Args:
        panel: name of the data.
        source: the data.
        num_rows: the budget.
        sweeps: how many to do, T.
        out: folder of the results.

    Returns:
        γ, and the rows of both sides after sweeps 1 to T.

    Raises:
        DatasetError: it was not done yet, and the data cannot be had.
    """
    path = out / _FILE
    cached = read_kept(path)
    key = f"{panel}: {num_rows} rows, {sweeps} sweeps"
    if key not in cached:
        graph = InteractionGraph.from_interactions(source.load_split().train)
        gamma = BACO().for_rows(graph, num_rows, seed=0).gamma
        after = group(graph, BACO(gamma=gamma, sweeps=sweeps)).statistics.sweeps
        cached[key] = {"gamma": gamma, "rows": list(after)}
        out.mkdir(parents=True, exist_ok=True)
        write_json(path, cached)
    found = cached[key]
    return found["gamma"], found["rows"]
