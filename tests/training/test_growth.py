"""New values get rows, and training goes on as if nothing had happened to the old ones."""

from __future__ import annotations

import pytest
import torch

from slimtable.embeddings.base import Growable, get_config
from slimtable.training.ctr_trainer import CTRTrainConfig, CTRTrainer, predict
from slimtable.training.growth import grow_
from tests.training.ctr_samples import SIZES, make_clicks, make_model

CONFIG = CTRTrainConfig(batch_size=64, row_learning_rate=0.1)


def test_old_ids_train_on_as_before() -> None:
    clicks, predictions = make_clicks(), []
    for grown in (False, True):
        torch.manual_seed(0)
        model = make_model("deepfm")
        trainer = CTRTrainer(model, CONFIG)
        trainer.fit(clicks)
        if grown:
            grow_(model, {"user": SIZES["user"] + 5, "hour": SIZES["hour"]}, trainer=trainer)
        trainer.fit(clicks)
        predictions.append(predict(model, clicks))
    assert (predictions[0] == predictions[1]).all()


def test_new_rows_are_the_default_row_or_drawn() -> None:
    model = make_model("fm")
    tables = model.fields.embeddings()
    before = {field: table.weight for field, table in tables.items()}
    grow_(model, {"user": 50})
    grow_(model, {"tags": 2000}, init="normal")
    user, tags = tables["user"].weight, tables["tags"].weight
    assert user.shape == (50, 5)
    assert torch.equal(user[:40], before["user"])
    assert (user[40:] == user[0]).all()
    assert torch.equal(tags[:12], before["tags"])
    assert float(tags[12:].std()) == pytest.approx(0.01, rel=0.05)
    assert model.fields.embeddings()["user"].num_embeddings == 50


def test_new_rows_are_trained() -> None:
    model = make_model("fm")
    trainer = CTRTrainer(model, CONFIG)
    trainer.fit(make_clicks(200))
    grow_(model, {"hour": 8}, trainer=trainer)
    clicks = make_clicks(200)
    clicks.ids[2][:100] = 7
    trainer.fit(clicks)
    hours = model.fields.embeddings()["hour"].weight
    assert not torch.equal(hours[7], hours[6])


def test_what_cannot_grow_says_so() -> None:
    model = make_model("fm", {"user": get_config("full"), "tags": get_config("mgqe"), "hour": get_config("full")})
    with pytest.raises(TypeError, match="field tags is of method mgqe"):
        grow_(model, {"user": 50, "tags": 20})
    with pytest.raises(ValueError, match="cannot shrink to 3"):
        grow_(model, {"user": 50, "hour": 3})
    with pytest.raises(ValueError, match="names film"):
        grow_(model, {"user": 50, "film": 3})
    with pytest.raises(ValueError, match="init"):
        grow_(model, {"user": 50}, init="zeros")  # type: ignore[arg-type]
    table = model.fields.embeddings()["tags"]
    assert not isinstance(table, Growable)
    full = model.fields.embeddings()["user"]
    assert full.num_embeddings == 40
    with pytest.raises(ValueError, match=r"shape \(2, 5\)"):
        full.grow_(42, torch.zeros(3, 5))
