"""`slimtable compress` without a method: tables within one budget, or down to a quality."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from slimtable.artifact.file import read_artifact
from tests.cli.commands import Command
from tests.compress.worlds import make_world


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    world = make_world(num_users=900, num_items=600)
    np.save(tmp_path / "user.npy", world.user)
    np.save(tmp_path / "item.npy", world.item)
    (tmp_path / "ratings").mkdir()
    for name, part in (("train", world.split.train), ("test", world.split.test)):
        lists = part.items.reshape(900, -1)
        lines = [" ".join(map(str, [user, *items])) for user, items in enumerate(lists.tolist())]
        (tmp_path / "ratings" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_two_tables_in_one_budget(slimtable: Command, folder: Path) -> None:
    words = [
        "compress",
        folder / "user.npy",
        folder / "item.npy",
        "--budget",
        "8x",
        "--interactions",
        folder / "ratings",
    ]
    outcome = slimtable(*words, "--out", folder / "out.safetensors", "--json")
    assert outcome.code == 0, outcome.err
    found = outcome.json
    dense = 1500 * 16 * 4
    assert found["file_bytes"] == (folder / "out.safetensors").stat().st_size <= dense / 8
    assert set(found["tables"]) == {"user", "item"} == set(read_artifact(folder / "out.safetensors").tables)
    assert found["guard"]["kind"] == "task"
    assert 0.3 < found["report"]["recall@20"]["low"] < found["report"]["recall@20"]["high"] < 1.2
    assert sum(each["chosen"] for each in found["candidates"]) == 1
    assert found["candidates"][0]["reason"]
    assert outcome.err == ""

    said = slimtable(*words, "--out", folder / "out.safetensors", "--force").out
    for text in ("recall@20 kept", "why: 8x are 12,000 bytes", "queries that the guard did not see", "user: 900 × 16"):
        assert text in said


def test_a_report_card_beside_the_file(slimtable: Command, folder: Path) -> None:
    words = ["compress", folder / "user.npy", folder / "item.npy", "--budget", "8x", "--report"]
    words += ["--interactions", folder / "ratings", "--out", folder / "out.safetensors"]
    outcome = slimtable(*words)
    assert outcome.code == 0, outcome.err
    page = folder / "out.report.html"
    assert f"report card: {page}" in outcome.out
    facts = json.loads((folder / "out.report.json").read_text())
    assert facts["file_bytes"] == (folder / "out.safetensors").stat().st_size
    assert facts["tables"]["item"]["lists"]["asking"] == "user"
    held_out = facts["held_out"]
    kept = facts["result"]["report"]["recall@20"]["share"]
    pair = held_out["measures"]["recall@20"]
    assert pair["compressed"] / pair["uncompressed"] == pytest.approx(kept)
    assert set(held_out["by_group"]) == {"head", "torso", "tail"}
    assert "Quality on held-out items" in page.read_text()
    (folder / "out.safetensors").unlink()
    assert "--force" in slimtable(*words).err


def test_one_table_beside_an_uncompressed_one(slimtable: Command, folder: Path) -> None:
    outcome = slimtable(
        *("compress", folder / "item.npy", "--uncompressed", folder / "user.npy", "--items", "table"),
        *("--interactions", folder / "ratings", "--max-drop", "10%", "--out", folder / "out.safetensors", "--json"),
    )
    assert outcome.code == 0, outcome.err
    found = outcome.json
    assert list(found["tables"]) == ["table"]
    (chosen,) = (each for each in found["candidates"] if each["chosen"])
    assert chosen["kept"]["recall@20"]["low"] >= 0.9
    assert found["compression_ratio"] > 3.5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--budget", "8x", "--max-drop", "1%"], "Give either --budget"),
        (["--max-drop", "1%", "--method", "uniform"], "--max-drop is for --method auto"),
        (["--max-drop", "lots"], "is not a share between 0 and 1"),
        (["--budget", "5000x"], "The smallest possible is"),
        (["--budget", "8x", "--interactions", "RATINGS"], "needs one table of users and one of items"),
        (["--budget", "8x", "--users", "nobody"], "--users nobody is not a table"),
        (["--budget", "8x", "--frequencies", "other=counts.npy"], "names other"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_said_in_a_line(slimtable: Command, folder: Path, words, message) -> None:
    np.save(folder / "counts.npy", np.arange(600))
    words = [str(folder / "ratings") if word == "RATINGS" else word for word in words]
    words = [f"other={folder / 'counts.npy'}" if word.startswith("other=") else word for word in words]
    outcome = slimtable("compress", folder / "item.npy", *words, "--out", folder / "out.safetensors")
    assert outcome.code == 2
    assert message in outcome.err
    assert not (folder / "out.safetensors").exists()
