"""``slimtable report``."""

import json
from pathlib import Path

import numpy as np
import pytest

from slimtable.artifact import write_artifact
from slimtable.compress import compress_table
from slimtable.embeddings.base import get_config
from tests.cli.commands import Command


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    rng = np.random.default_rng(0)
    found = {}
    for name, rows in (("item", 200), ("user", 120)):
        found[name] = tmp_path / f"{name}.npy"
        np.save(found[name], rng.normal(size=(rows, 8)).astype(np.float32))
    packed = {name: compress_table(np.load(path), get_config("uniform")) for name, path in found.items()}
    found["both"] = tmp_path / "both.safetensors"
    write_artifact(found["both"], packed)
    found["alone"] = tmp_path / "alone.safetensors"
    write_artifact(found["alone"], {"table": packed["item"]})
    found["counts"] = tmp_path / "counts.npy"
    np.save(found["counts"], np.arange(200))
    return found


def test_a_card_of_two_tables(must: Command, slimtable: Command, files) -> None:
    words = [files["both"], files["item"], files["user"], "--queries", "user", "--frequencies"]
    shown = must("report", *words, f"item={files['counts']}").out
    page, facts = files["both"].with_name("both.report.html"), files["both"].with_name("both.report.json")
    assert f"report card: {page} and {facts}" in shown
    assert "of the 20 best rows of item stay the best" in shown
    assert page.read_text().count("data:image/png;base64,") == 3
    lists = json.loads(facts.read_text())["tables"]["item"]["lists"]
    assert (lists["asking"], set(lists["by_group"])) == ("user", {"head", "torso", "tail"})
    assert "--force" in slimtable("report", *words[:-1]).err
    again = must("report", *words[:-1], "--force", "--no-maps", "--json").json
    assert again["page"] == str(page)
    assert page.read_text().count("data:image/png;base64,") == 1


def test_a_lone_table_needs_no_name(must: Command, files) -> None:
    found = must("report", files["alone"], files["item"], "--no-maps", "--json").json
    assert found["tables"]["table"]["lists"]["asking"] == "table"


def test_inspect_tells_of_the_card_of_this_very_file(must: Command, files) -> None:
    assert must("inspect", files["alone"], "--json").json["report"] is None
    must("report", files["alone"], files["item"], "--no-maps")
    shown = must("inspect", files["alone"]).out
    assert f"report card: {files['alone'].with_name('alone.report.html')}" in shown
    assert "of the 20 best rows of table stay the best" in shown
    found = must("inspect", files["alone"], "--json").json["report"]
    assert found["tables"]["table"]["neighbours_kept"] > 0.5
    write_artifact(files["alone"], {"table": compress_table(np.load(files["user"]), get_config("uniform"))})
    assert "report card" not in must("inspect", files["alone"]).out
    files["alone"].with_name("alone.report.json").write_text("{")
    assert must("inspect", files["alone"], "--json").json["report"] is None


def test_what_is_refused(slimtable: Command, files, tmp_path: Path) -> None:
    both = [files["both"], files["item"], files["user"], "--no-maps"]
    for words, message in (
        ([files["both"], files["counts"]], "holds no table"),
        ([*both, "--queries", "nobody"], "--queries nobody"),
        ([*both, "--frequencies", files["counts"]], "TABLE=FILE"),
        ([files["both"], files["item"], files["item"]], "Two tables are named item"),
        ([tmp_path / "none.safetensors", files["item"]], "no such artifact"),
        ([files["alone"], files["user"]], "has shape (120, 8)"),
    ):
        outcome = slimtable("report", *words)
        assert (outcome.code, outcome.out) == (2, "")
        assert message in outcome.err
    assert not list(tmp_path.glob("*.report.*"))
