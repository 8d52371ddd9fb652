"""Versions for readers: whole or not there, a pointer that always leads to one, and only so many."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from slimtable.errors import CheckpointError
from slimtable.pipeline.folder import delete, finishing
from slimtable.pipeline.publishing import publish, served_model, versions
from tests.pipeline.samples import Killed, dying


def put(folder: Path, window: int, keep: int = 2) -> dict[str, Any]:
    """Publishes a file that says which window it is of."""
    model = folder / f"model-{window}"
    model.write_text(f"model {window}")

    def write_delta(old: Path, new: Path, out: Path) -> dict[str, Any]:
        out.write_text(f"{old.read_text()} to {new.read_text()}")
        return {"bytes": out.stat().st_size}

    return publish(folder / "published", window, model, {"window": window}, keep=keep, write_delta=write_delta)


def test_versions_deltas_and_the_pointer(tmp_path: Path) -> None:
    assert served_model(tmp_path / "published") is None
    assert put(tmp_path, 0)["delta"] is None
    assert put(tmp_path, 3)["delta"] == {"from": "v00000", "bytes": 18}
    published = tmp_path / "published"
    assert (published / "v00003" / "delta.safetensors").read_text() == "model 0 to model 3"
    assert served_model(published) == published / "v00003" / "model.safetensors"
    assert json.loads((published / "current" / "meta.json").read_text())["version"] == "v00003"


@pytest.mark.parametrize("keep", [1, 2, 5])
def test_only_the_newest_are_kept(tmp_path: Path, keep: int) -> None:
    for window in range(4):
        put(tmp_path, window, keep)
    versions = sorted(path.name for path in (tmp_path / "published").glob("v*"))
    assert versions == [f"v{window:05}" for window in range(4)][-keep:]
    assert (tmp_path / "published" / "current" / "model.safetensors").read_text() == "model 3"


def test_a_reader_keeps_the_file_that_it_has_open(tmp_path: Path) -> None:
    put(tmp_path, 0, keep=1)
    with (tmp_path / "published" / "current" / "model.safetensors").open() as reader:
        put(tmp_path, 1, keep=1)
        put(tmp_path, 2, keep=1)
        assert reader.read() == "model 0"


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("after", range(4))
def test_killed_anywhere_there_is_a_whole_version_to_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int, late: bool
) -> None:
    put(tmp_path, 0)
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", dying(os.replace, after, late))
        try:
            put(tmp_path, 1)
        except Killed:
            assert after < 4
    seen = (tmp_path / "published" / "current" / "model.safetensors").read_text()
    assert seen in ("model 0", "model 1")
    assert (tmp_path / "published" / "current" / "meta.json").is_file()
    meta = put(tmp_path, 1)
    assert meta["delta"]["from"] == "v00000"
    assert (tmp_path / "published" / "current" / "model.safetensors").read_text() == "model 1"


def test_what_else_lies_there_stays(tmp_path: Path) -> None:
    for window in (0, 1):
        put(tmp_path, window)
    folder = tmp_path / "published"
    (folder / "v00000.bak").mkdir()
    (folder / "vault").mkdir()
    put(tmp_path, 2, keep=1)
    assert sorted(path.name for path in folder.iterdir()) == ["current", "v00000.bak", "v00002", "vault"]
    assert versions(folder) == ["v00002"]


def test_a_state_folder_of_yesterday_takes_no_version_out_of_service(tmp_path: Path) -> None:
    for window in range(3):
        put(tmp_path, window, keep=3)
    put(tmp_path, 1, keep=1)  # the same again, from a folder that was restored
    assert (tmp_path / "published" / "current" / "model.safetensors").read_text() == "model 1"
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / "published").rename(other / "published")
    (other / "published" / "v00002" / "model.safetensors").unlink()
    (other / "published" / "v00002" / "model.safetensors").write_text("another model")
    with pytest.raises(CheckpointError, match="v00002 exists, but holds another model than that of window 2"):
        put(other, 2)
    assert served_model(other / "published") == other / "published" / "v00001" / "model.safetensors"


def test_a_version_is_deleted_under_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, 0, keep=1)

    def killed(path: Path) -> None:
        raise Killed

    monkeypatch.setattr("slimtable.pipeline.publishing.delete", killed)
    with pytest.raises(Killed):
        put(tmp_path, 1, keep=1)
    assert versions(tmp_path / "published") == ["v00001"]


def test_a_pointer_to_nothing_is_said_to_be_one(tmp_path: Path) -> None:
    put(tmp_path, 0)
    delete(tmp_path / "published" / "v00000")
    with pytest.raises(CheckpointError, match="Point it to another version"):
        put(tmp_path, 1)


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), finishing(tmp_path / "stage") as folder:
        (tmp_path / "nowhere").rename(folder / "half")
    assert not list(tmp_path.iterdir())
    with finishing(tmp_path / "stage") as folder:
        (folder / "whole").write_text("!")
        assert not (tmp_path / "stage").exists()
    assert (tmp_path / "stage" / "whole").read_text() == "!"
