"""Recall and NDCG of every user, and how much of them compressed tables keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numba import njit

_SCORES_AT_A_TIME = 1 << 22
_Z = 1.959963984540054  # of a 95 % interval


@dataclass(frozen=True, eq=False)
class Lists:
    """What is ranked.

    Attributes:
        users: int64 (n,) the users, each with a held-out item.
        starts: int64 (all users + 1,), where the held-out items of each begin.
        items: int32, the held-out items.
        hidden_starts: likewise of the items that are no candidates.
        hidden: int32, these items.
    """

    users: np.ndarray
    starts: np.ndarray
    items: np.ndarray
    hidden_starts: np.ndarray
    hidden: np.ndarray


def per_user(score: Callable[[np.ndarray], np.ndarray], lists: Lists, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Recall@k, hits divided by held-out items, and NDCG@k; ties count at mid-rank as in all evaluations.

    Args:
        score: user ids (B,) -> float scores of all items (B, N).
        lists: what is ranked.
        k: length of the list.

    Returns:
        float64 (n,) each, for the users of the lists.

    Raises:
        ValueError: a score is NaN or infinite.
    """
    recall, ndcg = (np.empty(len(lists.users)) for _ in range(2))
    ideal = np.cumsum(1.0 / np.log2(np.arange(k) + 2.0))
    size, first = 64, 0
    while first < len(lists.users):
        rows = slice(first, first + size)
        scores = np.array(score(lists.users[rows]), dtype=np.float32)
        if not np.isfinite(scores).all():
            raise ValueError("The scores are NaN or infinite.")
        _rank(
            scores, lists.users[rows], lists.starts, lists.items, lists.hidden_starts, lists.hidden, ideal,
            recall[rows], ndcg[rows],
        )  # fmt: skip
        first += size
        size = max(1, _SCORES_AT_A_TIME // scores.shape[1])
    return recall, ndcg


def share_kept(mine: np.ndarray, full: np.ndarray) -> tuple[float, float]:
    """Percent of a metric's mean that is kept, and half the width of its 95 % interval, paired by user.

    Args:
        mine: (n,) the metric of each user with compressed tables.
        full: (n,) with uncompressed tables.

    Returns:
        The ratio of the means in percent, and its half-width by the delta method.
    """
    return share_of(mine, np.zeros_like(full), full)


def share_of(mine: np.ndarray, theirs: np.ndarray, full: np.ndarray) -> tuple[float, float]:
    """How much more of a metric's mean one keeps than another, in points of percent, and its half-width likewise."""
    ratio = (mine.mean() - theirs.mean()) / full.mean()
    spread = (mine - theirs - ratio * full).std(ddof=1) / np.sqrt(len(full)) / full.mean()
    return 100 * float(ratio), 100 * _Z * float(spread)


@njit(cache=True, nogil=True)
def _rank(  # type: ignore[no-untyped-def]
    scores, users, starts, items, hidden_starts, hidden, ideal, recall, ndcg
):
    k = ideal.size
    for b in range(users.size):
        user, line = users[b], scores[b]
        targets = items[starts[user] : starts[user + 1]]
        of_targets = np.empty(targets.size, line.dtype)
        for t in range(targets.size):
            of_targets[t] = line[targets[t]]
        for i in range(hidden_starts[user], hidden_starts[user + 1]):
            line[hidden[i]] = -np.inf
        hits, gain = 0, 0.0
        for t in range(targets.size):
            score, higher, equal = of_targets[t], 0, 0
            for j in range(line.size):
                higher += line[j] > score
                equal += line[j] == score
                if higher >= k:
                    break
            if higher >= k:
                continue
            if line[targets[t]] == score:
                equal -= 1  # the item itself
            rank = higher + 0.5 * equal
            if rank < k:
                hits += 1
                gain += 1.0 / np.log2(rank + 2.0)
        recall[b] = hits / targets.size
        ndcg[b] = gain / ideal[min(k, targets.size) - 1]
