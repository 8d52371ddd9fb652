"""Pairs of items: the same vocabulary through every step, and tables of pairs."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from slimtable.data import Interactions, Pairs, k_core, leave_two_out, order_by_frequency, read_pairs, split
from slimtable.errors import DatasetError

ROWS = [("b", "a", 1.0), ("c", "a", -2.5), ("c", "b", 3.0), ("d", "c", 0.0), ("c", "e", 9.0)]


@pytest.fixture
def pairs() -> Pairs:
    items, others, scores = zip(*ROWS, strict=True)
    return Pairs.from_raw(np.array(items), np.array(others), np.array(scores))


def raw(pairs: Pairs) -> list[tuple]:
    """Rows as (raw item, raw other, score), which do not depend on how ids are numbered."""
    vocabulary = pairs.item_vocabulary
    return list(
        zip(
            vocabulary[pairs.users].tolist(),
            vocabulary[pairs.items].tolist(),
            pairs.ratings.tolist(),
            strict=True,
        )
    )


def test_both_sides_have_one_vocabulary(pairs) -> None:
    assert pairs.item_vocabulary.tolist() == ["a", "b", "c", "d", "e"]
    assert pairs.user_vocabulary is pairs.item_vocabulary
    assert raw(pairs) == ROWS
    assert pairs.item_counts().tolist() == pairs.user_counts().tolist() == [2, 2, 4, 1, 1]


def test_every_step_keeps_the_type_and_the_vocabulary(pairs) -> None:
    order = np.array([4, 2, 0, 1, 3])
    for changed in (
        pairs.select(np.array([3, 1])),
        pairs.empty_like(),
        pairs.reindex(order, order),
        pairs.select(np.arange(3)).compact(),
        pairs.select(np.arange(2)).followed_by(pairs.select(np.arange(2, 5))),
    ):
        assert type(changed) is Pairs
        assert changed.user_vocabulary is changed.item_vocabulary
    assert raw(pairs.select(np.array([3, 1]))) == [ROWS[3], ROWS[1]]
    assert raw(pairs.reindex(order, order)) == ROWS
    assert raw(pairs.select(np.arange(3)).compact()) == ROWS[:3]
    assert pairs.select(np.arange(3)).compact().num_items == 3


def test_frequency_order_numbers_both_sides_alike(pairs) -> None:
    parts = order_by_frequency(split(pairs, "random", fractions=(0.6, 0.2, 0.2)))
    assert (np.diff(parts.train.item_counts()) <= 0).all()
    assert parts.test.user_vocabulary is parts.test.item_vocabulary
    assert sorted(row for part in (parts.train, parts.valid, parts.test) for row in raw(part)) == sorted(ROWS)


def test_pairs_are_held_out_unless_something_else_is_said(pairs) -> None:
    parts = split(pairs)
    assert (len(parts.train), len(parts.valid), len(parts.test)) == (4, 0, 1)
    assert len(split(pairs, "random", fractions=(0.6, 0.2, 0.2)).valid) == 1


def test_what_needs_users_is_refused(pairs) -> None:
    for refused in (pairs.csr, pairs.sequences):
        with pytest.raises(DatasetError, match="no users to recommend for"):
            refused()
    with pytest.raises(ValueError, match="not in time order"):
        leave_two_out(pairs)


def test_core_counts_both_sides(pairs) -> None:
    """d and e have one pair; without theirs, a, b and c have two each, though not on the same side."""
    assert sorted(raw(k_core(pairs, 2))) == sorted(ROWS[:3])


def test_digests_see_the_scores(pairs) -> None:
    other = Pairs.from_raw(np.array([row[0] for row in ROWS]), np.array([row[1] for row in ROWS]), np.arange(5))
    contents = [[array.tobytes() for array in data.content()] for data in (pairs, other)]
    assert contents[0][:3] == contents[1][:3]
    assert contents[0][3] != contents[1][3]
    plain = Interactions(pairs.users, pairs.items, pairs.user_vocabulary, pairs.item_vocabulary, pairs.ratings)
    assert [array.tobytes() for array in plain.content()] == contents[0][:3]


def test_summary_counts_each_pair_once(pairs) -> None:
    summary = json.loads(json.dumps(pairs.summary()))
    assert (summary["items"], summary["pairs"], summary["density_percent"]) == (5, 5, 50)
    assert (summary["per_item_median"], summary["per_item_max"]) == (2, 4)
    assert summary["score_mean"] == pytest.approx(2.1)
    assert summary["score_std"] == pytest.approx(np.std([1, -2.5, 3, 0, 9]))
    assert (summary["score_min"], summary["score_max"]) == (-2.5, 9)
    assert pairs.empty_like().summary()["pairs"] == 0


@pytest.mark.parametrize(
    ("items", "others", "message"),
    [
        (["a", "b"], ["b", "b"], r"row 2 pairs item 'b' with itself"),
        (["a", "c", "a"], ["b", "a", "b"], r"rows 1 and 3 both pair items 'a' and 'b'"),
        (["a", "c", "b"], ["b", "a", "a"], r"rows 1 and 3 both pair items 'a' and 'b'"),
        ([], [], r"holds no pairs"),
    ],
)
def test_impossible_pairs_are_refused(items, others, message) -> None:
    with pytest.raises(DatasetError, match=message):
        Pairs.from_raw(np.array(items, np.str_), np.array(others, np.str_), np.ones(len(items)))


def test_impossible_arguments_are_refused(pairs) -> None:
    with pytest.raises(ValueError, match="equal length"):
        Pairs.from_raw(np.array([1, 2]), np.array([3]), np.array([1.0]))
    with pytest.raises(TypeError, match="both be integers or both strings"):
        Pairs.from_raw(np.array([1, 2]), np.array(["1", "3"]), np.ones(2))
    with pytest.raises(TypeError, match="one type"):
        Pairs.from_raw(pl.Series([1, 2]), pl.Series(["1", "3"]), np.ones(2))
    with pytest.raises(ValueError, match="finite"):
        Pairs.from_raw(np.array([1, 2]), np.array([2, 3]), np.array([1.0, np.nan]))
    with pytest.raises(ValueError, match="every pair must have one"):
        Pairs(np.array([0]), np.array([1]), np.arange(2), np.arange(2))
    with pytest.raises(ValueError, match="the same vocabulary"):
        Pairs(np.array([0]), np.array([1]), np.arange(2), np.arange(1, 3), np.ones(1))
    with pytest.raises(ValueError, match="the same vocabulary"):
        pairs.reindex(np.arange(5), np.arange(5)[::-1])


@pytest.mark.parametrize("header", ["item,other,score", "item1,Item2,rating", "movieId,other_id,similarity"])
def test_usual_columns_are_recognised(write, header) -> None:
    assert raw(read_pairs(write(f"{header}\n" + "".join(f"{a},{b},{s}\n" for a, b, s in ROWS)))) == ROWS


def test_tables_of_every_kind(write, tmp_path) -> None:
    columns = {"item": "left", "other": "right", "score": "how"}
    frame = pl.DataFrame(ROWS, schema=["left", "right", "how"], orient="row")
    frame.write_parquet(tmp_path / "pairs")
    assert raw(read_pairs(tmp_path / "pairs", columns)) == ROWS
    text = "left\thow\tright\n" + "".join(f"{a}\t{s}\t{b}\n" for a, b, s in ROWS)
    assert raw(read_pairs(write(text), columns)) == ROWS
    by_position = write("7,9,5\n9,8,-1\n")
    read = read_pairs(by_position, {"item": 0, "other": 1, "score": 2})
    assert raw(read) == [(7, 9, 5), (9, 8, -1)]
    assert read.item_vocabulary.dtype == np.int64


def test_ids_are_read_alike_on_both_sides(write, tmp_path) -> None:
    """7 is a text where any id of either side is one."""
    read = read_pairs(write("item,other,score\n7,8,1\n8,007,2\n"))
    assert read.item_vocabulary.tolist() == ["007", "7", "8"]
    pl.DataFrame({"item": [1], "other": ["2"], "score": [1.0]}).write_parquet(tmp_path / "mixed")
    with pytest.raises(DatasetError, match=r"item are Int64, of other String"):
        read_pairs(tmp_path / "mixed")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("item,other\n1,2\n", r"looks like the score.*item, other.*--column score=NAME"),
        ("item,other,score\n1,2,3\n\n2,,4\n", r"line 4: no other id"),
        ("item,other,score\n1,2,\n", r"line 2: no score \(1 such rows\)\. Give every row one"),
        ("item,other,score\n1,2,much\n", r"line 2: the score 'much' is not a score"),
        ("item,other,score\n1,2,3\n2,1,3\n", r"data\.bin: rows 1 and 2 both pair items 1 and 2"),
        ("item,other,score\n", r"holds no pairs"),
        ("1 2\n3 4\n", r"looks like format 'sasrec'.*'score': 2"),
    ],
)
def test_malformed_tables_are_refused(write, text, message) -> None:
    with pytest.raises(DatasetError, match=message):
        read_pairs(write(text))


def test_unknown_roles_are_refused(write) -> None:
    path = write("item,other,score\n1,2,3\n")
    assert len(read_pairs(path, {"item": "item", "other": "other"})) == 1  # the score is found
    with pytest.raises(ValueError, match=r"must map item and other and score, got"):
        read_pairs(path, {"item": "item", "other": "other", "score": "score", "time": "score"})
