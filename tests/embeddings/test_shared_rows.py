"""What all methods that share rows keep: groups travel with the model, and gradients are those of the sums."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from slimtable import load_model
from slimtable.compress import compress_
from slimtable.data import order_by_frequency
from slimtable.data.interactions.interactions import Interactions
from slimtable.data.interactions.split import Split
from slimtable.embeddings.base import create, get_config
from slimtable.embeddings.frozen import FrozenEmbedding
from slimtable.embeddings.shared_rows import SharedRows
from slimtable.grouping.row_map import Hash, RowMap
from slimtable.models.base import build
from slimtable.training.packing import pack_model, restore_run
from slimtable.training.trainer import TrainConfig, train

QUICK = TrainConfig(epochs=2, embedding_dim=8, batch_size=256, evaluate_every=1)
CONFIGS = [
    get_config("shared"),
    get_config("shared", {"rows": "40rows"}),
    get_config("shared", {"grouping": "baco", "views": 2, "combine": "concat", "row_bits": 8}),
    get_config("baco", {"budget": "0.8kB", "row_bits": 4}),
    get_config("double_hash", {"budget": "2kB"}),
    get_config("hybrid_hash", {"rows": "30 rows"}),
    get_config("double_graph_hash"),
    get_config("cce"),
    get_config("legcf"),
]


def label(config) -> str:
    return type(config).__name__


@pytest.mark.parametrize("config", CONFIGS, ids=label)
@pytest.mark.parametrize("model_name", ["gmf", "sasrec"])
def test_a_run_is_restored_without_its_data(communities, model_name, config, tmp_path) -> None:
    """Groups come from the data once; run folder and packed file then hold them. SASRec adds a padding row."""
    trained = train(communities, model_name, config, QUICK, out=tmp_path / "run").model.eval()
    restored = restore_run(tmp_path / "run").model
    for name, table in trained.embeddings().items():
        assert torch.equal(restored.embeddings()[name].weight, table.weight)
        assert restored.embeddings()[name].bits() == table.bits()
    pack_model(restored, tmp_path / "file")
    served = load_model(tmp_path / "file", verify=True)
    users, history = torch.arange(communities.num_users), communities.history("test")
    with torch.no_grad():
        expected = trained.scorer(history)(users)
    torch.testing.assert_close(served.scorer(history)(users), expected, rtol=1e-4, atol=1e-5)
    assert served.bits() == trained.bits()


@pytest.mark.parametrize("config", [CONFIGS[2], CONFIGS[7], CONFIGS[8]], ids=label)
def test_a_training_that_was_cut_off_goes_on_alike(communities, config, tmp_path) -> None:
    whole = train(communities, "gmf", config, replace(QUICK, epochs=4)).model
    train(communities, "gmf", config, replace(QUICK, epochs=2), out=tmp_path)
    resumed = train(communities, "gmf", config, replace(QUICK, epochs=4), out=tmp_path).model
    assert all(torch.equal(value, whole.state_dict()[name]) for name, value in resumed.state_dict().items())


@pytest.mark.parametrize("config", CONFIGS, ids=label)
def test_budgets_are_kept(communities, config) -> None:
    counts = {"user": communities.train.user_counts(), "item": communities.train.item_counts()}
    model = build("gmf", 80, 40, 8, config, counts=counts, train=communities.train)
    values = model.user_embedding.trained_parameters() + model.item_embedding.trained_parameters()
    bits = model.user_embedding.bits() + model.item_embedding.bits()
    if config.budget.endswith("kB"):
        limit = 8 * 1000 * float(config.budget[:-2])
        assert 0.5 * limit < bits <= limit
    else:
        rows = 30 if config.rows.endswith("%") else int(config.rows.removesuffix("rows"))
        assert 0.4 * rows <= values / 8 <= rows


BYTES = [
    ("shared", {}),
    ("shared", {"views": 4}),
    ("shared", {"head": 0.3, "views": 2, "row_bits": 8}),
    ("shared", {"grouping": "louvain", "head": 0.3, "views": 2, "combine": "concat"}),
    ("baco", {"row_bits": 8, "views": 2, "combine": "concat"}),
    ("double_hash", {}),
    ("hybrid_hash", {}),
    ("double_graph_hash", {"grouping": "baco"}),
    ("cce", {}),
    ("cce", {"recluster_epochs": 0}),
    ("legcf", {}),
    ("legcf", {"initialization": "random"}),
]


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize(("name", "options"), BYTES, ids=lambda value: str(value).replace(" ", ""))
def test_bytes_are_those_served_with_all_maps_and_weights(name, options, in_order) -> None:
    generator = np.random.default_rng(0)
    users = np.repeat(np.arange(600), 8)
    items = (generator.integers(20, size=4800) * generator.random(4800)).astype(int) + 20 * (users % 20)
    data = Interactions.from_raw(users, items)
    split = Split(data, data.empty_like(), data.empty_like())
    data = (order_by_frequency(split) if in_order else split).train
    config = get_config(name, {"budget": "20kB", **options})
    counts = {"user": data.user_counts(), "item": data.item_counts()}
    model = build("bprmf", data.num_users, data.num_items, 16, config, counts=counts, train=data)
    model.end_epoch()  # CCE clusters then, and stores its maps
    served = sum(table.bits() for table in model.embeddings().values()) / 8
    assert 0.88 * 20_000 <= served <= 20_000


def test_the_head_has_rows_of_its_own(communities) -> None:
    config = get_config("shared", {"grouping": "baco", "head": 0.5, "rows": "40%"})
    model = build("gmf", 80, 40, 8, config, train=communities.train)
    table, counts = model.item_embedding, communities.train.item_counts()
    rows = table.row_map(0).numpy()
    top = np.argsort(-counts, kind="stable")[:8]  # 48 rows, half of them for the head, a third of that for items
    assert (np.bincount(rows)[rows[top]] == 1).all()
    assert len(table.tables()[0]) < 40


def test_sums_and_gradients_are_those_of_pytorch() -> None:
    """Compiled kernels against a double table, which they do not take."""
    generator = np.random.default_rng(0)
    maps = [
        RowMap.from_labels(generator.integers(7, size=30), generator.permutation(7)[np.arange(30) % 7])
        for _ in range(2)
    ]
    for options in ({"views": 2}, {"views": 2, "combine": "concat"}):
        config = get_config("shared", {"grouping": "baco", **options})
        fast = create(config, 30, 6, row_maps=maps)
        slow = create(config, 30, 6, row_maps=maps).double()
        slow.load_state_dict(fast.state_dict())
        ids, wanted = torch.randint(30, (50,)), torch.randn(50, 6)
        for table in (fast, slow):
            (table(ids) * wanted.to(table.dtype)).sum().backward()
        torch.testing.assert_close(fast(ids).double(), slow(ids))
        for name, parameter in fast.named_parameters():
            torch.testing.assert_close(parameter.grad.double(), slow.get_parameter(name).grad, rtol=1e-5, atol=1e-6)


def test_taking_over_a_table_gives_the_weighted_means() -> None:
    table, counts = torch.randn(4, 3), torch.tensor([3, 1, 0, 5])
    config = get_config("shared", {"grouping": "baco"})
    maps = [RowMap(np.array([0, 0, 1, 1]), 2)]
    shared = type(create(config, 4, 3, row_maps=maps)).from_table(table, config, row_maps=maps, frequencies=counts)
    expected = torch.stack([(3 * table[0] + table[1]) / 4, table[3]])
    torch.testing.assert_close(shared.tables()[0].detach(), expected, rtol=1e-3, atol=1e-3)


def test_taking_over_a_table_in_half_precision_sums_in_float32() -> None:
    """70,000 ids of one row: neither their number nor their sum is a number of 16 bits."""
    table = (torch.randn(70_000, 2, generator=torch.Generator().manual_seed(0)) + 2).half()
    taken = type(create(get_config("baco"), 1, 1, row_maps=[])).from_table(
        table, get_config("baco"), row_maps=[RowMap(np.zeros(70_000), 1)]
    )
    torch.testing.assert_close(taken.weight[0].float(), table.float().mean(0), rtol=2e-3, atol=0)


def test_taking_over_a_table_of_sums_finds_it_again() -> None:
    """Least squares, not means: what two hashes can express is expressed."""
    config = get_config("double_hash", {"num_rows": 12})
    first = create(config, 60, 4)
    again = type(first).from_table(first.weight, config)
    torch.testing.assert_close(again.weight, first.weight, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["baco", "double_graph_hash", "legcf"])
def test_groups_of_a_graph_need_one(name) -> None:
    with pytest.raises(ValueError, match=r"come from interactions|needs the interaction graph"):
        create(get_config(name), 30, 8)
    with pytest.raises(ValueError, match="Table 0: "):
        compress_(nn.Sequential(nn.Embedding(30, 8)), get_config(name))


def test_hashed_rows_are_taken_over_in_place() -> None:
    model = nn.Sequential(nn.Embedding(30, 8))
    compress_(model, get_config("hybrid_hash"), frequencies={"0": torch.randperm(30)})
    assert isinstance(model[0], FrozenEmbedding)


@pytest.mark.parametrize("name", ["shared", "double_hash"])
def test_a_budget_of_both_tables_needs_both(name) -> None:
    with pytest.raises(ValueError, match="those of users and items together"):
        create(get_config(name, {"rows": "40rows"}), 30, 8)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("shared", {"budget": "a lot"}, "is not a budget"),
        ("shared", {"grouping": "astrology"}, "no grouping 'astrology'"),
        ("shared", {"views": 0}, "views"),
        ("shared", {"head": 1.0}, "head"),
        ("shared", {"head": 0.2, "rows": ""}, "head"),
        ("shared", {"row_bits": 7}, "row_bits"),
        ("double_hash", {"rows": ""}, "needs rows"),
        ("double_hash", {"num_rows": 0}, "num_rows"),
        ("cce", {"chunks": 0}, "chunks"),
        ("legcf", {"anchor_weight": 1.0}, "anchor_weight"),
    ],
)
def test_options_that_cannot_be(name, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        get_config(name, options)


def test_sizes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="must divide embedding_dim=8"):
        create(get_config("shared", {"views": 3, "combine": "concat"}), 30, 8)
    with pytest.raises(ValueError, match="must divide embedding_dim=8"):
        create(get_config("cce", {"chunks": 3}), 30, 8)
    with pytest.raises(ValueError, match="at most num_embeddings=30"):
        create(get_config("double_hash", {"num_rows": 31}), 30, 8)
    with pytest.raises(ValueError, match="views` is 2, but 1"):
        create(get_config("baco", {"views": 2}), 3, 8, row_maps=[RowMap(np.zeros(3), 1)])


def test_a_state_that_lies_is_refused() -> None:
    maps = [RowMap(np.array([0, 1, 1, 0]), 2)]
    table = create(get_config("baco"), 4, 3, row_maps=maps)
    for change in (
        {"map_0": torch.tensor([0, 1, 2, 0], dtype=torch.int32)},
        {"map_0": torch.tensor([0, 1], dtype=torch.int32)},
        {"terms": torch.zeros(1, 3, dtype=torch.int64)},
        {"table_0": torch.zeros(2, 9)},
    ):
        with pytest.raises(RuntimeError, match="do not fit"):
            create(get_config("baco"), 4, 3, row_maps=maps).load_state_dict({**table.state_dict(), **change})


@pytest.mark.parametrize(
    ("place", "value"),
    [(0, -1), (1, 4), (1, -2), (3, -5), (3, 2**31 - 1), (3, 0), (4, -1), (5, 9), (6, 3), (7, 0), (7, 6), (7, 2**40)],
)
def test_a_state_whose_hash_lies_is_refused(place, value) -> None:
    state = create(get_config("double_hash", {"num_rows": 5}), 30, 8).state_dict()
    terms = state["terms"].clone()
    terms[0, place] = value
    with pytest.raises(RuntimeError, match="do not fit"):
        create(get_config("double_hash", {"num_rows": 5}), 30, 8).load_state_dict({**state, "terms": terms})


def test_a_state_whose_terms_leave_columns_out_is_refused() -> None:
    state = create(get_config("cce", {"num_rows": 6}), 30, 8).state_dict()
    for column in (1, 4):  # of a chunk of columns 2 to 4
        terms = state["terms"].clone()
        terms[2:4, 1] = column
        with pytest.raises(RuntimeError, match="do not fill a row of 8"):
            create(get_config("cce", {"num_rows": 6}), 30, 8).load_state_dict({**state, "terms": terms})


def test_state_of_other_groups_brings_its_sizes() -> None:
    large = create(get_config("baco"), 6, 3, row_maps=[RowMap(np.arange(6), 6, np.arange(6)[::-1])])
    small = create(get_config("baco"), 6, 3, row_maps=[])
    small.load_state_dict(large.state_dict())
    assert torch.equal(small.weight, large.weight)
    assert small.trained_parameters() == 18
    small(torch.arange(6)).sum().backward()
    assert small.table_0.grad.shape == (6, 3)


def test_a_computed_map_takes_no_space() -> None:
    hashed = RowMap.from_hash(1000, Hash(count=10))
    stored = RowMap(hashed.rows, 10)
    sizes = [create(get_config("baco"), 1000, 4, row_maps=[row_map]).bits() for row_map in (hashed, stored)]
    assert sizes == [32 * 40, 32 * 40 + 4 * 1000]
    with pytest.raises(ValueError, match=r"Hash\.a` must be in 1\.\.2147483646, got 0"):
        Hash(0)


def test_hidden_rows_are_all_shared_methods() -> None:
    for config in CONFIGS:
        model = build("gmf", 80, 40, 8, config, restoring=True)
        assert isinstance(model.user_embedding, SharedRows)
