"""Every CTR model against its formula, written out with loops over pairs of fields."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from slimtable.models.ctr import CTRModel, build_ctr_model, ctr_model_names, get_ctr_model
from slimtable.models.dcnv2 import DCNv2Config
from slimtable.models.deepfm import DeepFMConfig
from slimtable.models.dlrm import DLRMConfig
from slimtable.training.ctr_trainer import predict
from tests.training.ctr_samples import SIZES, make_clicks, make_model


def table_rows(model: CTRModel, row: int) -> list[np.ndarray]:
    """The row of each field for one impression, looked up one by one."""
    clicks = make_clicks(num_numeric=model.num_numeric)
    rows = []
    for field, table in zip(clicks.ids, model.fields.embeddings().values(), strict=True):
        weight = table.weight.double().numpy()
        ids = field.values[field.offsets[row] : field.offsets[row + 1]] if hasattr(field, "offsets") else [field[row]]
        rows.append(sum((weight[i] for i in ids), np.zeros(weight.shape[1])) / max(1, len(ids)))
    return rows


def network(layers: nn.Module, x: np.ndarray) -> np.ndarray:
    for layer in layers:
        if isinstance(layer, nn.Linear):
            x = layer.weight.detach().double().numpy() @ x + layer.bias.detach().double().numpy()
        else:
            x = np.maximum(x, 0)
    return x


def linear(model, rows: list[np.ndarray], x: np.ndarray) -> float:
    logit = float(model.linear.bias.detach()) + sum(row[-1] for row in rows)
    if len(x):
        logit += float(model.linear.weight.detach().double().numpy() @ x)
    return logit


def pairs(vectors: list[np.ndarray]) -> list[float]:
    return [float(vectors[i] @ vectors[j]) for i in range(len(vectors)) for j in range(i)]


def expected(model, rows: list[np.ndarray], x: np.ndarray) -> float:
    """The logit by the formula in the docstring of the model."""
    vectors = [row[:-1] for row in rows]
    if model.name == "logistic":
        return linear(model, rows, x)
    if model.name == "fm":
        return linear(model, rows, x) + sum(pairs(vectors))
    if model.name == "wide_deep":
        return linear(model, rows, x) + network(model.network, np.concatenate([*vectors, x]))[0]
    if model.name == "deepfm":
        return linear(model, rows, x) + sum(pairs(vectors)) + network(model.network, np.concatenate([*vectors, x]))[0]
    if model.name == "dlrm":
        if model.bottom is None:
            return network(model.top, np.array(pairs(rows)))[0]
        z = network(model.bottom, x)
        return network(model.top, np.concatenate([z, pairs([z, *rows])]))[0]
    assert model.name == "dcnv2"
    start = crossed = np.concatenate([*rows, x])
    for cross in model.crosses:
        if model.config.rank is None:
            matrix, bias = cross.weight.detach().double().numpy(), cross.bias.detach().double().numpy()
        else:
            matrix = (cross[1].weight @ cross[0].weight).detach().double().numpy()
            bias = cross[1].bias.detach().double().numpy()
        crossed = start * (matrix @ crossed + bias) + crossed
    if model.config.structure == "stacked":
        last = network(model.network, crossed)
    else:
        last = np.concatenate([crossed, network(model.network, start)])
    return network([model.output], last)[0]


VARIANTS = [(name, None) for name in ("logistic", "fm", "wide_deep", "deepfm", "dcnv2", "dlrm")] + [
    ("dcnv2", DCNv2Config(hidden=(5,), cross_layers=3, rank=2, structure="parallel")),
    ("deepfm", DeepFMConfig(hidden=(7, 5, 3), dropout=0.5)),
    ("dlrm", DLRMConfig(bottom=(3, 2), top=(6,))),
]


@pytest.mark.parametrize("num_numeric", [0, 2])
@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_formula(name: str, options, num_numeric: int) -> None:
    model = make_model(name, num_numeric=num_numeric, options=options)
    with torch.no_grad():
        for parameter in model.parameters():  # nothing is small, so that no term can be forgotten
            parameter.normal_(std=0.7)
    clicks = make_clicks(num_numeric=num_numeric)
    probabilities = predict(model, clicks)
    for row in range(20):
        logit = expected(model, table_rows(model, row), clicks.numeric[row].astype(np.float64))
        assert probabilities[row] == pytest.approx(1 / (1 + np.exp(-logit)), rel=1e-4, abs=1e-6)


def test_unknown_names_list_the_known() -> None:
    with pytest.raises(ValueError, match=r"no model 'ffm'.*deepfm"):
        get_ctr_model("ffm")


def test_widths() -> None:
    widths = {"dcnv2": 16, "deepfm": 17, "dlrm": 16, "fm": 17, "logistic": 1, "wide_deep": 17}
    assert {name: get_ctr_model(name).width(16) for name in widths} == widths


def test_dropout_acts_in_training_alone() -> None:
    model = make_model("deepfm", options=DeepFMConfig(hidden=(50,), dropout=0.5))
    clicks = make_clicks(100)
    np.testing.assert_array_equal(predict(model, clicks), predict(model, clicks))
    assert model.training
    rows, integers = torch.randn(8, 3, 5), torch.randn(8, 2)
    assert not torch.equal(model.logits(rows, integers), model.logits(rows, integers))


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match=r"hidden.*at least one layer"):
        DeepFMConfig(hidden=())
    with pytest.raises(ValueError, match="dropout"):
        DeepFMConfig(dropout=1.0)
    with pytest.raises(ValueError, match=r"DLRMConfig\.top"):
        DLRMConfig(top=(4, 0))
    with pytest.raises(ValueError, match="cross_layers"):
        DCNv2Config(cross_layers=0)
    with pytest.raises(ValueError, match="below the width of its input, 14"):
        make_model("dcnv2", options=DCNv2Config(rank=14))
    with pytest.raises(ValueError, match="two fields"):
        build_ctr_model("dlrm", {"only": 3}, 0, 4)
    with pytest.raises(ValueError, match="hour"):
        build_ctr_model("fm", SIZES, 0, 4, {"user": None, "tags": None})


def test_gradients_reach_every_parameter() -> None:
    for name in ctr_model_names():
        model = make_model(name)
        logits: Tensor = model.logits(torch.randn(64, 3, model.fields.width), torch.randn(64, 2))
        logits.square().sum().backward()
        missing = [n for n, p in model.named_parameters() if p.grad is None and not n.startswith("fields.")]
        assert not missing


def test_fields_may_have_any_name() -> None:
    model = build_ctr_model("fm", {"type": 3, "user.age": 4}, 0, 2)
    assert list(model.fields.embeddings()) == ["type", "user.age"]
