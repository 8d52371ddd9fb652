"""Several tables within one budget, or down to a quality."""

from __future__ import annotations

import numpy as np
import pytest

from slimtable.artifact.file import write_artifact
from slimtable.artifact.layouts import decode
from slimtable.compress import Compressed, Input, compress_tables, guard_of, make_inputs
from slimtable.compress.inputs import numbered_as_rows, side_of
from slimtable.compress.plans import Planner, top_share
from slimtable.data.interactions.interactions import Interactions
from slimtable.embeddings.base import get_config
from slimtable.errors import BudgetError
from tests.compress.worlds import World, make_world


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(num_users=900, num_items=600)


def inputs(world: World) -> list[Input]:
    return make_inputs({"user": world.user, "item": world.item}, seen=world.split.history("test"))


def file_size(result: Compressed, tmp_path, model=None) -> int:
    return write_artifact(tmp_path / "file", result.tables, model=model)


@pytest.mark.parametrize("budget", ["2x", "3x", "4x", "5x", "6x", "8x", "10x", "14x", "5%", "6000B"])
def test_files_never_exceed_the_budget(world, tmp_path, budget) -> None:
    tables = inputs(world)
    result = compress_tables(tables, budget, model={"about": "a test"})
    dense = sum(table.dense_bits for table in tables) / 8
    limit = {"5%": dense / 20, "6000B": 6000}.get(budget) or dense / float(budget[:-1])
    size = file_size(result, tmp_path, {"about": "a test"})
    assert size <= limit
    assert size == pytest.approx(result.bytes, abs=7000)
    assert list(result.tables) == ["user", "item"]
    assert f"{budget} are {int(limit):,} bytes" in result.reasons[0]
    # Headers of 1 to 6 kB, by method, are a large part of files as small as these.
    assert size >= 0.85 * limit - 1024


def test_the_best_candidate_of_the_guard_is_chosen(world) -> None:
    tables = inputs(world)
    guard = guard_of(tables, world.split)
    lines: list[str] = []
    result = compress_tables(tables, "7x", guard=guard, progress=lines.append)
    assert len(lines) == len(result.candidates) >= 3
    (chosen,) = (candidate for candidate in result.candidates if candidate.chosen)
    assert chosen.kept["recall@20"].share == max(each.kept["recall@20"].share for each in result.candidates)
    assert chosen.bytes == pytest.approx(result.bytes, abs=8)
    assert 0.5 < result.report["recall@20"].share < 1.1
    assert result.report != chosen.kept
    assert "recall@20" in result.reasons[-1]
    assert result.guard.kind == "task"
    facts = result.to_dict()
    assert {"guard", "report", "candidates", "reasons", "ledger", "bytes"} <= set(facts)


def test_down_to_a_quality(world) -> None:
    tables = inputs(world)
    guard = guard_of(tables, world.split)
    strict, loose = (compress_tables(tables, max_drop=drop, guard=guard) for drop in (0.03, 0.2))
    assert loose.bytes < strict.bytes
    for result, least in ((strict, 0.97), (loose, 0.8)):
        (chosen,) = (candidate for candidate in result.candidates if candidate.chosen)
        assert chosen.kept["recall@20"].low >= least
        # Nothing smaller that was tried kept enough.
        smaller = [each for each in result.candidates if each.bytes < chosen.bytes]
        assert all(each.kept["recall@20"].low < least for each in smaller)
        assert len(result.candidates) <= 9
    with pytest.raises(BudgetError, match="the guard is only sure that"):
        compress_tables(tables, max_drop=1e-6, guard=guard)


def test_small_tables_keep_eight_bits(world) -> None:
    random = np.random.default_rng(0)
    small = random.standard_normal((10, 16)).astype(np.float32)
    tables = [*inputs(world), Input("country", small)]
    result = compress_tables(tables, "10x")
    assert np.abs(decode(result.tables["country"], np.arange(10)) - small).max() < 0.03
    assert result.tables["item"].nbytes < world.item.nbytes / 5


def test_impossible_budgets_name_the_smallest_possible(world, tmp_path) -> None:
    tables = inputs(world)
    with pytest.raises(BudgetError, match=r"budget of 900x is too small. The smallest possible is [\d,]+B") as error:
        compress_tables(tables, "900x")
    smallest = str(error.value).split(" is ")[2].split("B,")[0].replace(",", "") + "B"
    result = compress_tables(tables, smallest)
    assert file_size(result, tmp_path) <= int(smallest[:-1])


