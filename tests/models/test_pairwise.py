"""BPR and LightGCN against formulas written out densely, and their protocol: negatives, patience, packing."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from slimtable.data.interactions.interactions import Interactions
from slimtable.data.interactions.split import Split
from slimtable.embeddings.base import create, get_config
from slimtable.errors import ArtifactError, CheckpointError
from slimtable.models.base import build
from slimtable.models.bprmf import BPRMF
from slimtable.models.lightgcn import LightGCN, LightGCNConfig
from slimtable.models.pairwise import PairwiseSampler
from slimtable.training.evaluation import evaluate
from slimtable.training.packing import load_model, pack_model, restore_run
from slimtable.training.trainer import TrainConfig, train
from tests.training.test_trainer import METHODS, QUICK, assert_same

USERS, ITEMS = 11, 8
SHORT = replace(QUICK, epochs=2, batch_size=128, negatives=1)
WIDE = {"init_std": 1.0}
BATCH = (torch.tensor([0, 3, 10]), torch.tensor([1, 2, 3]), torch.tensor([7, 7, 0]))


@pytest.fixture
def graph() -> Interactions:
    """40 interactions, some of them repeated; users 9 and 10 and item 7 have none."""
    generator = np.random.default_rng(0)
    users, items = generator.integers(0, 9, 40), generator.integers(0, 7, 40)
    assert len(set(zip(users, items, strict=True))) < 40
    return Interactions(users, items, np.arange(USERS), np.arange(ITEMS))


def dense_mean(graph: Interactions, rows: torch.Tensor, num_layers: int) -> torch.Tensor:
    """LightGCN by definition: the mean of E, ÂE, ÂÂE, … with Â as a dense float64 matrix."""
    adjacency = torch.zeros(USERS + ITEMS, USERS + ITEMS, dtype=torch.float64)
    adjacency[graph.users, USERS + graph.items] = 1
    adjacency += adjacency.T.clone()
    degrees = adjacency.sum(1)
    scale = torch.where(degrees > 0, degrees.clamp(min=1) ** -0.5, 0)
    layers = [rows]
    for _ in range(num_layers):
        layers.append(scale[:, None] * adjacency * scale @ layers[-1])
    return torch.stack(layers).mean(0)


def dense_loss(users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    who, taken, drawn = BATCH
    return -((users[who] * items[taken]).sum(1) - (users[who] * items[drawn]).sum(1)).sigmoid().log().mean()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("num_layers", [0, 1, 2, 3])
def test_lightgcn_is_that_of_the_definition(graph, num_layers, threads) -> None:
    """Loss, gradients and scores."""
    model = build("lightgcn", USERS, ITEMS, 5, get_config("full", WIDE), LightGCNConfig(num_layers=num_layers))
    model.init_from_data(graph)
    tables = [model.user_embedding.table, model.item_embedding.table]
    rows = torch.cat([table.detach().double() for table in tables]).requires_grad_()
    expected = dense_mean(graph, rows, num_layers).split([USERS, ITEMS])
    loss = dense_loss(*expected)
    loss.backward()
    torch.set_num_threads(threads)
    try:
        found = model.loss(BATCH)
        found.backward()
        with torch.no_grad():
            scores = model.eval().scorer()(torch.arange(USERS))
    finally:
        torch.set_num_threads(1)
    assert found.item() == pytest.approx(loss.item(), rel=1e-5)
    for table, gradient in zip(tables, rows.grad.split([USERS, ITEMS]), strict=True):
        torch.testing.assert_close(table.grad.double(), gradient, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(scores.double(), (expected[0] @ expected[1].T).detach(), rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        users, items = torch.tensor([9, 0, 4]), torch.tensor([1, 7, 2])
        torch.testing.assert_close(model(users, items), scores[users, items])


@pytest.mark.parametrize("threads", [2, 3, 16])
def test_the_number_of_threads_changes_no_bit(graph, threads) -> None:
    model = build("lightgcn", USERS, ITEMS, 5, get_config("full", WIDE))
    model.init_from_data(graph)
    users = torch.arange(USERS)
    with torch.no_grad():
        alone = model.scorer()(users)
        try:
            torch.set_num_threads(threads)
            together = model._propagate(model.user_embedding.weight, model.item_embedding.weight)
        finally:
            torch.set_num_threads(1)
        assert torch.equal(together[0] @ together[1].T.contiguous(), alone)


def test_without_a_graph_rows_only_shrink() -> None:
    """As for a model that was built and not begun, and for ids that training has nothing of."""
    model = build("lightgcn", USERS, ITEMS, 5, get_config("full", WIDE))
    users, items = torch.arange(5), torch.arange(5)
    rows = model.user_embedding(users) * model.item_embedding(items) / 9
    torch.testing.assert_close(model(users, items), rows.sum(1))


@pytest.mark.parametrize("method", ["full", "low_rank", "uniform", "dpq", "mgqe"])
def test_bpr_by_the_formula(method) -> None:
    model = build("bprmf", USERS, ITEMS, 4, get_config(method)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
        users, items = model.user_embedding.weight, model.item_embedding.weight
        torch.testing.assert_close(model.loss(BATCH), dense_loss(users, items))
        torch.testing.assert_close(model.scorer()(torch.arange(USERS)), users @ items.T)
        torch.testing.assert_close(model(BATCH[0], BATCH[1]), (users @ items.T)[BATCH[0], BATCH[1]])


@pytest.mark.parametrize("model_name", ["bprmf", "lightgcn"])
def test_one_lookup_of_each_table_in_a_step(graph, model_name, monkeypatch) -> None:
    model = build(model_name, USERS, ITEMS, 4, get_config("full"))
    model.init_from_data(graph)
    looked_up = []
    for table in model.embeddings().values():
        table.register_forward_hook(lambda module, ids, rows: looked_up.append(module))
    model.loss(BATCH)
    assert looked_up == [model.user_embedding, model.item_embedding]


def test_every_interaction_once_an_epoch_with_negatives_from_all_items(graph) -> None:
    generator = np.random.default_rng(0)
    steps, batches = PairwiseSampler(graph).epoch(generator, 16, 1)
    batches = list(batches)
    assert steps == len(batches) == 3
    assert [len(users) for users, _, _ in batches] == [16, 16, 8]
    users, taken, drawn = (torch.cat(column) for column in zip(*batches, strict=True))
    pairs = sorted(zip(users.tolist(), taken.tolist(), strict=True))
    assert pairs == sorted(zip(graph.users.tolist(), graph.items.tolist(), strict=True))
    assert users.tolist() != graph.users.tolist()
    steps, batches = PairwiseSampler(graph).epoch(generator, 16, 100)
    users, taken, drawn = (torch.cat(column) for column in zip(*batches, strict=True))
    assert len(users) == 4000
    shares = np.bincount(drawn.numpy(), minlength=ITEMS) / len(drawn)
    np.testing.assert_allclose(shares, 1 / ITEMS, atol=0.03)  # five standard deviations
    assert (taken == drawn).any()  # no rejection
    assert np.bincount(users, minlength=USERS).tolist() == (100 * graph.user_counts()).tolist()


@pytest.mark.parametrize("method", ["full", "low_rank", "uniform", "dpq", "mgqe"])
@pytest.mark.parametrize("model_name", ["bprmf", "lightgcn"])
def test_the_own_community_comes_first(communities: Split, model_name, method) -> None:
    config = next(config for config in METHODS if type(config) is type(get_config(method)))
    trained = train(communities, model_name, config, replace(QUICK, epochs=8, negatives=1, batch_size=64))
    # 9 items of the own community are left to choose from, and 20 of the other: chance is 0.34.
    assert evaluate(trained.model, communities)["train+valid"]["hit_rate@10"] > 0.8


@pytest.mark.parametrize("config", METHODS, ids=lambda config: type(config).__name__)
@pytest.mark.parametrize("model_name", ["bprmf", "lightgcn"])
def test_same_seed_same_result_and_continued_bit_by_bit(communities: Split, model_name, config, tmp_path) -> None:
    torch.manual_seed(1)
    whole = train(communities, model_name, config, SHORT)
    torch.manual_seed(2)
    train(communities, model_name, config, replace(SHORT, epochs=1), out=tmp_path)
    assert_same(whole, train(communities, model_name, config, SHORT, out=tmp_path))


def test_the_protocol_is_that_of_baco() -> None:
    for model_name in (BPRMF, LightGCN):
        assert TrainConfig.for_model(model_name.name) == TrainConfig(
            epochs=1000, batch_size=1024, learning_rate=1e-3, weight_decay=1e-8, negatives=1, evaluate_every=10,
            patience=50, ks=(10, 20, 50),
        )  # fmt: skip
        assert (model_name.selection.mask, model_name.selection.metric) == ("train", "capped_recall@20")


def test_the_best_epoch_is_that_of_the_capped_recall(communities: Split) -> None:
    """Validated although its lists are of a length that was not asked for."""
    trained = train(communities, "bprmf", METHODS[0], replace(SHORT, epochs=4, ks=(3,)))
    recalls = [epoch["valid"]["capped_recall@20"] for epoch in trained.history]
    assert trained.best_epoch == 1 + recalls.index(max(recalls))


# The graph goes where the model goes.


def test_the_graph_is_restored_packed_and_served(communities: Split, tmp_path) -> None:
    trained = train(communities, "lightgcn", METHODS[0], SHORT, out=tmp_path / "run")
    users = torch.arange(communities.num_users)
    with torch.no_grad():
        expected = trained.model.eval().scorer()(users)
    restored = restore_run(tmp_path / "run").model
    torch.testing.assert_close(restored.scorer()(users).detach(), expected)
    edges = communities.num_users + 1 + len(communities.train)
    assert restored.bits() == restored.full_bits() == 32 * (8 * (80 + 40) + edges)

    pack_model(restored, tmp_path / "model")
    served = load_model(tmp_path / "model", verify=True)
    torch.testing.assert_close(served.scorer()(users), expected)
    assert served.bits() == restored.bits()
    torch.testing.assert_close(copy.deepcopy(served).scorer()(users), expected)


def test_a_graph_that_was_taken_over_is_not_the_one_before(graph, communities) -> None:
    first, second = (build("lightgcn", USERS, ITEMS, 4, get_config("full")) for _ in range(2))
    first.init_from_data(graph)
    second.init_from_data(graph.select(np.arange(5)))
    users = torch.arange(USERS)
    before = second.scorer()(users).detach()
    second.load_state_dict(first.state_dict())
    assert torch.equal(second.scorer()(users), first.scorer()(users))
    assert not torch.equal(second.scorer()(users), before)


@pytest.mark.parametrize(
    ("starts", "items", "message"),
    [
        ([0, 1, 2], [0, 1], "must be 4 ascending numbers from 0 to 2"),
        ([0, 2, 1, 2], [0, 1], "ascending"),
        ([1, 1, 1, 2], [0, 1], "ascending"),
        ([0, 1, 2, 3], [0, 1], "from 0 to 2"),
        ([0, 1, 1, 2], [0, 2], r"must be in 0\.\.1, got 0\.\.2"),
        ([0, 1, 1, 2], [-1, 0], r"must be in 0\.\.1, got -1\.\.0"),
        ([0.0, 1, 1, 2], [1, 0], "must be int32 with one axis, got float32"),
        ([0, 1, 1, 2], [[1, 0]], r"must be int32 with one axis, got int32 of shape \(1, 2\)"),
    ],
)
def test_files_and_checkpoints_with_another_graph_are_refused(starts, items, message, tmp_path) -> None:
    """They are read without looking at bounds, so nothing wrong may get in."""
    arrays = {name: np.asarray(value) for name, value in (("graph_starts", starts), ("graph_items", items))}
    arrays = {name: value.astype(np.int32 if value.dtype.kind == "i" else np.float32) for name, value in arrays.items()}
    model = build("lightgcn", 3, 2, 4, get_config("full"))
    with pytest.raises(RuntimeError, match=message):
        model.load_state_dict({**model.state_dict(), **{k: torch.from_numpy(v) for k, v in arrays.items()}})
    model.extra_buffers = lambda: arrays
    pack_model(model, tmp_path / "model")
    with pytest.raises(ArtifactError, match=message):
        load_model(tmp_path / "model")


def test_starts_whose_differences_overflow_are_refused() -> None:
    """Each is larger than the one before by less than 2³¹, if one counts in 32 bits."""
    starts = np.array([0, 2**31 - 1, -(2**31), -1, 1], dtype=np.int32)
    model = build("lightgcn", 4, 2, 4, get_config("full"))
    with pytest.raises(ValueError, match="ascending"):
        model.load_buffers({"graph_starts": starts, "graph_items": np.zeros(1, dtype=np.int32)})


def test_a_checkpoint_without_a_graph_is_refused() -> None:
    model = build("lightgcn", 3, 2, 4, get_config("full"))
    state = {name: tensor for name, tensor in model.state_dict().items() if name != "graph_items"}
    with pytest.raises(RuntimeError, match="graph_items"):
        model.load_state_dict(state)


def test_tables_must_be_equally_wide() -> None:
    with pytest.raises(ValueError, match="LightGCN multiplies rows, so both tables must be equally wide; got 4 and 8"):
        LightGCN(create(get_config("full"), 3, 4), create(get_config("full"), 3, 8))
    with pytest.raises(ValueError, match=r"num_layers.*negative, got -1"):
        LightGCNConfig(num_layers=-1)


# Patience.


@pytest.fixture(scope="module")
def patient() -> TrainConfig:
    """Stops long before its last epoch: two communities are soon told apart."""
    return replace(QUICK, epochs=60, batch_size=64, negatives=1, learning_rate=0.05, evaluate_every=2, patience=6)


def test_patience_ends_training_and_gives_the_best_model(communities: Split, patient) -> None:
    trained = train(communities, "bprmf", METHODS[0], patient)
    assert len(trained.history) == trained.best_epoch + 6 < 60
    assert trained.epoch == trained.best_epoch
    for name, tensor in trained.model.state_dict().items():
        assert torch.equal(tensor, trained.best_state[name])
    best = trained.history[trained.best_epoch - 1]["valid"]
    assert evaluate(trained.model, communities, "valid", (10, 20))["train"] == best
    whole = train(communities, "bprmf", METHODS[0], replace(patient, patience=0, epochs=len(trained.history)))
    assert whole.epoch == len(whole.history)
    assert [epoch["loss"] for epoch in whole.history] == [epoch["loss"] for epoch in trained.history]


def test_a_run_that_stopped_stays_stopped(communities: Split, patient, tmp_path) -> None:
    whole = train(communities, "bprmf", METHODS[0], patient)
    train(communities, "bprmf", METHODS[0], replace(patient, epochs=3), out=tmp_path)  # cut off, then continued
    assert_same(whole, train(communities, "bprmf", METHODS[0], patient, out=tmp_path))
    before = (tmp_path / "checkpoint.pt").read_bytes()
    assert_same(whole, train(communities, "bprmf", METHODS[0], patient, out=tmp_path))
    assert_same(whole, train(communities, "bprmf", METHODS[0], replace(patient, epochs=90), out=tmp_path))
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert restore_run(tmp_path, "best").epoch == whole.best_epoch
    with pytest.raises(CheckpointError, match=r"other settings \(train"):
        train(communities, "bprmf", METHODS[0], replace(patient, patience=8), out=tmp_path)


def test_patience_without_validation_trains_all_epochs(communities: Split, patient) -> None:
    parts = Split(communities.train, communities.valid.empty_like(), communities.test)
    trained = train(parts, "bprmf", METHODS[0], replace(patient, epochs=8))
    assert (len(trained.history), trained.epoch, trained.best_epoch) == (8, 8, None)


def test_patience_is_no_shorter_than_the_way_to_the_next_validation() -> None:
    with pytest.raises(ValueError, match=r"patience. of 5 epochs ends .* `TrainConfig\.evaluate_every`, 10, or 0"):
        TrainConfig(evaluate_every=10, patience=5)
    with pytest.raises(ValueError, match=r"`TrainConfig\.weight_decay` must not be negative"):
        TrainConfig(weight_decay=-1.0)


def test_settings_that_came_later_are_recorded_only_where_they_differ() -> None:
    """So that records made before are still of the same setting."""
    assert TrainConfig().to_dict() == {
        "embedding_dim": 64, "epochs": 20, "batch_size": 256, "learning_rate": 1e-3, "negatives": 4, "seed": 0,
        "evaluate_every": 1, "ks": [10], "device": "cpu",
    }  # fmt: skip
    changed = TrainConfig(weight_decay=0.1, patience=3)
    assert changed.to_dict() == {**TrainConfig().to_dict(), "weight_decay": 0.1, "patience": 3}
    assert TrainConfig.from_dict(changed.to_dict()) == changed
    assert TrainConfig.from_dict(TrainConfig().to_dict()) == TrainConfig()


def test_weight_decay_pulls_rows_towards_zero(communities: Split) -> None:
    free, pulled = (
        train(communities, "bprmf", get_config("full", WIDE), replace(SHORT, weight_decay=decay)).model
        for decay in (0.0, 10.0)
    )
    assert pulled.item_embedding.weight.norm() < 0.9 * free.item_embedding.weight.norm()
