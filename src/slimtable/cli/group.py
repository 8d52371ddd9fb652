"""``slimtable group``: computes row maps of users and items, with statistics."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slimtable.cli.options import (
    Column,
    DataRoot,
    Encoding,
    FileFormat,
    Force,
    Json,
    Separator,
    parse_columns,
    parse_settings,
    reading_options,
    require_free,
)
from slimtable.cli.output import show, show_json, size, table

if TYPE_CHECKING:
    import numpy as np

    from slimtable.grouping import Grouping, Groups, InteractionGraph


class Use(StrEnum):
    """The interactions to group by."""

    train = "train"
    all = "all"


@dataclasses.dataclass
class _Loaded:
    """A graph with its raw ids."""

    graph: InteractionGraph
    repeated: int
    raw_ids: dict[str, np.ndarray]


def group(
    data: Annotated[
        str, typer.Option(help="Name of a dataset (see `slimtable data list`), a file, or a folder of a graph.")
    ],
    grouping: Annotated[
        str, typer.Option(help="The algorithm, such as baco, louvain or 'baco\\[item_weight=cpm]'.")
    ] = "baco",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="OPTION=VALUE", help="Option of the grouping. May be repeated."),
    ] = None,
    gamma: Annotated[float | None, typer.Option(help="Short for --set gamma=VALUE.")] = None,
    resolution: Annotated[float | None, typer.Option(help="Short for --set resolution=VALUE.")] = None,
    rows: Annotated[
        str | None, typer.Option(help="Shared rows of users and items together: 12000, or 25% of the ids.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="Bytes served, rows and maps: 25% of the float32 tables, 16x smaller, or 3MB.")
    ] = None,
    dim: Annotated[int, typer.Option(min=1, help="Width of a row, for sizes and budgets in bytes.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds give equal groups.")] = 0,
    use: Annotated[
        Use | None,
        typer.Option(help="The training part only, or all interactions.", show_default="train; all of a graph"),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Split of the data: leave-two-out, random, temporal, fixed or pooled.",
            show_default="the data's own training part, else a random 80 %",
        ),
    ] = None,
    split_seed: Annotated[int, typer.Option(min=0, help="Seed of a random split.")] = 0,
    column: Column = None,
    file_format: FileFormat = None,
    separator: Separator = None,
    encoding: Encoding = None,
    graph_folder: Annotated[
        Path | None,
        typer.Option(help="Folder for the graph of Parquet or CSV files, which is then memory-mapped."),
    ] = None,
    data_root: DataRoot = None,
    out: Annotated[Path | None, typer.Option(help="A .safetensors file for the row maps, written atomically.")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Group users and items that share rows, and print statistics of the groups.

    With --graph-folder, the edges may exceed memory: they are sorted into files once, and memory-mapped.
    """
    from slimtable.grouping import format_grouping
    from slimtable.grouping import group as group_graph
    from slimtable.grouping.edges import is_graph
    from slimtable.grouping.files import write_groups

    if out is not None:
        require_free(out, force)
        if out.is_dir() or not out.parent.is_dir():  # checked before the work
            raise FileNotFoundError(f"--out {out} cannot be written: it must be a file in a folder that exists.")
    chosen = _grouping(grouping, settings, {"gamma": gamma, "resolution": resolution})
    columns = parse_columns(column)
    if graph_folder is not None or is_graph(Path(data)):
        if split is not None or use is Use.train:
            what = "--use train" if split is None else "--split"
            raise ValueError(f"{what} needs the data in memory. Leave --graph-folder out, or split before.")
        use = Use.all
        loaded = _stored(data, graph_folder, columns)
    else:
        use = use or Use.train
        reading = reading_options(column, file_format, separator, encoding)
        loaded = _in_memory(data, reading, data_root, use, split, split_seed)
    graph = loaded.graph
    num_rows = _num_rows(rows, budget, graph, chosen, dim)
    groups = group_graph(graph, chosen, num_rows=num_rows, seed=seed)
    result: dict[str, Any] = {
        "data": data,
        "use": use.value,
        "users": graph.num_users,
        "items": graph.num_items,
        "edges": graph.num_edges,
        "repeated_edges": loaded.repeated,
        "isolated_users": int((graph.user_degrees() == 0).sum()),
        "isolated_items": int((graph.item_degrees() == 0).sum()),
        "grouping": format_grouping(groups.grouping),
        "seed": seed,
        "rows": rows,
        "budget": budget,
        "statistics": groups.statistics.to_dict(),
        "size": _sizes(groups, graph, dim),
    }
    if out is not None:
        result["file"] = str(out)
        result["file_bytes"] = write_groups(out, groups, loaded.raw_ids)
    if as_json:
        show_json(result)
    else:
        _show(result)


