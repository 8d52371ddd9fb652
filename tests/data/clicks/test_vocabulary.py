"""Vocabularies: ids in the order of admission, for ever, whatever the chunks."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimtable.artifact.vocabulary import Strings
from slimtable.data.clicks.raw import RawClicks, RawField
from slimtable.data.clicks.schema import Field, Schema
from slimtable.data.clicks.vocabulary import OOV, FieldVocabulary, Vocabularies
from slimtable.errors import DatasetError


def in_plain_words(values: list, min_count: int) -> list:
    """The values of ids 1, 2, … by a dictionary."""
    counts: dict = {}
    admitted = []
    for value in values:
        if value != "":
            counts[value] = counts.get(value, 0) + 1
            if counts[value] == min_count:
                admitted.append(value)
    return admitted


def field(values: list) -> RawField:
    return RawField.from_values(np.array(values, np.int64) if values and isinstance(values[0], int) else values)


def same(left: FieldVocabulary, right: FieldVocabulary) -> bool:
    ours, theirs = left.arrays(), right.arrays()
    return all(np.array_equal(ours[part], theirs[part]) for part in ours) and len(left) == len(right)


@given(
    st.lists(st.sampled_from(["", "a", "b", "aa", "ab", "ü", "a" * 9, "a" * 8 + "b", OOV]))
    | st.lists(st.integers(-3, 3)),
    st.integers(1, 3),
    st.lists(st.integers(0, 30)),
    st.sampled_from([64, 2, 0]),
)
def test_ids_are_those_of_a_dictionary_whatever_the_chunks_and_the_hash(values, min_count, cuts, hash_bits):
    vocabulary, whole = FieldVocabulary("x", min_count), FieldVocabulary("x", min_count)
    vocabulary._hash_bits = whole._hash_bits = hash_bits  # with 2 bits or none, all values clash
    bounds = [0, *sorted(min(cut, len(values)) for cut in cuts), len(values)]
    for start, stop in pairwise(bounds):
        vocabulary.count(field(values[start:stop]))
    whole.count(field(values))
    admitted = in_plain_words(values, min_count)
    assert list(vocabulary.values()) == admitted
    assert len(vocabulary) == 1 + len(admitted)
    assert vocabulary.encode(field(values)).tolist() == [
        admitted.index(value) + 1 if value in admitted else 0 for value in values
    ]
    assert vocabulary.counts().tolist() == [0, *(values.count(value) for value in admitted)]
    assert same(vocabulary, whole)


def test_an_id_keeps_its_value_as_the_vocabulary_grows():
    generator = np.random.default_rng(0)
    vocabulary = FieldVocabulary("x", 2)
    values: list = []
    for _ in range(20):
        vocabulary.count(RawField.from_values(generator.integers(0, 4000, 1000)))
        now = vocabulary.values().tolist()
        assert now[: len(values)] == values
        assert vocabulary.encode(RawField.from_values(np.array(now))).tolist() == list(range(1, len(now) + 1))
        values = now
    assert len(values) > 3000


def test_a_count_goes_on_over_chunks():
    vocabulary = FieldVocabulary("x", 3)
    for _ in range(2):
        vocabulary.count(field(["a", "b", "a", ""]))
    assert vocabulary.encode(field(["a", "b", "c", ""])).tolist() == [1, 0, 0, 0]
    vocabulary.count(field(["b"]))
    assert vocabulary.encode(field(["a", "b", "c", ""])).tolist() == [1, 2, 0, 0]


def test_missing_integers_are_out_of_vocabulary():
    values = RawField(np.array([0, 7, 0]), np.array([False, True, True]))
    vocabulary = FieldVocabulary("x")
    vocabulary.count(values)
    assert vocabulary.encode(values).tolist() == [0, 1, 2]
    assert vocabulary.values().tolist() == [7, 0]


def test_more_values_than_are_worked_on_at_once(monkeypatch):
    monkeypatch.setattr("slimtable.data.clicks.vocabulary._ROWS_AT_ONCE", 7)
    values = [str(i % 23) for i in range(100)]
    vocabulary = FieldVocabulary("x")
    vocabulary.count(field(values))
    assert vocabulary.encode(field(values)).tolist() == [i % 23 + 1 for i in range(100)]


def test_texts_and_integers_do_not_mix():
    vocabulary = FieldVocabulary("user")
    vocabulary.count(field(["7"]))
    for call in (vocabulary.count, vocabulary.encode):
        with pytest.raises(DatasetError, match="field 'user' held texts before and now holds integers"):
            call(field([7]))


def clicks(*rows: tuple[str, int, list[str]]) -> RawClicks:
    offsets = np.concatenate([[0], np.cumsum([len(row[2]) for row in rows])]).astype(np.int64)
    several = RawField.from_values([value for row in rows for value in row[2]], offsets)
    fields = (field([row[0] for row in rows]), field([row[1] for row in rows]), several)
    return RawClicks(np.ones(len(rows), np.float32), np.zeros((len(rows), 1), np.float32), fields)


SCHEMA = Schema(label="y", fields=(Field(name="a", min_count=2), Field(name="b"), Field(name="c", separator="|")))


def test_all_fields_together():
    vocabularies = Vocabularies.from_schema(SCHEMA)
    raw = clicks(("x", 5, ["p", "q"]), ("y", 5, []), ("x", 6, ["q"]))
    vocabularies.count(raw)
    assert vocabularies.sizes == {"a": 2, "b": 3, "c": 3}
    encoded = vocabularies.encode(raw)
    assert encoded.ids[0].tolist() == [1, 0, 1]
    assert encoded.ids[1].tolist() == [1, 1, 2]
    assert (encoded.ids[2].values.tolist(), encoded.ids[2].offsets.tolist()) == ([1, 2, 2], [0, 2, 2, 3])
    known = encoded.with_known({"a": 1, "b": 2, "c": 2})
    assert known.ids[1].tolist() == [1, 1, 0]
    assert known.ids[2].values.tolist() == [1, 0, 0]


def test_a_file_brings_everything_back_and_equal_states_give_equal_bytes(tmp_path):
    first, second = Vocabularies.from_schema(SCHEMA), Vocabularies.from_schema(SCHEMA)
    for vocabularies in (first, second):
        vocabularies.count(clicks(("x", -5, ["p", "ü"]), ("y", 7, [])))
    first.save(tmp_path / "first")
    second.save(tmp_path / "second")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    loaded = Vocabularies.load(tmp_path / "first")
    for vocabularies in (first, loaded):
        vocabularies.count(clicks(("y", 7, ["ü", "r"]), ("x", 8, [])))  # pending counts were kept
    assert loaded.sizes == {"a": 3, "b": 4, "c": 4}
    assert all(same(loaded[name], first[name]) for name in "abc")
    assert list(loaded["a"].values()) == ["y", "x"]
    assert isinstance(loaded["c"].values(), Strings)


def test_empty_vocabularies_are_kept_too(tmp_path):
    Vocabularies.from_schema(SCHEMA).save(tmp_path / "file")
    loaded = Vocabularies.load(tmp_path / "file")
    loaded.count(clicks(("x", 1, [])))
    assert loaded.sizes == {"a": 1, "b": 2, "c": 1}


def test_what_is_no_vocabulary_file(tmp_path, write):
    with pytest.raises(DatasetError, match="cannot read"):
        Vocabularies.load(tmp_path / "none")
    with pytest.raises(DatasetError, match="does not hold the vocabularies"):
        Vocabularies.load(write(b"not at all a safetensors file"))
    vocabularies = Vocabularies.from_schema(SCHEMA)
    vocabularies.count(clicks(("x", 1, ["p"]), ("x", 2, [])))
    vocabularies["b"]._ids[0] = 2  # two values of one id
    vocabularies.save(tmp_path / "file")
    with pytest.raises(DatasetError, match="the ids of field 'b' are not 1, 2"):
        Vocabularies.load(tmp_path / "file")
