import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimtable.data import (
    Dataset,
    Interactions,
    Split,
    fixed_split,
    holdout_split,
    k_core,
    leave_two_out,
    order_by_frequency,
    random_split,
    split,
    temporal_split,
)
from slimtable.errors import DatasetError

pairs = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=80)
timed = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9), st.integers(0, 20)), min_size=2, max_size=80)


def all_rows(divided):
    return sorted(number for part in parts(divided) for number in part)


def make(rows, chronological=True):
    """Interactions whose ratings number the rows, so that each row can be followed."""
    columns = np.array(rows).T
    times = columns[2] if len(columns) == 3 else None
    numbers = np.arange(len(rows), dtype=np.float32)
    return Interactions.from_raw(columns[0], columns[1], numbers, times, chronological and times is None)


def numbers(part):
    return part.ratings.astype(int).tolist()


def parts(divided):
    return [numbers(part) for part in (divided.train, divided.valid, divided.test)]


@given(pairs)
def test_leave_two_out_withholds_the_last_and_the_one_before(rows):
    train, valid, test = parts(leave_two_out(make(rows)))
    expected = ([], [], [])
    for user in {user for user, _ in rows}:
        own = [number for number, row in enumerate(rows) if row[0] == user]
        short = len(own) < 3
        expected[0].extend(own if short else own[:-2])
        expected[1].extend([] if short else own[-2:-1])
        expected[2].extend([] if short else own[-1:])
    assert [train, sorted(valid), sorted(test)] == [sorted(part) for part in expected]


@given(timed)
def test_leave_two_out_sorts_by_time_first(rows):
    divided = leave_two_out(make(rows))
    for user in range(divided.num_users):
        old, mid, new = (part.times[part.users == user] for part in (divided.train, divided.valid, divided.test))
        if len(new):
            assert old.max() <= mid[0] <= new[0]
            assert len(old) >= 1
    assert all_rows(divided) == list(range(len(rows)))


def test_leave_two_out_refuses_data_without_order():
    with pytest.raises(ValueError, match="not in time order"):
        leave_two_out(make([(0, 0), (0, 1), (0, 2)], chronological=False))


@given(pairs, st.integers(0, 3))
def test_random_split_parts_every_row_once(rows, seed):
    data = make(rows)
    divided = random_split(data, (0.6, 0.2, 0.2), seed)
    assert all_rows(divided) == list(range(len(rows)))
    assert len(divided.train) == round(0.6 * len(rows))
    assert parts(random_split(data, (0.6, 0.2, 0.2), seed)) == parts(divided)
    assert all(part.chronological for part in (divided.train, divided.valid, divided.test))


def test_random_split_depends_on_the_seed():
    data = make([(number % 7, number) for number in range(200)])
    assert parts(random_split(data, seed=1)) != parts(random_split(data, seed=2))


@given(pairs, st.integers(0, 3))
def test_holdout_sets_a_test_part_aside_and_nothing_else(rows, seed):
    data = make(rows)
    divided = holdout_split(data, 0.2, seed)
    assert all_rows(divided) == list(range(len(rows)))
    assert len(divided.valid) == 0
    assert abs(len(divided.test) - 0.2 * len(rows)) <= 0.5


def test_holdout_tests_on_a_tenth_by_default():
    data = make([(number % 7, number) for number in range(200)])
    divided = split(data, "holdout")
    assert [len(part) for part in (divided.train, divided.valid, divided.test)] == [180, 0, 20]
    assert parts(divided) == parts(holdout_split(data)) != parts(split(data, "holdout", seed=1))


@pytest.mark.parametrize("fraction", [-0.1, 1.0])
def test_holdout_refuses_a_bad_fraction(fraction):
    with pytest.raises(ValueError, match="test_fraction"):
        holdout_split(make([(0, 0)]), fraction)


@given(timed)
def test_temporal_split_never_looks_ahead(rows):
    data = make(rows)
    cut = np.sort(data.times)[round(0.5 * len(rows))]
    if cut == data.times.min():
        with pytest.raises(ValueError, match="share the first time"):
            temporal_split(data, (0.5, 0.25, 0.25))
        return
    divided = temporal_split(data, (0.5, 0.25, 0.25))
    assert all_rows(divided) == list(range(len(rows)))
    later = np.concatenate([divided.valid.times, divided.test.times])
    assert not later.size or divided.train.times.max() < later.min()
    if len(divided.valid) and len(divided.test):
        assert divided.valid.times.max() < divided.test.times.min()


def test_temporal_split_meets_the_fractions_where_times_differ():
    data = make([(number % 3, number % 5, 100 - number) for number in range(40)])
    divided = temporal_split(data)
    assert [len(part) for part in (divided.train, divided.valid, divided.test)] == [32, 4, 4]


def test_temporal_split_needs_times():
    with pytest.raises(ValueError, match="needs times"):
        temporal_split(make([(0, 0)]))


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (0.5, 0.4, 0.2), (1.2, -0.1, -0.1), (0, 0.5, 0.5)])
@pytest.mark.parametrize("how", [random_split, temporal_split])
def test_bad_fractions_are_refused(how, fractions):
    with pytest.raises(ValueError, match="fractions"):
        how(make([(0, 0, 1), (1, 1, 2)]), fractions)


