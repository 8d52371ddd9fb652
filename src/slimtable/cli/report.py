"""``slimtable report``: the report card of an artifact."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from slimtable.cli.options import Force, Json, require_free
from slimtable.cli.output import show, show_json
from slimtable.cli.table_files import Int8, counts_files

if TYPE_CHECKING:
    from slimtable.tables.base import Table


def report(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An artifact; its card is written beside it.")],
    table_files: Annotated[
        list[Path], typer.Argument(metavar="TABLE...", help="The uncompressed tables, in files named like its tables.")
    ],
    queries: Annotated[
        str | None,
        typer.Option(
            metavar="TABLE",
            help="Table whose rows ask for those of the others, such as user.",
            show_default="the only one that is named like users; else rows of each table ask for rows of the same",
        ),
    ] = None,
    frequencies: Annotated[
        list[str] | None,
        typer.Option(metavar="TABLE=FILE", help="Counts of the ids of a table, see docs/tables.md. May be repeated."),
    ] = None,
    names: Annotated[
        str | None,
        typer.Option(
            "--tables",
            "--name",
            help="Only tables with these names, or patterns such as 'user_*,*.weight'.",
            show_default="all of a file",
        ),
    ] = None,
    int8: Int8 = None,
    maps: Annotated[bool, typer.Option("--maps/--no-maps", help="Draw rows before and after in a plane.")] = True,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write the report card of an artifact: bytes by purpose, quality, maps and code health, as JSON and a page."""
    from slimtable.artifact.card import card_paths
    from slimtable.compress.inputs import side_of
    from slimtable.compress.report import report_card
    from slimtable.compress.report_page import headline, write_report_card
    from slimtable.serve.reader import open_artifact

    for path in card_paths(file):
        require_free(path, force)
    with open_artifact(file, verify=True) as artifact:
        held = list(artifact)
    originals = _originals(held, table_files, names, int8)
    asks = [key for key in originals if side_of(key) == "user"]
    if queries is None and len(asks) == 1 and len({each.shape[1] for each in originals.values()}) == 1 < len(originals):
        queries = asks[0]
    if queries is not None and queries not in originals:
        raise ValueError(f"--queries {queries} is not a table that is given. They are: {', '.join(originals)}.")
    asking = {} if queries is None else {key: queries for key in originals if key != queries and key in held}
    card = report_card(file, originals, frequencies=_counts(frequencies, originals), asking=asking, maps=maps)
    json_path, page_path = write_report_card(card, file)
    if as_json:
        show_json(card.facts | {"json": str(json_path), "page": str(page_path)})
        return
    show(headline(card.facts))
    show(f"report card: {page_path} and {json_path}")


def _originals(held: list[str], files: list[Path], names: str | None, int8: str | None) -> dict[str, Table]:
    """The uncompressed tables by name; a lone table belongs to the only one of the artifact."""
    from slimtable.cli.plan import open_files

    found = open_files(files, names, int8)
    return dict(zip(held, found.values(), strict=True)) if len(held) == len(found) == 1 else dict(found)


def _counts(words: list[str] | None, tables: Mapping[str, Table]) -> dict[str, np.ndarray]:
    counts = {}
    for name, file in counts_files(words).items():
        if not name:
            raise ValueError(f"--frequencies takes TABLE=FILE, such as item=counts.npy, got {str(file.path)!r}.")
        if name not in tables:
            raise ValueError(f"--frequencies names {name[:60]}, but the tables are {', '.join(tables)}.")
        counts[name] = file.read(tables[name].shape[0], tables[name].ids)
    return counts
