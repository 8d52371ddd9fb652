"""Ctrl-C, kill and a full disk: one line at most, no half file, and the next call continues."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.commands import PROCESS, TRAIN, Command


def test_interruption(slimtable: Command, artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("slimtable.cli.tables.open_artifact", interrupted)
    outcome = slimtable("inspect", artifact)
    assert (outcome.code, outcome.err) == (130, "error: interrupted.\n")


def test_ctrl_c_that_compiled_code_wrapped_is_an_interruption(slimtable: Command, artifact: Path, monkeypatch) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise SystemError("returned a result with an exception set") from KeyboardInterrupt()

    monkeypatch.setattr("slimtable.cli.tables.open_artifact", interrupted)
    outcome = slimtable("inspect", artifact)
    assert (outcome.code, outcome.err) == (130, "error: interrupted.\n")


def start_training(out: Path) -> subprocess.Popen:
    """Start a training of many epochs and return once some of them are done."""
    process = subprocess.Popen(
        [*PROCESS, *TRAIN, "--epochs", "20", "--out", out], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    log, until = out / "log.jsonl", time.monotonic() + 120
    while not (log.exists() and log.read_bytes().count(b"\n") >= 3):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)
    return process


def lasting(path: Path) -> dict:
    """A result without what differs from run to run."""
    result = json.loads(path.read_text())
    return {name: value for name, value in result.items() if name not in ("date", "seconds_per_epoch")}


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGKILL, -9), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)]
)
def test_a_training_that_is_stopped_continues_to_the_same_result(
    slimtable: Command, tmp_path: Path, sent: int, code: int
) -> None:
    process = start_training(tmp_path / "stopped")
    process.send_signal(sent)
    _, complaint = process.communicate()
    assert process.returncode == code, complaint
    assert complaint == ("error: interrupted.\n" if code == 130 else "")
    assert not (tmp_path / "stopped" / "result.json").exists()
    for name in ("stopped", "whole"):
        assert slimtable(*TRAIN, "--epochs", 20, "--out", tmp_path / name).code == 0
    assert lasting(tmp_path / "stopped" / "result.json") == lasting(tmp_path / "whole" / "result.json")
    packed = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("stopped", "whole")]
    assert packed[0] == packed[1]


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_pack_that_is_killed_leaves_no_half_file(
    slimtable: Command, trained: Path, tmp_path: Path, moment: str
) -> None:
    script = f"import os, sys; os.{moment} = lambda *_: os.kill(os.getpid(), 9); {PROCESS[-1]}"
    out = tmp_path / "model.safetensors"
    killed = subprocess.run([PROCESS[0], "-c", script, "pack", trained, "--out", out], check=False)
    assert killed.returncode == -9
    assert not out.exists()
    assert slimtable("pack", trained, "--out", out).code == 0
    killed = subprocess.run([PROCESS[0], "-c", script, "pack", trained, "--out", out, "--force"], check=False)
    assert killed.returncode == -9
    assert slimtable("verify", out).code == 0  # the old file is still whole


@pytest.mark.parametrize("words", [["--json"], []], ids=["json", "text"])
def test_a_full_disk_is_one_line(artifact: Path, words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        command = [*PROCESS, "inspect", artifact, *words]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False, text=True)
    assert done.returncode == 2
    assert re.fullmatch(r"error: No space left[^\n]*\n", done.stderr)
