"""NeuMF against its formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from slimtable.embeddings.base import create, get_config, method_names
from slimtable.models import neumf
from slimtable.models.base import build
from slimtable.models.neumf import NeuMF, NeuMFConfig
from tests.contract.cases import without_graph

LAYERS = [None, (10, 3), (6, 5, 4), (16, 8, 8, 4, 2)]


def built(layers=None, method="full", users=9, items=7, width=8) -> NeuMF:
    model = build("neumf", users, items, width, without_graph(method), NeuMFConfig(layers=layers)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    return model


def logit(model: NeuMF, user: int, item: int) -> float:
    """The formula, one pair at a time."""
    rows = {name: embedding.weight.double().numpy() for name, embedding in model.embeddings().items()}
    dense = {name: array.astype(np.float64) for name, array in model.dense_tensors().items()}
    hidden = np.concatenate([rows["user_mlp"][user], rows["item_mlp"][item]])
    for layer in range(len(model.hidden)):
        hidden = np.maximum(dense[f"hidden.{layer}.weight"] @ hidden + dense[f"hidden.{layer}.bias"], 0)
    both = np.concatenate([rows["user_gmf"][user] * rows["item_gmf"][item], hidden])
    return float(dense["output.weight"][0] @ both + dense["output.bias"][0])


@pytest.mark.parametrize(
    ("method", "layers"),
    [*((method, None) for method in method_names()), *(("full", layers) for layers in LAYERS[1:]), ("dpq", (10, 3))],
    ids=str,
)
@torch.no_grad()
def test_logits_by_the_formula_and_for_all_items(method, layers) -> None:
    model = built(layers, method)
    everyone = torch.arange(9)
    scores = model.scorer()(everyone)
    expected = torch.tensor([[logit(model, user, item) for item in range(7)] for user in range(9)]).float()
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-4)
    users, items = everyone.repeat_interleave(7), torch.arange(7).repeat(9)
    torch.testing.assert_close(model(users, items).view(9, 7), expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_users_scored_in_small_blocks_get_the_same(monkeypatch) -> None:
    model, users = built(), torch.tensor([3, 3, 0, 8, 5])
    whole = model.scorer()(users)
    monkeypatch.setattr(neumf, "_ACTIVATIONS_AT_A_TIME", 2 * 7 * 8)  # two users at a time
    torch.testing.assert_close(model.scorer()(users), whole)
    assert model.scorer()(users[:0]).shape == (0, 7)


def test_default_layers_halve_from_the_width() -> None:
    model = build("neumf", 5, 6, 64, get_config("full"))
    assert [tuple(linear.weight.shape) for linear in model.hidden] == [(64, 128), (32, 64), (16, 32)]
    assert model.output.in_features == 64 + 16
    assert sum(array.size for array in model.dense_tensors().values()) == 10_945
    assert {name: table.embedding_dim for name, table in model.embeddings().items()} == {
        "user_gmf": 64, "item_gmf": 64, "user_mlp": 64, "item_mlp": 64
    }  # fmt: skip


def test_starts_as_ncf_does() -> None:
    torch.manual_seed(0)
    model = build("neumf", 2000, 1000, 64, get_config("full"))
    for table in model.embeddings().values():
        assert table.weight.std() == pytest.approx(0.01, rel=0.02)
    for linear in model.hidden:
        limit = (6 / sum(linear.weight.shape)) ** 0.5  # Glorot uniform
        assert linear.weight.abs().max() <= limit
        assert linear.weight.detach().std() == pytest.approx(limit / 3**0.5, rel=0.1)
        assert not linear.bias.any()
    assert model.output.weight.abs().max() <= (3 / 80) ** 0.5
    assert model.output.bias == 0


def test_every_part_gets_a_gradient() -> None:
    model = built(method="mgqe").train()
    for linear in model.hidden:
        linear.bias.data.fill_(100)  # so that no unit is dead
    users, items = torch.tensor([0, 8, 3]), torch.tensor([6, 0, 3])
    (model.loss((users, items, torch.tensor([1.0, 0.0, 1.0]))) + model.penalty()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_frequencies_reach_all_four_tables() -> None:
    counts = {"user": np.arange(10), "item": np.arange(20)[::-1].copy()}
    model = build("neumf", 10, 20, 8, get_config("mgqe"), counts=counts)
    for table in (model.user_gmf_embedding, model.user_mlp_embedding):
        assert table.tiers.tolist() == [1] * 9 + [0]
    for table in (model.item_gmf_embedding, model.item_mlp_embedding):
        assert table.tiers.tolist() == [0, 0] + [1] * 18


@pytest.mark.parametrize("layers", [(8,), (7, 4), (8, 0), ()], ids=str)
def test_impossible_layers(layers) -> None:
    with pytest.raises(ValueError, match="at least one hidden layer"):
        NeuMFConfig(layers=layers)


def test_widths_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="embedding_dim divisible by 4, got 6"):
        build("neumf", 3, 3, 6, get_config("full"))
    four, eight = create(get_config("full"), 3, 4), create(get_config("full"), 3, 8)
    with pytest.raises(ValueError, match="equally wide; got 4 and 8"):
        NeuMF(four, eight, four, four)
    with pytest.raises(ValueError, match="must be 8 wide together, got 12"):
        NeuMF(four, four, four, eight)
