"""``export``: codes and codebooks of a table for another program."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from slimtable.cli.options import Force, Json, require_free
from slimtable.cli.output import show, show_json


class Form(StrEnum):
    """Formats of other programs."""

    faiss = "faiss"
    parquet = "parquet"
    arrow = "arrow"
    lance = "lance"
    npy = "npy"


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An artifact.")],
    form: Annotated[Form, typer.Option("--format", help="The program or format to export to.")],
    out: Annotated[Path, typer.Option(help="The new file; for lance and npy a new folder.")],
    table: Annotated[str | None, typer.Option(help="Name of the table, if the file holds several.")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Export codes, codebooks, gains and raw ids of a table, not its rows.

    faiss gets an index that finds what the decoded rows find; parquet and arrow a column of lists; lance the arrays
    that its index is built from.
    """
    from slimtable.export import export_table

    require_free(out, force, reads=(file,))
    if out.is_dir():
        raise FileExistsError(f"{out} is a folder. Choose another name, or delete it.")
    written = export_table(file, out, form.value, table)
    if as_json:
        show_json({"format": form.value, "files": [str(path) for path in written]})
        return
    for path in written:
        show(f"{path}: {path.stat().st_size:,} bytes")
