"""Jobs in worker processes read tables of files, and make the bytes of compression in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from slimtable.artifact.file import write_artifact
from slimtable.codecs.base import Rows
from slimtable.codecs.uniform import Uniform
from slimtable.codecs.vectors import BLOCK_ROWS
from slimtable.compress.job import Source, compress_to_file
from slimtable.tables import open_tables
from tests.tables.test_formats import lists

TABLE = np.random.default_rng(0).standard_normal((2 * BLOCK_ROWS + 777, 4)).astype(np.float16).astype(np.float32)


def write_shards(path: Path) -> None:
    path.mkdir()
    for number, part in enumerate(np.array_split(TABLE, 5)):
        np.save(path / f"table-{number}.npy", part)


WRITERS = {
    "safetensors, float16": lambda path: save_file({"table": torch.from_numpy(TABLE).half()}, path),
    "torch": lambda path: torch.save({"table": torch.from_numpy(TABLE)}, path),
    "parquet": lambda path: pq.write_table(pa.table({"table": lists(TABLE)}), path, row_group_size=30_000),
    "shards": write_shards,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_worker_processes_read_tables_of_files(tmp_path: Path, kind: str) -> None:
    WRITERS[kind](tmp_path / "file")
    codec, table = Uniform(bits=4, axis="row"), open_tables(tmp_path / "file")["table"]
    compress_to_file({"t": Source(table, codec)}, tmp_path / "out", workers=2, chunk_rows=BLOCK_ROWS)
    write_artifact(tmp_path / "whole", {"t": codec.compress(Rows(TABLE))})
    assert (tmp_path / "out").read_bytes() == (tmp_path / "whole").read_bytes()
