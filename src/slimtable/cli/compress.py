"""``compress``: trained tables into one artifact, by a method or within a budget."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slimtable.cli.compress_job import best_guesses, compress_by_job, compress_input, is_large
from slimtable.cli.compress_report import report, report_job
from slimtable.cli.options import (
    Column,
    DataRoot,
    Encoding,
    FileFormat,
    Force,
    Json,
    Preset,
    Separator,
    Settings,
    parse_method,
    reading_options,
    require_free,
)
from slimtable.cli.output import show
from slimtable.cli.table_files import CountsFile, IdColumn, Int8, Reading, counts_files, read_tables, require_different
from slimtable.cli.tables import TABLE, Out

if TYPE_CHECKING:
    from slimtable.artifact.packed import Packed
    from slimtable.codecs.vectors import TableLike
    from slimtable.compress import Compressed
    from slimtable.compress.guard import Guard
    from slimtable.compress.plans import Input
    from slimtable.data import Split
    from slimtable.embeddings.base import MethodConfig
    from slimtable.embeddings.policy import Policy
    from slimtable.tables.base import Ids


def compress(
    table_files: Annotated[
        list[Path],
        typer.Argument(metavar="TABLE...", help="Trained tables, in any format of docs/tables.md."),
    ],
    out: Out,
    budget: Annotated[
        str | None,
        typer.Option(
            help="Bytes of all tables together, raw ids apart: 10% of the float32 tables, 16x smaller, or 200MB.",
            show_default="16x with --method auto",
        ),
    ] = None,
    max_drop: Annotated[
        str | None,
        typer.Option(help="Find the smallest size that surely loses at most this, such as 1%, of what tables are for."),
    ] = None,
    method: Annotated[str, typer.Option(help="Compression method; auto picks one for each table.")] = "auto",
    preset: Preset = None,
    settings: Settings = None,
    interactions: Annotated[
        str | None,
        typer.Option(
            help="Name of a dataset, file or folder; Recall@20 on its test part then judges candidates. Ids are row "
            "numbers.",
            show_default="none: rows with the largest scores are compared",
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Split of the interactions.", show_default="the default of the dataset")
    ] = None,
    users: Annotated[
        str | None, typer.Option(help="Name of the table of users.", show_default="by its name, such as user.npy")
    ] = None,
    items: Annotated[
        str | None, typer.Option(help="Name of the table of items.", show_default="by its name, such as item.npy")
    ] = None,
    uncompressed: Annotated[
        list[Path] | None,
        typer.Option(help="A table that takes part in scores and stays as it is. May be repeated."),
    ] = None,
    frequencies: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[TABLE=]FILE",
            help="Counts of ids: .npy, .npz, Parquet, CSV, …, also FILE[column=NAME;id_column=NAME]. May be "
            "repeated for several tables.",
            show_default="counted in the interactions",
        ),
    ] = None,
    padding_idx: Annotated[int | None, typer.Option(help="Id that is served as zeros; its row must be zeros.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the tensor, if the file holds several matrices.")] = None,
    pattern: Annotated[
        str | None,
        typer.Option(
            "--tables",
            metavar="NAME,…",
            help="Tables of the files, by names or patterns such as 'user_*,*.item_embedding.weight'.",
            show_default="the only table of each file",
        ),
    ] = None,
    int8: Int8 = None,
    id_column: IdColumn = None,
    no_vocabulary: Annotated[bool, typer.Option("--no-vocabulary", help="Leave the raw ids of tables out.")] = False,
    column: Column = None,
    file_format: FileFormat = None,
    separator: Separator = None,
    encoding: Encoding = None,
    data_root: DataRoot = None,
    seed: Annotated[int, typer.Option(help="Seed of the users that candidates are judged on.")] = 0,
    card: Annotated[bool, typer.Option("--report", help="Write a report card beside the file.")] = False,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that encode tables of 1 GB and more.", show_default="one for each core"),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Compress trained tables into one file.

    The tables are named after their files; one table alone is named "table". With --method auto, candidates are
    compared on a guard: the held-out interactions of half of the users, or which rows have the largest scores.
    Tables of 1 GB and more are compressed block by block, not compared; after a kill the same command continues.
    """
    from slimtable.artifact.file import write_artifact
    from slimtable.artifact.layouts import num_vectors
    from slimtable.embeddings.policy import DEFAULT_BUDGET, Policy

    given = counts_files(frequencies)
    require_free(out, force, reads=(*table_files, *(uncompressed or ()), *(each.path for each in given.values())))
    _require_folder(out)
    if card:
        from slimtable.artifact.card import card_paths
        from slimtable.compress.report import card_of_inputs
        from slimtable.compress.report_page import write_report_card

        for path in card_paths(out):
            require_free(path, force)
    config = parse_method(method, preset, settings)
    drop = _checked_size(budget, max_drop, config)
    dense, raw_ids = read_tables(table_files, Reading(name, pattern, int8, id_column), TABLE)
    vocabularies = {} if no_vocabulary else raw_ids
    require_different(vocabularies)
    names = {"users": users, "items": items}
    reading = reading_options(column, file_format, separator, encoding)
    inputs = _Inputs(dense, raw_ids, uncompressed or [], given, padding_idx, names)
    parts = None if interactions is None else inputs.numbered(interactions, split, data_root, reading)
    tables, kept = inputs.made(parts)
    about: dict[str, Any] = {"compressed_from": ", ".join(path.name for path in table_files)}
    result: Compressed | None = None
    guard: Guard | None = None
    packed: dict[str, Packed]
    if isinstance(config, Policy) and drop is None:
        budget = budget or config.to_dict()["budget"] or DEFAULT_BUDGET
    if drop is None and is_large(tables):
        if card:
            raise ValueError("--report compares all rows in memory, and these tables are large. Leave it out.")
        chosen, reasons = (
            best_guesses(tables, config, str(budget))
            if isinstance(config, Policy)
            else (_chosen(tables, config, method, preset, settings, budget), [])
        )
        written = compress_by_job(tables, chosen, out, about, workers, vocabularies)
        report_job(out, written, tables, reasons, vocabularies, as_json)
        return
    if isinstance(config, Policy):
        if drop is not None and not any(one.rows.num_embeddings > 2 for one in tables):
            raise ValueError("--max-drop compares rows, which takes a table of at least 3. Give --budget instead.")
        guard = _guard(tables, kept, parts, seed)
        result = _together(tables, config, budget, drop, about, guard)
        packed = dict(result.tables)
    else:
        chosen = _chosen(tables, config, method, preset, settings, budget)
        packed = {one.name: compress_input(one, chosen[one.name]) for one in tables}
    file_size = write_artifact(out, packed, vocabularies=vocabularies, model=about)
    vectors = {key: num_vectors(one) for key, one in packed.items()}
    del packed  # may be as large as the tables; only the file is used from here on
    if card:
        write_report_card(card_of_inputs(out, tables, kept, result, guard, seed), out)
    report(out, file_size, tables, vectors, result, as_json)
    if card and not as_json:
        show(f"report card: {card_paths(out)[1]}")


