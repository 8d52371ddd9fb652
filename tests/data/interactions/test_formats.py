import numpy as np
import polars as pl
import pytest

from slimtable.data import detect_format, read_interactions, read_train_test
from slimtable.errors import DatasetError, DatasetNotFoundError

SASREC = "1 5\n1 6\n2 5\n"
SEQUENCE = "1 5 6\n2 5\n"
ROWS = [(1, 5), (1, 6), (2, 5)]
INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t5\t4.5\t9.0\n1\t6\t3\t10\n2\t5\t1\t8\n"
RATINGS = "1::5::4::9\n1::6::3::10\n2::5::1::8\n"
CSV = "userId,movieId,rating,timestamp\n1,5,4,9\n1,6,3,10\n2,5,1,8\n"


@pytest.mark.parametrize(
    ("text", "format"),
    [
        (SASREC, "sasrec"),
        ("1\t5\n2\t6\n", "sasrec"),
        ("\n\n1 5\n", "sasrec"),
        ("\ufeff1 5\n", "sasrec"),
        (SEQUENCE, "sequence"),
        ("1\n2 5\n", "sequence"),
        (INTER, "inter"),
        ("user_id:token\titem_id:token\n1\t5\n", "inter"),
        (RATINGS, "ratings"),
        ("ann::b07::4\n", "ratings"),
        (CSV, "table"),
        (CSV.replace(",", "\t"), "table"),
        (CSV.replace(",", ";"), "table"),
        ("user,item\n", "table"),
        ("1 5\n" * 40_000 + "1 5 6\n", "sasrec"),
    ],
)
def test_format_is_found_by_content(write, text, format):
    assert detect_format(write(text)) == format


def test_format_of_parquet_and_folders_is_found(write, tmp_path):
    pl.DataFrame({"user": [1], "item": [2]}).write_parquet(tmp_path / "x.csv")
    assert detect_format(tmp_path / "x.csv") == "parquet"
    for folder, line, format in (("a", "0 1 2\n", "lightgcn"), ("b", "0\t1\t9\n0\t2\t9\n", "weighted")):
        write(line, f"{folder}/train.txt")
        write(line, f"{folder}/test.txt")
        assert detect_format(tmp_path / folder) == format


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("hello world\n", "no known format"),
        ("1\t5\t3\n", "table without a header"),
        ("1,5,3.5\n", "table without a header"),
        (b"\x1f\x8b123", "compressed"),
        (b"PK\x03\x04", "zip archive"),
    ],
)
def test_unknown_content_is_explained(write, content, message):
    with pytest.raises(DatasetError, match=message):
        detect_format(write(content))


def test_missing_paths_and_folders_are_explained(tmp_path, write):
    with pytest.raises(DatasetNotFoundError, match="no file or folder"):
        read_interactions(tmp_path / "nothing")
    with pytest.raises(DatasetError, match=r"no train\.txt and test\.txt"):
        detect_format(tmp_path)
    with pytest.raises(DatasetError, match="read_train_test"):
        read_interactions(tmp_path)
    write(SEQUENCE, "train.txt")
    with pytest.raises(DatasetNotFoundError, match=r"test\.txt"):
        read_train_test(tmp_path, "lightgcn")
    with pytest.raises(ValueError, match="not a format of folders"):
        read_train_test(tmp_path, "sasrec")


@pytest.mark.parametrize(
    ("text", "chronological"),
    [
        (SASREC, True),
        (SEQUENCE, True),
        (INTER, True),
        (RATINGS, True),
        (CSV, True),
        ("user,item\n1,5\n1,6\n2,5\n", False),
    ],
)
def test_every_format_reads_the_same_rows(write, raw, text, chronological):
    data = read_interactions(write(text))
    assert raw(data) == ROWS
    assert data.chronological is chronological
    assert (data.times is None) == (data.ratings is None)
    if data.times is not None:
        assert data.times.tolist() == [9, 10, 8]
        assert data.ratings[1] == 3


@pytest.mark.parametrize("text", ["1 5\r\n1 6\r\n\r\n2 5", "\ufeff1\t5 \n  1  6\n2 5\n\n", "1 5 6\n\n3\n2 5\n"])
def test_lists_allow_blanks_returns_and_users_without_items(write, raw, text):
    assert raw(read_interactions(write(text), "sequence")) == ROWS


