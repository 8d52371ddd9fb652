"""Readers of click logs of any size, in chunks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from slimtable.data.clicks.libfm import read_libfm
from slimtable.data.clicks.parquet import read_parquet
from slimtable.data.clicks.raw import RawClicks, RawField
from slimtable.data.clicks.schema import Schema
from slimtable.data.clicks.text import read_text
from slimtable.errors import DatasetError, DatasetNotFoundError
from slimtable.files import natural_key

__all__ = ["RawClicks", "RawField", "log_files", "read_clicks"]

_READERS = {"csv": read_text, "criteo": read_text, "libfm": read_libfm, "parquet": read_parquet}
_BESIDE = (".yaml", ".yml", ".json", ".md", ".partial", ".part")  # other files in the folder of a log


def read_clicks(path: str | Path, schema: Schema, chunk_rows: int = 250_000) -> Iterator[RawClicks]:
    """Reads a file, or a folder of files in the natural order of their names.

    Holds at most one chunk and one block of text in memory. Text may be gzipped (``.gz``).

    Args:
        path: the file or folder. In a folder, hidden files and ``.yaml``, ``.json`` and ``.md`` are ignored.
        schema: its schema.
        chunk_rows: maximum number of rows of a chunk.

    Yields:
        Chunks with at least one row, in file order.

    Raises:
        DatasetNotFoundError: the file does not exist, or the folder holds none.
        DatasetError: a column is missing, a label, number or time is invalid, a line is ragged, or a file has no rows;
            the message names the file and the line.
        ValueError: ``chunk_rows`` is less than 1.
    """
    if chunk_rows < 1:
        raise ValueError(f"`chunk_rows` must be at least 1, got {chunk_rows}.")
    for file in log_files(path):
        empty = True
        for chunk in _READERS[schema.format](file, schema, chunk_rows):
            empty = False
            yield chunk
        if empty:
            raise DatasetError(f"{file} holds no rows. Add at least one, or remove the file.")


def log_files(path: str | Path) -> list[Path]:
    """The files of a log: the file itself, or those of a folder in the natural order of their names.

    Raises:
        DatasetNotFoundError: there is none.
    """
    path = Path(path).expanduser()
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DatasetNotFoundError(
            f"{path} is neither a file nor a folder. Name a click log, or a folder of its parts."
        )
    inside = sorted(path.iterdir(), key=lambda file: natural_key(file.name))
    files = [
        file
        for file in inside
        if file.is_file() and not file.name.startswith((".", "_SUCCESS")) and file.suffix not in _BESIDE
    ]
    if not files:
        raise DatasetNotFoundError(f"the folder {path} holds no file of a click log. Put one into it.")
    return files
