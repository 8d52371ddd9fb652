"""What guards measure, and how surely."""

from __future__ import annotations

import numpy as np
import pytest

from slimtable.codecs.vectors import Array
from slimtable.compress.guard import NeighbourGuard, TaskGuard, Worst, kept_share
from slimtable.data.interactions.interactions import Interactions
from slimtable.training.metrics import ndcg_at_k, recall_at_k
from tests.compress.worlds import World, make_world


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


def task(world: World, seed: int = 0) -> TaskGuard:
    tables = {"user": Array(world.user), "item": Array(world.item)}
    return TaskGuard(tables, "user", "item", world.split.history("test"), world.split.test, seed)


def noisy(table: np.ndarray, share: float) -> Array:
    noise = np.random.default_rng(5).standard_normal(table.shape)
    return Array((table + share * table.std() * noise).astype(np.float32))


def test_halves_are_of_different_users_and_measures_those_of_the_library(world) -> None:
    guard = task(world)
    seen: set[int] = set()
    for half in ("guard", "report"):
        users = guard._halves[half].queries
        assert not seen & set(users.tolist())
        seen |= set(users.tolist())
        scores = world.user @ world.item.T
        history = world.split.history("test")
        scores[history.users, history.items] = -np.inf
        held = world.split.test
        order = np.argsort(np.argsort(-scores, axis=1), axis=1)
        mine = np.isin(held.users, users)
        ranks, owners = order[held.users, held.items][mine], held.users[mine]
        found = guard.uncompressed(half)
        assert found["recall@20"] == pytest.approx(recall_at_k(ranks, owners, 20))
        assert found["ndcg@20"] == pytest.approx(ndcg_at_k(ranks, owners, 20))
    assert len(seen) == 240
    assert "120 users" in guard.facts.description
    assert set(task(world, seed=1)._halves["guard"].queries) != set(guard._halves["guard"].queries)


def test_noise_is_noticed_and_unchanged_tables_keep_all(world) -> None:
    guard = task(world)
    assert guard.judge({})["recall@20"].share == 1
    assert guard.judge({"item": Array(world.item)})["ndcg@20"].share == 1
    little, much = (guard.judge({"item": noisy(world.item, share)})["recall@20"] for share in (0.02, 2.0))
    assert much.low <= much.share <= much.high < 0.8 < little.low <= little.share
    both = guard.judge({"item": noisy(world.item, 2.0), "user": noisy(world.user, 2.0)}, "report")["recall@20"]
    assert both.share < much.high


@pytest.mark.parametrize(("ranked", "asking"), [("item", "user"), ("item", "item")])
def test_neighbours(world, ranked, asking) -> None:
    tables = {"user": Array(world.user), "item": Array(world.item)}
    guard = NeighbourGuard(tables, ranked, asking)
    assert guard.judge({"item": Array(world.item)})["overlap@100"].share == 1
    little, much = (guard.judge({"item": noisy(world.item, share)})["overlap@100"] for share in (0.05, 1.0))
    assert 0.4 < much.share < much.high < 0.9 < little.low
    of_both = Worst({"a": guard, "b": guard}).judge({"item": noisy(world.item, 1.0)})
    assert of_both["overlap@100"] == much


def test_intervals_shrink_and_hold_the_truth() -> None:
    random = np.random.default_rng(0)
    inside = 0
    for trial in range(40):
        base = random.random(400)
        found = base * np.where(random.random(400) < 0.1, 0, 1)  # 90 % kept on average
        kept = kept_share(found, base, seed=trial)
        inside += kept.low <= 0.9 <= kept.high
    assert inside >= 34
    few, many = (kept_share(np.arange(n) % 3 > 0, np.ones(n)) for n in (60, 6000))
    assert many.high - many.low < 0.2 * (few.high - few.low)
    assert kept_share(np.zeros(3), np.zeros(3)).share == 1


def test_what_cannot_be_judged_is_refused(world) -> None:
    tables = {"user": Array(world.user), "item": Array(world.item)}
    seen, held = world.split.history("test"), world.split.test
    with pytest.raises(ValueError, match="160 items, but their table has 100 rows"):
        TaskGuard({**tables, "item": Array(world.item[:100])}, "user", "item", seen, held)
    with pytest.raises(ValueError, match="16 and 8 wide"):
        TaskGuard({**tables, "item": Array(world.item[:, :8])}, "user", "item", seen, held)
    with pytest.raises(ValueError, match="find no held-out item"):
        TaskGuard({**tables, "item": Array(-world.item)}, "user", "item", seen, held)
    one = Interactions(np.zeros(1, int), np.zeros(1, int), np.arange(240), np.arange(160))
    with pytest.raises(ValueError, match="Only 1 users"):
        TaskGuard(tables, "user", "item", seen, one)
    with pytest.raises(ValueError, match="too small to compare"):
        NeighbourGuard({"item": Array(world.item[:2])}, "item", "item")