def test_lists_read_negative_and_large_ids(write, raw):
    text = "-1 999999999999999999\n-1 0\n"
    assert raw(read_interactions(write(text))) == [(-1, 999999999999999999), (-1, 0)]


@pytest.mark.parametrize(
    ("text", "format", "line"),
    [
        ("1 2\n\n1 x\n", "sasrec", "line 3: expected `user item`.*'1 x'"),
        ("1 2\n1 2 3\n", "sasrec", "line 2.*'1 2 3'.*format='sequence'"),
        ("1 2\n7\n", "sasrec", "line 2"),
        ("1 2 3\n4 5.5\n", "sequence", "line 2.*'4 5.5'"),
        ("1 2 3\n4 -\n", "sequence", "line 2"),
        ("1 2 3\n4 5-6\n", "sequence", "line 2"),
        ("1 2 3\n4 1234567890123456789\n", "sequence", "line 2.*18 digits"),
    ],
)
def test_malformed_lists_name_file_and_line(write, text, format, line):
    path = write(text)
    with pytest.raises(DatasetError, match=line) as caught:
        read_interactions(path, format)
    assert str(path) in str(caught.value)


def test_a_list_file_without_items_is_empty(write):
    with pytest.raises(DatasetError, match="holds no interactions"):
        read_interactions(write("1\n2\n"), "sequence")
    with pytest.raises(DatasetError, match="holds no interactions"):
        read_interactions(write(""), "sasrec")


def test_order_of_lists_can_be_stated(write):
    path = write(SEQUENCE)
    assert not read_interactions(path, "lightgcn").chronological
    assert not read_interactions(path, chronological=False).chronological
    assert read_interactions(write("user,item\n1,5\n"), chronological=True).chronological


def test_format_and_columns_must_fit(write):
    with pytest.raises(ValueError, match="unknown format 'xml'"):
        read_interactions(write(SASREC), "xml")
    with pytest.raises(ValueError, match="no meaning"):
        read_interactions(write(SASREC), "sasrec", columns={"user": 0, "item": 1})


def test_lightgcn_folder_shares_ids_and_allows_empty_lists(write, raw, tmp_path):
    write("0 7 8\n1 9\n2\n", "train.txt")
    write("0 9\n1\n3 5\n", "test.txt")
    train, test = read_train_test(tmp_path)
    assert raw(train) == [(0, 7), (0, 8), (1, 9)]
    assert raw(test) == [(0, 9), (3, 5)]
    assert train.user_vocabulary.tolist() == test.user_vocabulary.tolist() == [0, 1, 3]
    assert train.item_vocabulary.tolist() == [5, 7, 8, 9]
    assert not train.chronological


def test_weighted_folder_reads_weights_and_string_ids(write, raw, tmp_path):
    write("u1\t7\t2.5\nu2\t8\t1\n", "train.txt")
    write("u1\t8\t4\n", "test.txt")
    train, test = read_train_test(tmp_path)
    assert raw(train) == [("u1", 7), ("u2", 8)]
    assert raw(test) == [("u1", 8)]
    assert train.ratings.tolist() == [2.5, 1]
    assert raw(read_interactions(tmp_path / "train.txt", "weighted")) == raw(train)


def test_folder_without_training_rows_is_refused(write, tmp_path):
    write("0\n", "train.txt")
    write("0 1\n", "test.txt")
    with pytest.raises(DatasetError, match=r"train\.txt holds no interactions"):
        read_train_test(tmp_path)


def test_a_test_part_may_be_empty(write, tmp_path):
    write("0 1\n", "train.txt")
    write("0\n", "test.txt")
    train, test = read_train_test(tmp_path)
    assert (len(train), len(test)) == (1, 0)


def test_scanner_agrees_with_numpy_on_many_lines(write):
    numbers = np.random.default_rng(0).integers(-(10**9), 10**9, (5_000, 2))
    data = read_interactions(write("\n".join(f"{user} {item}" for user, item in numbers)))
    assert (data.user_vocabulary[data.users] == numbers[:, 0]).all()
    assert (data.item_vocabulary[data.items] == numbers[:, 1]).all()
