"""Ranking metrics from the ranks of the withheld items, and errors of predicted scores.

A rank counts the candidates that score higher, and half of those that score the same: 0 is first, and ties
count at mid-rank, so that a coarse code that scores many items alike gains nothing by it. ``owners`` says
which user a rank belongs to; the ranks of one user stand together.
"""

from __future__ import annotations

import numpy as np


def hit_rate_at_k(ranks: np.ndarray, owners: np.ndarray, k: int) -> float:
    """Share of users with at least one withheld item among the first k.

    Args:
        ranks: float (T,) rank of each withheld item.
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
    """Mean over users of the share of their withheld items that are among the first k; arguments as above."""
    return float(np.mean(_per_user(ranks < k, owners) / _per_user(np.ones(len(ranks)), owners)))


def capped_recall_at_k(ranks: np.ndarray, owners: np.ndarray, k: int) -> float:
    """Mean over users of hits divided by the most hits that a list of k can have: min(k, withheld items of the user).

    This is the recall of GraphHash and BACO; :func:`recall_at_k` divides by all withheld items. Arguments as above.

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
    """Mean over users of 1 / (1 + rank of their best withheld item); arguments as above."""
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


def _errors(predicted: np.ndarray, actual: np.ndarray) -> np.ndarray:
    # float64, since a sum of millions of float32 squares loses digits
    return np.asarray(predicted, dtype=np.float64) - np.asarray(actual, dtype=np.float64)


def _starts(owners: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.r_[True, owners[1:] != owners[:-1]])


def _per_user(values: np.ndarray, owners: np.ndarray) -> np.ndarray:
    sums: np.ndarray = np.add.reduceat(values.astype(np.float64), _starts(owners))
    return sums
