"""Tables in Parquet, Arrow and Feather files: one column of lists is one table, read a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from slimtable.codecs.vectors import BLOCK_ROWS
from slimtable.tables.base import Ids, Streamed, Table, TableError

PARQUET, ARROW, STREAM = b"PAR1", b"ARROW1", b"\xff\xff\xff\xff"
_BUFFER = 1 << 20  # bytes of a column read at once; else a whole group of rows would be
_ID_NAMES = ("id", "ids", "key", "key_id", "item_id", "user_id", "word")


def is_arrow(start: bytes) -> bool:
    """True if a file that starts with these bytes is Parquet, Arrow or Feather."""
    return start.startswith((PARQUET, ARROW, STREAM))


def read_arrow(path: Path, id_column: str | None = None) -> dict[str, Table]:
    """The columns of lists of numbers by name, as tables; and columns of numbers, as arrays (N,).

    Args:
        path: a Parquet, Arrow (file or stream) or Feather file.
        id_column: the column of raw ids, whole numbers or texts. None: the only such column, or one called ``id``,
            ``key_id``, ``item_id``, ``user_id``, … ; if there is none, the tables have no ids.

    Raises:
        TableError: the file is damaged, or has no such column.
    """
    import pyarrow as pa

    with _readable(path), path.open("rb") as file:
        source = _Parquet(path) if file.read(4) == PARQUET else _Batches(path)
        schema = source.schema()
        starts = source.starts()
    ids = _id_column(path, schema, id_column)
    found: dict[str, Table] = {}
    for field in schema:
        is_list = pa.types.is_list(field.type) or pa.types.is_large_list(field.type)
        is_list = is_list or pa.types.is_fixed_size_list(field.type)
        value = field.type.value_type if is_list else field.type
        if pa.types.is_floating(value) or pa.types.is_integer(value):
            with _readable(path):
                found[field.name] = _Column(path, source, field.name, value.to_pandas_dtype(), is_list, starts, ids)
    return found


def _id_column(path: Path, schema: Any, wanted: str | None) -> str | None:
    import pyarrow as pa

    possible = [
        field.name
        for field in schema
        if pa.types.is_integer(field.type) or pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
    ]
    if wanted is not None and wanted not in possible:
        listed = ", ".join(possible[:6]) or "none"
        raise TableError(f"{path} has no column {wanted[:60]!r} of whole numbers or texts. Its such columns: {listed}.")
    if wanted is not None or len(possible) == 1:
        return wanted or possible[0]
    return next((name for name in possible if name.lower() in _ID_NAMES), None)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns errors of Arrow into one of ours."""
    import pyarrow as pa

    try:
        yield
    except TableError:
        raise
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        raise TableError(f"{path} is not a readable table: {str(error)[:160]}") from error


class _Parquet:
    """The row groups of a Parquet file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def schema(self) -> Any:
        import pyarrow.parquet as pq

        return pq.read_schema(self.path)

    def starts(self) -> list[int]:
        """First row of each row group, and the number of rows."""
        import pyarrow.parquet as pq

        about = pq.read_metadata(self.path)
        sizes = [about.row_group(group).num_rows for group in range(about.num_row_groups)]
        if min(sizes, default=0) < 0:
            raise TableError(f"{self.path} is damaged: it says that a group of rows has {min(sizes)}.")
        return [0, *np.cumsum(sizes, dtype=np.int64).tolist()]

    def batches(self, column: str, first: int) -> Iterator[Any]:
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.path, pre_buffer=False, buffer_size=_BUFFER) as file:
            groups = list(range(first, file.metadata.num_row_groups))
            for batch in file.iter_batches(BLOCK_ROWS, row_groups=groups, columns=[column], use_threads=False):
                yield batch.column(0)


class _Batches:
    """The record batches of an Arrow file or stream."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def _is_file(self) -> bool:
        with self.path.open("rb") as file:
            return file.read(len(ARROW)) == ARROW

    def schema(self) -> Any:
        import pyarrow as pa

        with pa.memory_map(str(self.path)) as source:
            reader = pa.ipc.open_file(source) if self._is_file() else pa.ipc.open_stream(source)
            return reader.schema

    def starts(self) -> list[int]:
        """First row of each batch (of a stream: only 0), and the number of rows."""
        sizes = [len(batch) for batch in self._all(0)]
        return [0, *np.cumsum(sizes, dtype=np.int64).tolist()] if self._is_file() else [0, sum(sizes)]

    def batches(self, column: str, first: int) -> Iterator[Any]:
        for batch in self._all(first):
            yield batch.column(batch.schema.get_field_index(column))

    def _all(self, first: int) -> Iterator[Any]:
        import pyarrow as pa

        with pa.memory_map(str(self.path)) as source:
            if self._is_file():
                reader = pa.ipc.open_file(source)
                for i in range(first, reader.num_record_batches):
                    yield reader.get_batch(i)
            else:
                yield from pa.ipc.open_stream(source)