@given(pairs, st.floats(0, 0.99), st.integers(0, 3))
def test_fixed_split_keeps_the_test_part_and_a_row_of_each_user(rows, valid_fraction, seed):
    data = make([*rows, (0, 0)])
    is_test = np.arange(len(data)) == len(rows)
    divided = fixed_split(data.select(~is_test), data.select(is_test), valid_fraction, seed)
    assert numbers(divided.test) == [len(rows)]
    assert sorted(numbers(divided.train) + numbers(divided.valid)) == list(range(len(rows)))
    assert set(divided.train.users) == set(data.users[~is_test])
    spare = len(rows) - len({user for user, _ in rows})
    assert len(divided.valid) == min(spare, round(valid_fraction * len(rows)))


def test_fixed_split_refuses_a_bad_fraction(tiny):
    with pytest.raises(ValueError, match="valid_fraction"):
        fixed_split(tiny, tiny.empty_like(), 1.0)


def test_parts_must_share_vocabularies(tiny):
    with pytest.raises(ValueError, match="vocabularies"):
        Split(tiny, tiny.empty_like(), tiny.select(tiny.users == 0).compact())


def brute_force_core(rows, k):
    rows = list(enumerate(rows))
    while True:
        users = [row[0] for _, row in rows]
        items = [row[1] for _, row in rows]
        kept = [entry for entry in rows if users.count(entry[1][0]) >= k and items.count(entry[1][1]) >= k]
        if len(kept) == len(rows):
            return [number for number, _ in kept]
        rows = kept


@given(pairs, st.integers(1, 6))
def test_k_core_equals_brute_force(rows, k):
    expected = brute_force_core(rows, k)
    if not expected:
        with pytest.raises(DatasetError, match="smaller k"):
            k_core(make(rows), k)
        return
    core = k_core(make(rows), k)
    assert numbers(core) == expected
    assert core.user_counts().min() >= k
    assert core.item_counts().min() >= k
    assert core.chronological


def test_k_core_refuses_zero(tiny):
    with pytest.raises(ValueError, match="at least 1"):
        k_core(tiny, 0)


@given(pairs)
def test_order_by_frequency_counts_training_rows_only(rows):
    before = leave_two_out(make(rows))
    after = order_by_frequency(before)
    assert (np.diff(after.train.user_counts()) <= 0).all()
    assert (np.diff(after.train.item_counts()) <= 0).all()
    for old, new in zip((before.train, before.valid, before.test), (after.train, after.valid, after.test), strict=True):
        assert (old.user_vocabulary[old.users] == new.user_vocabulary[new.users]).all()
        assert (old.item_vocabulary[old.items] == new.item_vocabulary[new.items]).all()
        assert new.chronological == old.chronological


def test_order_by_frequency_is_stable():
    data = make([(0, 0), (1, 1), (1, 2), (2, 1), (2, 2), (3, 0)])
    after = order_by_frequency(Split(data, data.empty_like(), data.empty_like()))
    assert after.train.user_vocabulary.tolist() == [1, 2, 0, 3]
    assert after.train.item_vocabulary.tolist() == [0, 1, 2]


def test_split_by_name_follows_the_dataset():
    data = make([(0, 0, 1), (0, 1, 2), (0, 2, 3), (1, 0, 4)])
    assert parts(split(data)) == parts(leave_two_out(data))
    assert parts(split(data, "random", seed=3)) == parts(random_split(data, seed=3))
    assert parts(split(data, "temporal", fractions=(0.5, 0.25, 0.25))) == [[0, 1], [2], [3]]
    assert parts(split(Dataset("d", data, default_split="random"), seed=1)) == parts(random_split(data, seed=1))
    with_test = Dataset("d", data, fixed_test=data.empty_like(), default_split="fixed")
    assert parts(split(with_test, valid_fraction=0.25, seed=1)) == parts(fixed_split(data, data.empty_like(), 0.25, 1))


def test_split_by_name_refuses_what_does_not_fit(tiny):
    with pytest.raises(ValueError, match="unknown split 'sideways'"):
        split(tiny, "sideways")
    with pytest.raises(ValueError, match="brings no test part"):
        split(tiny, "fixed")
    with pytest.raises(ValueError, match="brings its own test part"):
        split(Dataset("d", tiny, fixed_test=tiny.empty_like()), "random")


def test_pooled_split_draws_from_the_sources_own_parts_together():
    data = make([(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (3, 0), (3, 1), (3, 2)])
    test = data.select(np.arange(10) >= 6)
    source = Dataset("d", data.select(np.arange(10) < 6), fixed_test=test, default_split="fixed")
    drawn = split(source, "pooled", seed=1)
    assert sorted(all_rows(drawn)) == list(range(10))
    assert [len(part) for part in parts(drawn)] == [8, 1, 1]
    assert parts(drawn) == parts(split(source, "pooled", seed=1))
    with pytest.raises(ValueError, match="no test part to pool"):
        split(data, "pooled")