class Stubborn:
    """A policy whose first guess cannot code the values of any table."""

    def __init__(self, *guesses: str) -> None:
        self.guesses = guesses

    def candidates(self, num_embeddings, embedding_dim, bits, facts=None, frequencies=None):
        found = [get_config("uniform", {"bits": 4}) if each == "uniform" else get_config(each) for each in self.guesses]
        return [config for config in found if config.table_bits(num_embeddings, embedding_dim) <= bits]

    def smallest_bits(self, num_embeddings, embedding_dim):
        return 1


def test_what_cannot_code_the_values_is_passed_over_and_named(world) -> None:
    signed = Input("item", world.item)
    result = compress_tables([signed], "1x", policy=Stubborn("nmf", "uniform"))
    assert result.tables["item"].method == "uniform"
    assert any("guess 1 cannot be used" in reason for reason in result.reasons)
    with pytest.raises(ValueError, match="NaN"):
        compress_tables([Input("item", np.full((500, 16), np.nan))], "7x")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either a budget"),
        ({"budget": "4x", "max_drop": 0.1}, "either a budget"),
        ({"max_drop": 0.1}, "needs a guard"),
        ({"budget": "4 rows"}, "not a budget"),
    ],
)
def test_what_contradicts_itself_is_refused(world, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        compress_tables(inputs(world), **options)


def test_same_seed_same_bytes(world) -> None:
    first, second = (compress_tables(inputs(world), "9x") for _ in range(2))
    for name, packed in first.tables.items():
        for key, array in packed.arrays.items():
            np.testing.assert_array_equal(array, second.tables[name].arrays[key])


def test_tilts_move_bits_between_sides(world) -> None:
    planner = Planner({table.name: table for table in inputs(world)}, get_config("auto"))
    bits = planner.dense_bits / 12
    plain, tilted = planner.plan(bits), planner.plan(bits, tilt=0.7)
    assert tilted.bits["user"] > plain.bits["user"]
    assert tilted.bits["item"] < plain.bits["item"]
    assert max(plain.total, tilted.total) <= bits


def test_names_tell_sides_and_interactions_count_ids(world) -> None:
    assert [side_of(name) for name in ("user.weight", "query_tower", "item", "table")] == [
        "user",
        "user",
        "item",
        "item",
    ]
    user, item = inputs(world)
    assert (user.side, item.side) == ("user", "item")
    assert item.frequencies is not None
    assert item.frequencies.sum() == len(world.split.history("test"))
    assert top_share(np.array([8, 1, 1, 0, 0, 0, 0, 0, 0, 0])) == 0.8
    with pytest.raises(ValueError, match="frequencies names nobody"):
        make_inputs({"item": world.item}, frequencies={"nobody": np.ones(3)})


def test_guards_follow_from_what_there_is(world) -> None:
    user, item = inputs(world)
    assert guard_of([item], world.split, [user]).facts.kind == "task"
    assert guard_of([user], world.split, [item]).facts.kind == "task"
    assert "sampled rows of user" in guard_of([user, item]).facts.description
    assert "sampled rows of user" in guard_of([user], kept=[item]).facts.description
    assert "rows of the table" in guard_of([item]).facts.description
    assert "worst table of 2" in guard_of([item, Input("other", world.item[:, :8])]).facts.description
    with pytest.raises(ValueError, match="one table of users and one of items"):
        guard_of([item], world.split)


def test_raw_ids_are_row_numbers_where_counts_differ() -> None:
    raw = Interactions.from_raw(np.array([1, 1, 3]), np.array([5, 2, 2]))
    found = numbered_as_rows(raw, 4, 6)
    assert (found.users.tolist(), found.items.tolist(), found.num_users, found.num_items) == (
        [1, 1, 3],
        [5, 2, 2],
        4,
        6,
    )
    same = numbered_as_rows(raw, 2, 2)
    assert same.users.tolist() == [0, 0, 1]
    with pytest.raises(ValueError, match="2 items, but their table has 4 rows"):
        numbered_as_rows(raw, 4, 4)
    words = Interactions.from_raw(np.array(["a", "b"]), np.array(["x", "y"]))
    with pytest.raises(ValueError, match="raw ids are not row numbers"):
        numbered_as_rows(words, 3, 2)
