"""Click logs in Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from slimtable.data.clicks.raw import RawClicks, RawField, log_scale
from slimtable.data.clicks.schema import Column, Field, Schema
from slimtable.data.clicks.text import check_labels, split_cells, strings_of_arrow
from slimtable.data.interactions.tables import require_polars
from slimtable.errors import DatasetError


def read_parquet(path: Path, schema: Schema, chunk_rows: int) -> Iterator[RawClicks]:
    """The rows of a Parquet file, at most ``chunk_rows`` at a time; errors name the file and the row."""
    require_polars()
    import pyarrow as pa
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            for column in schema.columns:
                if names.count(column) != 1:
                    many = "has several columns" if column in names else "has no column"
                    raise DatasetError(f"{path} {many} {column!r}. Its columns: {', '.join(names)}.")
            first = 0
            for batch in file.iter_batches(chunk_rows, columns=list(dict.fromkeys(map(str, schema.columns)))):
                if batch.num_rows:
                    yield _Batch(path, schema, batch, first).rows()
                first += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DatasetError(f"{path} is not a readable Parquet file: {reason}") from None


class _Batch:
    def __init__(self, path: Path, schema: Schema, batch: Any, first: int) -> None:
        self.path, self.schema, self.batch, self.first = path, schema, batch, first

    def rows(self) -> RawClicks:
        schema = self.schema
        assert schema.label is not None
        labels, said, row = check_labels(self._numbers(schema.label, "label"), schema.positive_from)
        if said:
            raise self._wrong(row, said)
        times = None if schema.time is None else self._numbers(schema.time, "time")
        numeric = [log_scale(self._numbers(name, "numeric column", may_lack=True)) for name in schema.numeric]
        fields = tuple(self._field(field) for field in schema.fields)
        stacked = np.stack(numeric, axis=1) if numeric else np.zeros((len(labels), 0), np.float32)
        return RawClicks(labels, stacked, fields, times)

    def _numbers(self, column: Column, what: str, may_lack: bool = False) -> np.ndarray:
        """Converts a column to float64 (n,), with NaN for missing numbers; dates become seconds."""
        import pyarrow as pa

        array = self.batch.column(column)
        kind = array.type
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            numbers = array.cast(pa.timestamp("us"), safe=False).cast(pa.int64()).to_numpy(zero_copy_only=False) / 1e6
        elif pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
            if pa.types.is_boolean(kind):
                array = array.cast(pa.int8())
            numbers = array.to_numpy(zero_copy_only=False).astype(np.float64)
        else:
            raise DatasetError(f"{self.path}: the {what} {column!r} is {kind}, not a number. Cast the column.")
        wrong = ~np.isfinite(numbers)
        if may_lack:
            wrong &= array.is_valid().to_numpy(zero_copy_only=False)
        if wrong.any():
            row = int(np.argmax(wrong))
            missing = not array[row].is_valid
            state = "is missing" if missing else f"{numbers[row]} is not a number"
            raise self._wrong(row, f"the {what} {column!r} {state}. Correct it.")
        return numbers

    def _wrong(self, row: int, said: str) -> DatasetError:
        return DatasetError(f"{self.path}, row {self.first + row + 1:,}: {said}")

    def _field(self, field: Field) -> RawField:
        import pyarrow as pa

        array = self.batch.column(field.source_column)
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        offsets = None
        if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
            lengths = array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
            offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
            array = array.flatten()
        if pa.types.is_integer(array.type):
            if pa.types.is_uint64(array.type) and array.null_count < len(array):
                array = array.cast(pa.int64())  # raises if a value does not fit
            present = array.is_valid().to_numpy(zero_copy_only=False) if array.null_count else None
            return RawField(array.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64), present, offsets)
        texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
        if not any(is_kind(array.type) for is_kind in texts):
            raise DatasetError(
                f"{self.path}: field {field.name!r} is {array.type}; values are texts or integers, or lists of them. "
                "Cast the column."
            )
        strings = strings_of_arrow(array.cast(pa.large_string()).fill_null(""))
        if field.separator and offsets is None:
            return split_cells(strings, field.separator)
        return RawField(strings, None, offsets)
