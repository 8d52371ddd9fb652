"""`slimtable compress`, `plan` and `report` on files with raw ids, 8-bit rows, and counts in many formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from slimtable.cli import compress_job, table_files
from slimtable.serve.reader import open_artifact
from slimtable.tables.int8_rows import decoded, encode_int8_rows
from tests.cli.commands import Command

N, D = 300, 16
WORDS = ["--method", "uniform", "--set", "axis=row", "--set", "bits=8"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    table, ids = generator.standard_normal((N, D)).astype(np.float32), generator.permutation(N) + 1000
    np.save(tmp_path / "table.npy", table)
    np.save(tmp_path / "ids.npy", ids)
    column = pa.FixedSizeListArray.from_arrays(table.ravel(), D)
    parquet.write_table(pa.table({"item_id": ids, "embedding": column}), tmp_path / "item.parquet", row_group_size=70)
    parquet.write_table(pa.table({"kind": np.arange(N) // 2, "embedding": column}), tmp_path / "kinds.parquet")
    order = np.argsort(ids)
    parquet.write_table(pa.table({"item_id": ids[order], "count": order}), tmp_path / "counts.parquet")
    np.save(tmp_path / "counts.npy", np.arange(N))
    np.savez(tmp_path / "counts.npz", counts=np.arange(N))
    (tmp_path / "counts.csv").write_text("count\n" + "".join(f"{k}\n" for k in range(N)))
    return tmp_path


def test_raw_ids_of_a_table_are_in_the_file(must: Command, folder: Path) -> None:
    out, ids = folder / "out.safetensors", np.load(folder / "ids.npy")
    assert "with the raw ids of table" in must("compress", folder / "item.parquet", *WORDS, "--out", out).out
    with open_artifact(out) as artifact:
        rows = artifact["table"].lookup(artifact["table"].ids_of(ids[[5, 7]]))
    assert rows == pytest.approx(np.load(folder / "table.npy")[[5, 7]], abs=0.02)
    words = ["compress", folder / "item.parquet", *WORDS, "--out", out, "--force", "--json"]
    assert must(*words).json["has_vocabulary"]
    assert not must(*words, "--no-vocabulary").json["has_vocabulary"]


def test_a_large_table_is_read_by_blocks_into_the_same_file(must: Command, folder: Path, monkeypatch) -> None:
    out, found = folder / "out.safetensors", []
    for limit in (10**9, 1000):
        for module in (compress_job, table_files):
            monkeypatch.setattr(module, "LARGE", limit)
        facts = must("compress", folder / "item.parquet", *WORDS, "--out", out, "--json", "--force").json
        found.append((facts["has_vocabulary"], out.read_bytes()))
        tables, _ = table_files.read_tables([folder / "item.parquet"], table_files.Reading())
        assert isinstance(tables["item"], np.ndarray) == (limit > 1000)
    assert found[0] == found[1]


def test_ids_that_repeat_are_refused(must: Command, slimtable: Command, folder: Path) -> None:
    words = ["compress", folder / "kinds.parquet", *WORDS, "--out", folder / "out.safetensors"]
    outcome = slimtable(*words)
    assert outcome.code == 2
    assert "0 occurs twice. Name their column with --id-column" in outcome.err
    assert "no column 'kin'" in slimtable(*words, "--id-column", "kin").err
    assert not (folder / "out.safetensors").exists()
    must(*words, "--no-vocabulary")


def test_counts_in_many_formats(must: Command, folder: Path) -> None:
    words = ["compress", folder / "item.parquet", *WORDS, "--out", folder / "out.safetensors", "--json", "--force"]
    plain = must(*words).json["distortion"]
    expected = must(*words, "--frequencies", folder / "counts.npy").json["distortion"]
    assert expected != plain
    for file in ("counts.npz", "counts.csv", "counts.parquet[column=count;id_column=item_id]"):
        assert must(*words, "--frequencies", folder / file).json["distortion"] == expected
        found = must("plan", folder / "item.parquet", "--method", "mgqe", "--frequencies", folder / file, "--json").json
        assert found["frequencies"]["item"]["unseen_ids"] == 1
    file = folder / "counts.parquet[column=count;id_column=item_id]"
    words = ["report", folder / "out.safetensors", folder / "item.parquet", "--no-maps", "--frequencies"]
    must(*words, f"table={file}")


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ("counts.csv[rows=count]", "Counts have no option rows"),
        ("counts.parquet", "not exactly one column of numbers"),
        ("counts.parquet[column=count;id_column=item_id]", "are no ids of the table"),
        ("item=counts.csv", "--frequencies names item, but the tables are table"),
        ("ids.npy[column=x]", "holds no counts 'x'"),
    ],
)
def test_counts_that_are_refused(slimtable: Command, folder: Path, monkeypatch, counts: str, message: str) -> None:
    monkeypatch.chdir(folder)
    outcome = slimtable("compress", "table.npy", *WORDS, "--out", "out.safetensors", "--frequencies", counts)
    assert outcome.code == 2
    assert message in outcome.err
    assert not (folder / "out.safetensors").exists()


def test_8_bit_rows_whose_layout_is_not_clear(must: Command, slimtable: Command, folder: Path) -> None:
    rows = encode_int8_rows(np.load(folder / "table.npy")[:3])
    np.save(folder / "rows.npy", rows)
    words = ["compress", folder / "rows.npy", "--method", "full", "--out", folder / "out.safetensors"]
    assert "Say the layout of 8-bit rows" in slimtable(*words).err
    must(*words, "--int8", "fp16")
    both = np.ascontiguousarray(rows[:, -4:]).view("<f2")
    with open_artifact(folder / "out.safetensors") as artifact:
        served = artifact["table"].lookup(np.arange(3))
    assert (served == decoded(rows[:, :-4], both[:, :1], both[:, 1:])).all()
    planned = must("plan", folder / "rows.npy", "--int8", "fp16", "--method", "uniform", "--json").json
    assert planned["statistics"]["rows"]["embedding_dim"] == D
    assert "no layout 'fp8'" in slimtable(*words, "--int8", "fp8", "--force").err


def test_tables_of_different_widths_are_reported_each_by_itself(must: Command, folder: Path) -> None:
    np.save(folder / "user.npy", np.load(folder / "table.npy")[:, :8])
    words = [folder / "table.npy", folder / "user.npy"]
    must("compress", *words, *WORDS, "--out", folder / "out.safetensors")
    must("report", folder / "out.safetensors", *words, "--no-maps")


def test_scores_beyond_float32_are_refused(slimtable: Command, folder: Path) -> None:
    np.save(folder / "huge.npy", np.load(folder / "table.npy") * np.float32(1e30))
    outcome = slimtable("compress", folder / "huge.npy", "--budget", "20kB", "--out", folder / "out.safetensors")
    assert outcome.code == 2
    assert "Scores of rows are too large for float32" in outcome.err


def test_a_largest_drop_needs_rows_to_compare(slimtable: Command, folder: Path) -> None:
    np.save(folder / "two.npy", np.ones((2, 4), np.float32))
    outcome = slimtable("compress", folder / "two.npy", "--max-drop", "1%", "--out", folder / "out.safetensors")
    assert outcome.code == 2
    assert "a table of at least 3" in outcome.err


def test_codes_beyond_any_codebook(slimtable: Command, folder: Path) -> None:
    np.save(folder / "codes.npy", np.full((4, 3), 2**62))
    assert "would need codebooks of 4,611" in slimtable("inspect", folder / "codes.npy", "--codes").err


def test_the_demo_refuses_a_budget_before_training(slimtable: Command, folder: Path) -> None:
    outcome = slimtable("demo", "--out", folder / "demo", "--budget", "much")
    assert outcome.code == 2
    assert "is not a budget" in outcome.err
    assert not (folder / "demo").exists()
