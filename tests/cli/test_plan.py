"""``slimtable plan``."""

from pathlib import Path

import numpy as np
import pytest
import torch

from slimtable.budget import bits_of_budget
from tests.cli.commands import Command


@pytest.fixture
def tables(tmp_path: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "item.npy", rng.normal(size=(500, 16)).astype(np.float32))
    np.save(tmp_path / "user.npy", rng.normal(size=(300, 16)).astype(np.float32))
    np.save(tmp_path / "counts.npy", np.arange(500)[::-1])
    return tmp_path / "item.npy", tmp_path / "user.npy"


def test_a_plan_of_two_tables(must: Command, tables) -> None:
    shown = must("plan", *tables).out
    assert "item 500 × 16, user 300 × 16: 51.2 kB in float32" in shown
    for text in ("bits a dimension", "left out: baco", "minimal perfect hash", "effective rank", "Without frequencies"):
        assert text in shown
    found = must("plan", *tables, "--json").json
    assert found["float32_bytes"] == 51_200
    assert set(found["statistics"]) == set(found["advice"]) == {"item", "user"}
    assert found["frequencies"] == {}
    for candidate in found["candidates"]:
        assert candidate["bytes"] == sum(choice["bytes"] for choice in candidate["tables"].values())
        assert candidate["size_percent"] == pytest.approx(100 / candidate["compression_ratio"])


def test_budget_methods_frequencies_and_no_statistics(must: Command, tables, tmp_path: Path) -> None:
    words = ["--budget", "16x", "--method", "dpq", "--method", "mgqe", "--frequencies", tmp_path / "counts.npy"]
    found = must("plan", tables[0], *words, "--no-statistics", "--json").json
    assert {candidate["method"] for candidate in found["candidates"]} <= {"dpq", "mgqe"}
    assert found["candidates"]
    limit = bits_of_budget("16x", 8 * found["float32_bytes"]) / 8
    assert all(candidate["bytes"] <= limit + 1 for candidate in found["candidates"])
    assert found["statistics"] == found["advice"] == {}
    assert found["frequencies"]["item"]["unseen_ids"] == 1
    assert "top decile has" in must("plan", tables[0], *words).out


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_the_plot_is_written_once(must: Command, slimtable: Command, tables, tmp_path: Path, suffix, start) -> None:
    plot = tmp_path / f"sizes.{suffix}"
    assert f"plot: {plot}" in must("plan", tables[0], "--plot", plot, "--method", "uniform").out
    assert plot.read_bytes().startswith(start)
    assert "--force" in slimtable("plan", tables[0], "--plot", plot).err
    must("plan", tables[0], "--plot", plot, "--method", "uniform", "--force")


def test_a_table_with_nan_is_planned_with_a_warning(must: Command, tmp_path: Path) -> None:
    table = np.ones((50, 4), np.float32)
    table[3] = np.nan
    np.save(tmp_path / "nan.npy", table)
    assert "NaN or infinite values in 1 of the rows" in must("plan", tmp_path / "nan.npy").out


def test_all_tables_of_a_model(must: Command, tmp_path: Path) -> None:
    state = {f"field_{i}.weight": torch.randn(50 + i, 8) for i in range(6)} | {"bias": torch.zeros(3)}
    torch.save(state, tmp_path / "model.pt")
    found = must("plan", tmp_path / "model.pt", "--method", "uniform", "--json").json
    assert {name: shape["num_embeddings"] for name, shape in found["tables"].items()} == {
        f"field_{i}.weight": 50 + i for i in range(6)
    }
    shown = must("plan", tmp_path / "model.pt", "--no-statistics").out
    assert "6 tables of 315 ids together" in shown
    alone = must("plan", tmp_path / "model.pt", "--name", "field_3.*", "--no-statistics").out
    assert "model 53 × 8" in alone


def test_what_is_refused(slimtable: Command, tables, tmp_path: Path) -> None:
    counts = tmp_path / "counts.npy"
    for words, message in (
        ([tmp_path / "none.npy"], "There is no file"),
        ([tables[0], tables[0]], "Two tables are named item"),
        ([*tables, "--frequencies", counts], "Give one per table"),
        ([tables[1], "--frequencies", counts], "500 counts, but the table has 300 rows"),
        ([tables[0], "--method", "nonsense"], "nonsense"),
        ([tables[0], "--budget", "tiny"], "budget"),
        ([tables[0], "--plot", tmp_path / "sizes.pdf"], ".png or .svg"),
    ):
        outcome = slimtable("plan", *words)
        assert (outcome.code, outcome.out) == (2, "")
        assert message in outcome.err
