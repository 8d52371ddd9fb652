from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from slimtable.data import load_dataset
from slimtable.data.interactions.interactions import Interactions
from slimtable.errors import DatasetError, DatasetNotFoundError
from slimtable.grouping import InteractionGraph, group
from slimtable.grouping import edges as module
from slimtable.grouping.edges import build_graph, describe_graph, is_graph, open_graph, raw_ids, require_source

ARRAYS = ("user_starts", "user_items", "item_starts", "item_users")


def write(path: Path, users: Any, items: Any) -> Path:
    frame = pl.DataFrame({"user_id": users, "item_id": items})
    frame.write_parquet(path) if path.suffix == ".parquet" else frame.write_csv(path)
    return path


def random_edges(rows: int = 4000, step: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Repeated edges among them, raw ids with gaps."""
    generator = np.random.default_rng(0)
    return step * (150 * generator.random(rows) ** 2).astype(np.int64), 3 * (90 * generator.random(rows) ** 3).astype(
        np.int64
    )


def assert_is_graph_of(folder: Path, users: Any, items: Any) -> None:
    wanted = Interactions.from_raw(np.array(users), np.array(items))
    graph, in_memory = open_graph(folder), InteractionGraph.from_interactions(wanted)
    for name in ARRAYS:
        array = getattr(graph, name)
        assert isinstance(array, np.memmap)
        assert array.dtype == getattr(in_memory, name).dtype
        np.testing.assert_array_equal(array, getattr(in_memory, name))
    for found, vocabulary in zip(raw_ids(folder), (wanted.user_vocabulary, wanted.item_vocabulary), strict=True):
        np.testing.assert_array_equal(found, vocabulary)


@pytest.mark.parametrize("name", ["edges.parquet", "edges.csv"])
@pytest.mark.parametrize("chunk", [1, 97, 1 << 22])
def test_the_graph_on_disk_is_the_graph_in_memory(tmp_path: Path, name: str, chunk: int) -> None:
    users, items = random_edges(200 if chunk == 1 else 4000)
    report = build_graph(write(tmp_path / name, users, items), tmp_path / "graph", chunk=chunk)
    assert_is_graph_of(tmp_path / "graph", users, items)
    different = len(set(zip(users.tolist(), items.tolist(), strict=True)))
    assert (report.rows, report.edges, report.repeated) == (len(users), different, len(users) - different)
    assert sorted(path.name for path in (tmp_path / "graph").iterdir()) == sorted(
        ["graph.json", "users.npy", "items.npy", *(f"{name}.npy" for name in ARRAYS)]
    )


@pytest.mark.parametrize("widest", [0, 400, 1 << 28])
def test_ids_beyond_the_table_are_sorted(tmp_path: Path, widest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slimtable.grouping.edge_ids._WIDEST", widest)  # 400: some chunks are counted, then sorted
    users, items = random_edges()
    users[3000:] += 2**40 * (users[3000:] % 2)
    order = np.argsort(users, kind="stable")
    build_graph(write(tmp_path / "e.parquet", users[order], items[order]), tmp_path / "graph", chunk=500)
    assert_is_graph_of(tmp_path / "graph", users[order], items[order])


def test_texts_are_ids_too(tmp_path: Path) -> None:
    users, items = random_edges()
    named = [f"ü{user}" for user in users], [f"{item:05}" for item in items]
    build_graph(write(tmp_path / "e.parquet", *named), tmp_path / "graph", chunk=700)
    assert_is_graph_of(tmp_path / "graph", *named)


@pytest.mark.parametrize("chunk", [1, 3, 1 << 22])
def test_ids_in_csv_are_what_is_written(tmp_path: Path, chunk: int) -> None:
    """7 and 007 are two ids, spaces are none of them, and one id that is no plain integer makes all texts."""
    path = tmp_path / "e.csv"
    path.write_text("user,item\n7,5000000000\n007,1\n7,1\n+7,2\n 7,3\nNA,3\n99999999999999999999,1\n7,1\n")
    report = build_graph(path, tmp_path / "graph", chunk=chunk)
    wanted = load_dataset(str(path)).interactions
    assert_is_graph_of(tmp_path / "graph", wanted.user_vocabulary[wanted.users], wanted.item_vocabulary[wanted.items])
    assert (report.num_users, report.num_items, report.repeated) == (5, 4, 1)


def test_several_files_are_one_source(tmp_path: Path) -> None:
    users, items = random_edges()
    (tmp_path / "parts").mkdir()
    for part in range(3):
        write(tmp_path / "parts" / f"{part}.parquet", users[part::3], items[part::3])
    build_graph(tmp_path / "parts", tmp_path / "graph")
    assert_is_graph_of(tmp_path / "graph", users, items)


def test_columns_by_name_and_by_position(tmp_path: Path) -> None:
    (tmp_path / "bare.csv").write_text("5;1;0.5\n6;2;0.5\n")
    build_graph(tmp_path / "bare.csv", tmp_path / "bare", {"user": 1, "item": 0})
    assert_is_graph_of(tmp_path / "bare", [1, 2], [5, 6])
    (tmp_path / "named.csv").write_text("who,what\n5,1\n6,2\n")
    build_graph(tmp_path / "named.csv", tmp_path / "named", {"user": "who", "item": "what"})
    assert_is_graph_of(tmp_path / "named", [5, 6], [1, 2])


def test_a_mapped_graph_is_grouped_as_one_in_memory(tmp_path: Path) -> None:
    users, items = random_edges()
    build_graph(write(tmp_path / "e.parquet", users, items), tmp_path / "graph")
    mapped = group(open_graph(tmp_path / "graph"), "baco[gamma=1.0]")
    in_memory = group(InteractionGraph.from_interactions(Interactions.from_raw(users, items)), "baco[gamma=1.0]")
    assert mapped.statistics.sweeps == in_memory.statistics.sweeps
    np.testing.assert_array_equal(mapped.users.rows, in_memory.users.rows)
    np.testing.assert_array_equal(mapped.users.secondary, in_memory.users.secondary)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user,item\n1,2\n-3,4\n", "row 2 has the negative user id -3"),
        ("user,item\n1,2\n3,\n", "row 2 has no item id"),
        ("user,item\na,2\n,4\n", "row 2 has no user id"),
        ("user,item\n1,2\n3,4.5\n", "item ids must be whole numbers or texts, got Float64"),
        ("user,item\n", "holds no edges"),
        ("", "is empty"),
        ("user,what\n1,2\n", "no column that looks like the item"),
        ("user,item\n1,2,3\n", "not a readable table"),
    ],
)
def test_bad_edges_are_refused_and_leave_nothing(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(DatasetError, match=message) as caught:
        build_graph(tmp_path / "bad.csv", tmp_path / "graph")
    assert "bad.csv" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.csv"]


def test_a_whole_column_of_missing_ids_is_refused(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user": [1, 2], "item": pl.Series([None, None], dtype=pl.Int64)})
    frame.write_parquet(tmp_path / "e.parquet")
    with pytest.raises(DatasetError, match=r"has no item id \(2 in this chunk\)"):
        build_graph(tmp_path / "e.parquet", tmp_path / "graph")


def test_there_must_be_files_and_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="no file or folder"):
        build_graph(tmp_path / "absent.parquet", tmp_path / "graph")
    (tmp_path / "graph").mkdir()
    with pytest.raises(DatasetNotFoundError, match=r"holds no \.parquet"):
        build_graph(tmp_path / "graph", tmp_path / "other")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        build_graph(write(tmp_path / "e.csv", [1], [2]), tmp_path / "no" / "graph")
    with pytest.raises(DatasetError, match="holds no graph"):
        describe_graph(tmp_path / "e.csv")
    with pytest.raises(FileExistsError, match="Choose another folder"):
        build_graph(write(tmp_path / "e.csv", [1], [2]), tmp_path / "graph")


def test_an_interruption_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "e.parquet", *random_edges())

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "_write_side", interrupt)
        with pytest.raises(KeyboardInterrupt):
            build_graph(path, tmp_path / "graph")
    assert [each.name for each in tmp_path.iterdir()] == ["e.parquet"]
    build_graph(path, tmp_path / "graph")
    assert is_graph(tmp_path / "graph")


def test_what_a_killed_process_leaves_is_removed_by_the_next(tmp_path: Path) -> None:
    path, folder = write(tmp_path / "e.csv", [1, 2], [3, 4]), tmp_path / "graph"
    program = (
        "import os, signal, sys; from slimtable.grouping import edges;"
        "edges._write_side = lambda *_: os.kill(os.getpid(), signal.SIGKILL);"
        "edges.build_graph(*sys.argv[1:])"
    )
    assert subprocess.run([sys.executable, "-c", program, path, folder]).returncode == -signal.SIGKILL
    (left,) = tmp_path.glob(".graph.*.partial")
    with (left / module._LOCK).open() as lock:  # as if it were still at work
        fcntl.flock(lock, fcntl.LOCK_EX)
        build_graph(path, folder)
        assert left.is_dir()
    shutil.rmtree(folder)
    build_graph(path, folder)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["e.csv", "graph"]


def test_a_source_that_changes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, folder = write(tmp_path / "e.csv", [1, 2], [3, 4]), tmp_path / "graph"
    bounds = module._bounds

    def meddle(*arguments: Any) -> Any:  # between the two readings
        os.utime(path, ns=(0, 0))
        return bounds(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, "_bounds", meddle)
        with pytest.raises(DatasetError, match="changed while it was read"):
            build_graph(path, folder)
    build_graph(path, folder)
    require_source(folder, path, None)
    write(path, [1, 2, 9], [3, 4, 9])
    with pytest.raises(DatasetError, match="another source, or the source has changed"):
        require_source(folder, path, None)


def test_a_damaged_graph_is_not_opened(tmp_path: Path) -> None:
    folder = tmp_path / "graph"
    with pytest.raises(DatasetError, match="holds no graph"):
        open_graph(folder)
    build_graph(write(tmp_path / "e.parquet", *random_edges()), folder)
    items = np.load(folder / "user_items.npy")
    np.save(folder / "user_items.npy", np.where(np.arange(len(items)) == 5, 10**6, items).astype(np.int32))
    with pytest.raises(DatasetError, match="names an id that does not exist"):
        open_graph(folder)
    np.save(folder / "user_items.npy", items[:-1])
    with pytest.raises(DatasetError, match="does not fit"):
        open_graph(folder)
    (folder / "user_items.npy").write_bytes(b"nothing")
    with pytest.raises(DatasetError, match="is missing or damaged"):
        open_graph(folder)
    np.save(folder / "user_items.npy", np.zeros_like(items))
    with pytest.raises(DatasetError, match="of different edges"):
        open_graph(folder)
    for damaged in (np.arange(3), np.array([1.5]), None):
        (folder / "users.npy").unlink() if damaged is None else np.save(folder / "users.npy", damaged)
        with pytest.raises(DatasetError, match="missing" if damaged is None else "does not fit"):
            raw_ids(folder)
    about = describe_graph(folder)
    (folder / "graph.json").write_text(json.dumps({**about, "version": 99}))
    with pytest.raises(DatasetError, match="not of version"):
        open_graph(folder)
    (folder / "graph.json").write_text("{")
    with pytest.raises(DatasetError, match="is damaged"):
        open_graph(folder)
