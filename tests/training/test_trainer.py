"""Training: it learns, it is deterministic, and a run that is cut off continues as if it had not been."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import types

import numpy as np
import pytest
import torch

from slimtable.bench.jobs import fingerprint
from slimtable.data.interactions.interactions import Interactions
from slimtable.data.interactions.split import Split, leave_two_out
from slimtable.embeddings.base import get_config
from slimtable.errors import CheckpointError
from slimtable.training.evaluation import evaluate
from slimtable.training.trainer import TrainConfig, train

QUICK = TrainConfig(embedding_dim=8, epochs=4, batch_size=32, learning_rate=0.02)
SMALL = {
    "full": {},
    "low_rank": {},
    "uniform": {"bits": 4},
    "dpq": {"num_codebooks": 4, "codebook_size": 16},
    "mgqe": {"num_codebooks": 4, "codebook_sizes": [16, 8]},
}
METHODS = [get_config(name, options) for name, options in SMALL.items()]


def state(trained) -> dict[str, torch.Tensor]:
    return trained.model.state_dict()


def assert_same(first, second) -> None:
    assert first.best_epoch == second.best_epoch
    for name, value in state(first).items():
        assert torch.equal(value, state(second)[name]), name
    for a, b in zip(first.history, second.history, strict=True):
        assert {**a, "seconds": 0} == {**b, "seconds": 0}


@pytest.mark.parametrize("config", METHODS, ids=lambda c: type(c).__name__)
def test_withheld_items_of_the_own_community_come_first(communities: Split, config) -> None:
    trained = train(
        communities, "gmf", config, TrainConfig(embedding_dim=8, epochs=8, batch_size=32, learning_rate=0.02)
    )
    metrics = evaluate(trained.model, communities)["train+valid"]
    # 9 items of the own community are left to choose from, and 20 of the other: chance is 0.34.
    assert metrics["hit_rate@10"] > 0.8
    assert trained.history[-1]["loss"] < 0.75 * trained.history[0]["loss"]


def test_gmf_without_training_ranks_by_chance(communities: Split) -> None:
    trained = train(communities, "gmf", get_config("full"), TrainConfig(embedding_dim=8, epochs=1, learning_rate=1e-9))
    assert evaluate(trained.model, communities)["train+valid"]["hit_rate@10"] < 0.7


@pytest.mark.parametrize("config", METHODS, ids=lambda c: type(c).__name__)
def test_same_seed_same_result_whatever_the_global_generator(communities: Split, config) -> None:
    torch.manual_seed(1)
    first = train(communities, "gmf", config, QUICK)
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    assert_same(first, train(communities, "gmf", config, QUICK))
    assert torch.equal(before, torch.random.get_rng_state())  # nor does training disturb the caller's


def test_other_seed_other_result(communities: Split) -> None:
    first = train(communities, "gmf", METHODS[0], QUICK)
    second = train(communities, "gmf", METHODS[0], TrainConfig(**{**QUICK.to_dict(), "seed": 1}))
    assert not torch.equal(first.model.item_embedding.weight, second.model.item_embedding.weight)


@pytest.mark.parametrize(
    "config",
    [*METHODS, get_config("dpq", {"num_codebooks": 4, "codebook_size": 16, "revive_dead": True, "batch_norm": True})],
    ids=str,
)
def test_more_epochs_continue_the_run(communities: Split, config, tmp_path) -> None:
    whole = train(communities, "gmf", config, QUICK)
    train(communities, "gmf", config, TrainConfig(**{**QUICK.to_dict(), "epochs": 2}), out=tmp_path)
    assert_same(whole, train(communities, "gmf", config, QUICK, out=tmp_path))
    assert_same(whole, train(communities, "gmf", config, QUICK, out=tmp_path))  # a finished run is just loaded
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in log] == [1, 2, 3, 4]


_CHILD = """
import sys, torch
import numpy as np
torch.set_num_threads(1)
from slimtable.data.interactions.interactions import Interactions
from slimtable.data.interactions.split import leave_two_out
from slimtable.embeddings.base import get_config
from slimtable.training.trainer import TrainConfig, train
g = np.random.default_rng(0)
items = np.concatenate([g.permutation(60)[:12] for _ in range(200)])
data = leave_two_out(Interactions.from_raw(np.repeat(np.arange(200), 12), items, chronological=True))
config = TrainConfig(embedding_dim=8, epochs=8, batch_size=64)
train(data, "gmf", get_config("mgqe", {"codebook_sizes": [16, 8]}), config, out=sys.argv[1])
"""


@pytest.mark.slow
def test_kill_at_any_moment_changes_nothing(tmp_path) -> None:
    """Killed (−9) at several moments, the run continues and ends byte for byte as one that was left alone."""

    def start(folder):
        return subprocess.Popen([sys.executable, "-c", _CHILD, str(folder)])

    assert start(tmp_path / "whole").wait() == 0
    cut = tmp_path / "cut"
    kills = 0
    for pause in (0.0, 0.07, 0.13):
        child = start(cut)
        log = cut / "log.jsonl"
        seen = log.read_text().count("\n") if log.exists() else 0
        while child.poll() is None and not (log.exists() and log.read_text().count("\n") > seen):
            time.sleep(0.005)
        time.sleep(pause)
        if child.poll() is None:
            os.kill(child.pid, signal.SIGKILL)
            kills += 1
        child.wait()
    assert kills >= 2
    assert start(cut).wait() == 0
    load = {name: torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("whole", "cut")}
    for name, value in load["whole"]["model"].items():
        assert torch.equal(value, load["cut"]["model"][name]), name
    assert [{**r, "seconds": 0} for r in load["whole"]["history"]] == [
        {**r, "seconds": 0} for r in load["cut"]["history"]
    ]
    assert load["whole"]["best_epoch"] == load["cut"]["best_epoch"]


def test_a_folder_of_another_run_is_refused(communities: Split, tmp_path) -> None:
    train(communities, "gmf", METHODS[0], QUICK, out=tmp_path)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(CheckpointError, match=r"other settings \(method"):
        train(communities, "gmf", METHODS[3], QUICK, out=tmp_path)
    with pytest.raises(CheckpointError, match=r"other settings \(train"):
        train(communities, "gmf", METHODS[0], TrainConfig(**{**QUICK.to_dict(), "seed": 5}), out=tmp_path)
    with pytest.raises(CheckpointError, match="more than the 2"):
        train(communities, "gmf", METHODS[0], TrainConfig(**{**QUICK.to_dict(), "epochs": 2}), out=tmp_path)
    other = Split(communities.train.select(np.arange(len(communities.train) - 1)), communities.valid, communities.test)
    with pytest.raises(CheckpointError, match=r"other settings \(data"):
        train(other, "gmf", METHODS[0], QUICK, out=tmp_path)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_divergence_is_an_error(communities: Split, tmp_path) -> None:
    wild = TrainConfig(**{**QUICK.to_dict(), "learning_rate": 1e30})
    with pytest.raises(ValueError, match=r"diverged|are NaN"):
        train(communities, "gmf", METHODS[0], wild, out=tmp_path)


@pytest.mark.parametrize(
    "options", [{"epochs": 0}, {"learning_rate": 0.0}, {"seed": -1}, {"ks": []}, {"batch_size": 0}]
)
def test_impossible_settings(options) -> None:
    with pytest.raises(ValueError, match="TrainConfig"):
        TrainConfig(**options)


def test_without_validation_there_is_no_best_epoch(communities: Split) -> None:
    trained = train(
        Split(communities.train, communities.valid.empty_like(), communities.test), "gmf", METHODS[0], QUICK
    )
    assert trained.best_epoch is None
    assert trained.best_state is None


def test_tensorboard_is_written_where_it_is_installed(communities: Split, tmp_path, monkeypatch) -> None:
    written = []

    class SummaryWriter:
        def __init__(self, folder: str, purge_step: int) -> None:
            self.purge_step = purge_step

        def add_scalar(self, name: str, value: float, step: int) -> None:
            assert step >= self.purge_step
            written.append((name, step))

        def flush(self) -> None:
            pass

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    train(communities, "gmf", METHODS[0], TrainConfig(**{**QUICK.to_dict(), "epochs": 2}), out=tmp_path)
    train(communities, "gmf", METHODS[0], QUICK, out=tmp_path)
    assert [step for name, step in written if name == "train/loss"] == [1, 2, 3, 4]
    assert ("valid/hit_rate@10", 3) in written


@pytest.mark.parametrize("file", ["checkpoint.pt", "run.json"])
def test_damaged_folders_are_not_continued(communities: Split, file, tmp_path) -> None:
    train(communities, "gmf", METHODS[0], QUICK, out=tmp_path)
    whole = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=f"{file} is damaged"):
        train(communities, "gmf", METHODS[0], QUICK, out=tmp_path)


def test_nothing_to_train_on_is_refused(communities: Split) -> None:
    with pytest.raises(ValueError, match="nothing to train on"):
        train(Split(communities.train.empty_like(), communities.valid, communities.test), "gmf", METHODS[0], QUICK)


def test_training_parts_keep_their_own_modes(communities: Split) -> None:
    model = train(communities, "gmf", METHODS[0], QUICK).model.train()
    model.item_embedding.eval()
    evaluate(model, communities)
    assert model.user_embedding.training
    assert not model.item_embedding.training


def test_digests_of_interactions_never_change() -> None:
    """Unfinished runs and results are found again by them, also after an update of this package."""
    users = np.array([10, 20, 10, 30, 20, 10, 20, 30, 10])
    items = np.array([1, 2, 2, 3, 3, 3, 4, 1, 4])
    parts = leave_two_out(Interactions.from_raw(users, items, times=np.arange(100, 109)))
    assert sys.modules["slimtable.training.trainer"]._fingerprint(parts) == "c2791220c983b95d"
    assert fingerprint(parts) == "53ffffda32612866"
