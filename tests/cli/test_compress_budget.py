"""`slimtable compress --budget`: a table within a size, and what is said about it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.cli.commands import Command
from tests.codecs.quantize.samples import make_vectors


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    vectors, counts = make_vectors(2000, width=16)
    np.save(tmp_path / "table.npy", vectors)
    np.save(tmp_path / "counts.npy", counts)
    return tmp_path / "table.npy", tmp_path / "counts.npy"


@pytest.mark.parametrize("method", ["uniform", "low_rank", "dpq", "mgqe"])
def test_any_method_is_given_the_size_that_fits(
    must: Command, files: tuple[Path, Path], tmp_path: Path, method
) -> None:
    out = tmp_path / "out.safetensors"
    found = must("compress", files[0], "--method", method, "--budget", "8x", "--out", out, "--json").json
    assert 7.9 < found["compression_ratio"] < 33


@pytest.mark.parametrize(("budget", "most"), [("6%", 0.06 * 2000 * 64), ("9kB", 9000)])
def test_a_table_within_a_budget(must: Command, files: tuple[Path, Path], tmp_path: Path, budget, most) -> None:
    words = ["compress", files[0], "--method", "saec", "--frequencies", files[1], "--budget", budget]
    out = tmp_path / "out.safetensors"
    result = must(*words, "--out", out, "--json").json
    assert 0.95 * most <= result["bits"] / 8 <= most
    assert result["bits"] == 512 * result["vectors"] + 2000 * (result["vectors"] - 1).bit_length()
    said = must(*words, "--out", out, "--force").out
    assert f"vectors: {result['vectors']:,} for 2,000 ids" in said
    assert f"distortion: {result['distortion']:.4g} (mean squared distance of a row, weighted by frequency)" in said


def test_frequent_ids_count_more(must: Command, files: tuple[Path, Path], tmp_path: Path) -> None:
    vectors, counts = np.load(files[0]), np.load(files[1])
    words = ["compress", files[0], "--method", "saec", "--budget", "6%", "--force", "--json"]
    weighted = must(*words, "--frequencies", files[1], "--out", tmp_path / "a.safetensors").json
    plain = must(*words, "--out", tmp_path / "b.safetensors").json
    assert plain["relative_error"] < weighted["relative_error"]
    one = ((vectors - np.average(vectors, axis=0, weights=counts)) ** 2).sum(axis=1) @ counts / counts.sum()
    assert weighted["distortion"] < 0.3 * one


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--method", "uniform", "--budget", "3%"], "too small for this method: its smallest table of 2,000 ids takes"),
        (["--method", "uniform", "--budget", "101%"], "more than the float32 table takes"),
        (["--method", "saec", "--budget", "4 rows"], "is not a budget"),
        (["--method", "saec", "--budget", "4%", "--set", "budget=5%"], "given twice"),
        (["--method", "saec", "--budget", "4%", "--set", "num_rows=900"], "both set the size"),
        (["--method", "saec", "--budget", "20B"], "smallest budget is"),
        (["--method", "saec", "--set", "num_rows=2000"], "Use method full"),
    ],
    ids=str,
)
def test_budgets_that_cannot_be_kept(
    slimtable: Command, files: tuple[Path, Path], tmp_path: Path, words, message
) -> None:
    outcome = slimtable("compress", files[0], *words, "--out", tmp_path / "out.safetensors")
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "out.safetensors").exists()


def test_counts_of_another_table_are_refused(slimtable: Command, files: tuple[Path, Path], tmp_path: Path) -> None:
    np.save(files[1], np.load(files[1])[1:])
    words = ["--method", "mgqe", "--budget", "8x", "--frequencies", files[1], "--out", tmp_path / "out.safetensors"]
    outcome = slimtable("compress", files[0], *words)
    assert (outcome.code, outcome.err) == (2, f"error: {files[1]} holds 1,999 counts, but the table has 2,000 rows.\n")


def test_counts_of_zero_are_equal_weights(must: Command, files: tuple[Path, Path], tmp_path: Path) -> None:
    np.save(files[1], np.zeros(2000, np.int64))
    words = ["compress", files[0], "--method", "saec", "--budget", "6%", "--out", tmp_path / "out", "--force", "--json"]
    assert must(*words, "--frequencies", files[1]).json["distortion"] == must(*words).json["distortion"] > 0


@pytest.mark.parametrize("which", [0, 1])
def test_files_that_are_read_are_never_replaced(slimtable: Command, files: tuple[Path, Path], which) -> None:
    before = files[which].read_bytes()
    outcome = slimtable("compress", files[0], "--frequencies", files[1], "--out", files[which], "--force")
    assert outcome.code == 2
    assert "is read by this command" in outcome.err
    assert files[which].read_bytes() == before
