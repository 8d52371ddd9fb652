"""Click logs by name: tiny copies of each layout, real data where there is any, and the synthetic one."""

from __future__ import annotations

import numpy as np
import pytest

from slimtable.data import fetch_dataset, list_datasets
from slimtable.data.clicks.clicks import Bags
from slimtable.data.clicks.raw import concatenate
from slimtable.data.clicks.windows import encode_log, encode_windows
from slimtable.data.datasets import (
    load_click_dataset,
    make_synthetic_clicks,
)
from slimtable.data.datasets.catalogue import sources
from slimtable.errors import DatasetError, DatasetNotFoundError
from tests.data.clicks.test_reader import cells, rows


@pytest.fixture
def real(real_data):
    def load(name: str):
        if name not in {info.name for info in list_datasets(real_data) if info.present}:
            pytest.skip(f"{name} is not in {real_data}; set SLIMTABLE_DATA to the folder that holds it")
        return load_click_dataset(name, data_root=real_data, download=False)

    return load


def whole(name: str, root):
    return concatenate(list(load_click_dataset(name, data_root=root, download=False).chunks(2)))


def test_movietweetings_is_sorted_by_time(write):
    write("1::007::8::86400\n2::008::7::3600\n3::009::9::3600\n", "movietweetings/ratings.dat")
    root = write("007::A: B::C::Drama|War\n008::D (1)::\n", "movietweetings/movies.dat").parent.parent
    raw = whole("movietweetings-ctr", root)
    assert rows(raw) == [
        (0, 3600, [], 2, "008", [], 4, 1),
        (1, 3600, [], 3, "009", [], 4, 1),
        (1, 86400, [], 1, "007", ["Drama", "War"], 5, 0),
    ]


@pytest.mark.parametrize("release", ["ratings.dat", "ratings.csv"])
def test_ml_1m_leaves_blank_ratings_out(write, release):
    text = "1::5::4::0\n2::6::3::0\n" if release == "ratings.dat" else "user,movie,rating\n1,5,4\n1,6,\n2,6,3\n"
    write(text, f"ml-1m/{release}")
    write("5::Toy::Drama\n6::Misérables::War|Comedy\n".encode("latin-1"), "ml-1m/movies.dat")
    root = write("1::F::1::10::48067\n2::M::56::16::70072-1\n", "ml-1m/users.dat").parent.parent
    raw = whole("ml-1m-ctr", root)
    assert rows(raw) == [
        (1, None, [], 1, 5, "F", 1, 10, ["Drama"]),
        (0, None, [], 2, 6, "M", 56, 16, ["War", "Comedy"]),
    ]


def test_damage_is_named_by_its_line(write):
    write("1::5::4::0\n2::6::x::0\n", "movietweetings/ratings.dat")
    root = write("5::Toy::Drama\n", "movietweetings/movies.dat").parent.parent
    with pytest.raises(
        DatasetError, match=r"ratings.dat, line 2: expected user::movie::rating::time, got '2::6::x::0'"
    ):
        whole("movietweetings-ctr", root)
    write("user,movie,rating\n1,9,4\n", "ml-1m/ratings.csv")
    write("5::Toy::Drama\n", "ml-1m/movies.dat")
    write("1::F::1::10::48067\n", "ml-1m/users.dat")
    with pytest.raises(DatasetError, match="user 1 or movie 9 of the ratings is unknown"):
        whole("ml-1m-ctr", root)


def test_criteo_takes_the_largest_file_that_is_there(write):
    line = "\t" * 39 + "\n"
    root = write("0" + line + "1" + line, "criteo/dac80k.tsv").parent.parent
    assert len(whole("criteo", root)) == 2
    write("1" + line, "criteo/train.txt")
    assert whole("criteo", root).labels.tolist() == [1]


def test_what_is_absent_says_where_it_is_to_be_had(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"cannot be downloaded without a login. Get it from https://ailab"):
        load_click_dataset("criteo", data_root=tmp_path)
    with pytest.raises(DatasetNotFoundError, match="Fetch it with `slimtable data fetch frappe`"):
        load_click_dataset("frappe", data_root=tmp_path, download=False)
    with pytest.raises(DatasetNotFoundError, match="Did you mean 'frappe'"):
        load_click_dataset("frape", data_root=tmp_path)
    with pytest.raises(DatasetNotFoundError, match=f"Known: {', '.join(sources())}"):
        fetch_dataset("none", tmp_path)
    with pytest.raises(DatasetError, match="generated and never fetched"):
        fetch_dataset("synthetic-ctr", tmp_path)


def test_files_of_your_own(write):
    folder = write("click,u\n1,a\n0,a\n", "log/a.csv").parent
    with pytest.raises(DatasetError, match="needs a schema"):
        load_click_dataset(folder)
    schema = write("label: click\nfields: [{name: u}]\n", "log/schema.yaml")
    for dataset in (load_click_dataset(folder), load_click_dataset(folder / "a.csv", schema)):
        assert dataset.num_rows() == 2
        assert encode_log(dataset)[1].sizes == {"u": 2}
    assert encode_log(load_click_dataset(folder, min_count=3))[1].sizes == {"u": 1}


