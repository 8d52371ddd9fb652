"""The formats that tables are exported to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from slimtable.artifact.file import read_artifact
from slimtable.export import arrow_files, faiss_index, lance_arrays, numpy_files
from slimtable.export.content import Content, content_of

EXPORTERS: Mapping[str, Callable[[Content, Path], list[Path]]] = MappingProxyType(
    {
        "faiss": faiss_index.write,
        "parquet": arrow_files.write_parquet,
        "arrow": arrow_files.write_arrow,
        "lance": lance_arrays.write,
        "npy": numpy_files.write,
    }
)
"""By format, what writes a table; returns the paths that it wrote."""


def export_table(file: Path, out: Path, form: str, table: str | None = None) -> list[Path]:
    """Writes the codes, codebooks, gains and raw ids of a table of an artifact for another program.

    Args:
        file: the artifact.
        out: where to write; a folder for "lance" and "npy", else a file.
        form: one of :data:`EXPORTERS`.
        table: name of the table; None for the only one.

    Returns:
        The paths that were written.

    Raises:
        ValueError: the format is unknown, or cannot express the table; the message says how to compress it instead.
        FileExistsError: the folder exists.
        FileNotFoundError: the artifact does not exist.
    """
    if form not in EXPORTERS:
        raise ValueError(f"{form!r} is not a format. Formats: {', '.join(EXPORTERS)}.")
    return EXPORTERS[form](content_of(read_artifact(file), table), out)
