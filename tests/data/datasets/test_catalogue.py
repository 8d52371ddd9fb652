import hashlib
import io
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import slimtable.data.datasets.catalogue as catalogue
from slimtable.data import Pairs, fetch_dataset, list_datasets, load_dataset, split
from slimtable.data.datasets import RemoteFile, load_click_dataset, ml_1m
from slimtable.data.datasets.source import GeneratedSource
from slimtable.data.interactions.formats import read_interactions
from slimtable.errors import DatasetError, DatasetNotFoundError

PAGE = " ".join((Path(__file__).parents[3] / "docs" / "datasets.md").read_text().split())
DERIVED = {"ml-1m-npmi": "ml-1m", "movietweetings-cosine": "movietweetings"}


@pytest.fixture
def beauty(server, monkeypatch):
    """The source of `beauty`, to be had from this machine; its text is far too small to be the real one."""
    text = b"1 1 2 3\n2 2 3\n"
    server.files["Beauty.txt"] = text
    source = replace(
        catalogue.sources()["beauty"],
        files=(RemoteFile(f"{server.url}/Beauty.txt", "beauty.txt", f"sha256:{hashlib.sha256(text).hexdigest()}"),),
    )
    monkeypatch.setattr(catalogue, "sources", lambda: {"beauty": source})
    return source


def test_every_file_with_a_source_is_listed(tmp_path):
    listed = list_datasets(tmp_path)
    folder = Path(catalogue.__file__).parent
    files = {path.stem for path in folder.glob("*.py") if re.search("^SOURCE = ", path.read_text(), re.M)}
    assert {info.name.replace("-", "_") for info in listed} == files
    assert {info.kind for info in listed} == {"interactions", "clicks"}
    generated = [name for name, source in catalogue.sources().items() if isinstance(source, GeneratedSource)]
    assert {"synthetic", "synthetic-ctr"} <= set(generated)
    assert [info.name for info in listed if info.present] == generated
    assert [info.name for info in listed] == [*generated, *sorted({info.name for info in listed} - set(generated))]
    for info in listed:
        assert info.about
        assert info.licence
        assert info.url.startswith("https://") or info.name in generated


def test_every_source_is_complete():
    for name, source in catalogue.sources().items():
        assert source.name == name
        assert source.files or isinstance(source, GeneratedSource) or f"`{name}` is not downloaded" in PAGE
        for file in source.files:
            assert file.url.startswith("https://")
            assert file.checksum or f"`{source.folder or name}` has no checksum" in PAGE


def test_what_is_derived_shares_the_folder_and_files(tmp_path):
    for name, origin in DERIVED.items():
        assert not {info.name: info for info in list_datasets(tmp_path)}[name].present
        (tmp_path / origin).mkdir()
        (tmp_path / origin / "ratings.dat").write_text("1::2::3::4\n")
        assert {info.name: info for info in list_datasets(tmp_path)}[name].present
        assert fetch_dataset(name, tmp_path) == tmp_path / origin
        with pytest.raises(DatasetError, match=f"{origin} data"):
            load_dataset(name, data_root=tmp_path)


def test_pairs_are_read_only_where_they_are_asked_for(write):
    path = write("item,other,score,user\na,b,1,u\nc,a,-2,u\n")
    assert load_dataset(path).interactions.num_users == 1
    for options in ({"format": "pairs"}, {"columns": {"item": "item", "other": "other", "score": "score"}}):
        dataset = load_dataset(path, **options)
        assert isinstance(dataset.interactions, Pairs)
        assert (dataset.default_split, dataset.interactions.num_items) == ("holdout", 3)


def test_presence_and_size_are_seen(tmp_path):
    (tmp_path / "lastfm").mkdir()
    (tmp_path / "lastfm" / "train.txt").write_text("1\t2\t3\n")
    assert not {info.name: info for info in list_datasets(tmp_path)}["lastfm"].present
    (tmp_path / "lastfm" / "test.txt").write_text("1\t2\t3\n")
    info = {info.name: info for info in list_datasets(tmp_path)}["lastfm"]
    assert info.present
    assert info.size_bytes == 12


def test_root_is_argument_then_variable_then_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SLIMTABLE_DATA", str(tmp_path / "variable"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert catalogue.data_root(tmp_path) == tmp_path
    assert catalogue.data_root() == tmp_path / "variable"
    monkeypatch.delenv("SLIMTABLE_DATA")
    assert catalogue.data_root() == tmp_path / "cache" / "slimtable"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert catalogue.data_root() == tmp_path / ".cache" / "slimtable"


def test_unknown_names_are_answered_with_the_known_ones(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=rf"Did you mean 'gowalla'\?.* {', '.join(catalogue.sources())}\.$"):
        load_dataset("gowala", data_root=tmp_path)
    with pytest.raises(DatasetNotFoundError, match="neither a known dataset nor a file"):
        load_dataset(tmp_path / "nothing.csv")
    with pytest.raises(DatasetNotFoundError, match="Did you mean 'ml-1m'"):
        fetch_dataset("ml1m", tmp_path)


def test_absent_data_is_not_fetched_where_that_is_forbidden(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"slimtable data fetch gowalla.*snap\.stanford"):
        load_dataset("gowalla", data_root=tmp_path, download=False)
    assert list(tmp_path.iterdir()) == []


def test_named_datasets_take_no_options(tmp_path):
    with pytest.raises(TypeError, match="takes no options, got seed"):
        load_dataset("ml-1m", data_root=tmp_path, seed=1)


