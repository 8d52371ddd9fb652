"""The folder of a run: checkpoints are far enough apart to cost little, and close enough to lose little."""

from __future__ import annotations

import json
import types
from dataclasses import replace

import numpy as np
import pytest
import torch

from slimtable.data.interactions.split import Split
from slimtable.embeddings.base import get_config
from slimtable.training import run_folder
from slimtable.training.packing import restore_run
from slimtable.training.run_folder import CHECKPOINT, IDENTITY, LOG, RunFolder, load_checkpoint
from slimtable.training.trainer import TrainConfig, train
from tests.training.test_trainer import assert_same

SETTINGS = dict.fromkeys(IDENTITY, "as before")
VOCABULARIES = {"user": np.arange(3), "item": np.arange(4)}
PATIENT = TrainConfig(
    embedding_dim=8, epochs=60, batch_size=64, negatives=1, learning_rate=0.05, evaluate_every=2, patience=6
)


class Clock:
    """Time that passes only where a test says so."""

    def __init__(self, monkeypatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(run_folder, "time", types.SimpleNamespace(monotonic=lambda: self.now))


def test_checkpoints_are_twenty_times_as_far_apart_as_they_take(tmp_path, monkeypatch) -> None:
    clock = Clock(monkeypatch)
    folder = RunFolder(tmp_path, SETTINGS, VOCABULARIES)
    folder.begin_log([])
    history: list[dict] = []

    def state() -> dict:
        clock.now += 0.5  # what writing takes
        return {"model": {}, "optimizer": {}, "history": history, "best_epoch": None, "best_state": None}

    kept = []
    for epoch in range(1, 9):
        history = [*history, {"epoch": epoch, "loss": 0.0, "penalty": 0.0, "seconds": 3.0}]
        folder.add(history[-1], state, last=epoch == 8)
        kept.append(len(load_checkpoint(tmp_path / CHECKPOINT)["history"]))
        clock.now += 3.0
    assert kept == [1, 1, 1, 1, 5, 5, 5, 8]
    assert len((tmp_path / LOG).read_text().splitlines()) == 8


@pytest.mark.parametrize("model_name", ["bprmf", "lightgcn"])
def test_a_run_continues_from_a_checkpoint_that_lies_behind_its_log(
    communities: Split, model_name, tmp_path, monkeypatch
) -> None:
    """With patience, and cut off at the epoch after the best one, which the checkpoint does not know of."""
    config = get_config("baco", {"init_std": 1.0})
    whole = train(communities, model_name, config, PATIENT)
    Clock(monkeypatch)  # stands still once writing takes time, so that only the first epoch has a checkpoint
    add, seen = RunFolder.add, []

    def add_and_stop(self, record, state, *, last) -> None:
        add(self, record, state, last=last)
        self._took = 1.0
        seen.append(record["epoch"])
        if record["epoch"] == whole.best_epoch + 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(RunFolder, "add", add_and_stop)
    with pytest.raises(KeyboardInterrupt):
        train(communities, model_name, config, PATIENT, out=tmp_path)
    assert len(load_checkpoint(tmp_path / CHECKPOINT)["history"]) == 1 < len(seen)
    assert restore_run(tmp_path).epoch == 1  # nothing was ranked yet
    monkeypatch.undo()
    assert_same(whole, train(communities, model_name, config, PATIENT, out=tmp_path))
    logged = [json.loads(line)["epoch"] for line in (tmp_path / LOG).read_text().splitlines()]
    assert logged == list(range(1, len(whole.history) + 1))


def test_a_run_with_patience_is_restored_as_training_gave_it(communities: Split, tmp_path) -> None:
    trained = train(communities, "bprmf", get_config("baco"), PATIENT, out=tmp_path / "patient")
    restored = restore_run(tmp_path / "patient")
    assert restored.epoch == trained.epoch == trained.best_epoch < len(trained.history)
    for name, tensor in trained.model.state_dict().items():
        assert torch.equal(tensor, restored.model.state_dict()[name])
    assert restore_run(tmp_path / "patient", "last").epoch == len(trained.history)
    train(communities, "bprmf", get_config("baco"), replace(PATIENT, epochs=5, patience=0), out=tmp_path / "not")
    assert restore_run(tmp_path / "not").epoch == 5