@dataclasses.dataclass
class _Inputs:
    """What the command line says about tables.

    Attributes:
        dense: the tables to compress, by name.
        raw_ids: of their rows, where they are known.
        uncompressed: files of tables that stay as they are.
        frequencies: files of counts by name of the table; "" for the only one.
        padding_idx: of every table.
        names: names of the tables of "users" and "items", or None.
    """

    dense: Mapping[str, TableLike]
    raw_ids: Mapping[str, Ids]
    uncompressed: list[Path]
    frequencies: Mapping[str, CountsFile]
    padding_idx: int | None
    names: dict[str, str | None]

    def __post_init__(self) -> None:
        self.kept = read_tables(self.uncompressed, Reading())[0]
        self.every = {**self.kept, **self.dense}
        if len(self.every) < len(self.dense) + len(self.kept):
            raise ValueError("A table to compress and an uncompressed one have the same name. Rename a file.")
        for flag, name in self.names.items():
            if name is not None and name not in self.every:
                raise ValueError(f"--{flag} {name} is not a table. The tables: {', '.join(self.every)}.")

    @property
    def sides(self) -> dict[str, Any]:
        """The side of each table."""
        from slimtable.compress.inputs import side_of

        found = {name: side_of(name) for name in self.every}
        if len(self.every) == 1:
            found = dict.fromkeys(found, "item")
        for flag, name in self.names.items():
            if name is not None:
                found = dict.fromkeys(found, "item" if flag == "users" else "user") if len(found) == 2 else found
                found[name] = "user" if flag == "users" else "item"
        return found

    def numbered(self, data: str, how: str | None, data_root: Path | None, reading: dict[str, Any]) -> Split:
        """The parts of the interactions, with row numbers as ids."""
        from slimtable.compress.inputs import numbered_as_rows
        from slimtable.data import Split, load_dataset
        from slimtable.data import split as split_data

        sides = self.sides
        rows = {side: [self.every[name].shape[0] for name in sides if sides[name] == side] for side in ("user", "item")}
        if any(len(counts) != 1 for counts in rows.values()):
            raise ValueError(
                f"--interactions needs one table of users and one of items, but there are {len(rows['user'])} and "
                f"{len(rows['item'])}. Name them with --users and --items; --uncompressed gives one that stays so."
            )
        parts = split_data(load_dataset(data, data_root=data_root, **reading), how)
        train, valid, test = (
            numbered_as_rows(part, rows["user"][0], rows["item"][0]) for part in (parts.train, parts.valid, parts.test)
        )
        return Split(train, valid, test, parts.by_time)

    def made(self, parts: Split | None) -> tuple[list[Input], list[Input]]:
        """The tables to compress, and those that stay as they are."""
        from slimtable.compress.inputs import make_inputs, seen_and_held_out

        counts = {}
        for name, file in self.frequencies.items():
            if not name and len(self.dense) != 1:
                raise ValueError("With several tables, --frequencies takes TABLE=FILE, such as item=counts.npy.")
            name = name or next(iter(self.dense))
            if name not in self.every:
                raise ValueError(f"--frequencies names {name[:60]}, but the tables are {', '.join(self.every)}.")
            counts[name] = file.read(self.every[name].shape[0], self.raw_ids.get(name))
        seen = None if parts is None else seen_and_held_out(parts)[0]
        padding = dict.fromkeys(self.dense, self.padding_idx)
        made = make_inputs(self.every, sides=self.sides, frequencies=counts, padding_idx=padding, seen=seen)
        return [one for one in made if one.name in self.dense], [one for one in made if one.name in self.kept]


