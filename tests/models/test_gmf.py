from __future__ import annotations

import numpy as np
import pytest
import torch

from slimtable.embeddings.base import create, get_config, method_names
from slimtable.models.base import build, get_ranker, model_names
from slimtable.models.gmf import GMF
from tests.contract.cases import without_graph


@pytest.mark.parametrize("method", method_names())
def test_logits_by_the_formula_and_for_all_items(method) -> None:
    model = build("gmf", 9, 7, 4, without_graph(method)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
        users, items = torch.tensor([0, 8, 3]), torch.tensor([6, 0, 3])
        p, q = model.user_embedding(users), model.item_embedding(items)
        expected = (model.output.weight * p * q).sum(1) + model.output.bias
        torch.testing.assert_close(model(users, items), expected)
        torch.testing.assert_close(model.scorer()(users)[torch.arange(3), items], expected)
        assert model.scorer()(users).shape == (3, 7)


def test_starts_as_ncf_does() -> None:
    model = build("gmf", 2000, 1000, 64, get_config("full"))
    assert model.user_embedding.weight.std() == pytest.approx(0.01, rel=0.02)
    limit = np.sqrt(3 / 64)
    assert model.output.weight.abs().max() <= limit
    assert model.output.weight.detach().std() == pytest.approx(limit / np.sqrt(3), rel=0.3)
    assert model.output.bias == 0


def test_counts_what_is_not_a_table() -> None:
    model = build("gmf", 10, 20, 8, get_config("full"))
    assert {name: array.shape for name, array in model.dense_tensors().items()} == {
        "output.weight": (1, 8),
        "output.bias": (1,),
    }
    assert model.bits() == 32 * (30 * 8 + 9)


def test_frequencies_reach_each_side() -> None:
    counts = {"user": np.arange(10), "item": np.arange(20)[::-1].copy()}
    model = build("gmf", 10, 20, 8, get_config("mgqe"), counts=counts)
    assert model.user_embedding.tiers.tolist() == [1] * 9 + [0]
    assert model.item_embedding.tiers.tolist() == [0, 0] + [1] * 18


def test_tables_must_be_equally_wide() -> None:
    with pytest.raises(ValueError, match="equally wide; got 4 and 8"):
        GMF(create(get_config("full"), 3, 4), create(get_config("full"), 3, 8))


def test_unknown_models_and_methods_list_the_known() -> None:
    with pytest.raises(ValueError, match=rf"no model 'bert'\. Known models: {', '.join(model_names())}\.$"):
        get_ranker("bert")
    with pytest.raises(ValueError, match=rf"no method 'zip'\. Known methods: {', '.join(method_names())}\.$"):
        get_config("zip")
