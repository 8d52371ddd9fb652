"""Ranks among all rows, found block by block."""

from __future__ import annotations

import numpy as np
import pytest

from slimtable.codecs.vectors import Array
from slimtable.compress import ranking
from slimtable.compress.ranking import Lists, nearest, rank_of


def lists(*ids: list[int]) -> Lists:
    starts = np.cumsum([0, *(len(each) for each in ids)])
    return Lists(starts, np.array([one for each in ids for one in each], np.int64))


def ranks_by_sorting(queries: np.ndarray, table: np.ndarray, targets: Lists, hidden: Lists) -> list[float]:
    scores, found = queries.astype(np.float64) @ table.astype(np.float64).T, []
    for q, (low, high) in enumerate(zip(targets.starts[:-1], targets.starts[1:], strict=True)):
        out = set(hidden.ids[hidden.starts[q] : hidden.starts[q + 1]].tolist())
        for target in targets.ids[low:high].tolist():
            others = [scores[q, i] for i in range(len(table)) if i != target and i not in out]
            mine = scores[q, target]
            found.append(sum(s > mine for s in others) + 0.5 * sum(s == mine for s in others))
    return found


@pytest.fixture(params=[(3, 7), (1 << 13, 128)], ids=["small blocks", "one block"])
def blocks(request, monkeypatch) -> None:
    monkeypatch.setattr(ranking, "_ROWS_AT_A_TIME", request.param[0])
    monkeypatch.setattr(ranking, "_QUERIES_AT_A_TIME", request.param[1])


@pytest.mark.usefixtures("blocks")
def test_ranks_are_those_of_sorting() -> None:
    random = np.random.default_rng(0)
    queries = random.integers(-3, 4, (20, 5)).astype(np.float32)
    table = random.integers(-2, 3, (50, 5)).astype(np.float32)  # whole numbers: many equal scores, all exact
    targets = lists(*(sorted(random.choice(50, size, replace=False).tolist()) for size in random.integers(0, 6, 20)))
    hidden = lists(*(sorted(random.choice(50, size, replace=False).tolist()) for size in random.integers(0, 9, 20)))
    assert rank_of(queries, Array(table), targets, hidden).tolist() == ranks_by_sorting(queries, table, targets, hidden)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("limit", [1, 7, 30])
def test_ranks_below_a_limit_are_exact(limit, monkeypatch) -> None:
    monkeypatch.setattr(ranking, "_SCORES_AT_A_TIME", 4)
    random = np.random.default_rng(3)
    queries, table = (random.integers(-3, 4, (size, 5)).astype(np.float32) for size in (20, 50))
    targets = lists(*(sorted(random.choice(50, 5, replace=False).tolist()) for _ in range(20)))
    hidden = lists(*(sorted(random.choice(50, size, replace=False).tolist()) for size in random.integers(0, 9, 20)))
    exact = np.array(ranks_by_sorting(queries, table, targets, hidden))
    found = rank_of(queries, Array(table), targets, hidden, limit)
    assert (found[exact < limit] == exact[exact < limit]).all()
    assert (found[exact >= limit] >= limit).all()


def test_equal_rows_share_their_ranks_although_float32_may_differ() -> None:
    random = np.random.default_rng(1)
    table = np.repeat(random.standard_normal((1, 64)).astype(np.float32), 40, axis=0)
    queries = random.standard_normal((9, 64)).astype(np.float32)
    ranks = rank_of(queries, Array(table), lists(*([[3, 20]] * 9)), lists(*([[]] * 9)))
    assert set(ranks.tolist()) == {19.5}


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("own", [False, True])
def test_nearest_are_those_of_sorting(own) -> None:
    random = np.random.default_rng(2)
    table = random.standard_normal((90, 6)).astype(np.float32)
    ids = np.array([0, 4, 33, 89])
    scores = table[ids].astype(np.float64) @ table.astype(np.float64).T
    if own:
        scores[np.arange(4), ids] = -np.inf
    found = nearest(table[ids], Array(table), 5, ids if own else None)
    assert found.ids.reshape(4, 5).tolist() == np.sort(np.argsort(-scores, axis=1)[:, :5], axis=1).tolist()
