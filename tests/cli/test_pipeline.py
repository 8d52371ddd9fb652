"""``slimtable pipeline``: what its commands print, and one line for whatever is wrong with settings or windows."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from slimtable.cli import main
from tests.cli.commands import PROCESS, Command
from tests.pipeline.samples import HEADER, SCHEMA, published, window_text, write_settings, write_windows

EXAMPLE = Path(__file__).parents[2] / "examples" / "pipeline.yaml"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline with two finished windows, not to be written to."""
    folder = tmp_path_factory.mktemp("finished")
    write_windows(folder / "windows", 3)
    assert main(["pipeline", "run", str(write_settings(folder)), "--json"]) == 0
    return folder


@pytest.fixture
def own(finished: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(finished, tmp_path / "own", symlinks=True)
    return tmp_path / "own"


def files(folder: Path) -> dict[str, int]:
    """Everything in a folder, with sizes."""
    return {str(path.relative_to(folder)): path.lstat().st_size for path in folder.rglob("*")}


def test_a_line_for_every_window(must: Command, tmp_path: Path) -> None:
    write_windows(tmp_path / "windows", 3)
    settings = write_settings(tmp_path)
    lines = must("pipeline", "run", settings, "--windows", 1).out.splitlines()
    assert len(lines) == 1
    assert re.fullmatch(
        r"window 0: 400 rows, 103 new values; AUC 0\.\d{4} \(uncompressed 0\.\d{4}\), log loss .*; "
        r"\d+ vectors, \d+ bytes \([\d.]+%\); \d+\.\d s; published",
        lines[0],
    )
    assert [record["window"] for record in must("pipeline", "run", settings, "--json").json] == [1]
    assert must("pipeline", "run", settings).out.startswith("nothing to do")


def test_status_history_and_report(must: Command, finished: Path, tmp_path: Path) -> None:
    for place in (finished / "state", finished / "pipeline.yaml"):
        shown = must("pipeline", "status", place).out
        assert "finished windows: 2; next: 2" in shown
        assert "served: v00001" in shown
        assert "not running" in shown
    assert must("pipeline", "status", finished / "state", "--json").json["published"] == ["v00000", "v00001"]
    shown = must("pipeline", "history", finished / "state").out
    assert shown.count("published") == 2
    records = must("pipeline", "history", finished / "state", "--json").json
    assert [record["window"] for record in records] == [0, 1]
    assert f"{records[1]['metrics']['retrained']['auc']:.4f}" in shown
    page = tmp_path / "report.html"
    assert must("pipeline", "report", finished / "state", "--out", page).out == f"report: {page}\n"
    text = page.read_text()
    assert text.count("data:image/png;base64,") == 3
    assert f"{records[1]['bytes']:,}" in text
    assert "<script" not in text
    assert "http" not in text.replace("http-equiv", "")


def test_the_example_is_a_pipeline(must: Command, tmp_path: Path) -> None:
    """It runs on the log that its comments tell how to make; only fewer rows of it."""
    shutil.copy(EXAMPLE, tmp_path)
    must("data", "make-clicks", "--out", tmp_path / "clicks", "--rows", 6000, "--windows", 3)
    must("pipeline", "run", tmp_path / EXAMPLE.name)
    assert must("pipeline", "status", tmp_path / "runs" / "hourly", "--json").json["finished"] == 2


def test_the_example_and_the_documentation_name_every_key() -> None:
    from slimtable.pipeline.settings import PipelineSettings

    text = EXAMPLE.read_text()
    page = (EXAMPLE.parents[1] / "docs" / "pipeline.md").read_text()
    names = {field.alias or name for name, field in PipelineSettings.model_fields.items()}
    assert set(yaml.safe_load(text)) == names
    for field in PipelineSettings.model_fields.values():
        names |= set(getattr(field.annotation, "model_fields", {}))
    assert {name for name in names if not re.search(rf"`(\w+\.)?{name}`", page)} == set()


def test_the_documentation_names_what_the_history_holds(finished: Path) -> None:
    page = (EXAMPLE.parents[1] / "docs" / "pipeline.md").read_text()
    line = (finished / "state" / "history.jsonl").read_text().splitlines()[0]
    assert {key for key in json.loads(line) if f"`{key}`" not in page} == set()


def append(text: str) -> Callable[[Path], None]:
    """Adds a window with the given text."""
    return lambda folder: (folder / "windows" / "window-003.csv").write_text(text) and None


def out_of_order(folder: Path) -> None:
    (folder / "windows" / "window-001b.csv").write_text(window_text(3))


def changed(folder: Path) -> None:
    (folder / "windows" / "window-000.csv").write_text(window_text(9))


def setting(**others: Any) -> Callable[[Path], None]:
    """Changes the settings."""
    return lambda folder: write_settings(folder, **others) and None


GOOD = window_text(3)
MISTAKES = {
    "missing column": (append(GOOD.replace("film", "movie", 1)), r"window-003\.csv.*film"),
    "wrong label": (append(GOOD.replace("3000,0,", "3000,2,", 1).replace("3000,1,", "3000,2,", 1)), "label|click"),
    "label is no number": (append(GOOD.replace("\n3000,", "\n3000,x", 1)), r"window-003\.csv"),
    "ragged line": (append(GOOD + "3999,1,u1\n"), r"window-003\.csv"),
    "no rows": (append(HEADER + "\n"), r"window-003\.csv.*no rows"),
    "empty file": (append(""), r"window-003\.csv"),
    "time runs backwards": (append(window_text(0)), "Sort the rows by time"),
    "out of order": (out_of_order, r"window-001b\.csv comes before window-002\.csv"),
    "changed": (changed, r"window-000\.csv has changed"),
    "unknown key": (setting(compres={}), r"pipeline\.yaml: unknown key `compres`\. Did you mean compress"),
    "unknown key inside": (setting(gate={"max_auc_dro": 1}), r"unknown key `gate\.max_auc_dro`.*max_auc_drop"),
    "unknown schema key": (setting(schema={"labels": "click"}), "unknown key `labels`.*Did you mean label"),
    "unknown training key": (setting(train={"rate": 1}), "CTRTrainConfig has no option rate"),
    "unknown method": (setting(compress={"method": "magic"}), "no method 'magic'"),
    "unknown option": (setting(compress={"options": {"magic": 1}}), "SaecConfig has no option magic"),
    "unknown model": (setting(model={"name": "magic"}), "no model 'magic'"),
    "no size to choose": (setting(compress={"method": "uniform", "options": {}}), "no size that `budget` could choose"),
    "no budget": (setting(compress={"budget": "some"}), "'some' is not a budget"),
    "no field": (setting(compress={"fields": {"movie": {"method": "full"}}}), "names movie, but the fields are user"),
    "wrong type": (setting(publish={"keep": "some"}), r"`publish\.keep`"),
    "wrong calibration": (setting(gate={"calibration": [2, 1]}), r"gate\.calibration.*smallest and the largest"),
    "another seed": (setting(seed=3), r"other settings \(seed\)"),
    "no data": (setting(data={"path": "nowhere"}), "nowhere"),
    "two sources": (setting(data={"dataset": "criteo"}), "either `path` or `dataset`"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_harms_nothing(slimtable: Command, own: Path, mistake: str) -> None:
    make, message = MISTAKES[mistake]
    make(own)
    before = files(own)
    outcome = slimtable("pipeline", "run", own / "pipeline.yaml")
    assert (outcome.code, outcome.out) == (2, "")
    assert re.fullmatch(r"error: [^\n]+\n", outcome.err)
    assert re.search(message, outcome.err)
    assert files(own) == before
    if (own / "windows" / "window-003.csv").exists():  # once it is mended, the loop goes on
        (own / "windows" / "window-003.csv").write_text(GOOD)
        write_settings(own)
        assert slimtable("pipeline", "run", own / "pipeline.yaml").code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "none.yaml"], r"none\.yaml"),
        (["status", "nowhere"], "neither a state folder nor a settings file"),
        (["status", "."], "holds no pipeline yet"),
        (["report", "."], "no finished window yet"),
    ],
)
def test_where_there_is_no_pipeline(slimtable: Command, tmp_path: Path, monkeypatch, words, message) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = slimtable("pipeline", *words)
    assert (outcome.code, outcome.out) == (2, "")
    assert re.fullmatch(r"error: [^\n]+\n", outcome.err)
    assert re.search(message, outcome.err)
    assert list(tmp_path.iterdir()) == []


