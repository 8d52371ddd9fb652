"""`slimtable compress` of tables beyond a size: the same file, block by block, without comparing candidates."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from slimtable.cli import compress_job
from tests.cli.commands import Command

WORDS = ["--method", "uniform", "--set", "axis=row", "--set", "bits=3"]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).standard_normal((40_000, 6)).astype(np.float32)
    np.save(tmp_path / "item.npy", values)
    return tmp_path / "item.npy"


def both(must: Command, monkeypatch: pytest.MonkeyPatch, out: Path, *words: object) -> tuple[dict, dict]:
    """What is said about a table in memory, and about a large one; the files must be the same."""
    found = []
    for limit in (10**9, 1000):
        monkeypatch.setattr(compress_job, "LARGE", limit)
        found.append(must(*words, "--out", out, "--json", "--force").json)
        found[-1]["file"] = out.read_bytes()
    assert found[0].pop("file") == found[1].pop("file")
    return found[0], found[1]


def test_large_tables_give_the_same_file_and_the_same_words(must, monkeypatch, table, tmp_path) -> None:
    np.save(tmp_path / "counts.npy", np.random.default_rng(1).integers(0, 9, 40_000))
    words = ["compress", table, *WORDS, "--frequencies", tmp_path / "counts.npy"]
    small, large = both(must, monkeypatch, tmp_path / "out.safetensors", *words)
    assert large.pop("resumed_rows") == 0
    assert large.pop("reasons") == []
    for name in ("relative_error", "distortion"):
        assert large.pop(name) == pytest.approx(small.pop(name), rel=1e-9)
        assert large["tables"]["table"].pop(name) == pytest.approx(small["tables"]["table"].pop(name), rel=1e-9)
    assert large == small
    said = must(*words, "--out", tmp_path / "b.safetensors").out
    assert "40,000 × 6 by uniform" in said
    assert "weighted by frequency" in said


def test_a_method_that_needs_its_table_in_memory_gets_it(must, monkeypatch, table, tmp_path) -> None:
    words = ["compress", table, "--method", "saec", "--set", "num_rows=50", "--set", "iterations=1"]
    _, large = both(must, monkeypatch, tmp_path / "out.safetensors", *words)
    assert large["relative_error"] is None
    assert "relative error" not in must(*words, "--out", tmp_path / "b.safetensors").out


def test_auto_takes_its_best_guess_within_the_budget(must, monkeypatch, table, tmp_path) -> None:
    monkeypatch.setattr(compress_job, "LARGE", 1000)
    np.save(tmp_path / "user.npy", np.random.default_rng(2).standard_normal((9000, 6)).astype(np.float32))
    out = tmp_path / "out.safetensors"
    found = must("compress", table, tmp_path / "user.npy", "--budget", "5x", "--out", out, "--json").json
    assert 0.85 * 49_000 * 24 / 5 < found["file_bytes"] <= 49_000 * 24 / 5
    assert "not compared with others since the tables are large: item: " in found["reasons"][0]
    assert set(found["tables"]) == {"item", "user"}


def test_a_killed_command_goes_on(must, monkeypatch, table, tmp_path) -> None:
    out = tmp_path / "out.safetensors"
    words = ["compress", str(table), *WORDS, "--out", str(out), "--workers", "1"]
    script = (
        "import os, signal, sys; from slimtable.cli import compress_job, main; from slimtable.compress import job;"
        "compress_job.LARGE = 1000;"
        "job._Job._write_header = lambda *_: os.kill(os.getpid(), signal.SIGKILL); main(sys.argv[1:])"
    )
    path = os.pathsep.join(sys.path)
    done = subprocess.run([sys.executable, "-c", script, *words], env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == -signal.SIGKILL
    monkeypatch.setattr(compress_job, "LARGE", 1000)
    assert "resumed: 40,000 rows were encoded before" in must(*words).out
    small = tmp_path / "small.safetensors"
    monkeypatch.setattr(compress_job, "LARGE", 10**9)
    must(*words[:-4], "--out", str(small))
    assert out.read_bytes() == small.read_bytes()