def _num_rows(
    rows: str | None, budget: str | None, graph: InteractionGraph, grouping: Grouping, dim: int
) -> int | None:
    """Number of rows of both sides together, from --rows or --budget."""
    from slimtable.budget import rows_of_text, rows_within
    from slimtable.grouping.grouping import bits_of_maps

    if rows is not None and budget is not None:
        raise ValueError("--rows and --budget both set the number of rows. Give one of them.")
    if budget is not None:
        sizes = (graph.num_users, graph.num_items)

        def bits_of(count: int) -> int:
            return 32 * count * dim + bits_of_maps(sizes, grouping.columns, count)

        return rows_within(budget, 32 * graph.num_nodes * dim, bits_of, 2, graph.num_nodes)
    return None if rows is None else rows_of_text(rows, graph.num_nodes)


def _grouping(text: str, settings: list[str] | None, shorthands: dict[str, float | None]) -> Grouping:
    """The grouping from --grouping, --set and the short options."""
    from slimtable.grouping import get_grouping, parse_grouping

    chosen = parse_grouping(text)
    given = parse_settings(settings)
    for option, value in shorthands.items():
        if value is None:
            continue
        if option in given:
            raise ValueError(f"--{option} and --set {option} are the same. Give one of them.")
        given[option] = value
    return get_grouping(chosen.name, {**chosen.non_defaults(), **given})


def _stored(data: str, folder: Path | None, columns: dict[str, str | int] | None) -> _Loaded:
    """The graph in a folder, built if it does not exist."""
    from slimtable.grouping.edges import build_graph, describe_graph, is_graph, open_graph, raw_ids, require_source

    if is_graph(Path(data)):
        if folder is not None:
            raise ValueError(f"{data} is a graph already. Leave --graph-folder out.")
        if columns is not None:
            raise ValueError(f"--column has no meaning for {data}, which is a graph already.")
        folder = Path(data)
    else:
        assert folder is not None
        if folder.exists():
            require_source(folder, data, columns)
        else:
            build_graph(data, folder, columns, progress=True)
    about = describe_graph(folder)
    users, items = raw_ids(folder)
    return _Loaded(open_graph(folder), about["rows"] - about["edges"], {"user": users, "item": items})


def _in_memory(
    data: str, reading: dict[str, Any], data_root: Path | None, use: Use, split: str | None, seed: int
) -> _Loaded:
    """The graph of a dataset or of its training part."""
    from slimtable.data import load_dataset
    from slimtable.data import split as split_data
    from slimtable.grouping import InteractionGraph

    source = load_dataset(data, data_root=data_root, **reading)
    if use is Use.all:
        if split is not None:
            raise ValueError("--use all takes no --split: it groups by all interactions.")
        taken = source.interactions
        if source.fixed_test is not None:
            taken = taken.followed_by(source.fixed_test)
    elif source.fixed_test is not None and split in (None, "fixed"):
        taken = source.interactions  # nothing set aside for validation
    else:
        taken = split_data(source, split or "random", seed=seed).train
    raw_ids = {"user": taken.user_vocabulary, "item": taken.item_vocabulary}
    for side, ids in raw_ids.items():
        _require_whole(data, side, ids)
    graph = InteractionGraph.from_interactions(taken)
    return _Loaded(graph, len(taken) - graph.num_edges, raw_ids)


