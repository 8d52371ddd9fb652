import hashlib

import numpy as np
import pytest

from slimtable.data import k_core, leave_two_out, read_interactions
from slimtable.data.datasets import make_dataset, make_synthetic
from slimtable.data.datasets.synthetic import Plan


@pytest.fixture(scope="module")
def default():
    return make_synthetic().interactions


@pytest.mark.parametrize("size", [1_000, 1_001, 12_345, 80_000, 300_000])
def test_size_is_exact_and_every_user_has_five_rows(size):
    data = make_synthetic(size).interactions
    assert len(data) == size
    assert data.user_counts().min() >= 5
    assert data.chronological
    divided = leave_two_out(data)
    assert len(divided.valid) == len(divided.test) == data.num_users


def test_equal_seeds_give_equal_bytes_for_ever(default):
    # Written down once: a change of these bytes is a change of the dataset that everybody's results stand on.
    assert make_synthetic().interactions.items.tobytes() == default.items.tobytes()
    digest = hashlib.sha256()
    for values in (default.users, default.items, default.times):
        digest.update(values.astype(values.dtype.newbyteorder("<")).tobytes())
    assert digest.hexdigest() == "d5472f31d9b978f217a116364ae2a933f4f5f7dcb08395f44623352cf2a7eaa5"


def test_another_seed_gives_other_rows(default):
    other = make_synthetic(seed=1).interactions
    assert (other.items != default.items).mean() > 0.9


def test_no_user_takes_an_item_twice(default):
    pairs = default.users.astype(np.int64) * default.num_items + default.items
    assert np.unique(pairs).size == len(default)


def test_times_ascend_within_each_user(default):
    same_user = default.users[1:] == default.users[:-1]
    assert (np.diff(default.times)[same_user] > 0).all()


@pytest.mark.parametrize("size", [80_000, 1_000_000])
def test_popularity_is_concentrated(size):
    summary = make_synthetic(size).interactions.summary()
    assert 35 < summary["top_tenth_items_percent"] < 50
    assert 20 < summary["top_tenth_users_percent"] < 40


def test_raw_ids_tell_nothing_about_popularity(default):
    ranks = np.argsort(np.argsort(default.item_counts()))
    assert abs(np.corrcoef(ranks, np.arange(default.num_items))[0, 1]) < 0.1


def test_communities_and_order_can_be_learnt(default):
    """What others took, or took next, foretells a user's last item far better than popularity does."""
    divided = leave_two_out(default)
    train = divided.train
    taken = np.zeros((default.num_users, default.num_items))
    taken[train.users, train.items] = 1
    counts = taken.sum(0)

    together = (taken.T @ taken) / np.sqrt(np.outer(counts, counts))
    follows = np.zeros((default.num_items, default.num_items))
    same_user = train.users[1:] == train.users[:-1]
    np.add.at(follows, (train.items[:-1][same_user], train.items[1:][same_user]), 1)

    def hit_rate(scores):
        scores = np.where(taken > 0, -np.inf, scores)
        rank = (scores > scores[np.arange(len(scores)), divided.test.items][:, None]).sum(1)
        return (rank < 10).mean()

    popular = hit_rate(np.broadcast_to(counts, taken.shape))
    neighbours = hit_rate(taken @ together)
    followers = hit_rate(follows[divided.valid.items] / np.sqrt(counts))
    assert neighbours > 2 * popular
    assert followers > 2 * popular


@pytest.mark.parametrize("chunk_rows", [1, 777, 10**9])
def test_chunks_do_not_change_the_rows(chunk_rows):
    whole = make_synthetic(5_000, seed=7).interactions
    users, items, times = (np.concatenate(part) for part in zip(*Plan(5_000, 7).chunks(chunk_rows), strict=True))
    assert users.tolist() == whole.users.tolist()
    assert items.tolist() == whole.items.tolist()
    assert times.tolist() == whole.times.tolist()


@pytest.mark.parametrize("format", ["parquet", "csv", "sasrec"])
def test_files_read_back_as_what_was_made(tmp_path, raw, format):
    path = make_dataset(tmp_path / "new" / "data", 5_000, seed=3, format=format, chunk_rows=999)
    read, made = read_interactions(path), make_synthetic(5_000, seed=3).interactions
    assert raw(read) == raw(made)
    assert read.chronological
    assert format == "sasrec" or read.times.tolist() == made.times.tolist()
    assert [file.name for file in path.parent.iterdir()] == ["data"]


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def broken(self, first, last):
        raise KeyboardInterrupt

    monkeypatch.setattr(Plan, "rows", broken)
    with pytest.raises(KeyboardInterrupt):
        make_dataset(tmp_path / "data", 5_000)
    assert list(tmp_path.iterdir()) == []


def test_a_core_of_it_remains(default):
    assert len(k_core(default, 5)) > 0.95 * len(default)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((999,), "1,000"), ((10**10,), "2,000,000,000"), ((1_000, -1), "seed"), ((1_000, 2**63), "seed")],
)
def test_bad_arguments_are_refused(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        make_synthetic(*arguments)
    with pytest.raises(ValueError, match=message):
        make_dataset(tmp_path / "x", *arguments)


def test_unknown_format_is_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown format 'xml'"):
        make_dataset(tmp_path / "x", format="xml")
