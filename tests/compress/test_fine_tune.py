"""Fine-tuning of codebooks with codes fixed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from slimtable.artifact.layouts import validate
from slimtable.codecs.vectors import Array, Vectors
from slimtable.compress import compress_table
from slimtable.compress.fine_tune import FineTuneConfig, fine_tune
from slimtable.compress.guard import Guard, Half, TaskGuard
from slimtable.compress.result import GuardFacts, Kept
from slimtable.embeddings.base import get_config
from tests.compress.worlds import World, make_world

COARSE = [("dpq", {"num_codebooks": 2, "codebook_size": 8}), ("saec", {"num_rows": 24, "stages": 2, "row_bits": 16})]


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


class Scripted(Guard):
    """A guard that says what it is told."""

    def __init__(self, *shares: float) -> None:
        self.shares = list(shares)

    @property
    def facts(self) -> GuardFacts:
        return GuardFacts("task", ("recall@20",), 1, "")

    def judge(self, tables: Mapping[str, Vectors], half: Half = "guard") -> dict[str, Kept]:
        share = self.shares.pop(0)
        return {"recall@20": Kept(share, share, share)}


def divergence(world: World, item: np.ndarray) -> float:
    """Mean Kullback–Leibler divergence of each user's distribution over all items."""
    teacher, student = (world.user @ table.T / 2 for table in (world.item, item))
    log_p, log_q = (scores - np.logaddexp.reduce(scores, axis=1)[:, None] for scores in (teacher, student))
    return float((np.exp(log_p) * (log_p - log_q)).sum(axis=1).mean())


@pytest.mark.parametrize(("method", "options"), COARSE, ids=lambda value: str(value)[:8])
def test_scores_come_closer_and_codes_stay(world, method, options) -> None:
    from slimtable.artifact.layouts import decode

    packed = compress_table(world.item, get_config(method, options))
    tables = {"user": Array(world.user), "item": Array(world.item)}
    result = fine_tune({"item": packed}, tables, "user", "item", Scripted(0.5, 0.5), config=FineTuneConfig(steps=100))
    assert result.kept
    tuned = result.tables["item"]
    validate(tuned)
    changed = [name for name in packed.arrays if not np.array_equal(packed.arrays[name], tuned.arrays[name])]
    assert changed
    assert all(packed.arrays[name].dtype == tuned.arrays[name].dtype for name in changed)
    assert not any("codes" in name or "map" in name for name in changed)
    assert tuned.nbytes == packed.nbytes
    before, after = (divergence(world, decode(one, np.arange(len(world.item)))) for one in (packed, tuned))
    assert after < 0.97 * before


def test_what_makes_the_guard_fall_is_not_kept(world) -> None:
    packed = compress_table(world.item, get_config(*COARSE[0]))
    tables = {"user": Array(world.user), "item": Array(world.item)}
    config = FineTuneConfig(steps=2)
    result = fine_tune({"item": packed}, tables, "user", "item", Scripted(0.5, 0.49), config=config)
    assert not result.kept
    assert result.tables["item"] is packed
    guard = TaskGuard(tables, "user", "item", world.split.history("test"), world.split.test)
    both = {"item": packed, "user": compress_table(world.user, get_config(*COARSE[0]))}
    result = fine_tune(both, tables, "user", "item", guard, config=config)
    shares = [kept["recall@20"].share for kept in (result.before, result.after)]
    assert result.kept == (shares[1] >= shares[0])


def test_nothing_to_train(world) -> None:
    packed = compress_table(world.item, get_config("uniform"))
    with pytest.raises(ValueError, match="nothing to fine-tune"):
        fine_tune({"item": packed}, {}, "user", "item", Scripted())
