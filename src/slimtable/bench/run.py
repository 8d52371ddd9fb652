"""A grid of runs: every method with every seed; finished runs are kept, interrupted ones resumed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from slimtable.bench.grids import Grid, run_grids
from slimtable.bench.jobs import Source
from slimtable.bench.published import Published
from slimtable.bench.report import BenchResult, render
from slimtable.config import Config
from slimtable.embeddings.base import MethodConfig
from slimtable.models.base import get_model
from slimtable.training.ctr_run import CTRRunConfig
from slimtable.training.trainer import TrainConfig


def run_bench(
    data: str,
    model_name: str,
    methods: Sequence[MethodConfig],
    *,
    train: TrainConfig | CTRRunConfig,
    seeds: Sequence[int],
    out: str | Path,
    model_config: Config | None = None,
    data_root: str | Path | None = None,
    split: str | None = None,
    workers: int | None = None,
    progress: bool = True,
    published: Published | None = None,
) -> BenchResult:
    """Trains and tests every method with every seed, and reports quality against size.

    A finished run is never repeated, an interrupted one resumes from its last epoch, and other settings in the same
    folder add rows. Methods that compress after training share one training of the uncompressed table.

    With several workers, a script that calls this must guard the call by ``if __name__ == "__main__":``.

    Args:
        data: name or path, as for :func:`slimtable.data.load_dataset`.
        model_name: registry name of the recommender.
        methods: configurations to compare.
        train: training settings; ``seeds`` replace the seed in them.
        seeds: seeds of each method.
        out: folder of the results.
        model_config: options of the recommender; None for its defaults.
        data_root: folder of datasets; None for the default.
        split: name of the split; None for the default of the data.
        workers: number of processes, one thread each; 1 for this process alone, None for one per core.
        progress: show a progress bar on a terminal.
        published: results of a paper, shown next to runs with its settings; None to show none.

    Returns:
        All finished runs of the folder, and the path of the report.

    Raises:
        ValueError: there is no method or seed, there is no such model, or a configuration does not fit the data;
            nothing was trained.
        DatasetError: the data cannot be loaded.
        SlimtableError: runs failed; the others are finished and reported.
    """
    if not methods or not seeds:
        raise ValueError("A bench needs at least one method and one seed.")
    clicks = get_model(model_name).task == "ctr"
    source = Source(data, None if data_root is None else Path(data_root), split, clicks)
    grid = Grid(source, model_name, train, tuple(methods), tuple(seeds), model_config)
    out = Path(out)
    done = run_grids([grid], out, workers=workers, progress=progress)
    result = render(out, published) if done.records else None
    done.raise_failures()
    assert result is not None  # no failure, so every run is finished
    return result
