"""Click logs of any size, read a chunk at a time."""

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
_BESIDE = (".yaml", ".yml", ".json", ".md", ".partial", ".part")  # what may lie beside the files of a log


def read_clicks(path: str | Path, schema: Schema, chunk_rows: int = 250_000) -> Iterator[RawClicks]:
    """Reads a file, or a folder of files in the natural order of their names.

    No more than a chunk and a block of text are held at a time. Text may be gzipped (``.gz``).

    Args:
        path: the file or folder. In a folder, hidden files and ``.yaml``, ``.json`` and ``.md`` are left alone.
        schema: what its columns mean.
        chunk_rows: the most rows of a chunk; some have fewer.

    Yields:
        Chunks with at least one row, in file order.

    Raises:
        DatasetNotFoundError: there is no such file, or none in the folder.
        DatasetError: a column is not there, a label, number or time is invalid, a line is ragged, a file has no rows;
            names the file and the line.
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
            raise DatasetError(f"{file} holds no rows. Give at least one, or take the file away.")


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
