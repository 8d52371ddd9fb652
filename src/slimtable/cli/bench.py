"""``slimtable bench``: a grid of methods and seeds, with a table, plots and a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slimtable.cli.options import DataRoot, Json, ModelName, ModelSettings, parse_model
from slimtable.cli.output import show, show_json


def bench(
    context: typer.Context,
    data: Annotated[str, typer.Option(help="Name of a dataset (see `slimtable data list`), or a file or folder.")],
    out: Annotated[Path, typer.Option(help="Folder of the results; finished runs in it are not repeated.")],
    methods: Annotated[
        str, typer.Option(help="Methods with their options in brackets, such as full,mgqe[codebook_sizes=[256,64]].")
    ] = "full,low_rank,uniform,dpq,mgqe",
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds, counted from 0.")] = 3,
    model_name: ModelName = "gmf",
    model_settings: ModelSettings = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="leave-two-out, random, holdout, temporal, fixed or pooled; click logs: temporal or random.",
            show_default="the default of the dataset",
        ),
    ] = None,
    data_root: DataRoot = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of processes, one thread each.", show_default="one per core")
    ] = None,
    published: Annotated[
        Path | None,
        typer.Option(
            help="JSON file with results of a paper, shown next to runs with the settings of the paper, such as "
            "studies/mgqe/published.json."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a grid of methods and seeds, and compare quality with size.

    The folder then holds results.jsonl, table.md, table.csv, plots and report.html; call again to add to them.
    """
    from slimtable.bench import console_table, parse_methods, run_bench
    from slimtable.bench.published import Published

    result = run_bench(
        data,
        model_name,
        parse_methods(methods),
        train=context.obj,
        seeds=range(seeds),
        out=out,
        model_config=parse_model(model_name, model_settings),
        data_root=data_root,
        split=split,
        workers=workers,
        published=None if published is None else Published.read(published),
    )
    if as_json:
        show_json(result.records)
    else:
        show(console_table(result))
        show(f"report: {result.report}")
