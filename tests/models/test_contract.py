"""What every ranker keeps, whatever its idea; rankers are found by themselves.

CTR models are tested likewise in ``training/test_ctr_trainer.py`` and ``training/test_field_compression.py``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from slimtable.data.interactions.split import Split, order_by_frequency, random_split
from slimtable.embeddings.base import EmbeddingTable, get_config
from slimtable.models.base import build, get_model, get_ranker, model_names, ranker_names
from slimtable.training.evaluation import evaluate
from slimtable.training.packing import load_model, pack_model
from slimtable.training.trainer import TrainConfig, Trained, train
from tests.models.test_item_gmf import two_kinds
from tests.training.test_trainer import assert_same

CONFIG = get_config("mgqe", {"num_codebooks": 4, "codebook_sizes": [16, 8]})
SETTINGS = TrainConfig(embedding_dim=8, epochs=4, batch_size=64, learning_rate=0.02)


@pytest.fixture(scope="module", params=ranker_names())
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def data(name: str, communities: Split) -> Split:
    """Data of the task of the model: interactions of two communities, or scores of pairs of two kinds."""
    return communities if get_ranker(name).task == "ranking" else order_by_frequency(random_split(two_kinds()))


@pytest.fixture(scope="module")
def trained(name: str, data: Split) -> Trained:
    torch.manual_seed(1)
    return train(data, name, CONFIG, SETTINGS)


@pytest.mark.parametrize("model_name", model_names())
def test_the_name_is_that_of_the_file(model_name: str) -> None:
    assert get_model(model_name).__module__ == f"slimtable.models.{model_name}"


def test_its_tables_are_those_it_says(name: str) -> None:
    specs = get_ranker(name).table_specs(9, 7, 8, get_ranker(name).config_class())
    tables = build(name, 9, 7, 8, get_config("full")).embeddings()
    assert list(tables) == [spec.name for spec in specs]
    assert all(isinstance(table, EmbeddingTable) for table in tables.values())
    for spec in specs:
        table = tables[spec.name]
        assert (table.num_embeddings, table.embedding_dim) == (spec.num_embeddings, spec.embedding_dim)
        assert table.padding_idx == spec.padding_idx


def test_training_lowers_the_loss(trained: Trained) -> None:
    assert trained.history[-1]["loss"] < trained.history[0]["loss"]


def test_gradients_reach_every_parameter(name: str, data: Split) -> None:
    model = build(name, data.num_users, data.num_items, 8, get_config("full")).train()
    model.init_from_data(data.train)
    _, batches = model.batch_sampler(data.train).epoch(np.random.default_rng(0), 64, 4)
    model.loss(next(iter(batches))).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_the_same_seed_gives_the_same_and_a_run_is_continued_bit_by_bit(name, data, trained, tmp_path) -> None:
    torch.manual_seed(2)
    train(data, name, CONFIG, replace(SETTINGS, epochs=2), out=tmp_path)
    assert_same(trained, train(data, name, CONFIG, SETTINGS, out=tmp_path))


def test_scores_of_all_items_are_those_of_single_ones(name, data, trained) -> None:
    model = trained.model.eval()
    users, items = torch.tensor([0, 3, 8]), torch.tensor([6, 0, 30])
    with torch.no_grad():
        scores = model.scorer(data.train)(users)
        assert scores.shape == (3, data.num_items)
        if not model.sequential:  # whose histories are no argument of a single score
            torch.testing.assert_close(scores[torch.arange(3), items], model(users, items))


def test_the_file_is_evaluated_as_the_model(data, trained, tmp_path) -> None:
    pack_model(trained.model.eval(), tmp_path / "model")
    served = load_model(tmp_path / "model", verify=True)
    assert served.bits() == trained.model.bits()
    assert evaluate(served, data) == evaluate(trained.model, data)