def test_options_that_nobody_takes(tmp_path, write):
    with pytest.raises(TypeError, match="takes no colour; its options: rows, seed, windows, sizes, min_count"):
        load_click_dataset("synthetic-ctr", colour="red")
    with pytest.raises(TypeError, match="takes no seed; its options: min_count"):
        load_click_dataset("criteo", data_root=tmp_path, seed=1)
    with pytest.raises(TypeError, match="has a schema of its own"):
        load_click_dataset("criteo", write("format: criteo"))
    with pytest.raises(TypeError, match="`rows` is given twice"):
        load_click_dataset("synthetic-ctr:50", rows=3)
    with pytest.raises(DatasetError, match="unknown size 'many'"):
        load_click_dataset("synthetic-ctr:many")
    with pytest.raises(ValueError, match="`sizes` gives each of user, item"):
        load_click_dataset("synthetic-ctr", sizes={"colour": 3})
    with pytest.raises(ValueError, match=r"`windows` in 1..rows"):
        make_synthetic_clicks(5, windows=6)
    with pytest.raises(ValueError, match="`seed`"):
        make_synthetic_clicks(5, seed=-1, windows=1)


def test_synthetic_rows_depend_on_the_seed_and_not_on_chunks():
    dataset = make_synthetic_clicks(1_000, seed=3)
    one = rows(concatenate(list(dataset.chunks())))
    assert rows(concatenate(list(dataset.chunks(77)))) == one
    assert rows(concatenate(list(make_synthetic_clicks(1_000, seed=4).chunks()))) != one
    assert len(one) == dataset.num_rows() == 1_000


def test_synthetic_fields_are_heavy_tailed_and_values_appear_over_time():
    encoded, sizes = encode_windows(make_synthetic_clicks(40_000, windows=8))
    counts = sum(window.counts(sizes[-1])[0] for window in encoded)
    shares = np.sort(counts)[::-1].cumsum() / counts.sum()
    assert shares[len(shares) // 10] > 0.3  # the head
    unknown = [(after.with_known(size).ids[0] == 0).mean() for after, size in zip(encoded[1:], sizes[:-1], strict=True)]
    assert 0.005 < unknown[-1] < unknown[0]
    assert (encoded[-1].ids[0] > sizes[0]["user"]).mean() > 0.3  # many of the last were not there at first
    tags = encoded[0].ids[-1]
    assert isinstance(tags, Bags)
    assert set(np.diff(tags.offsets).tolist()) == {0, 1, 2, 3, 4}
    assert 0.2 < np.concatenate([window.labels for window in encoded]).mean() < 0.5


def test_synthetic_preferences_differ_between_pairs_and_drift():
    """How often a user clicks an item depends on the item and on the time, far beyond chance."""
    dataset = make_synthetic_clicks(60_000, sizes={"user": 8, "item": 8}, windows=3)
    early, _, late = encode_windows(dataset)[0]

    def rates(clicks):
        pair = clicks.ids[0].astype(np.int64) * 9 + clicks.ids[1]
        shown = np.bincount(pair, minlength=81)
        clicked = np.bincount(pair, clicks.labels, minlength=81)
        return np.where(shown > 100, clicked / np.maximum(shown, 1), np.nan)

    first, last = rates(early), rates(late)
    both = ~np.isnan(first) & ~np.isnan(last)
    assert both.sum() >= 6
    assert np.nanstd(first) > 0.1  # chance alone: less than 0.05
    assert np.abs(first[both] - last[both]).max() > 0.1


def test_criteo_80k(real):
    clicks, vocabularies = encode_log(real("criteo"))
    if len(clicks) != 80_000:
        pytest.skip("another version of criteo is there")
    assert round(float(clicks.labels.mean()), 3) == 0.224
    assert clicks.numeric.shape == (80_000, 13)
    assert sum(vocabularies.sizes.values()) - 26 == pytest.approx(200_000, rel=0.02)


def test_frappe_ranges_are_its_columns(real):
    clicks, vocabularies = encode_log(real("frappe"))
    assert len(clicks) == 86_582
    assert round(float(clicks.labels.mean()), 2) == 0.33
    sizes = {"daytime": 8, "weekday": 8, "weekend": 3, "homework": 4, "cost": 3, "weather": 10}
    assert {name: vocabularies.sizes[name] for name in sizes} == sizes
    assert all((ids > 0).all() for ids in clicks.ids)  # every row has a feature of every field


def test_ml_1m_without_the_blank_ratings(real):
    raw = concatenate(list(real("ml-1m-ctr").chunks()))
    assert len(raw) in (1_000_002, 1_000_209)
    assert round(float(raw.labels.mean()), 3) == 0.575
    assert cells(raw.fields[5].slice(0, 1)) == [["Drama"]]


def test_movietweetings_in_time_order(real):
    dataset = real("movietweetings-ctr")
    encoded, sizes = encode_windows(dataset, 8)
    assert sum(map(len, encoded)) >= 141_695
    assert sizes[0]["user"] < sizes[-1]["user"]
    assert sizes[-1]["user"] >= 21_082
    assert (sizes[-1]["weekday"], sizes[-1]["hour"]) == (8, 25)
    assert 0.4 < encoded[0].labels.mean() < 0.6
