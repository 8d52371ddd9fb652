"""Every model under the one training loop: the same again, continued, and with the frequencies of the data."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from slimtable.data.interactions.split import Split
from slimtable.embeddings.base import get_config
from slimtable.errors import CheckpointError, DatasetError
from slimtable.models.neumf import NeuMFConfig
from slimtable.models.sasrec import SASRecConfig
from slimtable.training.evaluation import evaluate
from slimtable.training.trainer import TrainConfig, train
from tests.training.test_trainer import METHODS, QUICK, assert_same

OPTIONS = {"neumf": NeuMFConfig(layers=(8, 8, 4)), "sasrec": SASRecConfig(max_length=8, num_blocks=1)}
SHORT = replace(QUICK, epochs=2, batch_size=128)
CASES = [pytest.param(name, config, id=f"{name}-{type(config).__name__}") for name in OPTIONS for config in METHODS]


@pytest.mark.parametrize(("model_name", "config"), CASES)
def test_same_seed_same_result_and_continued_bit_by_bit(communities: Split, model_name, config, tmp_path) -> None:
    options = OPTIONS[model_name]
    torch.manual_seed(1)
    whole = train(communities, model_name, config, SHORT, model_config=options)
    torch.manual_seed(2)
    train(communities, model_name, config, replace(SHORT, epochs=1), model_config=options, out=tmp_path)
    assert_same(whole, train(communities, model_name, config, SHORT, model_config=options, out=tmp_path))


@pytest.mark.parametrize("model_name", OPTIONS)
def test_other_seed_other_result(communities: Split, model_name) -> None:
    first, second = (
        train(
            communities, model_name, METHODS[0], replace(SHORT, epochs=1, seed=seed), model_config=OPTIONS[model_name]
        )
        for seed in (0, 1)
    )
    assert first.history[0]["loss"] != second.history[0]["loss"]


@pytest.mark.parametrize("method", ["full", "low_rank", "uniform", "dpq", "mgqe"])
def test_neumf_puts_the_own_community_first(communities: Split, method) -> None:
    config = next(config for config in METHODS if type(config) is type(get_config(method)))
    trained = train(communities, "neumf", config, replace(QUICK, epochs=6), model_config=OPTIONS["neumf"])
    # 9 items of the own community are left to choose from, and 20 of the other: chance is 0.34.
    assert evaluate(trained.model, communities)["train+valid"]["hit_rate@10"] > 0.8


@pytest.mark.parametrize("model_name", OPTIONS)
def test_frequencies_reach_each_table_and_need_no_flags(communities: Split, model_name) -> None:
    """Ids are sorted by frequency, and a padding row counts as the most frequent."""
    trained = train(communities, model_name, get_config("mgqe"), replace(SHORT, epochs=1))
    for name, table in trained.model.embeddings().items():
        head = round(0.1 * table.num_embeddings)
        assert table.tiers.tolist() == [0] * head + [1] * (table.num_embeddings - head), name
        assert set(table.pack().arrays) == {"codes.0", "codes.1", "codebook.0"}


def test_other_options_are_another_run(communities: Split, tmp_path) -> None:
    train(communities, "neumf", METHODS[0], SHORT, model_config=OPTIONS["neumf"], out=tmp_path)
    with pytest.raises(CheckpointError, match=r"\(backbone_config\)"):
        train(communities, "neumf", METHODS[0], SHORT, out=tmp_path)


def test_data_without_order_are_refused_before_anything_is_written(communities: Split, tmp_path) -> None:
    unordered = Split(*(replace(part, chronological=False) for part in
                        (communities.train, communities.valid, communities.test)))  # fmt: skip
    with pytest.raises(DatasetError, match="not in time order"):
        train(unordered, "sasrec", METHODS[0], SHORT, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_settings_that_are_not_given_are_those_of_the_model() -> None:
    assert TrainConfig.for_model("gmf") == TrainConfig.for_model("neumf") == TrainConfig()
    own = TrainConfig(epochs=200, batch_size=128, negatives=1, evaluate_every=20)
    assert TrainConfig.for_model("sasrec") == own
    assert TrainConfig.for_model("sasrec", negatives=4, seed=2) == replace(own, negatives=4, seed=2)
    with pytest.raises(ValueError, match="no model 'bert'"):
        TrainConfig.for_model("bert")
    with pytest.raises(ValueError, match="TrainConfig has no option epoch"):
        TrainConfig.for_model("sasrec", epoch=3)


def test_training_without_a_configuration_takes_the_models_own(communities: Split, monkeypatch) -> None:
    wanted = replace(SHORT, epochs=1, negatives=2)
    asked = []
    monkeypatch.setattr(TrainConfig, "for_model", lambda name: asked.append(name) or wanted)
    trained = train(communities, "sasrec", METHODS[0], model_config=OPTIONS["sasrec"])
    assert asked == ["sasrec"]
    assert_same(trained, train(communities, "sasrec", METHODS[0], wanted, model_config=OPTIONS["sasrec"]))
