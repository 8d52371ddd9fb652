"""``delta`` and ``patch``: the new artifact byte for byte, one line for what goes wrong."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from slimtable.artifact import Packed, write_artifact
from tests.cli.commands import Command


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two artifacts of which three rows differ, and one is new."""
    table = np.random.default_rng(0).normal(size=(500, 8)).astype(np.float32)
    changed = np.concatenate([table, table[:1]])
    changed[[2, 3, 400]] += 1
    old, new = tmp_path / "old.safetensors", tmp_path / "new.safetensors"
    write_artifact(old, {"item": Packed("dense", 500, 8, {"table": table})})
    write_artifact(new, {"item": Packed("dense", 501, 8, {"table": changed})})
    return old, new


def test_there_and_back(slimtable: Command, pair: tuple[Path, Path], tmp_path: Path) -> None:
    old, new = pair
    told = slimtable("delta", old, new, "--out", tmp_path / "delta")
    assert told.code == 0
    assert "rows: 3 changed, 1 added\nassignments: 0 changed, 0 added\n" in told.out
    facts = slimtable("delta", old, new, "--out", tmp_path / "delta", "--force", "--json").json
    assert facts["bytes"] == (tmp_path / "delta").stat().st_size < 0.1 * facts["new_bytes"]
    assert (facts["changed_rows"], facts["added_rows"]) == (3, 1)
    made = slimtable("patch", old, tmp_path / "delta", "--out", tmp_path / "made", "--json")
    assert made.json == {"path": str(tmp_path / "made"), "file_bytes": new.stat().st_size}
    assert (tmp_path / "made").read_bytes() == new.read_bytes()
    assert f"{new.stat().st_size:,} bytes" in slimtable("patch", old, tmp_path / "delta", "--out", old, "--force").out
    assert old.read_bytes() == new.read_bytes()


def test_what_goes_wrong_is_one_line(slimtable: Command, pair: tuple[Path, Path], tmp_path: Path) -> None:
    old, new = pair
    delta, made = tmp_path / "delta", tmp_path / "made"
    assert slimtable("delta", old, new, "--out", delta).code == 0
    cut = tmp_path / "cut"
    cut.write_bytes(delta.read_bytes()[:-1])
    for words, message in [
        (("patch", new, delta, "--out", made), "was made from another file"),
        (("patch", old, new, "--out", made), "it is not a delta"),
        (("patch", old, cut, "--out", made), "disagree|cut short"),
        (("patch", old, tmp_path / "none", "--out", made), "there is no such delta"),
        (("patch", tmp_path / "none", delta, "--out", made), "there is no such artifact"),
        (("patch", old, delta, "--out", new), "exists"),
        (("patch", old, delta, "--out", tmp_path / "no" / "made"), "folder does not exist"),
        (("delta", old, delta, "--out", made), "has no slimtable manifest"),
        (("delta", old, tmp_path, "--out", made), "it is a folder"),
        (("delta", old, new, "--out", delta), "exists"),
    ]:
        outcome = slimtable(*words)
        assert (outcome.code, outcome.out) == (2, "")
        assert re.fullmatch(r"error: [^\n]+\n", outcome.err)
        assert re.search(message, outcome.err)
        assert not made.exists()
