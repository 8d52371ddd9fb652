"""Files of edges, read a chunk at a time."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimtable.data.interactions.tables import QUOTING, Columns, choose_id_columns, require_polars
from slimtable.errors import DatasetError, DatasetNotFoundError

_SEPARATORS = "\t,;|"
_BLOCK_BYTES = 1 << 24
_SUFFIXES = (".parquet", ".csv", ".tsv")


@dataclass(frozen=True)
class EdgeFiles:
    """Parquet or CSV files with one edge per row.

    Attributes:
        paths: the files, in reading order.
        columns: role (``user``, ``item``) to column; None to recognise columns by their names.
    """

    paths: tuple[Path, ...]
    columns: Columns | None

    @classmethod
    def from_paths(cls, sources: str | Path | Sequence[str | Path], columns: Columns | None) -> EdgeFiles:
        """From paths of files, or of a folder whose files are sorted by name.

        Raises:
            DatasetNotFoundError: a file does not exist, or the folder has none.
        """
        paths = []
        for path in [sources] if isinstance(sources, str | Path) else sources:
            path = Path(path).expanduser()
            if not path.exists():
                raise DatasetNotFoundError(f"there is no file or folder {path}. Check the path.")
            inside = sorted(each for each in path.glob("*") if each.suffix in _SUFFIXES) if path.is_dir() else [path]
            if not inside:
                raise DatasetNotFoundError(f"{path} holds no {', '.join(_SUFFIXES)} files. Give the files of edges.")
            paths += inside
        return cls(tuple(paths), columns)

    def describe(self) -> dict[str, Any]:
        """A fingerprint of the files, as JSON values."""
        facts = [(path.resolve(), path.stat()) for path in self.paths]
        files = [{"path": str(path), "bytes": stat.st_size, "modified_ns": stat.st_mtime_ns} for path, stat in facts]
        return {"files": files, "columns": None if self.columns is None else dict(self.columns)}

    def rows(self) -> int | None:
        """Number of rows if the files state it, else None."""
        import pyarrow.parquet as parquet

        if not all(is_parquet(path) for path in self.paths):
            return None
        try:
            return sum(parquet.ParquetFile(path).metadata.num_rows for path in self.paths)
        except (OSError, ValueError):
            return None  # reading the files reports the error

    def __str__(self) -> str:
        return str(self.paths[0]) if len(self.paths) == 1 else f"{self.paths[0].parent} ({len(self.paths)} files)"


def is_parquet(path: Path) -> bool:
    """True if a file begins like a Parquet file."""
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def read_chunks(source: EdgeFiles, chunk: int) -> Iterator[tuple[Any, Any]]:
    """The raw ids of the users and items of consecutive rows, as polars Series of at most ``chunk`` rows.

    Raises:
        DatasetError: a file is not a table with these columns.
    """
    require_polars()
    import polars as pl
    import pyarrow as pa

    for path in source.paths:
        text = not is_parquet(path)
        try:
            for batch in (_read_text if text else _read_parquet)(path, source.columns, chunk):
                users, items = (pl.Series(pl.from_arrow(batch.column(place))) for place in (0, 1))
                if text:
                    users, items = _numbers(users), _numbers(items)
                for first in range(0, len(users), chunk):
                    yield users.slice(first, chunk), items.slice(first, chunk)
        except (pa.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0].strip().rstrip(".")
            raise DatasetError(f"{path} is not a readable table of edges: {reason}.") from error


def _read_parquet(path: Path, columns: Columns | None, chunk: int) -> Iterator[Any]:
    import pyarrow.parquet as parquet

    if columns is not None and any(isinstance(column, int) for column in columns.values()):
        raise ValueError("a Parquet file has named columns. Use their names in `columns`.")
    file = parquet.ParquetFile(path)
    names = choose_id_columns(file.schema_arrow.names, columns, path)
    for batch in file.iter_batches(batch_size=chunk, columns=list(names)):
        yield batch.select(list(names))


def _read_text(path: Path, columns: Columns | None, chunk: int) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.csv as arrow_csv
    from pyarrow import compute

    with path.open(encoding="utf-8-sig", newline="") as file:
        head = next((line for line in file if line.strip()), "")
    if not head:
        raise DatasetError(f"{path} is empty. Give at least one row of user and item.")
    separator = max(_SEPARATORS, key=head.count)
    present = next(csv.reader([head], delimiter=separator))
    bare = columns is not None and any(isinstance(column, int) for column in columns.values())
    names = list(choose_id_columns(present if not bare else [f"f{i}" for i in range(len(present))], columns, path))
    reader = arrow_csv.open_csv(
        path,
        read_options=arrow_csv.ReadOptions(block_size=_BLOCK_BYTES, autogenerate_column_names=bare),
        # In tab-separated files a quote is an ordinary character, as in `read_interactions`.
        parse_options=arrow_csv.ParseOptions(delimiter=separator, quote_char='"' if separator in QUOTING else False),
        # As text: pyarrow would take "007" and 7 for the same id.
        convert_options=arrow_csv.ConvertOptions(include_columns=names, column_types=dict.fromkeys(names, pa.string())),
    )
    for batch in reader:
        chosen = batch.select(names)
        if separator in QUOTING:  # as in "user, item"
            columns_of = [compute.utf8_trim_whitespace(column) for column in chosen.columns]
            chosen = pa.record_batch(columns_of, names=names)
        yield chosen


def _numbers(raw: Any) -> Any:
    """Converts texts to integers if all are canonical (no leading zero, sign or space), so that ids stay distinct.

    Decimal fractions become floats, which the numbering of ids refuses.
    """
    import polars as pl

    numbers = raw.cast(pl.Int64, strict=False)
    if numbers.null_count() == 0 and (numbers.cast(pl.String) == raw).all():
        return numbers
    fractions = raw.cast(pl.Float64, strict=False)
    return fractions if fractions.null_count() == 0 and raw.str.contains(".", literal=True).any() else raw
