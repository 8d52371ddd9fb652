"""Tables, their raw ids and the counts of their ids, in files that a command line names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

if TYPE_CHECKING:
    from slimtable.codecs.vectors import TableLike
    from slimtable.tables.base import Ids, Table

Int8 = Annotated[
    str | None,
    typer.Option(
        metavar="LAYOUT",
        help="Layout of 8-bit rows: fp32, fp16 or fp16-first; see docs/tables.md.",
        show_default="told from the rows",
    ),
]
IdColumn = Annotated[
    str | None,
    typer.Option(help="Column of raw ids in Parquet and Arrow files.", show_default="by its type or name"),
]

LARGE = 10**9
"""Bytes of all tables in float32 from which on they are read block by block."""


@dataclass(frozen=True)
class Reading:
    """How tables are read from files.

    Attributes:
        name: the table of the only file; None for the only one that it holds.
        pattern: names or patterns of the tables of all files; None for the only one of each.
        int8: layout of 8-bit rows, or None.
        id_column: column of raw ids, or None.
    """

    name: str | None = None
    pattern: str | None = None
    int8: str | None = None
    id_column: str | None = None


def read_tables(
    paths: list[Path], reading: Reading, alone: str | None = None
) -> tuple[Mapping[str, TableLike], Mapping[str, Ids]]:
    """Reads tables, which stay in their files if they are large.

    Args:
        paths: the files.
        reading: how.
        alone: name of the table of a file alone; None to name it like others after its file. With a pattern, tables
            have the names in their file.

    Returns:
        The tables, and the raw ids of those that have some; both by name.

    Raises:
        ValueError: a file has no such table, or two tables have the same name.
        FileNotFoundError: there is no such file.
    """
    from slimtable.tables import open_tables
    from slimtable.tables.base import Stored
    from slimtable.tables.opening import open_table

    if reading.name is not None and (len(paths) > 1 or reading.pattern is not None):
        raise ValueError("--name is for one table of one file. Select several by --tables.")
    opened: dict[str, Table] = {}
    for path in paths:
        how: dict[str, Any] = {"int8": reading.int8, "id_column": reading.id_column}
        if reading.pattern is None:
            key = alone if alone is not None and len(paths) == 1 else path.stem
            held = {key: open_table(path, reading.name, **how)}
        else:
            held = open_tables(path, reading.pattern, **how)
        for key, table in held.items():
            if key in opened:
                raise ValueError(f"Two tables are named {key}. Tables are named after their files, or by --tables.")
            opened[key] = table
    ids = {key: table.ids for key, table in opened.items()}
    small = sum(4 * table.size for table in opened.values()) < LARGE
    mapped = {key: isinstance(table, Stored) and not table.bfloat16 for key, table in opened.items()}
    tables = {key: table.as_array() if small or mapped[key] else table for key, table in opened.items()}
    return tables, {key: each for key, each in ids.items() if each is not None}


def require_different(vocabularies: Mapping[str, Ids]) -> None:
    """Raises ValueError if two rows of a table have the same raw id, before minutes are spent on the table."""
    from slimtable.artifact import vocabulary

    for name, ids in vocabularies.items():
        try:
            vocabulary.encode(ids, len(ids))
        except ValueError as error:
            advice = "Name their column with --id-column, or leave them out with --no-vocabulary."
            raise ValueError(f"Table {name}: {str(error)[:120]} {advice}") from error


@dataclass(frozen=True)
class CountsFile:
    """Where counts of ids come from.

    Attributes:
        path: the file.
        options: ``column`` and ``id_column``, where they are given.
    """

    path: Path
    options: Mapping[str, str]

    def read(self, num_embeddings: int, ids: Ids | None = None) -> np.ndarray:
        """The counts, (N,).

        Args:
            num_embeddings: rows N of the table.
            ids: raw ids of its rows, or None.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it does not hold one number for each id.
        """
        from slimtable.tables import read_frequencies

        return read_frequencies(self.path, num_embeddings, ids=ids, **self.options)


def counts_file(text: str) -> CountsFile:
    """A file of counts from ``FILE`` or ``FILE[column=NAME;id_column=NAME]``.

    Raises:
        ValueError: there are other options.
    """
    from slimtable.specs import parse_spec

    if "[" not in text or Path(text).exists():
        return CountsFile(Path(text), {})
    path, options = parse_spec(text)
    unknown = sorted(set(options) - {"column", "id_column"})
    if unknown:
        raise ValueError(f"Counts have no option {unknown[0][:40]}. Write FILE[column=NAME;id_column=NAME].")
    return CountsFile(Path(path), {key: str(value) for key, value in options.items()})


def counts_files(words: Iterable[str] | None) -> dict[str, CountsFile]:
    """Files of counts by table, from ``TABLE=FILE`` each; "" is the table of a ``FILE`` alone.

    Raises:
        ValueError: a table is given twice.
    """
    found: dict[str, CountsFile] = {}
    for word in words or ():
        name, equals, file = word.partition("=")
        if not equals or "[" in name or Path(word).exists():  # an equals sign of the file or of its options
            name, file = "", word
        if name in found:
            raise ValueError(f"--frequencies of {name or 'the table'} is given twice. Give it once.")
        found[name] = counts_file(file)
    return found
