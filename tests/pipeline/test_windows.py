"""Windows in their order, whatever folder, file or dataset they come from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slimtable.errors import DatasetError, SlimtableError
from slimtable.pipeline import read_settings
from slimtable.pipeline import windows as windows_module
from slimtable.pipeline.windows import WindowSource, open_source
from tests.pipeline.samples import ROWS, window_text, write_settings, write_windows


def source(folder: Path, **others: Any) -> WindowSource:
    return open_source(read_settings(write_settings(folder, **others)))


def read_all(windows: WindowSource) -> list[dict[str, Any]]:
    """Reads what is there; gives where it came from."""
    done: list[dict[str, Any]] = []
    after = None
    while windows.available(done) > len(done):
        window = windows.read(len(done), done, after)
        done.append(window.source)
        after = window.last_time
    return done


def test_files_are_windows_in_the_order_of_their_names(tmp_path: Path) -> None:
    folder = write_windows(tmp_path / "windows", 3)
    (folder / ".window-003.csv").write_text("being written")
    (folder / "schema.yaml").write_text("nothing")
    done = read_all(source(tmp_path))
    assert [one["name"] for one in done] == [f"window-00{number}.csv" for number in range(3)]
    assert len({one["sha256"] for one in done}) == 3


def test_files_that_were_read_may_go_but_not_change(tmp_path: Path) -> None:
    folder = write_windows(tmp_path / "windows", 3)
    windows = source(tmp_path)
    done = read_all(windows)
    (folder / "window-000.csv").unlink()
    assert windows.available(done) == 3
    os.utime(folder / "window-001.csv")  # touched, but the same
    assert windows.available(done) == 3
    (folder / "window-001.csv").write_text(window_text(7))
    with pytest.raises(DatasetError, match=r"window-001\.csv has changed since it was read as window 1"):
        windows.available(done)


def test_touched_files_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_windows(tmp_path / "windows", 2)
    windows = source(tmp_path)
    done = read_all(windows)
    os.utime(folder / "window-000.csv", (1, 1))
    read: list[Path] = []

    def identify(file: Path) -> dict[str, Any]:
        read.append(file)
        return {"sha256": done[0]["sha256"]}

    monkeypatch.setattr(windows_module, "_identify", identify)
    for _ in range(3):
        assert windows.available(done) == 2
    assert len(read) == 1


def test_a_window_that_grows_is_told(tmp_path: Path) -> None:
    folder = write_windows(tmp_path / "windows", 3)
    windows = source(tmp_path)
    assert windows.growing([], 2)  # never seen before
    assert not windows.growing([], 2)
    with (folder / "window-001.csv").open("a") as file:
        file.write("half a li")
    assert not windows.growing([], 1)
    with (folder / "window-001.csv").open("a") as file:
        file.write("ne")
    assert windows.growing([], 2)
    assert not windows.growing([], 2)
    (folder / "window-003.csv").touch()
    assert not windows.growing([], 2)  # one that is not needed yet


def test_a_window_out_of_order_is_refused(tmp_path: Path) -> None:
    folder = write_windows(tmp_path / "windows", 2)
    windows = source(tmp_path)
    done = read_all(windows)
    (folder / "window-000b.csv").write_text(window_text(2))
    with pytest.raises(DatasetError, match=r"window-000b\.csv comes before window-001\.csv.*out of order"):
        windows.available(done)


def test_time_does_not_run_backwards_between_windows(tmp_path: Path) -> None:
    folder = write_windows(tmp_path / "windows", 2)
    (folder / "window-002.csv").write_text(window_text(0))
    with pytest.raises(DatasetError, match="Sort the rows by time"):
        read_all(source(tmp_path))


def test_one_file_is_cut_into_equal_windows(tmp_path: Path) -> None:
    texts = [window_text(number) for number in range(3)]
    (tmp_path / "all.csv").write_text("".join([texts[0], *(text.partition("\n")[2] for text in texts[1:])]))
    windows = source(tmp_path, data={"path": "all.csv", "windows": 3})
    done = read_all(windows)
    assert len(done) == 3
    one = windows.read(1, done[:1], None).rows
    assert len(one) == ROWS
    assert one.times is not None
    assert one.times[0] == 1000
    again = source(tmp_path, data={"path": "all.csv", "rows_per_window": ROWS}).read(1, done[:1], None).rows
    np.testing.assert_array_equal(again.times, one.times)
    (tmp_path / "all.csv").write_text("".join(texts))
    with pytest.raises(DatasetError, match="has changed since its windows were read"):
        windows.available(done)


def test_a_dataset_by_name(tmp_path: Path) -> None:
    data = {"path": None, "dataset": "synthetic-ctr:900", "windows": 3, "options": {"seed": 4}}
    windows = source(tmp_path, data=data, schema=None)
    assert [one["name"] for one in read_all(windows)] == [f"synthetic-ctr:900 {part}/3" for part in (1, 2, 3)]
    assert len(windows.read(2, [{}, {}], None).rows) == 300
    assert not windows.grows


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"data": {"path": "nowhere"}}, "neither a file nor a folder"),
        ({"data": {"path": "one.csv"}}, "`windows` or `rows_per_window`"),
        ({"data": {"path": "one.csv", "rows_per_window": 300}}, "fewer than two windows"),
        ({"data": {"windows": 3}}, "Leave `windows` and `rows_per_window` out"),
        ({"state": "windows"}, "is inside the state folder"),
        ({"data": {"path": "state/windows"}}, "is inside the state folder"),
        ({"schema": None}, "`schema` is missing"),
        ({"schema": "none.yaml"}, r"none\.yaml"),
        ({"data": {"path": None, "dataset": "synthetic-ctr:900"}}, "has a schema of its own"),
        ({"data": {"path": None, "dataset": "syntetic"}, "schema": None}, "syntetic"),
    ],
)
def test_what_cannot_be_opened_is_said_at_once(tmp_path: Path, others: dict[str, Any], message: str) -> None:
    write_windows(tmp_path / "windows", 1)
    (tmp_path / "one.csv").write_text(window_text(0))
    with pytest.raises(SlimtableError, match=message):
        source(tmp_path, **others)
