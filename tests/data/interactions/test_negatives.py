from __future__ import annotations

import numpy as np
import pytest

from slimtable.data.interactions.interactions import Interactions
from slimtable.data.interactions.negatives import NegativeSampler
from slimtable.errors import DatasetError


def test_negatives_are_uniform_over_what_the_user_has_not_seen() -> None:
    train = Interactions.from_raw(np.array([0, 0, 0, 1, 2, 2]), np.array([0, 3, 4, 2, 0, 1]))
    sampler = NegativeSampler(train)
    users = np.repeat([0, 1, 2], 6000)
    negatives = sampler.sample(users, np.random.default_rng(0))
    for user, allowed in enumerate([[1, 2], [0, 1, 3, 4], [2, 3, 4]]):
        drawn, counts = np.unique(negatives[users == user], return_counts=True)
        assert drawn.tolist() == allowed
        np.testing.assert_allclose(counts, 6000 / len(allowed), rtol=0.1)


def test_an_epoch_holds_every_interaction_once_and_fresh_negatives(communities) -> None:
    train = communities.train
    sampler = NegativeSampler(train)
    users, items, labels = sampler.pointwise_epoch(np.random.default_rng(0), 4)
    assert len(users) == 5 * len(train)
    positives = sorted(zip(users[labels == 1], items[labels == 1], strict=True))
    assert positives == sorted(zip(train.users, train.items, strict=True))
    assert set(zip(users, items, strict=True)) - set(positives)
    assert not set(zip(users[labels == 0], items[labels == 0], strict=True)) & set(positives)
    np.testing.assert_array_equal(np.bincount(users[labels == 0]), 4 * train.user_counts())
    assert 0 < labels[: len(labels) // 2].mean() < 0.3  # shuffled
    other = sampler.pointwise_epoch(np.random.default_rng(1), 4)[1]
    assert (other != items).any()


def test_a_user_who_has_everything_is_refused() -> None:
    train = Interactions.from_raw(np.array([70, 70, 81]), np.array([0, 1, 1]))  # raw ids, which messages name
    with pytest.raises(DatasetError, match="User 70 has all 2 items"):
        NegativeSampler(train)


def test_repeated_interactions_do_not_hide_a_user_who_has_everything() -> None:
    train = Interactions.from_raw(np.array([0] * 100 + [1, 1, 1]), np.array([0] * 100 + [0, 1, 2]))
    with pytest.raises(DatasetError, match="User 1 has all 3 items"):
        NegativeSampler(train)
