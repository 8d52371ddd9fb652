"""The whole loop on tiny windows: what it publishes, refuses, survives and leaves behind."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slimtable import open_artifact
from slimtable.artifact.delta import apply_delta
from slimtable.errors import CheckpointError, DatasetError, SlimtableError
from slimtable.pipeline import read_history, read_settings, run_pipeline
from slimtable.pipeline.folder import StateFolder, read_state
from slimtable.pipeline.state import load_arrays, load_clicks
from slimtable.pipeline.status import disk_use, pipeline_status
from slimtable.training.ctr_trainer import evaluate_clicks
from slimtable.training.packing import load_model
from tests.pipeline.samples import Killed, dying, published, window_text, without_times, write_settings, write_windows

COUNT = 5  # windows; the last one tests the one before it


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a pipeline that was never interrupted, not to be written to."""
    folder = tmp_path_factory.mktemp("finished")
    write_windows(folder / "windows", COUNT)
    run_pipeline(read_settings(write_settings(folder)))
    return folder


def run(folder: Path, **others: Any) -> list[dict[str, Any]]:
    return run_pipeline(read_settings(write_settings(folder, **others)))


def test_it_learns_compresses_and_publishes(finished: Path) -> None:
    history = read_history(finished / "state")
    assert [record["window"] for record in history] == [0, 1, 2, 3]
    assert all(record["verdict"]["decision"] == "publish" for record in history)
    last = history[-1]
    assert last["metrics"]["uncompressed"]["auc"] > 0.7
    assert last["metrics"]["retrained"]["auc"] > 0.6
    assert last["bytes"] <= 0.4 * last["dense_bytes"]
    assert last["vectors"] < last["dense_vectors"] == sum(last["sizes"].values())
    assert history[0]["reclustered"]
    assert set(last["seconds"]) == {"ingest", "train", "compress", "retrain", "evaluate", "publish"}
    assert last["served"] == last["version"] == "v00003"


def test_what_is_published_is_what_was_tested(finished: Path) -> None:
    """The served file, looked up by the vocabularies in it, predicts the window that it was tested on as it says."""
    state = finished / "state"
    model = load_model(state / "published" / "current" / "model.safetensors", verify=True)
    clicks = load_clicks(state / "windows" / "00004" / "ingest" / "clicks.npz")
    sizes = [table.num_embeddings for table in model.fields.embeddings().values()]
    measured = evaluate_clicks(model, clicks.with_known(sizes))
    meta = read_state(state / "published" / "v00003" / "meta.json")
    assert meta is not None
    assert measured == meta["metrics"]["retrained"]
    with open_artifact(state / "published" / "current" / "model.safetensors") as artifact:
        users = {f"u{number}" for number in range(60 + 6 * 3)}
        assert users <= set(artifact["user"].vocabulary)  # those of the newest window included


def test_only_so_many_versions_and_files_are_kept(finished: Path) -> None:
    state = finished / "state"
    assert sorted(path.name for path in (state / "published").iterdir()) == ["current", "v00001", "v00002", "v00003"]
    assert sorted(str(path.relative_to(state)) for path in state.glob("windows/*/*")) == [
        "windows/00003/compress",
        "windows/00003/train",
        "windows/00004/ingest",
    ]
    assert disk_use(state) == pipeline_status(state)["disk"] < 2_000_000


def test_a_reader_can_apply_the_deltas(finished: Path, tmp_path: Path) -> None:
    versions = finished / "state" / "published"
    shutil.copy(versions / "v00001" / "model.safetensors", tmp_path / "mine")
    for version in ("v00002", "v00003"):
        meta = read_state(versions / version / "meta.json")
        assert meta is not None
        assert meta["delta"]["bytes"] == (versions / version / "delta.safetensors").stat().st_size
        apply_delta(tmp_path / "mine", versions / version / "delta.safetensors", tmp_path / "next")
        (tmp_path / "next").replace(tmp_path / "mine")
        assert (tmp_path / "mine").read_bytes() == (versions / version / "model.safetensors").read_bytes()


