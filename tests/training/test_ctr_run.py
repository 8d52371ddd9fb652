"""CTR models by the same call as rankers: parts of a log, budgets of all tables, resumption, packing."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from slimtable import CTRRunConfig, evaluate, evaluate_clicks, load_model, pack_model, train
from slimtable.budget import bits_of_budget
from slimtable.data.clicks.parts import ClickParts, load_click_parts
from slimtable.embeddings.base import get_config
from slimtable.errors import BudgetError, CheckpointError
from slimtable.training.ctr_run import RETRAIN_FOLDER
from slimtable.training.run_folder import CHECKPOINT
from slimtable.training.table_budget import fit_tables

_QUICK = CTRRunConfig(epochs=2, batch_size=256, embedding_dim=4, row_learning_rate=0.1)
_TINY = CTRRunConfig(epochs=1, batch_size=512, embedding_dim=4)


@pytest.fixture(scope="module")
def parts() -> ClickParts:
    return load_click_parts("synthetic-ctr:3000")[0]


def _fit(parts: ClickParts, method: str = "full", config: CTRRunConfig = _QUICK, **options):  # type: ignore[no-untyped-def]
    return train(parts, "fm", get_config(method, options.pop("options", {})), config, progress=False, **options)


def test_parts_are_in_order_of_time_and_later_values_are_unknown(parts: ClickParts) -> None:
    whole, _ = load_click_parts("synthetic-ctr:3000", split="random")
    assert (len(parts.train), len(parts.valid), len(parts.test)) == (2400, 300, 300)
    assert sum(parts.sizes.values()) < sum(whole.sizes.values())
    assert parts.fingerprint() != whole.fingerprint()
    with pytest.raises(ValueError, match="temporal or random"):
        load_click_parts("synthetic-ctr:3000", split="fixed")


def test_training_learns_and_chooses_the_best_epoch(parts: ClickParts) -> None:
    trained = _fit(parts)
    losses = [record["valid"]["log_loss"] for record in trained.history]
    assert trained.best_epoch == 1 + int(np.argmin(losses))
    assert evaluate_clicks(trained.model, parts.train)["auc"] > 0.6
    assert trained.history[1]["loss"] < trained.history[0]["loss"]


@pytest.mark.parametrize("method", ["full", "saec", "mgqe"])
def test_a_run_that_was_cut_off_ends_the_same(parts: ClickParts, method: str, tmp_path) -> None:
    options = {} if method == "full" else {"budget": "30%"}
    straight = _fit(parts, method, **options)
    _fit(parts, method, dataclasses.replace(_QUICK, epochs=1), out=tmp_path / "run", **options)
    resumed = _fit(parts, method, out=tmp_path / "run", **options) if method != "saec" else None
    if method == "saec":  # what was trained on belongs to another first model
        (tmp_path / "run" / RETRAIN_FOLDER / CHECKPOINT).unlink()
        resumed = _fit(parts, method, out=tmp_path / "run", **options)
    assert resumed is not None
    states = straight.model.state_dict(), resumed.model.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    with pytest.raises(CheckpointError, match="other settings"):
        _fit(parts, method, dataclasses.replace(_QUICK, seed=1), out=tmp_path / "run", **options)


@pytest.mark.parametrize("budget", ["30%", "4x", "30kB"])
@pytest.mark.parametrize("method", ["saec", "uniform", "low_rank", "mgqe", "dpq", "shared", "double_hash"])
def test_all_tables_together_keep_a_budget(parts: ClickParts, method: str, budget: str) -> None:
    model = _fit(parts, method, _TINY, budget=budget).model
    assert model.fields.bits() <= bits_of_budget(budget, model.fields.dense_bits())  # type: ignore[attr-defined]


def test_a_budget_that_is_too_small_says_the_smallest() -> None:
    shapes = {"user": (1000, 8), "item": (50, 8)}
    with pytest.raises(BudgetError, match=r"smallest possible tables take [\d,]+B"):
        fit_tables(shapes, get_config("low_rank"), "1%")


def test_packed_models_predict_the_same(parts: ClickParts, tmp_path) -> None:
    model = _fit(parts, "saec", budget="30%", options={"row_bits": 8}).model.eval()
    values = {field: parts.vocabularies[field].values() for field in parts.sizes}
    pack_model(model, tmp_path / "model.safetensors", values)
    served = load_model(tmp_path / "model.safetensors", verify=True)
    assert evaluate(served, parts) == evaluate(model, parts)


def test_the_wrong_kind_of_data_is_refused(parts: ClickParts) -> None:
    with pytest.raises(TypeError, match="learns from interactions"):
        train(parts, "gmf", get_config("full"))
    with pytest.raises(TypeError, match="cannot be evaluated on"):
        evaluate(_fit(parts, config=_TINY).model, parts.train)  # type: ignore[arg-type]