class _Column(Streamed):
    """A column of lists of equal length (N, d), or of numbers (N,)."""

    def __init__(
        self,
        path: Path,
        source: _Parquet | _Batches,
        name: str,
        dtype: Any,
        is_list: bool,
        starts: list[int],
        id_column: str | None,
    ) -> None:
        self._path, self._source, self._name, self._id_column = path, source, name, id_column
        self.dtype, self._is_list = np.dtype(dtype), is_list
        self.shape: tuple[int, ...] = (starts[-1],)
        super().__init__(starts[:-1] or [0])
        if is_list:
            width = next((self._width(array) for array in source.batches(name, 0) if len(array)), 0)
            self.shape = (starts[-1], width)

    @property
    def ids(self) -> Ids | None:
        if self._id_column is None:
            return None
        with _readable(self._path):
            parts = [_ids_of(self._path, part) for part in self._source.batches(self._id_column, 0)]
        if all(isinstance(part, np.ndarray) for part in parts):
            return np.concatenate(parts) if parts else np.zeros(0, np.int64)
        return [text for part in parts for text in part]

    def files(self) -> tuple[Path, ...]:
        return (self._path,)

    def verify(self) -> None:
        """Nothing to check beforehand: every batch is validated when it is read."""

    def _width(self, array: Any) -> int:
        array.validate(full=True)  # Arrow ends the process where the offsets of a damaged list lead outside
        first = array[0].as_py()
        if first is None:
            raise TableError(f"{self._path}: row 0 of column {self._name[:60]!r} is missing.")
        return len(first)

    def _stream(self, part: int) -> Iterator[np.ndarray]:
        row = self._starts[part]
        with _readable(self._path):
            for array in self._source.batches(self._name, part):
                array.validate(full=True)
                yield self._values(array, row)
                row += len(array)

    def _values(self, array: Any, row: int) -> np.ndarray:
        if array.null_count:
            raise TableError(f"{self._path}: column {self._name[:60]!r} lacks values, first from row {row:,} on.")
        if not self._is_list:
            return array.to_numpy(zero_copy_only=False)
        import pyarrow as pa

        if pa.types.is_fixed_size_list(array.type):
            lengths = np.full(len(array), array.type.list_size)
        else:
            lengths = array.value_lengths().to_numpy(zero_copy_only=False)
        wrong = np.flatnonzero(lengths != self.shape[1])
        if wrong.size:
            raise TableError(
                f"{self._path}: row {row + wrong[0]:,} of column {self._name[:60]!r} has {lengths[wrong[0]]:,} values, "
                f"but the first has {self.shape[1]:,}. All rows of a table have equal length."
            )
        values = array.flatten()
        if values.null_count:
            raise TableError(f"{self._path}: column {self._name[:60]!r} lacks values, first from row {row:,} on.")
        return values.to_numpy(zero_copy_only=False).reshape(len(array), self.shape[1])


def _ids_of(path: Path, array: Any) -> Ids:
    import pyarrow as pa

    array.validate(full=True)
    if array.null_count:
        raise TableError(f"{path}: {array.null_count:,} of its ids are missing.")
    if pa.types.is_integer(array.type):
        return array.cast(pa.int64()).to_numpy()
    texts: list[str] = array.to_pylist()
    return texts
