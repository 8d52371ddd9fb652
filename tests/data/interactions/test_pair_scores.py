"""Scores of pairs against their definitions written out in Python, and the draw of pairs."""

from __future__ import annotations

from itertools import combinations
from math import log, sqrt

import numpy as np
import pytest

from slimtable.data import Interactions
from slimtable.data.interactions.pair_scores import ScoredPairs, sample_pairs, score_by_cosine, score_by_npmi


def rated(num_users=12, num_items=7, seed=0) -> Interactions:
    """Ratings of random items, some of them given twice; item 6 is taken by all and item 5 by one."""
    generator = np.random.default_rng(seed)
    rows = [(user, item) for user in range(num_users) for item in np.flatnonzero(generator.random(5) < 0.6)]
    rows += [(user, 6) for user in range(num_users)] + [(0, 5)] + rows[:5]
    users, items = np.array(rows).T
    ratings = generator.integers(1, 6, len(rows))
    return Interactions(users, items, np.arange(num_users), np.arange(num_items) * 10, ratings)


def slow_npmi(data: Interactions, i: int, j: int) -> float:
    takers = [{u for u, k in zip(data.users, data.items, strict=True) if k == item} for item in (i, j)]
    p_i, p_j, p_ij = (len(users) / data.num_users for users in (*takers, takers[0] & takers[1]))
    if p_ij == 0:
        return -100
    return 100 * log(p_ij / (p_i * p_j)) / -log(p_ij) if p_ij < 1 else 100


def slow_cosine(data: Interactions, i: int, j: int) -> tuple[int, float]:
    """The number of users who rated both, and the cosine (nan where it is undefined)."""
    last = {(u, k): float(r) for u, k, r in zip(data.users, data.items, data.ratings, strict=True)}
    means = {u: np.mean([r for (v, _), r in last.items() if v == u]) for u in range(data.num_users)}
    both = [u for u in range(data.num_users) if (u, i) in last and (u, j) in last]
    a, b = ([last[u, item] - means[u] for u in both] for item in (i, j))
    norm = sqrt(sum(x * x for x in a)) * sqrt(sum(x * x for x in b))
    return len(both), 100 * sum(x * y for x, y in zip(a, b, strict=True)) / norm if norm else float("nan")


def test_npmi_is_that_of_the_definition() -> None:
    data = rated()
    scored = score_by_npmi(data)
    expected = list(combinations(range(7), 2))
    assert list(zip(scored.first.tolist(), scored.second.tolist(), strict=True)) == expected
    np.testing.assert_allclose(scored.scores, [slow_npmi(data, i, j) for i, j in expected], rtol=1e-5, atol=1e-5)
    assert scored.scores.min() == -100  # some pair never meets, or the case is not tested


def test_npmi_of_items_that_everybody_took() -> None:
    data = Interactions.from_raw(np.array([0, 0, 1, 1, 1]), np.array([0, 1, 0, 1, 2]))
    assert score_by_npmi(data).scores.tolist() == pytest.approx([100, 0, 0], abs=1e-5)


@pytest.mark.parametrize("min_raters", [1, 3, 6])
def test_cosine_is_that_of_the_definition(min_raters) -> None:
    data = rated()
    scored = score_by_cosine(data, min_raters)
    found = dict(zip(zip(scored.first.tolist(), scored.second.tolist(), strict=True), scored.scores, strict=True))
    expected = {
        (i, j): cosine
        for i, j in combinations(range(7), 2)
        for raters, cosine in [slow_cosine(data, i, j)]
        if raters >= min_raters and not np.isnan(cosine)
    }
    assert list(found) == list(expected)
    assert 0 < len(found) < 21
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_cosine_of_equal_ratings_is_left_out() -> None:
    """Users who rate everything alike say nothing, whatever rounding makes of their mean."""
    users, items = (side.ravel() for side in np.indices((5, 3)))
    data = Interactions(users, items, np.arange(5), np.arange(3), np.full(15, 3.1, np.float32))
    assert len(score_by_cosine(data, 1).scores) == 0


def test_cosine_needs_ratings() -> None:
    with pytest.raises(ValueError, match="needs ratings"):
        score_by_cosine(Interactions.from_raw(np.array([0]), np.array([1])))
    with pytest.raises(ValueError, match="min_raters"):
        score_by_cosine(rated(), 0)


def everything(counts: list[int]) -> tuple[ScoredPairs, Interactions]:
    """All pairs of items with these counts; the score of a pair is its number."""
    items = np.repeat(np.arange(len(counts)), counts)
    users = np.concatenate([np.arange(count) for count in counts])
    data = Interactions(users, items, np.arange(max(counts)), np.arange(len(counts)) + 100)
    first, second = np.triu_indices(len(counts), 1)
    return ScoredPairs(first, second, np.arange(len(first), dtype=np.float32)), data


def test_pairs_are_drawn_by_a_seed_and_keep_their_scores() -> None:
    scored, data = everything([3, 1, 4, 1, 5, 9, 2, 6])
    drawn = sample_pairs(scored, data, 10, seed=4)
    assert len(drawn) == 10
    assert drawn.item_vocabulary.tolist() == list(range(100, 108))
    for i, j, score in zip(drawn.users, drawn.items, drawn.ratings, strict=True):
        assert (scored.first[int(score)], scored.second[int(score)]) == (i, j)
    assert sample_pairs(scored, data, 10, seed=4).ratings.tolist() == drawn.ratings.tolist()
    assert sample_pairs(scored, data, 10, seed=5).ratings.tolist() != drawn.ratings.tolist()


def test_all_pairs_are_taken_where_there_are_no_more() -> None:
    scored, data = everything([2, 1, 3])
    assert sample_pairs(scored, data, 3).ratings.tolist() == [0, 1, 2]
    assert sample_pairs(scored, data, 99, seed=7).ratings.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="size"):
        sample_pairs(scored, data, 0)


def test_frequent_items_are_drawn_by_the_root_of_their_counts() -> None:
    """The first pair of a draw without replacement is drawn in proportion to the weights."""
    scored, data = everything([1, 4, 9, 16])
    first = [int(sample_pairs(scored, data, 1, seed=seed).ratings[0]) for seed in range(4000)]
    weights = np.array([1 * 2, 1 * 3, 1 * 4, 2 * 3, 2 * 4, 3 * 4])
    shares = np.bincount(first, minlength=6) / 4000
    np.testing.assert_allclose(shares, weights / weights.sum(), atol=0.025)  # more than three standard errors


def test_items_that_nobody_took_come_last() -> None:
    scored, data = everything([2, 1, 3])
    without = Interactions(data.users, np.minimum(data.items, 1), data.user_vocabulary, data.item_vocabulary)
    assert [sample_pairs(scored, without, 1, seed=seed).ratings[0] for seed in range(20)] == [0] * 20
