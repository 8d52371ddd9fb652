"""Tables of every format read as they were written, whole and a block at a time."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from slimtable.codecs.base import Rows
from slimtable.errors import SlimtableError
from slimtable.tables import open_tables, read_table
from slimtable.tables.base import Table

ROWS, DIM = 1000, 6
TABLE = np.random.default_rng(0).standard_normal((ROWS, DIM)).astype(np.float32)


def only(path: Path) -> Table:
    (table,) = open_tables(path).values()
    return table


def saved(save: Callable[..., object], path: Path, *arrays: np.ndarray, **named: np.ndarray) -> None:
    with path.open("wb") as file:  # a path without an ending would get one
        save(file, *arrays, **named)


def lists(values: np.ndarray, fixed: bool = True) -> pa.Array:
    flat = pa.array(values.ravel())
    if fixed:
        return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    return pa.ListArray.from_arrays(np.arange(0, values.size + 1, values.shape[1], dtype=np.int32), flat)


def arrow_table(fixed: bool = True) -> pa.Table:
    return pa.table({"item": [f"i{i}" for i in range(ROWS)], "table": lists(TABLE, fixed)})


def write_stream(path: Path) -> None:
    with pa.ipc.new_stream(path, arrow_table().schema) as writer:
        writer.write_table(arrow_table(False).cast(arrow_table().schema), max_chunksize=100)


def write_file(path: Path) -> None:
    with pa.ipc.new_file(path, arrow_table().schema) as writer:
        writer.write_table(arrow_table(), max_chunksize=300)


def write_shards(path: Path) -> None:
    path.mkdir()
    for number, part in enumerate(np.array_split(TABLE, 12)):
        np.save(path / f"{number}.npy", part)


def write_parts(path: Path) -> None:
    path.mkdir()
    for number, part in enumerate(np.array_split(TABLE, 3)):
        pq.write_table(pa.table({"table": lists(part)}), path / f"part-{number}.parquet")


def write_index(path: Path) -> None:
    path.mkdir()
    save_file({"table": torch.from_numpy(TABLE)}, path / "model-1.safetensors")
    save_file({"ids": torch.arange(4)}, path / "model-2.safetensors")
    places = {"table": "model-1.safetensors", "ids": "model-2.safetensors"}
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))


def write_word2vec(path: Path, binary: bool, line_end: bytes = b"\n") -> None:
    with path.open("wb") as file:
        file.write(f"{ROWS} {DIM}\n".encode())
        for i, row in enumerate(TABLE):
            values = row.tobytes() if binary else " ".join(map(repr, row.tolist())).encode()
            file.write(f"w{i} ".encode() + values + line_end)


WRITERS: dict[str, Callable[[Path], object]] = {
    "npy": lambda path: saved(np.save, path, TABLE),
    "npy-fortran": lambda path: saved(np.save, path, np.asfortranarray(TABLE)),
    "npy-big-endian": lambda path: saved(np.save, path, TABLE.astype(">f4")),
    "npz": lambda path: saved(np.savez, path, table=TABLE, ids=np.arange(9)),
    "npz-compressed": lambda path: saved(np.savez_compressed, path, table=TABLE, empty=np.zeros(0)),
    "npz-fortran": lambda path: saved(np.savez_compressed, path, table=np.asfortranarray(TABLE)),
    "safetensors": lambda path: save_file({"table": torch.from_numpy(TABLE)}, path),
    "safetensors-index": write_index,
    "torch": lambda path: torch.save(torch.from_numpy(TABLE), path),
    "torch-state": lambda path: torch.save({"model": {"table": torch.from_numpy(TABLE), "bias": torch.ones(3)}}, path),
    "torch-view": lambda path: torch.save({"table": torch.from_numpy(np.vstack([TABLE, TABLE]))[ROWS:]}, path),
    "torch-transposed": lambda path: torch.save({"table": torch.from_numpy(TABLE.T.copy()).T}, path),
    "parquet": lambda path: pq.write_table(arrow_table(), path, row_group_size=300),
    "parquet-lists": lambda path: pq.write_table(arrow_table(fixed=False), path, row_group_size=300),
    "arrow-file": write_file,
    "arrow-stream": write_stream,
    "feather": lambda path: pa.feather.write_feather(arrow_table(fixed=False), path, compression="zstd"),
    "word2vec-text": lambda path: write_word2vec(path, binary=False),
    "word2vec-text-spaces": lambda path: write_word2vec(path, binary=False, line_end=b" \n"),
    "word2vec-binary": lambda path: write_word2vec(path, binary=True),
    "word2vec-binary-bare": lambda path: write_word2vec(path, binary=True, line_end=b""),
    "shards": write_shards,
    "parquet-parts": write_parts,
}


@pytest.fixture(params=WRITERS)
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Table:
    WRITERS[request.param](tmp_path / "file")
    (found,) = open_tables(tmp_path / "file", "table").values()
    return found


def test_every_format_reads_what_was_written(table: Table) -> None:
    assert (table.shape, table.dtype, table.ndim, table.size, len(table)) == ((ROWS, DIM), np.float32, 2, 6000, ROWS)
    np.testing.assert_array_equal(table[:], TABLE)
    for start, stop in ((0, 1), (995, 1000), (290, 310), (0, 640), (100, 100), (700, 5000), (3, 4), (-5, None)):
        np.testing.assert_array_equal(table[start:stop], TABLE[start:stop])
    np.testing.assert_array_equal(np.asarray(table), TABLE)


def test_codecs_read_every_format_a_block_at_a_time(table: Table) -> None:
    rows = Rows(table)
    np.testing.assert_array_equal(np.vstack([block for _, block in rows.blocks(size=128)]), TABLE)
    ids = np.array([999, 3, 500, 3])
    np.testing.assert_array_equal(rows.take(ids), TABLE[ids])
    np.testing.assert_array_equal(rows.for_repeated_reads().read(10, 30), TABLE[10:30])


IN_MEMORY = {"npy-fortran", "torch-transposed"}


@pytest.mark.parametrize("kind", [kind for kind in WRITERS if kind not in IN_MEMORY])
def test_tables_travel_to_other_processes(tmp_path: Path, kind: str) -> None:
    WRITERS[kind](tmp_path / "file")
    table = only(tmp_path / "file")
    table[0:5]
    reopen = pickle.loads(pickle.dumps(table.for_other_processes()))  # noqa: S301
    np.testing.assert_array_equal(reopen()[7:9], TABLE[7:9])
    for path in reopen.files:
        os.utime(path, ns=(1, 1))
    with pytest.raises(SlimtableError, match="changed while it was compressed"):
        reopen()


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float64"])
@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_other_float_types(tmp_path: Path, kind: str, ending: str) -> None:
    values = torch.from_numpy(TABLE).to(getattr(torch, kind))
    (torch.save if ending == "pt" else save_file)({"t": values}, tmp_path / "file")
    np.testing.assert_array_equal(Rows(only(tmp_path / "file")).read(5, 50), values[5:50].float().numpy())


def test_arrow_keeps_other_float_types(tmp_path: Path) -> None:
    for number, kind in enumerate((np.float16, np.float64)):
        pq.write_table(pa.table({"t": lists(TABLE.astype(kind))}), tmp_path / f"{number}")
        np.testing.assert_array_equal(only(tmp_path / f"{number}")[:], TABLE.astype(kind))


def test_raw_ids(tmp_path: Path) -> None:
    pq.write_table(arrow_table(), tmp_path / "a.parquet", row_group_size=300)
    assert list(only(tmp_path / "a.parquet").ids)[-1] == "i999"
    pl.DataFrame({"id": [5, 3], "other": [1, 2], "t": [[1.0, 2.0], [3.0, 4.0]]}).write_parquet(tmp_path / "b.parquet")
    assert only(tmp_path / "b.parquet").ids.tolist() == [5, 3]
    assert open_tables(tmp_path / "b.parquet", id_column="other")["t"].ids.tolist() == [1, 2]
    with pytest.raises(ValueError, match=r"no column 'absent'.*Its such columns: id, other"):
        open_tables(tmp_path / "b.parquet", id_column="absent")
    for binary in (True, False):
        write_word2vec(tmp_path / "w", binary)
        assert list(only(tmp_path / "w").ids) == [f"w{i}" for i in range(ROWS)]


@pytest.mark.parametrize("kind", WRITERS)
def test_a_table_as_an_array(tmp_path: Path, kind: str) -> None:
    """Mapped where the values lie in the file as they are."""
    WRITERS[kind](tmp_path / "file")
    array = read_table(tmp_path / "file")
    np.testing.assert_array_equal(array, TABLE)
    plain = {"npy", "npy-fortran", "npy-big-endian", "npz", "safetensors", "safetensors-index"}
    assert isinstance(array, np.memmap) == (kind in plain or kind in ("torch", "torch-state", "torch-view"))


def test_names_and_patterns(tmp_path: Path) -> None:
    names = ("user_a", "user_b", "model.item_embedding.weight", "head.weight")
    torch.save({name: torch.ones(3, 2) for name in names} | {"ids": torch.arange(3)}, tmp_path / "s.pt")
    assert tuple(open_tables(tmp_path / "s.pt")) == names
    assert tuple(open_tables(tmp_path / "s.pt", "user_*, *.item_embedding.weight")) == names[:3]
    assert tuple(open_tables(tmp_path / "s.pt", ["head.weight", "user_b"])) == ("user_b", "head.weight")
    with pytest.raises(ValueError, match=r"no table 'item_\*'. Its tables: user_a \(3, 2\), user_b"):
        open_tables(tmp_path / "s.pt", "user_*,item_*")
    with pytest.raises(ValueError, match="No table is named"):
        open_tables(tmp_path / "s.pt", " , ")


def test_states_of_optimizers_are_no_tables(tmp_path: Path) -> None:
    module = torch.nn.Embedding(5, 3)
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.arange(5)).sum().backward()
    optimizer.step()
    torch.save({"optimizer": optimizer.state_dict(), "model": module.state_dict()}, tmp_path / "c.pt")
    assert list(open_tables(tmp_path / "c.pt")) == ["weight"]


def test_equal_names_in_nested_dictionaries_are_told_apart(tmp_path: Path) -> None:
    torch.save({"a": {"weight": torch.ones(2, 2)}, "b": {"weight": torch.zeros(3, 2)}}, tmp_path / "c.pt")
    assert {name: table.shape for name, table in open_tables(tmp_path / "c.pt").items()} == {
        "weight": (2, 2),
        "b.weight": (3, 2),
    }


def test_parameters_with_attributes(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.from_numpy(TABLE))
    weight.note = {"rank": 0}
    torch.save({"w": weight}, tmp_path / "p.pt")
    np.testing.assert_array_equal(only(tmp_path / "p.pt")[:], TABLE)


def test_several_tables_in_one_folder(tmp_path: Path) -> None:
    for name, rows in (("user_0", 2), ("user_1", 3), ("item_07", 4), ("item_08", 5), ("popularity", 6)):
        np.save(tmp_path / f"{name}.npy", TABLE[:rows])
    shapes = {name: table.shape[0] for name, table in open_tables(tmp_path).items()}
    assert shapes == {"user": 5, "item": 9, "popularity": 6}


def test_shards_need_all_numbers_and_equal_widths(tmp_path: Path) -> None:
    for number in (0, 1, 3):
        np.save(tmp_path / f"part-{number:03d}.npy", TABLE[:2])
    with pytest.raises(ValueError, match="shard 2 is missing"):
        open_tables(tmp_path)
    np.save(tmp_path / "part-002.npy", TABLE[:2, :3])
    with pytest.raises(ValueError, match=r"part-002.npy holds float32 of shape \(2, 3\), but part-000.npy"):
        open_tables(tmp_path)
    np.save(tmp_path / "part-002.npy", TABLE[:2])
    assert open_tables(tmp_path)["part"].shape == (8, DIM)
    np.save(tmp_path / "part-2.npy", TABLE[:2])
    with pytest.raises(ValueError, match="shard 2 is there twice"):
        open_tables(tmp_path)


def test_a_table_in_a_file_is_read_by_slices(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", TABLE)
    with pytest.raises(TypeError, match=r"table\[0:1000\]"):
        only(tmp_path / "a.npy")[3]
    with pytest.raises(ValueError, match="leave the step out"):
        only(tmp_path / "a.npy")[::2]
