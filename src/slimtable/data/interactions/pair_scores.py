"""Scored pairs of items from interactions, for item-to-item regression without human judgements.

Both scores are in -100..100, a common range of judged relevance, but they are computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from slimtable.data.interactions.interactions import Interactions
from slimtable.data.interactions.pairs import Pairs
from slimtable.errors import DatasetError


@dataclass(frozen=True, eq=False)
class ScoredPairs:
    """Candidate pairs of dense item ids.

    Attributes:
        first: int32 (P,) the smaller id of each pair.
        second: int32 (P,) the larger one.
        scores: float32 (P,), -100 to 100.
    """

    first: np.ndarray
    second: np.ndarray
    scores: np.ndarray


def score_by_npmi(interactions: Interactions) -> ScoredPairs:
    """100 times the normalised pointwise mutual information of all pairs of items.

    With p_i the share of users with item i, and p_ij of those with both: ``ln(p_ij / (p_i p_j)) / -ln p_ij``, -1 if no
    user has both, 1 if all users do.

    Args:
        interactions: the interactions; duplicates count once.

    Returns:
        All n(n-1)/2 pairs, ascending.

    Raises:
        DatasetError: if scipy is missing.

    Reference:
        Bouma 2009, "Normalized (pointwise) mutual information in collocation extraction", eq. 7.
    """
    users, items, _ = _once(interactions)
    taken = _matrix(interactions, users, items, np.ones(len(users), np.int32))
    counts = np.bincount(items, minlength=interactions.num_items)
    first, second = (side.astype(np.int32) for side in np.triu_indices(interactions.num_items, 1))
    together = (taken.T @ taken).toarray()[first, second]
    met = together > 0
    both = together[met] / interactions.num_users
    by_chance = (counts[first[met]] / interactions.num_users) * (counts[second[met]] / interactions.num_users)
    scores = np.full(len(first), -100, np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):  # 0 / 0 if all users have both
        scores[met] = 100 * np.where(both < 1, np.log(both / by_chance) / -np.log(both), 1.0)
    return ScoredPairs(first, second, scores)


def score_by_cosine(interactions: Interactions, min_raters: int = 5) -> ScoredPairs:
    """100 times the adjusted cosine of the ratings of two items, over the users who rated both.

    Each rating is taken relative to the mean of its user's ratings.

    Args:
        interactions: interactions with ratings; the last of repeated ratings counts.
        min_raters: minimum number of users who rated both items.

    Returns:
        The pairs with enough raters whose cosine is defined, ascending.

    Raises:
        ValueError: if there are no ratings, or ``min_raters < 1``.
        DatasetError: if scipy is missing.

    Reference:
        Sarwar et al. 2001, "Item-based collaborative filtering recommendation algorithms", §3.1.3.
    """
    if min_raters < 1:
        raise ValueError(f"`min_raters` must be at least 1, got {min_raters}.")
    users, items, ratings = _once(interactions)
    if ratings is None:
        raise ValueError("the adjusted cosine needs ratings, and these interactions have none. Use `score_by_npmi`.")
    numbers = np.bincount(users, minlength=interactions.num_users)
    means = np.bincount(users, ratings, interactions.num_users) / np.maximum(numbers, 1)
    relative = ratings - means[users]
    relative[np.abs(relative) < 1e-9] = 0  # rounding errors of equal ratings
    rated = _matrix(interactions, users, items, np.ones(len(users)))
    pairs = (rated.T @ rated).tocoo()
    wanted = (pairs.row < pairs.col) & (pairs.data >= min_raters)
    first, second = pairs.row[wanted], pairs.col[wanted]
    order = np.lexsort((second, first))
    first, second = first[order], second[order]
    values, squares = (_matrix(interactions, users, items, relative**power) for power in (1, 2))
    dot = _entries(values.T @ values, first, second)
    one_sided = squares.T @ rated  # of items i and j: the sum of squares of i over the users who rated both
    norms = np.sqrt(_entries(one_sided, first, second) * _entries(one_sided, second, first))
    defined = norms > 0
    cosines = np.clip(dot[defined] / norms[defined], -1, 1)
    return ScoredPairs(
        first[defined].astype(np.int32), second[defined].astype(np.int32), (100 * cosines).astype(np.float32)
    )


def sample_pairs(scored: ScoredPairs, interactions: Interactions, size: int, seed: int = 0) -> Pairs:
    """Sample pairs without replacement, with probability proportional to the root of n_i n_j.

    Frequent items thus occur in more pairs, as in judged data, and few pairs have unrelated items.

    Args:
        scored: the candidate pairs.
        interactions: the source of item counts n and raw ids.
        size: number of pairs; all if there are fewer.
        seed: random seed.

    Returns:
        The sampled pairs, ascending, with the vocabulary of all items.

    Raises:
        ValueError: if ``size < 1``.
    """
    if size < 1:
        raise ValueError(f"`size` must be at least 1, got {size}.")
    drawn = np.arange(len(scored.scores))
    if size < len(drawn):
        roots = np.sqrt(interactions.item_counts())
        # The smallest exponential waiting times, with weights as rates, are such a sample.
        waiting = np.random.default_rng(seed).standard_exponential(len(drawn))
        with np.errstate(divide="ignore"):  # pairs with an item without interactions come last
            waiting /= roots[scored.first] * roots[scored.second]
        drawn = np.sort(np.argpartition(waiting, size - 1)[:size])
    vocabulary = interactions.item_vocabulary
    return Pairs(scored.first[drawn], scored.second[drawn], vocabulary, vocabulary, scored.scores[drawn])


def _once(interactions: Interactions) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Users, items and ratings (float64) of the rows, the last one of each user and item."""
    keys = interactions.users.astype(np.int64) * interactions.num_items + interactions.items
    _, from_end = np.unique(keys[::-1], return_index=True)
    rows = len(keys) - 1 - from_end
    ratings = None if interactions.ratings is None else interactions.ratings[rows].astype(np.float64)
    return interactions.users[rows], interactions.items[rows], ratings


def _matrix(interactions: Interactions, users: np.ndarray, items: np.ndarray, values: np.ndarray) -> Any:
    """Sparse (num_users, num_items) with a value for each user and item."""
    try:
        from scipy.sparse import csr_array
    except ImportError as error:
        raise DatasetError(
            "scoring pairs of items needs scipy, which is not installed. Run: pip install 'slimtable[train]'"
        ) from error
    return csr_array((values, (users, items)), shape=(interactions.num_users, interactions.num_items))


def _entries(matrix: Any, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return np.asarray(matrix.tocsr()[rows, columns]).ravel()
