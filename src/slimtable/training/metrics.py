"""Metrics: rankings, from the ranks of held-out items; errors of predicted scores; predicted click probabilities.

A rank is the number of candidates that score higher plus half of those with an equal score: 0 is first, and ties count
at mid-rank, so that a coarse code that gives many items the same score gains nothing. ``owners`` holds the user of each
rank; the ranks of a user are adjacent.
"""

from __future__ import annotations

import numpy as np

_MIN_PROBABILITY = 1e-7


def hit_rate_at_k(ranks: np.ndarray, owners: np.ndarray, k: int) -> float:
    """Share of users with at least one held-out item among the first k.

    Args:
        ranks: float (T,) rank of each held-out item.
        owners: integer (T,) its user, ascending.
        k: length of the list.

    Returns:
        0 to 1.

    Example:
        >>> hit_rate_at_k(np.array([0.0, 12.0]), np.array([0, 1]), k=10)
        0.5
    """
    return float(np.mean(_per_user(ranks < k, owners) > 0))


def recall_at_k(ranks: np.ndarray, owners: np.ndarray, k: int) -> float:
    """Mean over users of the share of their held-out items among the first k; arguments as above."""
    return float(np.mean(_per_user(ranks < k, owners) / _per_user(np.ones(len(ranks)), owners)))


def capped_recall_at_k(ranks: np.ndarray, owners: np.ndarray, k: int) -> float:
    """Mean over users of hits divided by the largest possible number of hits, min(k, held-out items of the user).

    This is the recall of GraphHash and BACO; :func:`recall_at_k` divides by all held-out items. Arguments as above.

    Example:
        >>> ranks, owners = np.array([0.0, 1.0, 2.0]), np.array([4, 4, 4])
        >>> capped_recall_at_k(ranks, owners, k=2), round(recall_at_k(ranks, owners, k=2), 3)
        (1.0, 0.667)
    """
    most = np.minimum(_per_user(np.ones(len(ranks)), owners), k)
    return float(np.mean(_per_user(ranks < k, owners) / most))


def ndcg_at_k(ranks: np.ndarray, owners: np.ndarray, k: int) -> float:
    """Mean over users of Σ 1/log2(rank + 2) over hits, divided by its largest possible value; arguments as above."""
    gains = np.where(ranks < k, 1.0 / np.log2(ranks + 2.0), 0.0)
    counts = _per_user(np.ones(len(ranks)), owners).astype(np.int64)
    ideal = np.cumsum(1.0 / np.log2(np.arange(k) + 2.0))
    return float(np.mean(_per_user(gains, owners) / ideal[np.minimum(counts, k) - 1]))


def mean_reciprocal_rank(ranks: np.ndarray, owners: np.ndarray) -> float:
    """Mean over users of 1 / (1 + rank of their best held-out item); arguments as above."""
    best = np.minimum.reduceat(ranks, _starts(owners))
    return float(np.mean(1.0 / (1.0 + best)))


def rmse(predicted: np.ndarray, actual: np.ndarray) -> float:
    """Root of the mean squared error.

    Args:
        predicted: float (T,).
        actual: float (T,).

    Returns:
        0 or more, in the unit of the scores.

    Example:
        >>> rmse(np.array([1.0, 5.0]), np.array([1.0, 2.0])) == 4.5**0.5
        True
    """
    return float(np.sqrt(np.mean(np.square(_errors(predicted, actual)))))


def mean_absolute_error(predicted: np.ndarray, actual: np.ndarray) -> float:
    """Mean distance of predictions from the scores; arguments as above."""
    return float(np.mean(np.abs(_errors(predicted, actual))))


def auc(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Probability that a clicked impression scores higher than one without a click; ties count one half.

    Args:
        labels: (T,), 1 for a click and 0 for none.
        predicted: float (T,), any increasing function of the probability.

    Returns:
        0 to 1; NaN if all labels are equal.

    Example:
        >>> auc(np.array([0, 1, 1]), np.array([0.2, 0.2, 0.7]))
        0.75
    """
    clicked = np.asarray(labels) > 0.5
    clicks = int(clicked.sum())
    others = len(clicked) - clicks
    if not clicks or not others:
        return float("nan")
    values = np.asarray(predicted, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    starts = _starts(values[order])
    bounds = np.append(starts, len(order))
    middle = (bounds[:-1] + bounds[1:] - 1) / 2.0  # rank of the members of each tie, from 0
    clicks_of_tie = np.add.reduceat(clicked[order].astype(np.float64), starts)
    return float((np.dot(middle, clicks_of_tie) - clicks * (clicks - 1) / 2.0) / (clicks * others))


def log_loss(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Mean negative log-likelihood of the labels.

    Args:
        labels: (T,), 1 for a click and 0 for none.
        predicted: (T,) probabilities; they are clipped to 1e-7 … 1 − 1e-7, which limits the loss of a row to 16.

    Returns:
        0 or more, in nats; NaN without rows.
    """
    if not len(labels):
        return float("nan")
    clicked = np.asarray(labels, dtype=np.float64)
    given = np.clip(np.asarray(predicted, dtype=np.float64), _MIN_PROBABILITY, 1 - _MIN_PROBABILITY)
    return float(-np.mean(clicked * np.log(given) + (1 - clicked) * np.log1p(-given)))


def calibration(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Predicted clicks divided by actual clicks, ideally 1; NaN without clicks. Arguments as for :func:`log_loss`."""
    clicks = float(np.sum(labels, dtype=np.float64))
    return float(np.sum(predicted, dtype=np.float64)) / clicks if clicks else float("nan")


def relative_information_gain(labels: np.ndarray, predicted: np.ndarray) -> float:
    """1 − log loss / log loss of always predicting the mean click rate (He et al. 2014, Facebook ads).

    Arguments as :func:`log_loss`.

    Returns:
        At most 1; 0 for predictions no better than the mean; NaN if all labels are equal.
    """
    share = float(np.mean(labels, dtype=np.float64)) if len(labels) else float("nan")
    if not 0 < share < 1:
        return float("nan")
    entropy = -(share * np.log(share) + (1 - share) * np.log1p(-share))
    return float(1 - log_loss(labels, predicted) / entropy)


def _errors(predicted: np.ndarray, actual: np.ndarray) -> np.ndarray:
    # float64, since a sum of millions of float32 squares loses digits
    return np.asarray(predicted, dtype=np.float64) - np.asarray(actual, dtype=np.float64)


def _starts(owners: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.r_[True, owners[1:] != owners[:-1]])


def _per_user(values: np.ndarray, owners: np.ndarray) -> np.ndarray:
    sums: np.ndarray = np.add.reduceat(values.astype(np.float64), _starts(owners))
    return sums
