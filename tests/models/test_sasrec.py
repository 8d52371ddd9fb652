"""SASRec against a slow implementation of its own, and the batches that it learns from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from slimtable.data import load_dataset
from slimtable.data.interactions.interactions import Interactions
from slimtable.data.interactions.split import Split, leave_two_out, order_by_frequency, split
from slimtable.embeddings.base import create, get_config, method_names
from slimtable.errors import DatasetError
from slimtable.models.base import build
from slimtable.models.sasrec import SASRec, SASRecConfig, SequenceSampler
from slimtable.training.evaluation import rank_held_out
from slimtable.training.trainer import TrainConfig, train
from tests.contract.cases import without_graph

ITEMS, WIDTH, LENGTH = 11, 8, 6
SMALL = {"dpq": {"num_codebooks": 4, "codebook_size": 16}, "mgqe": {"num_codebooks": 4, "codebook_sizes": [16, 8]}}


def built(method="full", items=ITEMS, length=LENGTH, **options) -> SASRec:
    """A model with parameters of a size at which every part matters."""
    config = SASRecConfig(max_length=length, **options)
    method_config = get_config(method, SMALL[method]) if method in SMALL else without_graph(method)
    model = build("sasrec", 1, items, WIDTH, method_config, config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.7)
    return model


def histories(*sequences: list[int], num_items: int = ITEMS) -> Interactions:
    """Users with these items in this order."""
    users = np.repeat(np.arange(len(sequences)), [len(sequence) for sequence in sequences])
    items = np.concatenate([np.array(sequence, dtype=np.int64) for sequence in sequences])
    return Interactions(users, items, np.arange(len(sequences)), np.arange(num_items), chronological=True)


def layer_norm(x: np.ndarray, dense: dict[str, np.ndarray], name: str) -> np.ndarray:
    scaled = (x - x.mean()) / np.sqrt(x.var() + 1e-8)
    return scaled * dense[f"{name}.weight"] + dense[f"{name}.bias"]


def slow_states(model: SASRec, sequence: list[int]) -> np.ndarray:
    """States (L, d) after each position of a padded sequence: the paper, one position at a time."""
    dense = {name: array.astype(np.float64) for name, array in model.dense_tensors().items()}
    table = model.item_embedding.weight.double().numpy()
    length, width = len(sequence), table.shape[1]
    x = np.zeros((length, width))
    for t, item in enumerate(sequence):
        if item:
            x[t] = np.sqrt(width) * table[item] + dense["positions"][t]
    for block in range(len(model.blocks)):
        part = {
            name.removeprefix(f"blocks.{block}."): value
            for name, value in dense.items()
            if name.startswith(f"blocks.{block}.")
        }
        key_weight, value_weight = np.split(part["key_value.weight"], 2)
        key_bias, value_bias = np.split(part["key_value.bias"], 2)
        keys = [key_weight @ row + key_bias for row in x]  # of x as it is, not normalised
        values = [value_weight @ row + value_bias for row in x]
        after = np.zeros_like(x)
        for t in range(length):
            if not sequence[t]:
                continue  # stays zeros
            normal = layer_norm(x[t], part, "query_norm")
            query = part["query.weight"] @ normal + part["query.bias"]
            seen = [s for s in range(t + 1) if sequence[s]]
            weights = np.exp([query @ keys[s] / np.sqrt(width) for s in seen])
            attended = sum(w * values[s] for w, s in zip(weights / weights.sum(), seen, strict=True))
            y = layer_norm(normal + attended, part, "inner_norm")
            inner = np.maximum(part["inner.weight"] @ y + part["inner.bias"], 0)
            after[t] = y + part["outer.weight"] @ inner + part["outer.bias"]
        x = after
    return np.stack([layer_norm(row, dense, "norm") for row in x])


SEQUENCES = [[0, 0, 0, 0, 0, 4], [0, 0, 3, 3, 11, 1], [1, 2, 3, 4, 5, 6], [9, 9, 9, 2, 9, 9]]


@pytest.mark.parametrize("method", method_names())
@pytest.mark.parametrize("num_blocks", [1, 3])
@torch.no_grad()
def test_logits_are_those_of_the_slow_implementation(method, num_blocks) -> None:
    model = built(method, num_blocks=num_blocks)
    table = model.item_embedding.weight.double().numpy()
    expected = np.stack([slow_states(model, sequence)[-1] @ table[1:].T for sequence in SEQUENCES])
    sequences = torch.tensor(SEQUENCES)
    for item in range(ITEMS):
        logits = model(sequences, torch.full((len(SEQUENCES),), item))
        np.testing.assert_allclose(logits.numpy(), expected[:, item], rtol=1e-3, atol=1e-3)
    # The same as histories: ids of the items without padding, numbered from 0.
    given = [[item - 1 for item in sequence if item] for sequence in SEQUENCES]
    scores = model.scorer(histories(*given))(torch.arange(len(SEQUENCES)))
    np.testing.assert_allclose(scores.numpy(), expected, rtol=1e-3, atol=1e-3)


def test_loss_is_the_mean_over_positions_of_the_slow_implementation() -> None:
    model = built().train()
    model.dropout.share = 0.0
    for block in model.blocks:
        block.dropout.share = 0.0
    following = [[0, 0, 0, 0, 0, 7], [0, 0, 3, 11, 1, 2], [2, 3, 4, 5, 6, 7], [9, 9, 2, 9, 9, 1]]
    negatives = np.random.default_rng(0).integers(1, 1 + ITEMS, size=(4, LENGTH, 2))
    negatives[np.array(following) == 0] = 0
    table = model.item_embedding.weight.double().numpy()
    terms = []
    for sequence, right, wrong in zip(SEQUENCES, following, negatives, strict=True):
        states = slow_states(model, sequence)
        for t in range(LENGTH):
            if right[t]:
                terms.append(np.log1p(np.exp(-states[t] @ table[right[t]])))
                terms[-1] += sum(np.log1p(np.exp(states[t] @ table[item])) for item in wrong[t])
    loss = model.loss((torch.tensor(SEQUENCES), torch.tensor(following), torch.from_numpy(negatives)))
    assert loss.item() == pytest.approx(np.mean(terms), rel=1e-4)


@torch.no_grad()
def test_what_comes_later_never_changes_an_earlier_state() -> None:
    model = built()
    table = model.item_embedding.weight
    look_up = table.__getitem__
    before = model._states(torch.tensor([[0, 1, 2, 3, 4, 5]]), look_up)
    after = model._states(torch.tensor([[0, 1, 2, 9, 8, 7]]), look_up)
    assert torch.equal(before[:, :3], after[:, :3])
    assert (before[:, 3:] != after[:, 3:]).any(dim=2).all()


@torch.no_grad()
def test_only_the_last_items_of_a_long_history_count() -> None:
    model = built()
    long = model.scorer(histories([7, 8, 9, 0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5], [6, 0, 1, 2, 3, 4, 5], [5]))
    scores = long(torch.tensor([0, 1, 2, 3, 1]))
    for same in (1, 2, 4):
        torch.testing.assert_close(scores[0], scores[same])
    assert not torch.allclose(scores[0], scores[3])
    assert scores.shape == (5, ITEMS)


@torch.no_grad()
def test_a_user_without_history_gets_scores_all_the_same() -> None:
    history = histories([1, 2], []).select(np.array([True, True]))
    assert torch.isfinite(built().scorer(history)(torch.tensor([1]))).all()


def test_scorer_needs_a_history() -> None:
    with pytest.raises(ValueError, match="none was given"):
        built().scorer()


@pytest.mark.parametrize("method", ["full", "dpq", "mgqe"])
def test_the_padding_row_is_zeros_and_gets_no_gradient(method) -> None:
    model = built(method).train()
    sequences, following = torch.tensor([[0, 0, 0, 1, 2, 3]]), torch.tensor([[0, 0, 0, 2, 3, 4]])
    (model.loss((sequences, following, (following + 1).unsqueeze(2) * (following > 0).unsqueeze(2))) +
     model.penalty()).backward()  # fmt: skip
    gradient = model.item_embedding.table.grad
    assert not gradient[0].any()
    assert gradient[1:5].any(dim=1).all()
    assert not model.item_embedding.weight[0].any()
    assert not model.item_embedding(torch.tensor([0])).any()


@pytest.mark.parametrize("items", [12, 500], ids=["whole-table", "distinct-rows"])
def test_every_row_is_quantized_once_a_step(items, monkeypatch) -> None:
    model = built("dpq", items=items).train()
    calls = []
    rows = type(model.item_embedding).rows
    monkeypatch.setattr(
        type(model.item_embedding), "rows", lambda self, ids: calls.append(ids.tolist()) or rows(self, ids)
    )
    sequences, following = torch.tensor([[0, 0, 5, 5, 2, 3]]), torch.tensor([[0, 0, 5, 2, 3, 9]])
    model.loss((sequences, following, following.unsqueeze(2)))
    assert calls == [list(range(13)) if items == 12 else [0, 2, 3, 5, 9]]
    looked_up = torch.tensor(calls[0][1:])  # the padding costs nothing
    with torch.no_grad():
        table = model.item_embedding.table
        expected = (table[looked_up] - model.item_embedding.eval()(looked_up)).square().mean()
    torch.testing.assert_close(model.penalty(), expected)


@pytest.mark.parametrize("method", ["full", "mgqe"])
def test_few_rows_of_a_large_table_give_the_same_as_all(method, monkeypatch) -> None:
    model = built(method, items=500).train()
    for module in (model, *model.blocks):
        module.dropout.share = 0.0
    sequences, following = torch.tensor([[0, 0, 5, 5, 2, 3]]), torch.tensor([[0, 0, 5, 2, 3, 499]])
    batch = (sequences, following, torch.tensor([[[0], [0], [400], [1], [7], [5]]]))
    few = model.loss(batch)
    few.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert gradients["positions"].any()
    model.zero_grad()  # lets go of the gradients, and does not clear them
    look_up = SASRec._look_up
    monkeypatch.setattr(SASRec, "_look_up", lambda self, count, *ids: look_up(self, 10**9, *ids))
    whole = model.loss(batch)
    whole.backward()
    torch.testing.assert_close(few, whole)
    for name, parameter in model.named_parameters():
        # The loss alone has no gradient for centroids.
        assert (parameter.grad is None) == (gradients[name] is None) == ("codebook" in name), name
        if parameter.grad is not None:
            torch.testing.assert_close(gradients[name], parameter.grad, msg=name)


def test_parameters_are_those_of_the_paper() -> None:
    model = build("sasrec", 6040, 3416, 64, get_config("full"))
    assert sum(parameter.numel() for parameter in model.parameters()) == 264_128
    assert sum(array.size for array in model.dense_tensors().values()) == 45_440
    assert "causal" not in model.state_dict()


def test_dropout_is_for_training_alone() -> None:
    model = built().train()
    sequences, items = torch.tensor(SEQUENCES), torch.tensor([0, 1, 2, 3])
    assert not torch.equal(model(sequences, items), model(sequences, items))
    model.eval()
    assert torch.equal(model(sequences, items), model(sequences, items))


def test_the_table_must_have_its_padding_row() -> None:
    with pytest.raises(ValueError, match="must have padding_idx=0, got None"):
        SASRec(create(get_config("full"), 5, 4))


@pytest.mark.parametrize(
    "options", [{"max_length": 0}, {"num_blocks": 0}, {"dropout": 1.0}, {"dropout": -0.1}], ids=str
)
def test_impossible_options(options) -> None:
    with pytest.raises(ValueError, match=f"SASRecConfig.{next(iter(options))}"):
        SASRecConfig(**options)


def test_the_padding_row_counts_as_the_most_frequent() -> None:
    counts = {"user": np.ones(3), "item": np.arange(20)[::-1]}
    model = build("sasrec", 3, 20, 8, get_config("mgqe"), counts=counts)
    assert model.item_embedding.tiers.tolist() == [0, 0] + [1] * 19
    assert "tiers" not in model.item_embedding.pack().arrays
    backwards = build("sasrec", 3, 20, 8, get_config("mgqe"), counts={**counts, "item": np.arange(20)})
    assert backwards.item_embedding.tiers.tolist() == [0] + [1] * 19 + [0]


# The batches.


def whole_epoch(feed: SequenceSampler, seed=0, batch_size=4, negatives=3) -> list[np.ndarray]:
    steps, batches = feed.epoch(np.random.default_rng(seed), batch_size, negatives)
    parts = list(batches)
    assert steps == len(parts)
    assert all(len(part[0]) == batch_size for part in parts[:-1])
    return [torch.cat(arrays).numpy() for arrays in zip(*parts, strict=True)]


def test_a_batch_is_the_last_items_and_what_follows_each() -> None:
    train_part = histories([3, 1, 4], list(range(10)), [5], [], [2, 6, 2, 6, 2, 6, 10])
    sequences, following, negatives = whole_epoch(SequenceSampler(train_part, 6), batch_size=2)
    assert sequences.shape == following.shape == (3, 6)
    assert negatives.shape == (3, 6, 3)
    rows = sorted(zip(sequences.tolist(), following.tolist(), strict=True))
    assert rows == [
        ([0, 0, 0, 0, 4, 2], [0, 0, 0, 0, 2, 5]),  # a first item follows nothing, as in the reference code
        ([3, 7, 3, 7, 3, 7], [7, 3, 7, 3, 7, 11]),
        ([4, 5, 6, 7, 8, 9], [5, 6, 7, 8, 9, 10]),
    ]


def test_negatives_were_never_taken_in_training() -> None:
    generator = np.random.default_rng(1)
    taken = [generator.permutation(ITEMS)[:9].tolist() for _ in range(20)]
    sequences, following, negatives = whole_epoch(SequenceSampler(histories(*taken), 5))
    sets = {tuple(items[-6:-1]): set(range(ITEMS)) - set(items) for items in taken}
    drawn = set()
    for sequence, lines in zip(sequences, negatives, strict=True):
        assert {*(lines - 1).flatten().tolist()} <= sets[tuple((sequence - 1).tolist())]
        drawn |= {*lines.flatten().tolist()}
    assert drawn == set(range(1, ITEMS + 1))  # and all of the others are
    assert (following > 0).all()


def test_positions_without_a_next_item_have_no_negatives() -> None:
    _, following, negatives = whole_epoch(SequenceSampler(histories([3, 1, 4], [5, 6]), 6))
    assert ((negatives == 0) == (following == 0)[:, :, None]).all()


def test_the_generator_decides() -> None:
    feed = SequenceSampler(histories(*([(k + i) % ITEMS for i in range(7)] for k in range(9))), 4)
    first, again, other = whole_epoch(feed, 0), whole_epoch(feed, 0), whole_epoch(feed, 1)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (first[0] != other[0]).any()  # the order
    assert sorted(first[0].tolist()) == sorted(other[0].tolist())  # of the same sequences
    assert (first[2] != other[2]).any()


def test_what_it_cannot_learn_from() -> None:
    unordered = Interactions(np.zeros(3, int), np.arange(3), np.arange(1), np.arange(5))
    with pytest.raises(DatasetError, match=r"not in time order\. Use"):
        built().batch_sampler(unordered)
    with pytest.raises(DatasetError, match="no user has two"):
        built().batch_sampler(histories([1], [2], [3]))


def test_validation_looks_at_training_and_the_test_at_both(communities: Split, monkeypatch) -> None:
    model = build("sasrec", 80, 40, 8, get_config("full"), SASRecConfig(max_length=20))
    scorer, seen = SASRec.scorer, []

    def watched(self, history):
        seen.append(history.sequences())
        return scorer(self, history)

    monkeypatch.setattr(SASRec, "scorer", watched)
    rank_held_out(model, communities, "valid")
    rank_held_out(model, communities, "test")
    train_items = np.split(communities.train.sequences()[1], communities.train.sequences()[0][1:-1])
    valid_items = dict(zip(communities.valid.users.tolist(), communities.valid.items.tolist(), strict=True))
    for (starts, items), extra in zip(seen, (False, True), strict=True):
        for user, expected in enumerate(train_items):
            wanted = [*expected.tolist(), valid_items[user]] if extra else expected.tolist()
            assert items[starts[user] : starts[user + 1]].tolist() == wanted


@pytest.mark.parametrize("method", ["full", "dpq", "mgqe"])
def test_learns_what_follows_what(method) -> None:
    """Item k + 1 follows item k, and every item is taken equally often."""
    items = 30
    cyclic = histories(*([(user + step) % items for step in range(8)] for user in range(60)), num_items=items)
    parts = leave_two_out(cyclic)
    config = TrainConfig(embedding_dim=16, epochs=40, batch_size=20, negatives=1, learning_rate=0.01, evaluate_every=0)
    options = {"full": {}, "dpq": {"codebook_size": 16}, "mgqe": {"codebook_sizes": [16, 12]}}[method]
    trained = train(parts, "sasrec", get_config(method, options), config, model_config=SASRecConfig(max_length=5))
    # Of the user's own items none was ever a negative, so they are left out; 23 others remain.
    ranks = rank_held_out(trained.model, parts).by_mask["train+valid"]
    assert (ranks == 0).all()


def test_splits_that_do_not_cut_by_time_are_refused(tmp_path) -> None:
    data = load_dataset("synthetic:2000").interactions
    parts = order_by_frequency(split(data, "random"))
    with pytest.raises(DatasetError, match="not split by time"):
        train(parts, "sasrec", get_config("full"), TrainConfig.for_model("sasrec", epochs=1), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    model = build("sasrec", parts.num_users, parts.num_items, 8, get_config("full"))
    with pytest.raises(ValueError, match="needs histories in time order"):
        model.scorer(parts.history("test"))
    assert order_by_frequency(split(data, "leave-two-out")).history("test").chronological
    assert order_by_frequency(split(data, "temporal")).history("test").chronological
