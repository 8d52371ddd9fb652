"""Metrics against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics

from slimtable.training.metrics import (
    auc,
    calibration,
    capped_recall_at_k,
    hit_rate_at_k,
    log_loss,
    mean_absolute_error,
    mean_reciprocal_rank,
    ndcg_at_k,
    recall_at_k,
    relative_information_gain,
    rmse,
)

# User 0 has items at ranks 0 and 12; user 1 at 9.5 (a tie); user 2 at 3.
RANKS, OWNERS = np.array([0, 12, 9.5, 3]), np.array([0, 0, 5, 7])


def test_by_hand() -> None:
    assert hit_rate_at_k(RANKS, OWNERS, 10) == 1.0
    assert hit_rate_at_k(RANKS, OWNERS, 5) == pytest.approx(2 / 3)
    assert recall_at_k(RANKS, OWNERS, 10) == pytest.approx((0.5 + 1 + 1) / 3)
    ideal_of_two = 1 + 1 / np.log2(3)
    expected = (1 / ideal_of_two + 1 / np.log2(11.5) + 1 / np.log2(5)) / 3
    assert ndcg_at_k(RANKS, OWNERS, 10) == pytest.approx(expected)
    assert mean_reciprocal_rank(RANKS, OWNERS) == pytest.approx((1 + 1 / 10.5 + 1 / 4) / 3)


def test_capped_recall_divides_by_what_the_list_can_hold() -> None:
    ranks, owners = np.array([0, 1, 7, 2, 5]), np.array([3, 3, 3, 8, 9])  # 3 withheld items, then 1 and 1
    assert capped_recall_at_k(ranks, owners, 2) == pytest.approx((2 / 2 + 0 + 0) / 3)
    assert recall_at_k(ranks, owners, 2) == pytest.approx((2 / 3 + 0 + 0) / 3)
    assert capped_recall_at_k(ranks, owners, 3) == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert capped_recall_at_k(ranks, owners, 10) == recall_at_k(ranks, owners, 10) == 1


def test_ideal_list_gives_one() -> None:
    ranks, owners = np.array([0, 1, 2, 0, 1.0]), np.array([0, 0, 0, 1, 1])
    for k in (1, 2, 3):
        assert ndcg_at_k(ranks, owners, k) == pytest.approx(1)
    assert recall_at_k(ranks, owners, 3) == 1


def test_a_tie_across_the_end_of_the_list_is_no_hit() -> None:
    """Two items tie for the places 9 and 10 of a list of 10: mid-rank 9.5 counts, 10 does not."""
    assert hit_rate_at_k(np.array([9.5]), np.array([0]), 10) == 1
    assert hit_rate_at_k(np.array([10.0]), np.array([0]), 10) == 0


def test_errors_by_hand() -> None:
    predicted, actual = np.array([1, 2, -3], np.float32), np.array([1, 4, 3], np.float32)
    assert rmse(predicted, actual) == pytest.approx(np.sqrt((0 + 4 + 36) / 3))
    assert mean_absolute_error(predicted, actual) == pytest.approx(8 / 3)


def test_errors_of_many_keep_their_digits() -> None:
    """In float32 the sum of ten million squares of 0.1 would stop growing."""
    off = np.full(10_000_000, 0.1, np.float32)
    assert rmse(off, np.zeros_like(off)) == pytest.approx(float(np.float32(0.1)), rel=1e-9)


def test_click_metrics_against_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    labels = (generator.random(2000) < 0.3).astype(np.float32)
    predicted = np.round(np.clip(0.3 + 0.2 * labels + generator.normal(scale=0.2, size=2000), 0, 1), 2)  # many ties
    assert auc(labels, predicted) == pytest.approx(sklearn.metrics.roc_auc_score(labels, predicted), abs=1e-12)
    inside = np.clip(predicted, 1e-7, 1 - 1e-7)
    expected = sklearn.metrics.log_loss(labels, inside)
    assert log_loss(labels, predicted) == pytest.approx(expected, rel=1e-12)
    assert calibration(labels, predicted) == pytest.approx(predicted.sum() / labels.sum())
    entropy = sklearn.metrics.log_loss(labels, np.full(2000, labels.mean()))
    assert relative_information_gain(labels, predicted) == pytest.approx(1 - expected / entropy, rel=1e-6)


def test_click_metrics_at_the_edges() -> None:
    labels, sure = np.array([0.0, 1.0]), np.array([1.0, 0.0])
    assert auc(labels, np.array([0.5, 0.5])) == 0.5
    assert auc(labels, sure) == 0.0
    assert log_loss(labels, sure) == pytest.approx(-np.log(1e-7))
    assert relative_information_gain(labels, np.array([0.5, 0.5])) == pytest.approx(0.0)
    for one_class in (np.ones(3), np.zeros(3), np.zeros(0)):
        assert np.isnan(auc(one_class, np.full(len(one_class), 0.4)))
        assert np.isnan(relative_information_gain(one_class, np.full(len(one_class), 0.4)))
    assert np.isnan(calibration(np.zeros(2), sure))
    assert np.isnan(log_loss(np.zeros(0), np.zeros(0)))