def _together(
    tables: list[Input],
    policy: Policy,
    budget: str | None,
    max_drop: float | None,
    about: dict[str, Any],
    guard: Guard | None,
) -> Compressed:
    """Compresses tables by a policy; on a terminal with a line for each candidate."""
    from slimtable.compress.together import compress_tables

    return compress_tables(
        tables,
        budget,
        max_drop=max_drop,
        guard=guard,
        policy=policy,
        model=about,
        progress=_say if sys.stderr.isatty() else lambda line: None,
    )


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _guard(tables: list[Input], kept: list[Input], parts: Split | None, seed: int) -> Guard | None:
    """What judges candidates; nothing for tables of one or two rows, which have no neighbours to compare."""
    from slimtable.compress.inputs import guard_of

    if not any(one.rows.num_embeddings > 2 for one in (*tables, *kept)):
        return None
    return guard_of(tables, parts, kept, seed=seed)


def _chosen(
    tables: list[Input],
    config: MethodConfig,
    method: str,
    preset: str | None,
    settings: list[str] | None,
    budget: str | None,
) -> dict[str, MethodConfig]:
    """The configuration of every table: the same method, each within the budget."""
    from slimtable.embeddings.fitting import fit_budget

    if budget is not None and "budget" in config.to_dict():
        if getattr(config, "num_rows", None) is not None:
            raise ValueError("--budget and num_rows both set the size of the table. Give one of them.")
        config = parse_method(method, preset, [*(settings or ()), f"budget={budget}"])
    found = {}
    for one in tables:
        chosen = config
        if budget is not None and "budget" not in config.to_dict():
            chosen = fit_budget(config, budget, *one.rows.shape, one.frequencies)
        found[one.name] = chosen
    return found


def _require_folder(out: Path) -> None:
    """Raises OSError where a file cannot be written, before minutes are spent on it."""
    if not out.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {out.parent}. Create it, or choose another for {out.name}.")
    with contextlib.suppress(FileNotFoundError):
        out.stat()  # a link to itself


def _checked_size(budget: str | None, max_drop: str | None, config: MethodConfig) -> float | None:
    """The largest drop as a share, once budget, drop and method fit each other; before anything is read."""
    from slimtable.budget import is_relative
    from slimtable.embeddings.policy import Policy

    if budget is not None:
        is_relative(budget)
    if isinstance(config, Policy):
        if budget is not None and max_drop is not None:
            raise ValueError("Give either --budget, such as 16x, or --max-drop, such as 1%, not both.")
    elif max_drop is not None:
        raise ValueError("--max-drop is for --method auto. Give --budget with other methods.")
    if max_drop is None:
        return None
    text = max_drop.strip()
    try:
        drop = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        drop = 0.0
    if not 0 < drop < 1:
        raise ValueError(f"--max-drop {max_drop} is not a share between 0 and 1. Write 1%, or 0.01.")
    return drop
