"""``slimtable data``: list and fetch datasets, and generate synthetic data."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slimtable.cli.options import DataRoot, Force, Json, require_free
from slimtable.cli.output import show, show_json, size, table

if TYPE_CHECKING:
    from slimtable.data.datasets import DatasetInfo

app = typer.Typer(help="List, fetch and make datasets.")


@app.command("list")
def list_(data_root: DataRoot = None, as_json: Json = False) -> None:
    """List the datasets that can be loaded by name."""
    from slimtable.data import list_datasets

    listed = list_datasets(data_root)
    if as_json:
        show_json([dataclasses.asdict(info) for info in listed])
        return
    rows = [
        [info.name, info.kind, _where(info), f"{info.rows:,}" if info.rows else "any", info.licence, info.about]
        for info in listed
    ]
    show(table(["name", "kind", "here", "rows", "licence", "what"], rows, texts=("kind", "here", "licence", "what")))


def _where(info: DatasetInfo) -> str:
    if info.present:
        return size(info.size_bytes) if info.size_bytes else "yes"
    return "can be fetched" if info.fetchable else "no"


@app.command(epilog="Example: slimtable data fetch ml-1m")
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a dataset; see `slimtable data list`.")],
    data_root: DataRoot = None,
    as_json: Json = False,
) -> None:
    """Download a dataset if it is missing; resumes an interrupted download."""
    from slimtable.data import fetch_dataset

    folder = fetch_dataset(name, data_root)
    if as_json:
        show_json({"name": name, "folder": str(folder)})
    else:
        show(f"{name} is in {folder}")


@app.command(epilog="Example: slimtable data make clicks.parquet --interactions 1000000 --seed 1")
def make(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write.")],
    interactions: Annotated[int, typer.Option(help="Number of rows, 1e3 to 2e9.")] = 80_000,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal files.")] = 0,
    format: Annotated[str, typer.Option(help="parquet, csv or sasrec.")] = "parquet",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Make synthetic interactions with communities, power-law popularity and a sequential signal."""
    from slimtable.data.datasets import make_dataset

    require_free(out, force)
    if not out.parent.is_dir():
        raise FileNotFoundError(f"{out} cannot be written: there is no folder {out.parent}. Create it first.")
    path = make_dataset(out, interactions, seed, format)
    written = path.stat().st_size
    if as_json:
        show_json({"path": str(path), "interactions": interactions, "seed": seed, "bytes": written})
    else:
        show(f"{path}: {interactions:,} interactions, {size(written)}")


@app.command("make-clicks", epilog="Example: slimtable data make-clicks --rows 240000 --windows 24 --out hours")
def make_clicks(
    out: Annotated[Path, typer.Option(help="The folder to write; it must be new or empty.")],
    rows: Annotated[int, typer.Option(help="Total number of impressions.")] = 240_000,
    windows: Annotated[int, typer.Option(help="Number of window files, one hour each.")] = 24,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal files.")] = 0,
    format: Annotated[str, typer.Option(help="csv or parquet.")] = "csv",
    poison: Annotated[
        list[int] | None, typer.Option(help="Flip the labels of this window, counted from 0. May be repeated.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a synthetic click log: window files with heavy-tailed fields, new values and drift, and their schema."""
    from slimtable.data.clicks.writer import write_windows
    from slimtable.data.datasets import make_synthetic_clicks

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} exists and is not an empty folder. Choose another name.")
    paths = write_windows(make_synthetic_clicks(rows, seed, windows), out, format=format, poison=poison or ())
    written = sum(path.stat().st_size for path in paths)
    if as_json:
        show_json({"folder": str(out), "rows": rows, "windows": windows, "seed": seed, "bytes": written})
    else:
        show(f"{out}: {rows:,} impressions in {windows:,} windows, {size(written)}, and schema.yaml")