def test_a_budget_that_is_too_small_is_a_refusal(slimtable: Command, own: Path) -> None:
    write_windows(own / "windows", 4)
    write_settings(own, compress={"budget": "40B"})
    outcome = slimtable("pipeline", "run", own / "pipeline.yaml")
    assert outcome.code == 0
    assert re.fullmatch(r"window 2: .* refused: .*smallest budget.*\n", outcome.out)
    assert "served: v00001" in slimtable("pipeline", "status", own / "state").out


# A process that kills itself at a rename, before or after it; renames are what makes the work of the loop last.
_DYING = """
import os, signal, sys
real, calls = os.replace, 0
def replace(*arguments, **options):
    global calls
    calls += 1
    if calls > int(sys.argv[2]):
        if calls % 2:
            real(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **options)
os.replace = replace
from slimtable.cli import main
sys.exit(main(["pipeline", "run", sys.argv[1]]))
"""


def test_kill_9_and_the_next_call_ends_with_the_same_files(must: Command, finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "windows", tmp_path / "windows")
    settings = write_settings(tmp_path)
    for calls in (9, 12):
        done = subprocess.run([sys.executable, "-c", _DYING, settings, str(calls)], capture_output=True, check=False)
        assert done.returncode == -signal.SIGKILL
    must("pipeline", "run", settings)
    assert published(tmp_path / "state") == published(finished / "state")


def test_follow_until_ctrl_c(tmp_path: Path, finished: Path) -> None:
    shutil.copytree(finished / "windows", tmp_path / "windows")
    held_back = (tmp_path / "windows" / "window-002.csv").rename(tmp_path / "later.csv")
    process = subprocess.Popen(
        [*PROCESS, "pipeline", "run", write_settings(tmp_path), "--follow", "--poll", "0.05"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("window 0: ")
    held_back.rename(tmp_path / "windows" / "window-002.csv")
    assert process.stdout.readline().startswith("window 1: ")
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "error: interrupted.\n")
    assert published(tmp_path / "state") == published(finished / "state")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_twenty_times_at_random(tmp_path: Path) -> None:
    script = EXAMPLE.parents[1] / "benchmarks" / "pipeline_kill.py"
    done = subprocess.run(
        [sys.executable, script, "--out", tmp_path / "out"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "byte-identical after 20 kills: True" in done.stdout


def test_schema_may_stand_in_a_file(must: Command, tmp_path: Path) -> None:
    write_windows(tmp_path / "windows", 2)
    (tmp_path / "windows" / "schema.yaml").write_text(json.dumps(SCHEMA))
    must("pipeline", "run", write_settings(tmp_path, schema="windows/schema.yaml"))
    shutil.rmtree(tmp_path / "state")
    must("pipeline", "run", write_settings(tmp_path, schema=None))  # it lies beside the windows
