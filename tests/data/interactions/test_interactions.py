import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimtable.data import Interactions, frequency_order
from slimtable.errors import DatasetError

rows_strategy = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=60)


def make(rows, **options):
    users, items = np.array(rows).T
    return Interactions.from_raw(users, items, **options)


def test_ids_are_dense_int32_and_raw_ids_are_kept():
    data = Interactions.from_raw(np.array([70, 5, 70]), np.array(["x", "y", "y"]), np.array([1.0, 2.0, 3.0]))
    assert data.users.tolist() == [1, 0, 1]
    assert data.user_vocabulary.tolist() == [5, 70]
    assert data.item_vocabulary.tolist() == ["x", "y"]
    assert (data.users.dtype, data.items.dtype, data.ratings.dtype) == (np.int32, np.int32, np.float32)
    assert (data.num_users, data.num_items, len(data)) == (2, 2, 3)


def test_ids_do_not_depend_on_row_order():
    users, items = np.array([3, 1, 2, 1]), np.array([9, 9, 8, 7])
    there = Interactions.from_raw(users, items)
    back = Interactions.from_raw(users[::-1], items[::-1])
    assert back.users[::-1].tolist() == there.users.tolist()
    assert back.item_vocabulary.tolist() == there.item_vocabulary.tolist()


def test_no_rows_are_an_error_for_a_source_but_not_for_a_part(tiny):
    with pytest.raises(DatasetError, match="no interactions"):
        Interactions.from_raw(np.zeros(0, np.int64), np.zeros(0, np.int64))
    part = tiny.empty_like()
    assert len(part) == 0
    assert (part.num_users, part.num_items) == (tiny.num_users, tiny.num_items)
    assert part.csr()[0].tolist() == [0, 0, 0, 0]
    assert part.summary()["interactions"] == 0


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"items": np.array([0])}, ValueError, "shape"),
        ({"users": np.array([0, 2])}, ValueError, r"0\.\.1"),
        ({"users": np.array([-1, 0])}, ValueError, r"0\.\.1"),
        ({"users": np.array([0.0, 1.0])}, TypeError, "integers"),
        ({"ratings": np.array([1.0])}, ValueError, "one value per row"),
        ({"times": np.array([1, 2, 3])}, ValueError, "one value per row"),
        ({"ratings": np.array([1.0, np.nan])}, ValueError, "finite.*row 1"),
        ({"ratings": np.array([np.inf, 1.0])}, ValueError, "finite.*row 0"),
    ],
)
def test_bad_arrays_are_refused(changes, error, message):
    good = {"users": np.array([0, 1]), "items": np.array([1, 0])}
    vocabulary = {"user_vocabulary": np.array([4, 5]), "item_vocabulary": np.array([6, 7])}
    with pytest.raises(error, match=message):
        Interactions(**{**good, **vocabulary, **changes})


def test_from_raw_refuses_unequal_lengths():
    with pytest.raises(ValueError, match="equal length"):
        Interactions.from_raw(np.array([1, 2]), np.array([1]))


def test_order_is_found_from_times():
    users, items = np.array([1, 2, 1]), np.array([1, 1, 2])
    assert Interactions.from_raw(users, items, times=np.array([5, 1, 5])).chronological
    assert not Interactions.from_raw(users, items, times=np.array([5, 9, 4])).chronological
    with pytest.raises(ValueError, match="decrease"):
        Interactions.from_raw(users, items, times=np.array([5, 9, 4]), chronological=True)


def test_in_time_order_sorts_stably_and_refuses_data_without_order():
    data = Interactions.from_raw(np.array([1, 1, 1]), np.array([7, 8, 9]), times=np.array([3, 1, 3]))
    ordered = data.in_time_order()
    assert ordered.chronological
    assert ordered.item_vocabulary[ordered.items].tolist() == [8, 7, 9]
    assert ordered.in_time_order() is ordered
    with pytest.raises(ValueError, match="no times"):
        Interactions.from_raw(np.array([1]), np.array([1])).in_time_order()


def test_select_keeps_order_only_where_it_holds(tiny):
    mask = np.arange(len(tiny)) % 2 == 0
    assert tiny.select(mask).chronological
    assert tiny.select(mask).times.tolist() == tiny.times[mask].tolist()
    assert tiny.select(np.array([0, 4, 5])).chronological
    assert not tiny.select(np.array([5, 0])).chronological
    with pytest.raises(IndexError):
        tiny.select(np.array([99]))
    with pytest.raises(IndexError):
        tiny.select(np.array([True]))


@given(rows_strategy)
def test_csr_lists_the_sorted_items_of_each_user(rows):
    data = make(rows)
    indptr, items = data.csr()
    assert (indptr.dtype, items.dtype) == (np.int64, np.int32)
    for user in range(data.num_users):
        assert items[indptr[user] : indptr[user + 1]].tolist() == sorted(data.items[data.users == user].tolist())


@given(rows_strategy, st.randoms())
def test_reindexed_rows_mean_the_same(rows, random):
    data = make(rows)
    user_order, item_order = list(range(data.num_users)), list(range(data.num_items))
    random.shuffle(user_order)
    random.shuffle(item_order)
    new = data.reindex(np.array(user_order), np.array(item_order))
    assert (new.user_vocabulary[new.users] == data.user_vocabulary[data.users]).all()
    assert (new.item_vocabulary[new.items] == data.item_vocabulary[data.items]).all()
    assert new.user_vocabulary[0] == data.user_vocabulary[user_order[0]]


@pytest.mark.parametrize("order", [[0, 1], [0, 1, 1], [0, 1, 3], [0, 1, 2, 3], [-1, 0, 1]])
def test_reindex_refuses_what_is_no_permutation(tiny, order):
    with pytest.raises(ValueError, match="permutation"):
        tiny.reindex(np.array(order), np.arange(tiny.num_items))


def test_compact_drops_unused_ids(tiny):
    part = tiny.select(tiny.users == 1).compact()
    assert part.user_vocabulary.tolist() == [20]
    assert part.item_vocabulary.tolist() == [2, 3, 4]
    assert part.items.tolist() == [0, 1, 2]


def test_counts_include_ids_without_rows(tiny):
    part = tiny.select(tiny.users == 0)
    assert part.user_counts().tolist() == [4, 0, 0]
    assert part.item_counts().tolist() == [1, 1, 1, 1]


def test_frequency_order_is_descending_and_stable():
    assert frequency_order(np.array([2, 5, 2, 0, 5])).tolist() == [1, 4, 0, 2, 3]
    assert frequency_order(np.array([1, 2], dtype=np.uint8)).tolist() == [1, 0]


def test_summary_is_json_and_right(tiny):
    summary = json.loads(json.dumps(tiny.summary()))
    assert summary["density_percent"] == 75
    assert (summary["per_user_median"], summary["per_user_max"]) == (3, 4)
    assert summary["top_tenth_users_percent"] == pytest.approx(100 * 4 / 9)
    assert (summary["has_ratings"], summary["has_times"]) == (False, True)