def test_nothing_is_done_twice(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "own", symlinks=True)
    before = published(tmp_path / "own" / "state")
    assert run(tmp_path / "own") == []
    assert published(tmp_path / "own" / "state") == before


@pytest.mark.parametrize("seed", range(3))
def test_killed_again_and_again_it_ends_with_the_same_files(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Every step of the loop becomes visible by a rename; the process dies before or after a random one, many times."""
    shutil.copytree(finished / "windows", tmp_path / "windows")
    settings = read_settings(write_settings(tmp_path))
    generator = np.random.default_rng(seed)
    real, deaths = os.replace, 0
    while True:
        steps, late = int(generator.integers(1, 9)), bool(generator.integers(2))
        monkeypatch.setattr(os, "replace", dying(real, steps, late))
        try:
            run_pipeline(settings)
            break
        except Killed:
            deaths += 1
            assert deaths < 200
    monkeypatch.setattr(os, "replace", real)
    assert deaths > 8
    assert published(tmp_path / "state") == published(finished / "state")
    assert without_times(read_history(tmp_path / "state")) == without_times(read_history(finished / "state"))
    assert not list((tmp_path / "state").rglob("*.partial"))


def test_windows_that_come_one_by_one_give_the_same(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "windows").mkdir()
    for number in range(COUNT):
        name = f"window-{number:03}.csv"
        shutil.copy(finished / "windows" / name, tmp_path / "windows" / name)
        assert len(run(tmp_path)) == (number > 0)
    assert published(tmp_path / "state") == published(finished / "state")


def test_follow_waits_for_windows_until_they_are_whole(finished: Path, tmp_path: Path) -> None:
    """Every window is copied in two pieces, and the loop looks at it in between."""
    (tmp_path / "windows").mkdir()
    waited = []
    pieces = [(f"window-{number:03}.csv", piece) for number in range(COUNT) for piece in (0, 1)]

    def on_stage(window: int, stage: str) -> None:
        if stage == "wait":
            waited.append(window)
            if pieces and pieces[0][0] <= f"window-{window + 1:03}.csv":  # what it waits for
                name, piece = pieces.pop(0)
                content = (finished / "windows" / name).read_bytes()
                with (tmp_path / "windows" / name).open("ab") as file:
                    file.write(content[len(content) // 2 :] if piece else content[: len(content) // 2])

    settings = read_settings(write_settings(tmp_path))
    records = run_pipeline(settings, follow=True, windows=4, poll_seconds=0.01, on_stage=on_stage)
    assert [record["window"] for record in records] == [0, 1, 2, 3]
    assert set(waited) == {0, 1, 2, 3}
    assert published(tmp_path / "state") == published(finished / "state")


def test_a_poisoned_window_is_refused_and_forgotten(finished: Path, tmp_path: Path) -> None:
    """With flipped labels: it cannot judge the window before it, is not published, and is trained on in vain."""
    write_windows(tmp_path / "windows", 6, poisoned=3)
    run(tmp_path)
    history = read_history(tmp_path / "state")
    assert [record["verdict"]["decision"] for record in history] == ["publish", "publish", "hold", "refuse", "publish"]
    assert "suspect" in history[2]["verdict"]["reasons"][0]
    assert history[3]["verdict"]["roll_back"]
    assert "served version" in " ".join(history[3]["verdict"]["reasons"])
    assert [record["served"] for record in history] == ["v00000", "v00001", "v00001", "v00001", "v00004"]
    # Training goes on as if the poisoned window had never been trained on.
    assert history[4]["metrics"]["uncompressed"]["auc"] > 0.7
    assert history[4]["metrics"]["uncompressed"]["auc"] > history[3]["metrics"]["uncompressed"]["auc"] + 0.2


def test_two_poisoned_windows_in_a_row_do_not_vouch_for_each_other(tmp_path: Path) -> None:
    folder = write_windows(tmp_path / "windows", 7, poisoned=3)
    (folder / "window-004.csv").write_text(window_text(4, flip=True))
    run(tmp_path, gate={"min_auc": None})
    history = read_history(tmp_path / "state")
    assert [record["served"] for record in history] == ["v00000", "v00001", "v00001", "v00001", "v00001", "v00005"]
    assert [record["verdict"]["decision"] for record in history[2:5]] == ["hold", "hold", "refuse"]
    assert [record["verdict"]["roll_back"] for record in history[2:5]] == [False, True, True]
    assert history[5]["metrics"]["uncompressed"]["auc"] > 0.85  # as if neither had been there


def test_a_poisoned_beginning_is_forgotten(finished: Path, tmp_path: Path) -> None:
    write_windows(tmp_path / "windows", 5, poisoned=0)
    run(tmp_path, gate={"max_window_fall": None})
    history = read_history(tmp_path / "state")
    assert [record["verdict"]["decision"] for record in history] == ["refuse", "publish", "publish", "publish"]
    assert history[0]["verdict"]["roll_back"]
    assert history[2]["metrics"]["uncompressed"]["auc"] > 0.75


def test_training_may_keep_what_a_refused_window_taught_it(tmp_path: Path) -> None:
    write_windows(tmp_path / "windows", 6, poisoned=3)
    gate = {"served": {"max_auc_drop": 0.15}, "on_refusal": "keep"}
    run(tmp_path, gate=gate)
    history = read_history(tmp_path / "state")
    assert history[3]["verdict"]["decision"] == "refuse"
    assert not history[3]["verdict"]["roll_back"]


def test_a_model_that_compression_harms_is_not_published_but_trained_on(tmp_path: Path) -> None:
    write_windows(tmp_path / "windows", 4)
    run(tmp_path, compress={"budget": "12%"}, retrain={"epochs": 0}, gate={"max_auc_drop": 0.0})
    history = read_history(tmp_path / "state")
    refused = [record for record in history if record["verdict"]["decision"] == "refuse"]
    assert refused
    for record in refused:
        assert "below that of the uncompressed model" in record["verdict"]["reasons"][0]
        assert not record["verdict"]["roll_back"]
    aucs = [record["metrics"]["uncompressed"]["auc"] for record in history]
    assert aucs[-1] > aucs[0]


def test_a_budget_that_pays_for_nothing_stops_neither_training_nor_service(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "windows", tmp_path / "windows")
    run_pipeline(read_settings(write_settings(tmp_path)), windows=2)
    history = run(tmp_path, compress={"budget": "20B"})
    assert [record["window"] for record in history] == [2, 3]
    for record in history:
        assert record["verdict"]["decision"] == "refuse"
        assert "20 bytes is too small for the fewest rows" in record["verdict"]["reasons"][0]
        assert record["served"] == "v00001"
        assert not record["verdict"]["roll_back"]
    untroubled = read_history(finished / "state")[3]["metrics"]["uncompressed"]
    assert history[-1]["metrics"]["uncompressed"] == untroubled
    (tmp_path / "windows" / "window-005.csv").write_text(window_text(5))
    (record,) = run(tmp_path)
    assert record["served"] == "v00004"


@pytest.mark.parametrize("label", [0, 1])
def test_a_window_of_one_class_is_waited_out(tmp_path: Path, label: int) -> None:
    write_windows(tmp_path / "windows", 6)
    rows = [line.split(",") for line in window_text(2).splitlines()]
    alike = [",".join(rows[0]), *(",".join([row[0], str(label), *row[2:]]) for row in rows[1:])]
    (tmp_path / "windows" / "window-002.csv").write_text("\n".join(alike) + "\n")
    run(tmp_path, gate={"max_auc_drop": 0.1})
    history = read_history(tmp_path / "state")
    assert history[1]["verdict"]["decision"] == "hold"
    assert history[1]["metrics"]["served"]["auc"] is None
    assert history[1]["served"] == "v00000"
    assert history[-1]["served"] == "v00004"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda cells: [],
        lambda cells: [*cells[:2], "", *cells[3:]],
        lambda cells: [*cells[:5], ""],
        lambda cells: [*cells[:2], "new" + cells[2], *cells[3:]],
    ],
    ids=["one row", "a field that is missing", "bags that are empty", "nobody known"],
)
@pytest.mark.parametrize("window", [0, 2])
def test_odd_windows_end_in_a_verdict(tmp_path: Path, spoil: Any, window: int) -> None:
    write_windows(tmp_path / "windows", 4)
    header, first, *others = window_text(window).splitlines()
    rows = [first, *(",".join(spoil(line.split(","))) for line in others)]
    (tmp_path / "windows" / f"window-{window:03}.csv").write_text("\n".join([header, *filter(None, rows)]) + "\n")
    history = run(tmp_path)
    assert len(history) == 3
    for record in history:
        assert (record["verdict"]["decision"] == "publish") == (not record["verdict"]["reasons"])


def test_what_errors_cost_stays_as_long_as_groups_do(finished: Path, tmp_path: Path) -> None:
    """So values do not move only because the cost of errors was measured again."""

    def costs(folder: Path, window: int) -> dict[str, np.ndarray]:
        return load_arrays(folder / "state" / "windows" / f"{window:05}" / "compress" / "sensitivity.npz")

    shutil.copytree(finished / "windows", tmp_path / "windows")
    settings = read_settings(write_settings(tmp_path))
    run_pipeline(settings, windows=1)
    first = costs(tmp_path, 0)
    assert set(first) == {"user", "film", "tags"}
    (record,) = run_pipeline(settings, windows=2)
    assert not record["reclustered"]
    for field, matrix in costs(tmp_path, 1).items():
        np.testing.assert_array_equal(matrix, first[field])
    assert read_history(finished / "state")[3]["reclustered"]
    assert any((matrix != first[field]).any() for field, matrix in costs(finished, 3).items())


def test_a_teacher_leads_the_retrained_model_back(tmp_path: Path) -> None:
    """From the uncompressed model's predictions it learns what compression took, from the clicks something else."""
    write_windows(tmp_path / "windows", 2)
    retrain = {"epochs": 8, "row_learning_rate": 0.02, "learning_rate": 0.01}
    found = {}
    for share in (0.0, 1.0):
        (record,) = run(
            tmp_path, state=f"state-{share}", retrain={**retrain, "teacher": share}, compress={"budget": "25%"}
        )
        metrics = record["metrics"]
        found[share] = abs(metrics["retrained"]["auc"] - metrics["uncompressed"]["auc"])
        before = abs(metrics["compressed"]["auc"] - metrics["uncompressed"]["auc"])
    assert found[1.0] < 0.2 * found[0.0]
    assert found[1.0] < before


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_line_and_nothing_lost(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    shutil.copytree(finished / "windows", tmp_path / "windows")
    settings = read_settings(write_settings(tmp_path))
    real, room = os.fsync, 40

    def fsync(descriptor: int) -> None:
        nonlocal room
        room -= 1
        if room < 0:
            raise OSError(code, os.strerror(code))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(SlimtableError, match=r"disk of .*state is full") as caught:
        run_pipeline(settings)
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(os, "fsync", real)
    assert pipeline_status(tmp_path / "state")["window"] < COUNT - 1
    run_pipeline(settings)
    assert published(tmp_path / "state") == published(finished / "state")


def test_other_methods_need_nothing_from_the_loop(tmp_path: Path) -> None:
    write_windows(tmp_path / "windows", 3)
    run(tmp_path, compress={"method": "uniform", "options": {"bits": 8}, "budget": None})
    history = read_history(tmp_path / "state")
    assert history[-1]["verdict"]["decision"] == "publish"
    assert history[-1]["bytes"] < 0.5 * history[-1]["dense_bytes"]


def test_a_field_may_have_a_method_of_its_own(tmp_path: Path) -> None:
    write_windows(tmp_path / "windows", 2)
    fields = {"user": {"method": "uniform", "options": {"bits": 4}}}
    run(tmp_path, compress={"fields": fields, "budget": "30%", "options": {"row_bits": 32}})
    with open_artifact(tmp_path / "state" / "published" / "current" / "model.safetensors") as artifact:
        assert artifact["user"].method == "uniform"
        assert artifact["film"].method != "uniform"
    (record,) = read_history(tmp_path / "state")
    assert record["bytes"] <= 0.3 * record["dense_bytes"]


def test_new_values_may_be_guessed_from_what_they_occur_with(tmp_path: Path) -> None:
    write_windows(tmp_path / "windows", 3)
    run(tmp_path, new_values="cooccurrence", new_values_below=4)
    history = read_history(tmp_path / "state")
    assert all(record["guessed"] > 0 for record in history)
    assert history[-1]["metrics"]["retrained"]["auc"] > 0.6


def test_damaged_files_are_said_to_be(finished: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(finished, own, symlinks=True)
    (own / "windows" / "window-005.csv").write_text(window_text(5))
    for name in ("windows/00003/train/model.npz", "windows/00004/ingest/clicks.npz", "journal.json"):
        path = own / "state" / name
        content = path.read_bytes()
        path.write_bytes(content[:-40])
        with pytest.raises(CheckpointError, match="damaged"):
            run(own)
        path.write_bytes(content)
    assert len(run(own)) == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("journal.json", None, r"journal\.json is missing, but .*history\.jsonl is there"),
        ("journal.json", "{}", r"journal\.json is damaged \(format is missing\)"),
        ("settings.json", None, r"settings\.json is missing"),
        ("windows/00003/compress/configs.json", None, r"configs\.json has no sizes"),
        ("windows/00003/train/model.npz", None, r"model\.npz is missing"),
        ("windows/00003/train/model.npz", "{}", r"model\.npz is damaged \(it is not a complete archive of arrays\)"),
    ],
)
def test_nothing_is_begun_anew_over_what_is_left(
    finished: Path, tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    own = tmp_path / "own"
    shutil.copytree(finished, own, symlinks=True)
    (own / "windows" / "window-005.csv").write_text(window_text(5))
    before, history = published(own / "state"), read_history(own / "state")
    kept = (own / "state" / name).read_bytes()
    (own / "state" / name).unlink()
    if content is not None:
        (own / "state" / name).write_text(content)
    with pytest.raises(CheckpointError, match=message):
        run(own)
    assert published(own / "state") == before
    assert read_history(own / "state") == history
    (own / "state" / name).write_bytes(kept)
    assert len(run(own)) == 1


def test_one_process_at_a_time(finished: Path, tmp_path: Path) -> None:
    write_windows(tmp_path / "windows", 2)
    settings = read_settings(write_settings(tmp_path))
    with StateFolder(settings.state), pytest.raises(SlimtableError, match="Another process runs the pipeline"):
        run_pipeline(settings)
    assert not pipeline_status(finished / "state")["running"]


def test_a_state_folder_belongs_to_its_settings(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "own", symlinks=True)
    with pytest.raises(CheckpointError, match=r"other settings \(seed\)"):
        run(tmp_path / "own", seed=7)
    shutil.copy(tmp_path / "own" / "windows" / "window-004.csv", tmp_path / "own" / "windows" / "window-005.csv")
    (tmp_path / "own" / "windows" / "window-005.csv").write_text(window_text(5))
    (record,) = run(tmp_path / "own", compress={"budget": "50%"})  # how it compresses may change
    assert record["why"] == "the settings of compression changed"


def test_a_bad_window_leaves_the_state_as_it_was(finished: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    shutil.copytree(finished, own, symlinks=True)
    journal, before = (own / "state" / "journal.json").read_bytes(), published(own / "state")
    bad = own / "windows" / "window-005.csv"
    bad.write_text(window_text(5).replace(",1,u", ",yes,u", 1))
    with pytest.raises(DatasetError, match=r"window-005\.csv"):
        run(own)
    assert (own / "state" / "journal.json").read_bytes() == journal
    assert published(own / "state") == before
    bad.write_text(window_text(5))
    assert [record["window"] for record in run(own)] == [4]
