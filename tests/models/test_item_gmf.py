"""GMF for pairs of items: its formula, its batches, and that it learns scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from slimtable.data import Pairs, Split, holdout_split, order_by_frequency, random_split
from slimtable.embeddings.base import get_config, method_names
from slimtable.errors import CheckpointError, DatasetError
from slimtable.models.base import build
from slimtable.training.evaluation import evaluate
from slimtable.training.trainer import TrainConfig, train
from tests.contract.cases import without_graph

SMALL = {
    "full": {},
    "low_rank": {},
    "uniform": {"bits": 8},
    "dpq": {"num_codebooks": 4, "codebook_size": 16},
    "mgqe": {"num_codebooks": 4, "codebook_sizes": [16, 8]},
}
METHODS = [get_config(name, options) for name, options in SMALL.items()]
QUICK = TrainConfig(embedding_dim=8, epochs=3, batch_size=32, learning_rate=0.02)


def two_kinds() -> Pairs:
    """40 items of two kinds: items of one kind go together (60), others do not (-20), whatever the pair."""
    first, second = np.triu_indices(40, 1)
    scores = np.where(first % 2 == second % 2, 60.0, -20.0) + np.random.default_rng(0).normal(0, 1, len(first))
    return Pairs(first, second, np.arange(40), np.arange(40), scores)


@pytest.fixture(scope="module")
def parts() -> Split:
    return order_by_frequency(holdout_split(two_kinds()))


@pytest.fixture(scope="module")
def validated() -> Split:
    return order_by_frequency(random_split(two_kinds()))


@pytest.mark.parametrize("method", method_names())
def test_scores_by_the_formula_and_for_all_items(method) -> None:
    model = build("item_gmf", 9, 9, 4, without_graph(method)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
        items, others = torch.tensor([0, 8, 3]), torch.tensor([6, 0, 3])
        q = model.item_embedding.weight
        expected = (model.output.weight * q[items] * q[others]).sum(1) + model.output.bias
        torch.testing.assert_close(model(items, others), expected)
        torch.testing.assert_close(model(others, items), expected)
        torch.testing.assert_close(model.scorer()(items)[torch.arange(3), others], expected)
        assert model.scorer()(items).shape == (3, 9)
        scores = torch.tensor([1.0, -2.0, 0.5])
        torch.testing.assert_close(model.loss((items, others, scores)), ((expected - scores) ** 2).mean())


def test_one_table_serves_both_sides() -> None:
    model = build("item_gmf", 20, 20, 8, get_config("full"))
    assert list(model.embeddings()) == ["item"]
    assert model.bits() == model.full_bits() == 32 * (20 * 8 + 8 + 1)


def test_an_epoch_holds_every_pair_once(parts) -> None:
    model = build("item_gmf", 40, 40, 8, get_config("full"))
    steps, batches = model.batch_sampler(parts.train).epoch(np.random.default_rng(0), 64, negatives=4)
    batches = list(batches)
    assert steps == len(batches) == -(-len(parts.train) // 64)
    items, others, scores = (torch.cat(column).tolist() for column in zip(*batches, strict=True))
    columns = (parts.train.users.tolist(), parts.train.items.tolist(), parts.train.ratings.tolist())
    assert sorted(zip(items, others, scores, strict=True)) == sorted(zip(*columns, strict=True))
    assert items != columns[0]  # shuffled


@pytest.mark.parametrize("config", METHODS, ids=lambda c: type(c).__name__)
def test_scores_of_withheld_pairs_are_predicted(parts, config) -> None:
    trained = train(
        parts, "item_gmf", config, TrainConfig(embedding_dim=8, epochs=25, batch_size=16, learning_rate=0.02)
    )
    errors = evaluate(trained.model, parts)["all"]
    assert parts.test.ratings.std() > 35  # what the mean of all scores would err by
    assert errors["mae"] <= errors["rmse"] < 10


def test_starts_at_the_mean_of_the_scores(parts) -> None:
    barely = TrainConfig(embedding_dim=8, epochs=1, learning_rate=1e-9)
    model = train(parts, "item_gmf", METHODS[0], barely).model
    assert model.output.bias.item() == pytest.approx(parts.train.ratings.mean(), rel=1e-5)
    assert evaluate(model, parts)["all"]["rmse"] == pytest.approx(parts.test.ratings.std(), rel=0.05)


def test_best_epoch_has_the_smallest_error(validated) -> None:
    config = TrainConfig(
        embedding_dim=8, epochs=8, batch_size=16, learning_rate=0.3
    )  # too fast, so it goes up and down
    trained = train(validated, "item_gmf", METHODS[0], config)
    errors = [record["valid"]["rmse"] for record in trained.history]
    assert trained.best_epoch == 1 + int(np.argmin(errors))
    assert trained.best_epoch < 8
    trained.model.load_state_dict(trained.best_state)
    assert evaluate(trained.model, validated, "valid")["all"] == trained.history[trained.best_epoch - 1]["valid"]


@pytest.mark.parametrize("config", [METHODS[0], METHODS[4]], ids=lambda c: type(c).__name__)
def test_a_run_continues_with_the_same_result(validated, config, tmp_path) -> None:
    whole = train(validated, "item_gmf", config, QUICK)
    train(validated, "item_gmf", config, TrainConfig(**{**QUICK.to_dict(), "epochs": 1}), out=tmp_path)
    again = train(validated, "item_gmf", config, QUICK, out=tmp_path)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name
    assert whole.best_epoch == again.best_epoch


def test_a_run_is_not_continued_on_other_scores(parts, tmp_path) -> None:
    train(parts, "item_gmf", METHODS[0], QUICK, out=tmp_path)
    pairs = parts.train
    other = Pairs(pairs.users, pairs.items, pairs.user_vocabulary, pairs.item_vocabulary, pairs.ratings + 1)
    with pytest.raises(CheckpointError, match=r"other settings \(data"):
        train(Split(other, parts.valid, parts.test), "item_gmf", METHODS[0], QUICK, out=tmp_path)


def test_interactions_and_ranking_models_do_not_mix_with_pairs(parts, communities) -> None:
    with pytest.raises(DatasetError, match="learns from pairs of items"):
        train(communities, "item_gmf", METHODS[0], QUICK)
    with pytest.raises(DatasetError, match="Use a model for pairs"):
        train(parts, "gmf", METHODS[0], QUICK)
