from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from slimtable.cli import main
from tests.cli.commands import TRAIN, Command, Outcome


@pytest.fixture
def slimtable(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run a command in this process."""
    monkeypatch.delenv("SLIMTABLE_DEBUG", raising=False)

    def run(*words: object) -> Outcome:
        capsys.readouterr()
        code = main([str(word) for word in words])
        return Outcome(code, *capsys.readouterr())

    return run


@pytest.fixture
def must(slimtable: Command) -> Command:
    """Run a command that has to succeed without a word on standard error."""

    def run(*words: object) -> Outcome:
        outcome = slimtable(*words)
        assert (outcome.code, outcome.err) == (0, "")
        return outcome

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, not to be written to."""
    out = tmp_path_factory.mktemp("trained") / "run"
    assert main([*TRAIN, "--epochs", "2", "--out", str(out), "--json"]) == 0
    return out


@pytest.fixture
def artifact(trained: Path, tmp_path: Path) -> Path:
    """A packed model of one's own, in a folder of its own."""
    folder = tmp_path / "artifact"
    folder.mkdir()
    return Path(shutil.copy(trained / "model.safetensors", folder))


@pytest.fixture
def dense(tmp_path: Path) -> Path:
    """A trained table in a .npy file."""
    path = tmp_path / "dense.npy"
    np.save(path, np.random.default_rng(0).normal(size=(60, 64)).astype(np.float32))
    return path
