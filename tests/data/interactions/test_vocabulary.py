import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimtable.data.interactions.vocabulary import encode


@given(st.lists(st.integers(-(2**62), 2**62) | st.integers(-50, 50)))
def test_integers_get_ids_by_value(raw):
    ids, vocabulary = encode(np.array(raw, dtype=np.int64))
    assert vocabulary.tolist() == sorted(set(raw))
    assert vocabulary[ids].tolist() == raw
    assert ids.dtype == np.int32
    assert vocabulary.dtype == np.int64


def test_far_apart_integers_take_no_memory_for_the_gap():
    ids, vocabulary = encode(np.array([2**62, -(2**62), 2**62]))
    assert ids.tolist() == [1, 0, 1]
    assert vocabulary.tolist() == [-(2**62), 2**62]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00")), min_size=1))
def test_strings_get_the_same_ids_from_numpy_and_polars(raw):
    ids, vocabulary = encode(np.array(raw, dtype=np.str_))
    series_ids, series_vocabulary = encode(pl.Series(raw))
    assert vocabulary.tolist() == series_vocabulary.tolist() == sorted(set(raw))
    assert ids.tolist() == series_ids.tolist()
    assert vocabulary[ids].tolist() == raw


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint32, np.uint64])
def test_every_integer_type_is_read(dtype):
    ids, vocabulary = encode(np.array([7, 3, 7], dtype=dtype))
    assert (ids.tolist(), vocabulary.tolist()) == ([1, 0, 1], [3, 7])


def test_integer_series_and_object_strings_are_read():
    assert encode(pl.Series([7, 3]))[1].tolist() == [3, 7]
    assert encode(np.array(["b", "a"], dtype=object))[1].tolist() == ["a", "b"]


@pytest.mark.parametrize(
    "raw",
    [
        np.array([1.0, 2.0]),
        np.array([True]),
        np.array([1, "a"], dtype=object),
        np.array([2**63], dtype=np.uint64),
    ],
)
def test_other_types_are_refused(raw):
    with pytest.raises(TypeError, match="Cast the column"):
        encode(raw)
