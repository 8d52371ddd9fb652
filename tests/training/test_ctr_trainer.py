"""Training of CTR models: it learns, continues bit for bit, and leaves models as it found them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from slimtable.data.clicks.clicks import Clicks
from slimtable.embeddings.base import get_config
from slimtable.methods.saec import SaecConfig
from slimtable.models.ctr import build_ctr_model, ctr_model_names
from slimtable.models.parts.fields import CTRBatch
from slimtable.training import metrics
from slimtable.training.ctr_trainer import CTRTrainConfig, CTRTrainer, evaluate_clicks, predict
from slimtable.training.growth import grow_
from tests.training.ctr_samples import SIZES, make_clicks, make_model

METHODS = {
    "full": {},
    "shared": {"rows": "60%"},
    "mgqe": {"codebook_sizes": [8, 4], "num_codebooks": 1},
}
FAST = CTRTrainConfig(batch_size=64, learning_rate=0.01, row_learning_rate=0.1, table_learning_rate=0.01)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ctr_model_names())
def test_learns(name: str, method: str) -> None:
    model = make_model(name, get_config(method, METHODS[method]))
    losses = CTRTrainer(model, FAST).fit(make_clicks(), epochs=4)
    assert len(losses) == 4
    assert losses[-1] < losses[0] - 0.03
    assert evaluate_clicks(model, make_clicks(seed=1))["auc"] > 0.7


@pytest.mark.parametrize("row_optimizer", ["adagrad", "adam"])
@pytest.mark.parametrize("method", METHODS)
def test_continues_bit_for_bit(method: str, row_optimizer) -> None:
    config = CTRTrainConfig.from_dict({**FAST.to_dict(), "row_optimizer": row_optimizer, "row_learning_rate": 0.02})
    clicks = make_clicks()

    def fresh() -> CTRTrainer:
        torch.manual_seed(5)
        return CTRTrainer(make_model("deepfm", get_config(method, METHODS[method])), config)

    whole = fresh()
    losses = whole.fit(clicks, epochs=3)
    first = fresh()
    before = first.fit(clicks, epochs=1)
    kept = {name: tensor.clone() for name, tensor in first.model.state_dict().items()}
    state = {name: tensor.clone() for name, tensor in first.state_dict().items()}
    first.fit(clicks)  # what it does afterwards is not part of the state
    second = fresh()
    torch.manual_seed(99)
    second.model.load_state_dict(kept)
    second.load_state_dict(state)
    assert before + second.fit(clicks, epochs=2) == losses
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name]), name


def test_training_leaves_random_numbers_alone() -> None:
    model = make_model("fm")
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    CTRTrainer(model, FAST).fit(make_clicks(100))
    assert torch.equal(torch.rand(2), expected)


def test_order_of_clicks() -> None:
    clicks, seen = make_clicks(200), []
    for shuffle in (True, False):
        torch.manual_seed(0)
        model = make_model("fm")
        config = CTRTrainConfig(shuffle=shuffle, batch_size=50)
        steps: list[tuple[int, int]] = []
        CTRTrainer(model, config).fit(clicks, on_batch=lambda step, of, steps=steps: steps.append((step, of)))
        assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
        seen.append(predict(model, clicks))
    assert not np.array_equal(*seen)


def test_epochs_of_no_passes_change_nothing() -> None:
    trainer = CTRTrainer(make_model("fm"))
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    assert trainer.fit(make_clicks(), epochs=0) == []
    assert all(torch.equal(before[name], tensor) for name, tensor in trainer.model.state_dict().items())


def test_predictions_do_not_depend_on_the_batch() -> None:
    model = make_model("deepfm")
    CTRTrainer(model, FAST).fit(make_clicks())
    clicks = make_clicks(100, seed=2)
    np.testing.assert_allclose(predict(model, clicks), predict(model, clicks, batch_size=7), rtol=1e-6)
    assert predict(model, clicks.slice(0, 0)).shape == (0,)


def test_evaluation_is_that_of_the_metrics() -> None:
    model, clicks = make_model("deepfm"), make_clicks(300)
    model.train()
    found = evaluate_clicks(model, clicks)
    probabilities = predict(model, clicks)
    assert all(module.training for module in model.modules())
    assert probabilities.dtype == np.float64
    assert found["auc"] == metrics.auc(clicks.labels, probabilities)
    assert found["log_loss"] == metrics.log_loss(clicks.labels, probabilities)
    assert found["rows"] == 300
    one_class = clicks.take(np.flatnonzero(clicks.labels == 1))
    assert np.isnan(evaluate_clicks(model, one_class)["auc"])


def test_penalties_and_ends_of_epochs_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model("fm", get_config("mgqe", METHODS["mgqe"]))
    ends: list[str] = []
    for table in model.fields.embeddings().values():
        monkeypatch.setattr(table, "end_epoch", lambda: ends.append("end"))
    codebooks = [p.clone() for n, p in model.named_parameters() if "centroids" in n]
    CTRTrainer(model, FAST).fit(make_clicks(200), epochs=2)
    assert len(ends) == 6
    after = [p for n, p in model.named_parameters() if "centroids" in n]
    assert all(not torch.equal(a, b) for a, b in zip(codebooks, after, strict=True))  # the penalty alone moves them


def test_mistakes_are_told() -> None:
    trainer = CTRTrainer(make_model("fm"))
    with pytest.raises(ValueError, match="no clicks"):
        trainer.fit(make_clicks(5).slice(0, 0))
    with pytest.raises(ValueError, match="epochs_done"):
        trainer.load_state_dict({})
    with pytest.raises(ValueError, match="does not train"):
        trainer.load_state_dict({"epochs_done": torch.tensor(1), "nothing:sums": torch.zeros(3)})
    with pytest.raises(ValueError, match="has 3 rows"):
        trainer.load_state_dict({"epochs_done": torch.tensor(1), "fields.tables.0.table:sums": torch.zeros(3)})
    with pytest.raises(ValueError, match="batch_size"):
        CTRTrainConfig(batch_size=0)
    with pytest.raises(ValueError, match="row_learning_rate"):
        CTRTrainConfig(row_learning_rate=0.0)
    with torch.no_grad():
        trainer.model.linear.bias.fill_(torch.nan)  # type: ignore[union-attr,operator]
    with pytest.raises(ValueError, match="diverged"):
        trainer.fit(make_clicks(5))


def test_clicks_of_another_schema_are_refused() -> None:
    clicks = make_clicks(20)
    bare = Clicks(clicks.labels, clicks.numeric[:, :0], clicks.ids)
    with pytest.raises(ValueError, match="takes 3 fields and 2 numeric columns, and the clicks have 3 and 0"):
        CTRTrainer(make_model("fm")).fit(bare)
    with pytest.raises(ValueError, match="takes 3 fields and 0 numeric columns, and the clicks have 3 and 2"):
        predict(make_model("fm", num_numeric=0), clicks)  # it would have left the numbers out without a word
    with pytest.raises(ValueError, match="the clicks have 2 and 2"):
        predict(make_model("deepfm"), Clicks(clicks.labels, clicks.numeric, clicks.ids[:2]))


def test_fields_of_a_batch_are_of_one_length() -> None:
    batch = CTRBatch.from_clicks(make_clicks(20))
    torn = CTRBatch(batch.labels, batch.numeric, (batch.ids[0][:3], *batch.ids[1:]))
    with pytest.raises(ValueError, match=r"equal numbers of rows, got \[3, 20\]"):
        make_model("fm")(torn)


def test_a_trainer_does_not_go_on_with_tables_that_are_no_longer_there() -> None:
    model = make_model("fm", SaecConfig(num_rows=5))
    trainer = CTRTrainer(model)
    model.load_state_dict(make_model("fm", SaecConfig(num_rows=4)).state_dict())
    with pytest.raises(ValueError, match="Tables of the model were replaced"):
        trainer.fit(make_clicks(20))
    grown = make_model("fm")
    trainer = CTRTrainer(grown)
    grow_(grown, {"user": SIZES["user"] + 1})
    with pytest.raises(ValueError, match="Tables of the model were replaced"):
        trainer.fit(make_clicks(20))


def test_a_state_of_other_widths_is_refused() -> None:
    config = CTRTrainConfig(row_optimizer="adam")
    trainer = CTRTrainer(make_model("fm"), config)
    trainer.fit(make_clicks(20))
    wider = CTRTrainer(build_ctr_model("fm", SIZES, 2, 6), config)
    with pytest.raises(ValueError, match=r"has shape \(40, 5\), but the parameter \(40, 7\)"):
        wider.load_state_dict(trainer.state_dict())


def test_epochs_are_not_negative() -> None:
    with pytest.raises(ValueError, match="`epochs` must not be negative, got -1"):
        CTRTrainer(make_model("fm")).fit(make_clicks(20), epochs=-1)


def test_ids_that_a_field_does_not_have_are_not_counted() -> None:
    with pytest.raises(IndexError, match=r"Field 0 has id \d+, but ids are in 0..9"):
        make_clicks().counts([10, SIZES["tags"], SIZES["hour"]])
