"""Real data, where there is any: documented counts are checked on loading, the order and ids here."""

import numpy as np
import pytest

from slimtable.data import Pairs, k_core, leave_two_out, order_by_frequency, split


def test_ml_1m_is_the_file_of_sasrec(load_real):
    dataset = load_real("ml-1m")
    data = dataset.interactions
    assert (data.num_users, data.num_items, len(data)) == (6_040, 3_416, 999_611)
    assert (data.user_vocabulary == np.arange(1, 6_041)).all()
    assert data.items[:3].tolist() == [0, 1, 2]
    assert data.chronological
    divided = split(dataset)
    assert (len(divided.train), len(divided.valid), len(divided.test)) == (987_531, 6_040, 6_040)


def test_ml_1m_head_holds_what_the_paper_page_says(load_real):
    divided = order_by_frequency(leave_two_out(load_real("ml-1m").interactions))
    users, items = divided.train.user_counts(), divided.train.item_counts()
    assert 100 * users[:604].sum() / len(divided.train) == pytest.approx(38.4, abs=0.05)
    assert 100 * items[:342].sum() / len(divided.train) == pytest.approx(42.3, abs=0.05)


def test_gowalla_brings_its_test_part(load_real):
    dataset = load_real("gowalla")
    assert (len(dataset.interactions), len(dataset.fixed_test)) == (810_128, 217_242)
    divided = split(dataset)
    assert len(divided.train) + len(divided.valid) == 810_128
    assert (divided.train.num_users, divided.train.num_items) == (29_858, 40_981)
    assert divided.train.user_counts().min() > 0


def test_lastfm_brings_weights(load_real):
    dataset = load_real("lastfm")
    assert (len(dataset.interactions), len(dataset.fixed_test)) == (42_135, 10_533)
    assert dataset.interactions.ratings[0] == 993


def test_beauty_is_its_own_5_core(load_real):
    data = load_real("beauty").interactions
    assert (data.num_users, data.num_items, len(data)) == (22_363, 12_101, 198_502)
    assert len(k_core(data, 5)) == len(data)


def test_movietweetings_keeps_ids_as_written(load_real):
    data = load_real("movietweetings").interactions
    assert data.chronological
    assert "0054890" in data.item_vocabulary
    assert 0 <= data.ratings.min() <= data.ratings.max() <= 10


def test_ml_1m_npmi_is_what_the_paper_page_says(load_real):
    """200,000 of 5,832,820 pairs: spread 16.6, 101 pairs in the median of the items."""
    dataset = load_real("ml-1m-npmi")
    data = dataset.interactions
    assert isinstance(data, Pairs)
    assert (data.num_items, len(data)) == (3_416, 200_000)
    assert data.ratings.std() == pytest.approx(16.6, abs=0.2)
    assert np.median(data.item_counts()) == pytest.approx(101, abs=2)
    assert (data.ratings.min(), data.ratings.max() <= 100) == (-100, True)
    parts = order_by_frequency(split(dataset))
    assert (len(parts.train), len(parts.valid), len(parts.test)) == (180_000, 0, 20_000)
    # A pair by the definition, from the interactions themselves.
    train = leave_two_out(load_real("ml-1m").interactions).train
    first, second = data.users[777], data.items[777]
    takers = [set(train.users[train.items == item].tolist()) for item in (first, second)]
    p_i, p_j, p_ij = (len(users) / 6_040 for users in (*takers, takers[0] & takers[1]))
    assert data.ratings[777] == pytest.approx(100 * np.log(p_ij / (p_i * p_j)) / -np.log(p_ij), rel=1e-5)


def test_movietweetings_cosine_takes_all_pairs_with_enough_raters(load_real):
    data = load_real("movietweetings-cosine").interactions
    assert -100 <= data.ratings.min() < 0 < data.ratings.max() <= 100
    assert data.item_counts().min() > 0
    if len(load_real("movietweetings").interactions) == 141_695:
        assert (data.num_items, len(data)) == (1_837, 49_602)