def test_wrong_counts_are_told(tmp_path):
    (tmp_path / "beauty").mkdir()
    (tmp_path / "beauty" / "beauty.txt").write_text("1 1 2\n")
    with pytest.raises(DatasetError, match=r"1 users instead of 22,363, 2 items instead of 12,101"):
        load_dataset("beauty", data_root=tmp_path)
    (tmp_path / "movietweetings").mkdir()
    (tmp_path / "movietweetings" / "ratings.dat").write_text("1::2::3::4\n")
    with pytest.raises(DatasetError, match=r"1 interactions instead of 141,695"):
        load_dataset("movietweetings", data_root=tmp_path)


def test_absent_data_is_fetched_once(beauty, server, tmp_path):
    with pytest.raises(DatasetError, match="instead of 22,363"):
        load_dataset("beauty", data_root=tmp_path)
    assert (tmp_path / "beauty" / "beauty.txt").read_bytes() == server.files["Beauty.txt"]
    assert fetch_dataset("beauty", tmp_path) == tmp_path / "beauty"
    assert len(server.ranges) == 1


def test_data_behind_a_login_is_explained(beauty, tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "sources", lambda: {"beauty": replace(beauty, files=())})
    with pytest.raises(DatasetNotFoundError, match=r"without a login. Get it from https.*put it in"):
        fetch_dataset("beauty", tmp_path)


def test_a_fetch_that_lacks_a_file_is_told(beauty, tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "sources", lambda: {"beauty": replace(beauty, present=lambda folder: False)})
    with pytest.raises(DatasetError, match="still lacks files"):
        fetch_dataset("beauty", tmp_path)


def archive(members):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for name, text in members.items():
            file.writestr(name, text)
    return packed.getvalue()


def test_the_movielens_archive_is_unpacked(server, tmp_path, monkeypatch):
    names = ("ratings.dat", "movies.dat", "users.dat", "README")
    body = archive({**{f"ml-1m/{name}": f"1::2::3::4 {name}" for name in names}, "../evil": "x"})
    server.files["ml-1m.zip"] = body
    file = RemoteFile(f"{server.url}/ml-1m.zip", "ml-1m.zip", f"md5:{hashlib.md5(body).hexdigest()}")
    monkeypatch.setattr(catalogue, "sources", lambda: {"ml-1m": replace(ml_1m.SOURCE, files=(file,))})
    folder = fetch_dataset("ml-1m", tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    assert (folder / "users.dat").read_text() == "1::2::3::4 users.dat"
    assert [path.name for path in tmp_path.iterdir()] == ["ml-1m"]


@pytest.mark.parametrize("body", [b"no archive", archive({"ml-1m/ratings.dat": "x"})])
def test_another_archive_is_refused(tmp_path, body):
    (tmp_path / "ml-1m.zip").write_bytes(body)
    with pytest.raises(DatasetError, match="not the MovieLens-1M archive"):
        ml_1m.SOURCE.unpack(tmp_path)


def test_movielens_ratings_become_what_sasrec_uses(write, raw):
    """Users and items with five ratings, counted once; in time order, ties as in the file."""
    rows = [(user, item, 100 - item) for user in (1, 2, 3, 4, 5) for item in (11, 12, 13, 14, 15)]
    rows += [(6, 11, 1), (6, 12, 1), (1, 16, 1), (2, 12, 88)]
    text = "".join(f"{user}::{item}::5::{time}\n" for user, item, time in rows)
    data = ml_1m._as_sasrec(read_interactions(write(text)))
    assert data.chronological
    assert set(data.user_vocabulary.tolist()) == {1, 2, 3, 4, 5}
    assert data.item_vocabulary.tolist() == [11, 12, 13, 14, 15]
    own = [item for user, item in raw(data) if user == 2]
    assert own == [15, 14, 13, 12, 12, 11]


def test_synthetic_takes_a_size_and_options():
    assert len(load_dataset("synthetic:2_000").interactions) == 2_000
    same = load_dataset("synthetic", num_interactions=2_000, seed=5)
    assert same.name == "synthetic:2000"
    assert (same.interactions.items == load_dataset("synthetic:2000", seed=5).interactions.items).all()
    with pytest.raises(DatasetError, match="unknown size 'big'"):
        load_dataset("synthetic:big")
    with pytest.raises(TypeError, match="given twice"):
        load_dataset("synthetic:2000", num_interactions=3_000)
    with pytest.raises(DatasetError, match="never fetched"):
        fetch_dataset("synthetic")


def test_a_path_works_where_a_name_does(write, tmp_path):
    path = write("who,item\n1,5\n2,6\n")
    dataset = load_dataset(path, columns={"user": "who", "item": "item"})
    assert (dataset.name, dataset.default_split) == (str(path), "random")
    assert len(split(dataset, fractions=(0.5, 0.5, 0)).train) == 1
    assert load_dataset(str(write("1 2\n"))).default_split == "leave-two-out"
    write("0 1 2\n", "folder/train.txt")
    write("0 3\n", "folder/test.txt")
    dataset = load_dataset(tmp_path / "folder")
    assert (dataset.default_split, len(dataset.fixed_test)) == ("fixed", 1)
    assert np.array_equal(dataset.fixed_test.item_vocabulary, [1, 2, 3])


def test_each_kind_says_which_models_read_the_other():
    with pytest.raises(DatasetError, match="criteo is a click log: CTR models read it"):
        load_dataset("criteo")
    with pytest.raises(DatasetError, match="ml-1m is a dataset of interactions: rankers read it"):
        load_click_dataset("ml-1m")
    with pytest.raises(DatasetError, match="unknown size"):
        load_dataset("synthetic:٢٠٠٠")
