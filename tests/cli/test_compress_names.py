"""`slimtable compress` selects the tables of a model by patterns of their names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from slimtable import open_artifact
from tests.cli.commands import Command

STATE = {"user_a": torch.randn(30, 4), "m.item_embedding.weight": torch.randn(20, 4), "head.weight": torch.randn(3, 4)}


def test_all_tables_of_a_model_go_into_one_file(must: Command, tmp_path: Path) -> None:
    torch.save({"state_dict": STATE}, tmp_path / "model.pt")
    patterns = "user_*,*.item_embedding.weight"
    must("compress", tmp_path / "model.pt", "--tables", patterns, "--method", "full", "--out", tmp_path / "out")
    with open_artifact(tmp_path / "out") as artifact:
        assert set(artifact) == {"user_a", "m.item_embedding.weight"}
        for name, table in artifact.items():
            np.testing.assert_array_equal(table.lookup(np.arange(len(STATE[name]))), STATE[name].numpy())


def test_names_that_are_not_there(slimtable: Command, tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "model.pt")
    outcome = slimtable("compress", tmp_path / "model.pt", "--tables", "x*", "--out", tmp_path / "out")
    assert outcome.code == 2
    assert "holds no table 'x*'. Its tables: user_a (30, 4), m.item_embedding.weight (20, 4)" in outcome.err
    outcome = slimtable("compress", tmp_path / "model.pt", "--tables", "*", "--name", "a", "--out", tmp_path / "out")
    assert (outcome.code, "--name is for one table of one file" in outcome.err) == (2, True)
    torch.save(STATE, tmp_path / "again.pt")
    files = (tmp_path / "model.pt", tmp_path / "again.pt")
    outcome = slimtable("compress", *files, "--tables", "user_*", "--out", tmp_path / "out")
    assert (outcome.code, "Two tables are named user_a" in outcome.err) == (2, True)
    assert not (tmp_path / "out").exists()


def test_a_plan_of_several_tables_of_a_model(must: Command, tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "model.pt")
    planned = must("plan", tmp_path / "model.pt", "--tables", "user_*,*.item_embedding.weight", "--json")
    assert set(json.loads(planned.out)["statistics"]) == {"user_a", "m.item_embedding.weight"}
