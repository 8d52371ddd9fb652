"""8-bit rows with scales and offsets, in and out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slimtable.tables import open_tables
from slimtable.tables.int8_rows import Int8Rows, encode_int8_rows, layout_of, write_int8_rows
from tests.tables.test_formats import only

TABLE = np.random.default_rng(0).standard_normal((300, 8)).astype(np.float32)


def fp32_rows(table: np.ndarray) -> np.ndarray:
    low, high = table.min(axis=1, keepdims=True), table.max(axis=1, keepdims=True)
    scales = ((high - low) / 255).astype("<f4")
    codes = np.rint((table - low) / scales).astype(np.uint8)
    return np.hstack([codes, scales.view(np.uint8), low.astype("<f4").view(np.uint8)])


def first_rows(table: np.ndarray) -> np.ndarray:
    rows = encode_int8_rows(table)
    return np.hstack([rows[:, -4:], rows[:, :-4], np.zeros((len(rows), -len(rows[0]) % 16), np.uint8)])


LAYOUTS = {"fp32": fp32_rows, "fp16": encode_int8_rows, "fp16-first": first_rows}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dim", [2, 8, 12, 28])
def test_layouts_are_told_and_decoded(layout: str, dim: int) -> None:
    table = np.random.default_rng(dim).normal(0, 0.1, (300, dim)).astype(np.float32)
    rows = LAYOUTS[layout](table)
    assert layout_of(rows) == layout
    read = Int8Rows(rows, layout)
    assert read.shape == (300, dim)
    step = np.ptp(table, axis=1, keepdims=True) / 255
    assert (np.abs(read[:] - table) <= 0.51 * step + 1e-3 * np.abs(table).max()).all()
    np.testing.assert_array_equal(read[10:20], read[:][10:20])


@pytest.mark.parametrize(
    "rows", [np.zeros((3, 12), np.uint8), np.random.default_rng(0).integers(0, 256, (99, 12), np.uint8)]
)
def test_bytes_that_are_no_rows_are_not_taken_for_some(tmp_path: Path, rows: np.ndarray) -> None:
    assert layout_of(rows) is None
    np.savez(tmp_path / "a.npz", mask=rows, table=TABLE)
    assert list(open_tables(tmp_path / "a.npz")) == ["table"]
    with pytest.raises(ValueError, match=r"'mask' holds bytes .* whose layout is not clear. Say it with int8=fp32"):
        open_tables(tmp_path / "a.npz", "mask")
    assert open_tables(tmp_path / "a.npz", "mask", int8="fp16")["mask"].shape == (len(rows), 8)


def test_rows_of_few_ids_need_the_layout_said(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", encode_int8_rows(TABLE[:3]))
    with pytest.raises(ValueError, match="A table is a floating-point matrix; found: table uint8"):
        open_tables(tmp_path / "a.npy")
    assert open_tables(tmp_path / "a.npy", int8="fp16")["table"].shape == (3, 8)
    with pytest.raises(ValueError, match=r"no layout 'fp8' of 8-bit rows. Layouts: fp32, fp16, fp16-first"):
        open_tables(tmp_path / "a.npy", int8="fp8")


def test_what_torcheasyrec_exports_comes_back(tmp_path: Path) -> None:
    keys = np.arange(300)[::-1] * 7
    write_int8_rows(tmp_path / "a.npz", {"user": (TABLE, keys), "item": (TABLE[:9], None)})
    with np.load(tmp_path / "a.npz") as archive:
        assert {name: (archive[name].dtype.name, archive[name].shape) for name in archive.files} == {
            "user.keys": ("int64", (300,)),
            "user.values": ("uint8", (300, 12)),
            "item.keys": ("int64", (9,)),
            "item.values": ("uint8", (9, 12)),
        }
        np.testing.assert_array_equal(archive["user.values"], encode_int8_rows(TABLE))
    tables = open_tables(tmp_path / "a.npz")
    assert list(tables) == ["user", "item"]
    assert tables["user"].ids.tolist() == keys.tolist()
    assert np.abs(tables["user"][:] - TABLE).max() < 0.015
    before = (tmp_path / "a.npz").read_bytes()
    write_int8_rows(tmp_path / "a.npz", {"user": (TABLE, keys), "item": (TABLE[:9], None)})
    assert (tmp_path / "a.npz").read_bytes() == before


def test_a_delta_dump_of_torcheasyrec(tmp_path: Path) -> None:
    """Its Parquet files hold lists of uint8 and a column `key_id`."""
    rows = encode_int8_rows(TABLE)
    columns = {"global_step": [5] * 300, "key_id": np.arange(300) + 9, "embedding": rows.tolist()}
    types = [("global_step", pa.int64()), ("key_id", pa.int64()), ("embedding", pa.list_(pa.uint8()))]
    pq.write_table(pa.table(columns, pa.schema(types)), tmp_path / "a.parquet")
    table = only(tmp_path / "a.parquet")
    np.testing.assert_array_equal(table[:], Int8Rows(rows, "fp16")[:])
    assert table.ids.tolist() == (np.arange(300) + 9).tolist()


def test_constant_rows_and_rows_beyond_float16(tmp_path: Path) -> None:
    constant = np.array([[0, 0], [1.5, 1.5], [-2, -2], [3, 3]], np.float32)
    np.testing.assert_array_equal(Int8Rows(encode_int8_rows(constant), "fp16")[:], constant)
    with pytest.raises(ValueError, match="beyond the range of float16"):
        encode_int8_rows(np.full((1, 2), 1e6, np.float32))


@pytest.mark.parametrize(
    ("table", "keys", "message"),
    [
        (TABLE[:, :3], None, "3 columns; these rows need an even number"),
        (TABLE, np.arange(4), r"Ids of table 'x' must be 300 whole numbers, got \(4,\)"),
        (TABLE, np.ones(300), "must be 300 whole numbers"),
    ],
)
def test_what_cannot_be_written(tmp_path: Path, table: np.ndarray, keys: np.ndarray | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_int8_rows(tmp_path / "a.npz", {"x": (table, keys)})
    assert not list(tmp_path.iterdir())
