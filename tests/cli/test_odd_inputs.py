"""Odd inputs: each is one line of 300 characters at most that says what to do, exit code 2, and nothing written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from slimtable import open_artifact
from tests.cli.commands import Command


def header(shape: str) -> bytes:
    """An .npy file whose header says a shape, with a few bytes of values."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (63 - (len(text) + 10) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + bytes(64)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of all kinds, and a link that leads to itself."""
    folder = tmp_path_factory.mktemp("odd")
    for name, shape in (("negative", "(-5, 4)"), ("overflow", "(4611686018427387904, 8)"), ("long", "(99999999, 64)")):
        (folder / f"{name}.npy").write_bytes(header(shape))
    table = np.random.default_rng(0).standard_normal((100, 8)).astype(np.float32)
    np.save(folder / "ok.npy", table)
    np.savez(folder / "two.npz", a=table, b=table[:20])
    torch.save({"a": torch.arange(100), "b": torch.arange(100)}, folder / "counts.pt")
    torch.save({"state_dict": {"a.weight": torch.randn(9, 8), "b.weight": torch.randn(7, 8)}}, folder / "two.pt")
    (folder / "wide.csv").write_text(",".join(f"c{i}" for i in range(100_000)) + "\n")
    (folder / "nul.csv").write_bytes(b"user,item\n1,5\n\x00,6\n")
    (folder / "loop").symlink_to("pool")
    (folder / "pool").symlink_to("loop")
    return folder


DEEP = "[" * 100_000
COMPRESS, TRAIN = ["compress", "ok.npy"], ["train", "--data", "synthetic:2000"]
CASES = [
    (["compress", "negative.npy"], "its header says shape (-5, 4)"),
    (["compress", "overflow.npy"], "which its 64 bytes do not hold"),
    (["compress", "long.npy"], "which its 64 bytes do not hold"),
    (["compress", "two.npz"], "a (100, 8), b (20, 8). Choose one with"),
    (["compress", "two.pt"], "a.weight (9, 8), b.weight (7, 8). Choose one with"),
    (["compress", "two.npz", "--name", "c"], "holds no table 'c'"),
    ([*COMPRESS, "--set", f"bits={DEEP}"], "nested too deeply"),
    ([*COMPRESS, "--method", "mgqe", "--frequencies", "two.npz"], "holds not exactly one array of counts"),
    ([*COMPRESS, "--method", "mgqe", "--frequencies", "counts.pt"], "holds not exactly one array of counts"),
    ([*COMPRESS, "--method", "mgqe", "--frequencies", "wide.csv"], "has not exactly one column of numbers"),
    ([*COMPRESS, "--method", "mgqe", "--frequencies", "/dev/zero"], "There is no file /dev/zero"),
    (["compress", "/dev/zero"], "There is no file /dev/zero"),
    ([*COMPRESS, "--budget", "101%"], "more than the float32 table takes"),
    ([*COMPRESS, "--method", "saec", "--budget", "1e3B"], "is not a budget"),
    ([*TRAIN, "--embedding-dim", "999999999"], "GB of memory at least"),
    ([*TRAIN, "--negatives", "999999999"], "GB of memory at least"),
    ([*TRAIN, "--negatives", "999999999999"], "must be at most 2,147,483,647"),
    ([*TRAIN, "--batch-size", "99999999999999999999"], "must be at most 2,147,483,647"),
    ([*TRAIN, "--learning-rate", "1e30", "--epochs", "1"], "training diverged"),
    (["train", "--data", "synthetic:٢٠٠٠"], "unknown size"),
    (["train", "--data", "wide.csv"], "(100,000 columns)"),
    (["train", "--data", "nul.csv"], "line 3: a NUL byte"),
    (["bench", "--data", "synthetic:2000", "--seeds", "1", "--workers", "100000"], "Use fewer"),
    ([*TRAIN, "--model", "deepfm"], "is a dataset of interactions"),
    ([*TRAIN, "--method", "x" * 5000], "There is no method"),
    ([*TRAIN, "--set", "y" * 5000 + "=1"], "has no option"),
]


@pytest.mark.parametrize(("words", "said"), CASES, ids=lambda value: str(value)[:40])
def test_odd_inputs_are_one_line(slimtable: Command, files: Path, tmp_path: Path, monkeypatch, words, said) -> None:
    monkeypatch.chdir(files)
    before = sorted(path.name for path in files.iterdir())
    outcome = slimtable(*words, "--out", tmp_path / "out")
    assert (outcome.code, outcome.out) == (2, "")
    assert said in outcome.err
    assert "unexpected" not in outcome.err
    assert len(outcome.err) <= 301
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert sorted(path.name for path in files.iterdir()) == before


@pytest.mark.parametrize("words", [COMPRESS, [*TRAIN, "--epochs", "1"]], ids=str)
def test_a_link_to_itself_is_no_place_to_write(slimtable: Command, files: Path, monkeypatch, words) -> None:
    monkeypatch.chdir(files)
    outcome = slimtable(*words, "--out", "loop")
    assert outcome.code == 2
    assert "loop" in outcome.err
    assert "unexpected" not in outcome.err


def test_a_folder_that_is_not_there_is_no_place_to_make_data_in(slimtable: Command, tmp_path: Path) -> None:
    outcome = slimtable("data", "make", tmp_path / "absent" / "x.parquet", "--interactions", 2000)
    assert (outcome.code, "there is no folder" in outcome.err) == (2, True)
    assert not (tmp_path / "absent").exists()


CHECKPOINTS = {
    "model_state_dict": lambda weight: {"model_state_dict": {"item.weight": weight, "steps": torch.tensor(3)}},
    "model": lambda weight: {"model": {"item.weight": weight}, "epoch": 3},
    "buffers": lambda weight: {"item.weight": weight, "ids": torch.arange(5), "graph": torch.eye(3).to_sparse()},
    "nested": lambda weight: {"checkpoint": {"module": {"item.weight": weight}}},
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_the_table_of_a_checkpoint_is_found(must: Command, tmp_path: Path, kind: str) -> None:
    weight = torch.randn(30, 4)
    torch.save(CHECKPOINTS[kind](weight), tmp_path / "model.pt")
    must("compress", tmp_path / "model.pt", "--method", "full", "--out", tmp_path / "out")
    with open_artifact(tmp_path / "out") as artifact:
        assert np.array_equal(artifact["table"].lookup(np.arange(30)), weight.numpy())


def test_the_table_of_an_archive_is_found(must: Command, tmp_path: Path) -> None:
    table = np.random.default_rng(0).standard_normal((30, 4)).astype(np.float32)
    np.savez(tmp_path / "one.npz", table=table, counts=np.arange(30))
    must("compress", tmp_path / "one.npz", "--method", "full", "--out", tmp_path / "out")
    with open_artifact(tmp_path / "out") as artifact:
        assert np.array_equal(artifact["table"].lookup(np.arange(30)), table)
