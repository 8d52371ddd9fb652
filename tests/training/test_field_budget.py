"""One call takes a trained model to a size that is named."""

from __future__ import annotations

import pytest
import torch

import slimtable as ctr
from slimtable.data.clicks.windows import encode_log, split_clicks
from slimtable.errors import BudgetError
from slimtable.methods.saec import SaecConfig


@pytest.fixture(scope="module")
def trained():
    clicks, vocabularies = encode_log("synthetic-ctr:8000")
    learn, test = split_clicks(clicks, (0.8, 0.2))
    torch.manual_seed(0)
    model = ctr.build_ctr_model("deepfm", vocabularies.sizes, clicks.numeric.shape[1], 8)
    ctr.CTRTrainer(model, ctr.CTRTrainConfig(epochs=2, batch_size=256, row_learning_rate=0.1)).fit(learn)
    return model, learn, test


@pytest.mark.parametrize("weigh", [True, False])
def test_the_budget_is_kept_and_used(trained, weigh: bool) -> None:
    model, learn, _ = trained
    small = ctr.compress_to_budget(model, learn, "10%", use_sensitivity=weigh)
    assert 10.0 <= (small.fields.dense_bits() / small.fields.bits()) < 10.6
    assert (model.fields.dense_bits() / model.fields.bits()) == 1.0


def test_weighing_errors_loses_less(trained) -> None:
    model, learn, test = trained
    losses = {
        weigh: ctr.evaluate_clicks(ctr.compress_to_budget(model, learn, "6%", use_sensitivity=weigh), test)["log_loss"]
        for weigh in (True, False)
    }
    assert losses[True] < losses[False]


def test_options_reach_every_table(trained) -> None:
    model, learn, _ = trained
    small = ctr.compress_to_budget(model, learn, "20%", SaecConfig(row_bits=32), stages=(2,), max_row_share=0.05)
    shared = [table.config for table in small.fields.embeddings().values() if table.method == "saec"]
    assert shared
    assert all(config.stages == 2 and config.row_bits == 32 for config in shared)


def test_what_cannot_be_met_is_said(trained) -> None:
    model, learn, _ = trained
    with pytest.raises(BudgetError, match="smallest budget"):
        ctr.compress_to_budget(model, learn, "10B")
    with pytest.raises(ValueError, match="not a budget"):
        ctr.compress_to_budget(model, learn, "some")
