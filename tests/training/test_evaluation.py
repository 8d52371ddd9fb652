"""Full ranking against a slow ranking written out in Python."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from slimtable.data.interactions.interactions import Interactions
from slimtable.data.interactions.pairs import Pairs
from slimtable.data.interactions.split import Split, fixed_split, holdout_split, leave_two_out
from slimtable.errors import DatasetError
from slimtable.training.evaluation import MASKS, Ranks, evaluate, predict, rank_held_out, summarize


class Scores(torch.nn.Module):
    """A stand-in for a model with a given score matrix."""

    task = "ranking"

    def __init__(self, scores: np.ndarray) -> None:
        super().__init__()
        self.scores = torch.nn.Parameter(torch.from_numpy(scores.astype(np.float32)))

    def scorer(self, history=None):
        return lambda users: self.scores[users]


def slow_ranks(scores, split: Split, part: str):
    """Ranks by definition, one item at a time."""
    result = []
    withheld = getattr(split, part)
    for user in range(split.num_users):
        for item in sorted(withheld.items[withheld.users == user]):
            row = []
            for mask in MASKS:
                out = set() if mask == "none" else set(split.train.items[split.train.users == user].tolist())
                if mask == "train+valid" and part == "test":
                    out |= set(split.valid.items[split.valid.users == user].tolist())
                others = [scores[user, j] for j in range(split.num_items) if j not in out and j != item]
                row.append(
                    sum(s > scores[user, item] for s in others) + 0.5 * sum(s == scores[user, item] for s in others)
                )
            result.append(row)
    return np.array(result)


@pytest.fixture(params=["leave-two-out", "many"])
def split(request) -> Split:
    generator = np.random.default_rng(0)
    users = np.repeat(np.arange(15), 9)
    items = np.concatenate([generator.permutation(30)[:9] for _ in range(15)])
    items[3] = items[0]  # a repeated item must be masked once
    data = Interactions.from_raw(users, items, chronological=True)
    if request.param == "leave-two-out":
        return leave_two_out(data)
    last = np.tile(np.arange(9) >= 6, 15)
    return fixed_split(data.select(~last), data.select(last), valid_fraction=0.2)


@pytest.mark.parametrize("part", ["valid", "test"])
@pytest.mark.parametrize("coarse", [False, True])
def test_ranks_are_those_of_the_definition(split, part, coarse) -> None:
    scores = np.random.default_rng(1).standard_normal((split.num_users, split.num_items)).astype(np.float32)
    if coarse:
        scores = np.round(scores)  # many ties
    ranks = rank_held_out(Scores(scores), split, part)
    np.testing.assert_array_equal(np.stack([ranks.by_mask[m] for m in MASKS], 1), slow_ranks(scores, split, part))


def test_groups_of_popularity_add_up(split) -> None:
    scores = np.random.default_rng(1).standard_normal((split.num_users, split.num_items))
    ranks = rank_held_out(Scores(scores), split)
    counts = split.train.item_counts()
    metrics = summarize(ranks, counts, (5, 10))["train"]
    order = np.argsort(-counts, kind="stable")
    head, torso = set(order[:3]), set(order[3:15])  # 10 % and 40 % of 30 items
    group = np.array(["head" if i in head else "torso" if i in torso else "tail" for i in ranks.items])
    for name in ("head", "torso", "tail"):
        hits = ranks.by_mask["train"][group == name] < 10
        assert metrics[f"hit_rate@10/{name}"] == pytest.approx(hits.mean())
    assert {f"{m}@{k}" for m in ("hit_rate", "recall", "ndcg") for k in (5, 10)} < set(metrics)


def test_quarters_of_users_by_activity() -> None:
    """Eight users, two a quarter; the two with the fewest interactions are in the first, whether tested or not."""
    counts = np.array([9, 1, 7, 3, 8, 2, 6, 4])
    users = np.array([0, 1, 2, 2, 3, 5, 6])  # 4 and 7 have nothing withheld
    ranks = Ranks(users, np.arange(7) % 3, {"train": np.array([0, 0, 0, 9, 9, 9, 0])})
    metrics = summarize(ranks, np.array([3, 2, 1]), (1, 5), user_counts=counts, masks=("train",))
    assert set(metrics) == {"train"}
    # Least active first: users 1 and 5, then 3 (and 7), then 6 and 2, then 0 (and 4).
    quarters = [metrics["train"][f"capped_recall@5/q{number}"] for number in (1, 2, 3, 4)]
    assert quarters == [0.5, 0, 0.75, 1]
    assert metrics["train"]["capped_recall@1/q3"] == 1  # a list of one can hold no more of user 2
    assert not any("/q" in name for name in summarize(ranks, np.array([3, 2, 1]), masks=("train",))["train"])


def test_an_evaluation_reports_what_is_asked_for(split) -> None:
    model = Scores(np.random.default_rng(1).standard_normal((split.num_users, split.num_items)))
    every = evaluate(model, split, ks=(5, 10))
    assert set(every) == set(MASKS)
    assert {f"capped_recall@5{q}" for q in ("", "/q1", "/q2", "/q3", "/q4")} <= set(every["train"])
    assert evaluate(model, split, ks=(5, 10), masks=("train",)) == {"train": every["train"]}


def test_scores_that_are_not_numbers_are_refused(split) -> None:
    with pytest.raises(ValueError, match="are NaN"):
        evaluate(Scores(np.full((split.num_users, split.num_items), np.nan)), split)


def test_an_empty_part_is_refused(split) -> None:
    empty = Split(split.train, split.valid.empty_like(), split.test)
    with pytest.raises(ValueError, match="valid part of the split is empty"):
        evaluate(Scores(np.zeros((split.num_users, split.num_items))), empty, "valid")


def test_ranking_leaves_the_mode_of_the_model_alone(split) -> None:
    model = Scores(np.zeros((split.num_users, split.num_items)))
    for mode in (True, False):
        model.train(mode)
        evaluate(model, split)
        assert model.training is mode


def test_an_item_withheld_twice_is_ranked_once() -> None:
    train = Interactions.from_raw(np.array([0, 0, 1, 1, 1]), np.array([0, 1, 2, 3, 4]))
    twice = Interactions(np.array([0, 0, 1]), np.array([2, 2, 0]), train.user_vocabulary, train.item_vocabulary)
    split = Split(train, twice.empty_like(), twice)
    scores = np.zeros((2, 5))
    scores[0, 2] = scores[1, 0] = 1
    metrics = evaluate(Scores(scores), split)["train"]
    assert metrics["ndcg@10"] == metrics["recall@10"] == 1
    assert len(rank_held_out(Scores(scores), split).items) == 2


class Guesses(Scores):
    """A stand-in that predicts the score of each pair from a given matrix."""

    task, name = "regression", "guesses"

    def forward(self, users, items):
        assert not self.training
        return self.scores[users, items]


@pytest.fixture
def pairs() -> Pairs:
    first, second = np.triu_indices(30, 1)
    scores = np.random.default_rng(0).normal(10, 30, len(first))
    return Pairs(first, second, np.arange(30), np.arange(30), scores)


def test_a_regression_is_tested_by_its_errors(pairs, monkeypatch) -> None:
    divided = holdout_split(pairs)
    scores = np.random.default_rng(1).normal(0, 20, (30, 30)).astype(np.float32)
    errors = [
        scores[i, j] - r for i, j, r in zip(divided.test.users, divided.test.items, divided.test.ratings, strict=True)
    ]
    expected = {"rmse": np.sqrt(np.mean(np.square(errors))), "mae": np.mean(np.abs(errors))}
    assert evaluate(Guesses(scores), divided) == {"all": pytest.approx(expected)}
    monkeypatch.setattr(
        sys.modules["slimtable.training.evaluation"], "_PAIRS_AT_A_TIME", 7
    )  # 44 test pairs: the last chunk is short
    assert evaluate(Guesses(scores), divided, ks=(3,)) == {"all": pytest.approx(expected)}
    np.testing.assert_array_equal(predict(Guesses(scores), pairs), scores[pairs.users, pairs.items])


def test_errors_of_nothing_and_of_no_number_are_refused(pairs, split) -> None:
    divided = holdout_split(pairs)
    with pytest.raises(ValueError, match="nothing to predict: the valid part"):
        evaluate(Guesses(np.zeros((30, 30))), divided, "valid")
    with pytest.raises(ValueError, match="are NaN"):
        evaluate(Guesses(np.full((30, 30), np.inf)), divided)
    with pytest.raises(ValueError, match="guesses predicts scores, but the data has none"):
        evaluate(Guesses(np.zeros((30, 30))), split)


def test_ranking_on_pairs_is_refused(pairs) -> None:
    with pytest.raises(DatasetError, match="no users to recommend for"):
        evaluate(Scores(np.zeros((30, 30))), holdout_split(pairs))
