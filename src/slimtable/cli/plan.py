"""``slimtable plan``: sizes of every method for tables, statistics, and advice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from slimtable.cli.options import Force, Json, require_free
from slimtable.cli.output import show, show_json, size, table
from slimtable.cli.table_files import Int8, counts_file

if TYPE_CHECKING:
    from slimtable.compress.plan import Plan
    from slimtable.compress.statistics import FrequencyStatistics, TableStatistics
    from slimtable.tables.base import Table


_COLUMNS = 4  # tables that have a column of their own; --json has them all


def plan(
    table_files: Annotated[
        list[Path], typer.Argument(metavar="TABLE...", help="Trained tables; none is loaded whole.")
    ],
    method: Annotated[list[str] | None, typer.Option(help="Method to plan, repeatable.", show_default="all")] = None,
    budget: Annotated[
        str | None, typer.Option(help="Show only the largest tables within 10%, 16x or 200MB, for all together.")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--tables",
            "--name",
            help="Only tables with these names, or patterns such as 'user_*,*.weight'.",
            show_default="all of a file",
        ),
    ] = None,
    frequencies: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Counts of ids: .npy, .npz, Parquet, CSV, …, also FILE[column=NAME;id_column=NAME]; one per table, in "
            "their order.",
        ),
    ] = None,
    int8: Int8 = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the sizes of all methods to this .png or .svg file.")] = None,
    statistics: Annotated[
        bool, typer.Option("--statistics/--no-statistics", help="Read the tables once, and give advice.")
    ] = True,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Plan the compression of tables: exact sizes of every method, from shapes alone; statistics; advice."""
    from slimtable.compress.advice import advice
    from slimtable.compress.plan import make_plan
    from slimtable.compress.statistics import frequency_statistics, table_statistics

    if plot is not None:
        _check_plot(plot, force)
    tables = open_files(table_files, name, int8)
    counts = _counts(tables, frequencies)
    shapes = {key: (int(each.shape[0]), int(each.shape[1])) for key, each in tables.items()}
    planned = make_plan(shapes, method, budget, counts)
    seen = {key: frequency_statistics(each) for key, each in counts.items()}
    measured = {key: table_statistics(each) for key, each in tables.items()} if statistics else {}
    advised = {
        key: advice(each, seen.get(key), 4 * each.num_embeddings * each.embedding_dim / planned.dense_bytes)
        for key, each in measured.items()
    }
    if plot is not None:
        _draw(planned, plot)
    if as_json:
        found = {
            "statistics": {key: each.to_dict() for key, each in measured.items()},
            "frequencies": {key: each.to_dict() for key, each in seen.items()},
            "advice": advised,
            "plot": None if plot is None else str(plot),
        }
        show_json(planned.to_dict() | found)
        return
    _show_plan(planned)
    for key, each in measured.items():
        _show_statistics(key, each, seen.get(key), advised[key])
    if plot is not None:
        show(f"plot: {plot}")


def open_files(files: list[Path], names: str | None, int8: str | None = None) -> dict[str, Table]:
    """The tables of all files: the only one of a file is named after it, others have their own names.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a file holds no table, or two tables have the same name.
    """
    from slimtable.tables import open_tables

    found: dict[str, Table] = {}
    for file in files:
        held = open_tables(file, names, int8=int8)
        for own, each in held.items():
            key = file.stem if len(held) == 1 else own
            if key in found:
                raise ValueError(f"Two tables are named {key}. Give each table once, and files different names.")
            found[key] = each
    return found


def _counts(tables: Mapping[str, Table], files: list[str] | None) -> dict[str, np.ndarray]:
    if not files:
        return {}
    if len(files) != len(tables):
        raise ValueError(f"--frequencies is given {len(files)} times for {len(tables)} tables. Give one per table.")
    named = zip(tables.items(), files, strict=True)
    return {key: counts_file(file).read(each.shape[0], each.ids) for (key, each), file in named}


def _check_plot(path: Path, force: bool) -> None:
    if path.suffix not in (".png", ".svg"):
        raise ValueError(f"--plot takes a .png or .svg file, got {path}.")
    require_free(path, force)


def _draw(planned: Plan, path: Path) -> None:
    from slimtable.compress.plan_plot import plot_plan
    from slimtable.files import replace_file
    from slimtable.reporting.figures import to_png, to_svg

    figure = plot_plan(planned)
    with replace_file(path) as file:
        file.write(to_svg(figure) if path.suffix == ".svg" else to_png(figure))


def _show_plan(planned: Plan) -> None:
    from slimtable.compress.plan import method_of_candidate, options_text

    several = 1 < len(planned.shapes) <= _COLUMNS
    show(f"{planned.title()}: {size(planned.dense_bytes)} in float32")
    rows = []
    for candidate in planned.candidates:
        options = dict.fromkeys(options_text(choice) for choice in candidate.tables.values())
        rows.append(
            [
                method_of_candidate(candidate),
                " / ".join(list(options)[:_COLUMNS]) + (" / …" if len(options) > _COLUMNS else ""),
                *([f"{-(-choice.bits // 8):,}" for choice in candidate.tables.values()] if several else []),
                f"{candidate.bytes:,}",
                f"{100 * candidate.bytes / planned.dense_bytes:.2f}%",
                f"{planned.ratio(candidate):.2f}×",
                f"{planned.bits_per_value(candidate):.3f}",
            ]
        )
    each = list(planned.shapes) if several else []
    heads = ["method", "options", *each, "bytes", "size", "smaller", "bits a dimension"]
    show(table(heads, rows, texts=("options",)))
    reasons: dict[str, list[str]] = {}
    for method, reason in planned.left_out.items():
        reasons.setdefault(reason, []).append(method)
    for reason, methods in reasons.items():
        show(f"left out: {', '.join(methods)} ({reason.rstrip('.')})")
    show("bytes are those of the arrays; the header of a file adds one or two kilobytes, and ids are extra:")
    for how, count in planned.id_maps().items():
        show(f"  {how}: {size(count)}")


def _show_statistics(key: str, found: TableStatistics, seen: FrequencyStatistics | None, advised: list[str]) -> None:
    show(
        f"{key}: lengths {found.norm_min:.3g} to {found.norm_max:.3g}, mean {found.norm_mean:.3g}, spread "
        f"{found.norm_spread:.2f}; values {found.smallest_value:.3g} to {found.largest_value:.3g}; effective rank "
        f"{found.effective_rank:.1f} of {found.embedding_dim}"
    )
    about = "about " if found.duplicates_estimated else ""
    show(
        f"  {about}{found.duplicate_rows:,} duplicate, {found.zero_rows:,} zero and {found.non_finite_rows:,} "
        "non-finite rows"
    )
    if seen is not None:
        slope = "" if seen.zipf_slope is None else f", Zipf slope {seen.zipf_slope:.2f}"
        show(
            f"  ids occur {seen.median:,.0f} times in the median, {seen.unseen_ids:,} never; the top decile has "
            f"{100 * seen.top_decile_share:.1f}% of the occurrences{slope}"
        )
    for sentence in advised:
        show(f"  - {sentence}")
