"""Codes as a column of lists in Parquet and Arrow files; codebooks in a file beside them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from slimtable.export.content import Content
from slimtable.files import replace_file

METADATA = b"slimtable"
"""Key of the schema's metadata: JSON that says how rows are made."""


def write_parquet(content: Content, out: Path) -> list[Path]:
    """Writes a Parquet file with the columns ``id``, ``codes`` and perhaps ``gain``, and codebooks beside it."""
    import pyarrow.parquet as pq

    with replace_file(out) as file, pq.ParquetWriter(file, _schema(content)) as writer:
        for batch in _batches(content):
            writer.write_batch(batch)
    return [out, *_write_codebooks(content, out)]


def write_arrow(content: Content, out: Path) -> list[Path]:
    """As :func:`write_parquet`, in the format of Arrow (Feather version 2), which is read by mapping it."""
    import pyarrow as pa

    schema = _schema(content)
    with replace_file(out) as file, pa.ipc.new_file(file, schema) as writer:
        for batch in _batches(content):
            writer.write_batch(batch)
    return [out, *_write_codebooks(content, out)]


def codebooks_of(out: Path) -> Path:
    """The file beside an exported one that holds codebooks, rotation and offset."""
    return out.with_name(f"{out.name}.codebooks.npz")


def _schema(content: Content) -> Any:
    import pyarrow as pa

    texts = content.raw_ids is not None and not isinstance(content.raw_ids, np.ndarray)
    fields = [
        pa.field("id", pa.string() if texts else pa.int64(), nullable=False),
        pa.field("codes", pa.list_(pa.from_numpy_dtype(content.code_type), len(content.sizes)), nullable=False),
    ]
    fields += [pa.field(name, pa.float32(), nullable=False) for name in content.columns(slice(0, 0))]
    return pa.schema(fields, {METADATA: json.dumps(content.description()).encode()})


def _batches(content: Content) -> Iterator[Any]:
    import pyarrow as pa

    schema = _schema(content)
    for ids, codes in content.blocks():
        flat = pa.array(codes.reshape(-1))
        arrays = [pa.array(content.raw_of(ids), schema.field("id").type)]
        arrays.append(pa.FixedSizeListArray.from_arrays(flat, codes.shape[1]))
        arrays += [pa.array(values) for values in content.columns(ids).values()]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _write_codebooks(content: Content, out: Path) -> list[Path]:
    arrays = content.arrays()
    if not arrays:
        return []
    with replace_file(codebooks_of(out)) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    return [codebooks_of(out)]
