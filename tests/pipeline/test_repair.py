"""Lost pointers, versions, journals and histories: found at the start, mended from what is kept, or named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from slimtable.errors import CheckpointError
from slimtable.pipeline import pipeline_status, read_history, read_settings, run_pipeline
from slimtable.pipeline.folder import JOURNAL, PUBLISHED
from slimtable.pipeline.history import HISTORY
from slimtable.pipeline.publishing import CURRENT, MODEL
from slimtable.pipeline.repair import repair
from slimtable.training.packing import load_model
from tests.pipeline.samples import window_text, write_settings, write_windows


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four windows, of which three are finished."""
    own = tmp_path_factory.mktemp("finished")
    write_windows(own / "windows", 4)
    run_pipeline(read_settings(write_settings(own)))
    return own


@pytest.fixture
def own(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished / "windows", tmp_path / "windows")
    shutil.copytree(finished / "state", tmp_path / "state", symlinks=True)
    write_settings(tmp_path)
    return tmp_path


def go_on(own: Path) -> list[int]:
    """Adds a window and runs; the windows that were finished then."""
    count = len(list((own / "windows").iterdir()))
    (own / "windows" / f"window-{count:03}.csv").write_text(window_text(count))
    return [record["window"] for record in run_pipeline(read_settings(write_settings(own)))]


def served(own: Path) -> str:
    model = own / "state" / PUBLISHED / CURRENT / MODEL
    load_model(model, verify=True)
    return model.resolve().parent.name


def test_a_lost_pointer_is_named_by_status_and_mended_by_a_run(own: Path) -> None:
    (own / "state" / PUBLISHED / CURRENT).unlink()
    status = pipeline_status(own / "state")
    assert status["served"] == "v00002"
    assert "published/current is missing" in status["problem"]
    mended: list[str] = []
    run_pipeline(read_settings(own / "pipeline.yaml"), on_repair=mended.append)
    assert "points to v00002 again" in mended[0]
    assert served(own) == "v00002"
    assert pipeline_status(own / "state")["problem"] == ""
    assert go_on(own) == [3]


@pytest.mark.parametrize("length", [0, 100])
def test_a_served_file_that_was_cut_is_named_and_repair_serves_the_one_before(own: Path, length: int) -> None:
    model = own / "state" / PUBLISHED / "v00002" / MODEL
    content = model.read_bytes()[:length]
    model.unlink()  # not through the link that it shares with the stage
    model.write_bytes(content)
    assert "the served version v00002 is damaged" in pipeline_status(own / "state")["problem"]
    with pytest.raises(CheckpointError, match="pipeline repair"):
        run_pipeline(read_settings(own / "pipeline.yaml"))
    notes = repair(own / "state")
    assert any("version v00002 is lost" in note for note in notes)
    assert served(own) == "v00001"
    assert (own / "state" / PUBLISHED / "v00002.damaged").is_dir()
    assert go_on(own) == [3]
    assert served(own) == "v00003"


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}"])
def test_a_lost_journal_is_written_anew_and_the_loop_goes_on(own: Path, content: str | None) -> None:
    journal, before = own / "state" / JOURNAL, read_history(own / "state")
    journal.unlink()
    if content is not None:
        journal.write_text(content)
    with pytest.raises(CheckpointError, match="pipeline repair"):
        run_pipeline(read_settings(own / "pipeline.yaml"))
    notes = repair(own / "state")
    assert any("journal.json was rebuilt: window 3" in note for note in notes)
    assert repair(own / "state") == []
    assert go_on(own) == [3]
    history = read_history(own / "state")
    assert history[:3] == before
    assert history[3]["sizes"]["user"] >= before[2]["sizes"]["user"]
    assert served(own) == "v00003"


def test_a_damaged_history_begins_again_while_the_version_is_served(own: Path) -> None:
    path = own / "state" / HISTORY
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"{" + b"".join(lines[1:]))
    with pytest.raises(CheckpointError, match="repair"):
        run_pipeline(read_settings(own / "pipeline.yaml"))
    notes = repair(own / "state")
    assert any("2 of 3 lines were damaged" in note for note in notes)
    assert any("starts again from the first window" in note for note in notes)
    assert served(own) == "v00002"
    assert (own / "state" / f"{HISTORY}.damaged").is_file()
    assert go_on(own) == [0, 1, 2, 3]
    assert served(own)  # the old version, or one that the gate let past it
    assert [json.loads(line)["window"] for line in path.read_text().splitlines()] == [0, 1, 2, 3]


def test_what_is_whole_needs_no_repair(own: Path) -> None:
    assert repair(own / "state") == []
    assert go_on(own) == [3]


def test_a_window_that_cannot_be_compressed_is_refused_and_the_next_one_published(own: Path, monkeypatch) -> None:
    from slimtable.pipeline import stages

    whole = stages.compress_fields

    def refusing(*arguments, **options):  # type: ignore[no-untyped-def]
        raise ValueError("The table of field user cannot be compressed so: its values are too large.")

    monkeypatch.setattr(stages, "compress_fields", refusing)
    assert go_on(own) == [3]
    record = read_history(own / "state")[3]
    assert record["verdict"]["decision"] == "refuse"
    assert "its values are too large" in record["verdict"]["reasons"][0]
    assert record["served"] == "v00002"
    monkeypatch.setattr(stages, "compress_fields", whole)
    assert go_on(own) == [4]
    assert served(own) == "v00004"