def _require_whole(data: str, side: str, raw_ids: np.ndarray) -> None:
    """Raises an error for numeric ids that are negative or not whole, as graph folders do; other texts are names."""
    from slimtable.errors import DatasetError

    try:
        numbers = raw_ids.astype(float)
    except ValueError:
        return
    wrong = (numbers < 0) | (numbers % 1 != 0)
    if wrong.any():
        raise DatasetError(
            f"{data} has the {side} id {raw_ids[wrong.argmax()]}, which is not a whole number of 0 or more "
            f"({wrong.sum():,} such ids). Give whole numbers or names."
        )


def _sizes(groups: Groups, graph: InteractionGraph, dim: int) -> dict[str, Any]:
    """Bits served, and the paper's count of parameters, without the primary row of each id."""
    statistics = groups.statistics
    bits, full_bits = 32 * dim * statistics.rows + statistics.map_bits, 32 * dim * graph.num_nodes
    parameters, full = dim * statistics.rows + statistics.second_integers, dim * graph.num_nodes
    return {
        "dim": dim,
        "bits": bits,
        "bytes": -(-bits // 8),
        "full_bits": full_bits,
        "size_percent": 100 * bits / full_bits,
        "parameters": parameters,
        "full_parameters": full,
        "parameters_percent": 100 * parameters / full,
    }


def _show(result: dict[str, Any]) -> None:
    statistics, sizes = result["statistics"], result["size"]
    show(f"{result['grouping']} on {result['data']} ({result['use']}), seed {result['seed']}")
    notes = [
        f"{text}: {result[name]:,}"
        for name, text in (
            ("repeated_edges", "repeated edges, merged"),
            ("isolated_users", "users without edges"),
            ("isolated_items", "items without edges"),
        )
        if result[name]
    ]
    show(
        f"{result['users']:,} users, {result['items']:,} items, {result['edges']:,} edges"
        + "".join(f"; {note}" for note in notes)
    )
    rows = [
        [
            side,
            f"{result[side]:,}",
            f"{each['rows']:,}",
            f"{each['median']:g}",
            f"{each['largest']:,}",
            f"{each['singletons_percent']:.1f}%",
            f"{each['gini']:.3f}",
            f"{statistics[f'second_{side}_percent']:.1f}%",
        ]
        for side in ("users", "items")
        for each in (statistics[side],)
    ]
    show(table(["side", "ids", "rows", "median size", "largest", "of one id", "Gini", "with a second"], rows))
    if statistics["sweeps"]:
        show("rows after each sweep: " + ", ".join(f"{count:,}" for count in statistics["sweeps"]))
    if statistics["intra_edges_percent"] is not None:
        show(
            f"co-clusters: {statistics['intra_edges_percent']:.1f}% of edges within, Gini {statistics['gini']:.3f}, "
            f"{statistics['accl']:.3g} edges between two of them on average"
        )
    show(
        f"rows: {statistics['rows']:,}, {statistics['rows_percent']:.2f}% of all; at {sizes['dim']} columns "
        f"{size(sizes['bytes'])} served with packed maps, {sizes['size_percent']:.2f}% of float32 tables"
    )
    show(
        f"in the accounting of the paper: {sizes['parameters']:,} parameters, {sizes['parameters_percent']:.2f}% "
        "(rows and secondary rows' numbers; first rows' numbers not counted)"
    )
    tuning = f", after {statistics['tuning_seconds']:.2f} s of tuning" if statistics["tuning_seconds"] >= 0.01 else ""
    show(f"time: {statistics['seconds']:.2f} s{tuning}")
    if "file" in result:
        show(f"saved: {result['file']} ({result['file_bytes']:,} bytes with raw ids)")
