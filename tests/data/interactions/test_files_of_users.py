"""Files as users have them: quotes, separators, encodings, compression, ids of odd types, and what is asked."""

from __future__ import annotations

import gzip
from decimal import Decimal

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from slimtable.data import load_dataset, read_interactions, read_train_test, split
from slimtable.data.interactions.interactions import Interactions, duplicate_rows
from slimtable.errors import DatasetError

HEAD = "user_id:token\titem_id:token\n"


def test_between_tabs_a_quote_is_a_character(write, raw) -> None:
    text = 'user\titem\nu1\t"a\nu1\tb\nu2\tc\nu2\td"\nu3\te\n'
    rows = [("u1", '"a'), ("u1", "b"), ("u2", "c"), ("u2", 'd"'), ("u3", "e")]
    assert raw(read_interactions(write(text, "x.tsv"))) == rows
    assert raw(read_interactions(write(HEAD + text.partition("\n")[2], "x.inter"))) == rows
    plain = "".join(f"u{i}\ti{i}\n" for i in range(50)) + 'u9\t7" single\n'
    assert raw(read_interactions(write(HEAD + plain, "y.inter")))[-1] == ("u9", '7" single')


@pytest.mark.parametrize("text", ["0 3 4\n0 9 1\n1 4 5\n1 9 2\n", "0 3 4\n1 9 1\n", "0 3 4 100\n1 4 5 90\n"])
def test_lists_that_may_be_tables_are_asked_for(write, text) -> None:
    with pytest.raises(DatasetError, match=r"may be `user item rating`.*--column user=0.*format='sequence'") as caught:
        read_interactions(write(text))
    assert len(str(caught.value).partition(": ")[2]) < 300


def test_what_was_asked_settles_it(write, raw) -> None:
    path = write("0 3 4\n0 9 1\n1 4 5\n1 9 2\n")
    rated = read_interactions(path, columns={"user": 0, "item": 1, "rating": 2})
    assert raw(rated) == [(0, 3), (0, 9), (1, 4), (1, 9)]
    assert rated.ratings.tolist() == [4, 1, 5, 2]
    assert len(read_interactions(path, "sequence")) == 8
    mixed = read_interactions(
        write("1 1 2\n1 2 3.5\n2 1 4\n"), columns={"user": 0, "item": 1, "rating": 2}, separator=" "
    )
    assert mixed.ratings.tolist() == [2, 3.5, 4]


def test_lists_parted_by_tabs_in_a_folder_are_lists(write, tmp_path) -> None:
    write("0\t1\t2\t3\n1\t2\t5\t6\n", "train.txt")
    write("0\t4\n", "test.txt")
    train, test = read_train_test(tmp_path)
    assert (len(train), len(test)) == (6, 1)
    write("0\t1\t2\n1\t2\t5\n", "train.txt")
    with pytest.raises(DatasetError, match=r"user item weight.*--format"):
        read_train_test(tmp_path)
    assert len(read_train_test(tmp_path, "lightgcn")[0]) == 4


def test_histories_in_a_recbole_file_are_not_left_out(write, raw) -> None:
    path = write("session_id:token\titem_id_list:token_seq\titem_id:token\n1\t5 6\t7\n")
    with pytest.raises(DatasetError, match=r"item_id_list:token_seq holds a history"):
        read_interactions(path)
    columns = {"user": "session_id:token", "item": "item_id:token"}
    assert raw(read_interactions(path, columns=columns)) == [(1, 7)]


def test_a_recbole_folder_has_three_parts(write, tmp_path) -> None:
    for part, line in (("train", "1\t5\n2\t6\n"), ("valid", "1\t6\n"), ("test", "2\t7\n")):
        write(HEAD + line, f"ds/ds.{part}.inter")
    parts = split(load_dataset(tmp_path / "ds"))
    assert [len(part) for part in (parts.train, parts.valid, parts.test)] == [2, 1, 1]
    assert parts.num_items == 3


def test_quoted_line_breaks_are_no_rows(write, raw) -> None:
    text = 'user,item,title\n1,10,"a\nb"\n2,11,x\n\n'
    assert raw(read_interactions(write(text))) == [(1, 10), (2, 11)]
    with pytest.raises(DatasetError, match=r"line 4: no item id"):
        read_interactions(write('user,item,title\n1,10,"a\nb"\n2,,x\n'))


def test_spaces_after_commas_are_no_part_of_ids(write, raw) -> None:
    assert raw(read_interactions(write("user, item\n1, 31\n"))) == [(1, 31)]


def test_other_encodings_are_named_or_found(tmp_path, raw) -> None:
    text = "user,item\n1,café\n2,thé\n"
    (tmp_path / "latin").write_bytes(text.encode("latin-1"))
    with pytest.raises(DatasetError, match=r"line 2: byte 0xe9 is not UTF-8.*--encoding latin-1"):
        read_interactions(tmp_path / "latin")
    rows = [(1, "café"), (2, "thé")]
    assert raw(read_interactions(tmp_path / "latin", encoding="latin-1")) == rows
    (tmp_path / "wide").write_bytes(text.encode("utf-16"))
    assert raw(read_interactions(tmp_path / "wide")) == rows
    (tmp_path / "mac").write_bytes(text.replace("\n", "\r").encode())
    assert raw(read_interactions(tmp_path / "mac")) == rows
    with pytest.raises(ValueError, match="no encoding 'klingon'"):
        read_interactions(tmp_path / "latin", encoding="klingon")


def test_compressed_files_are_read(tmp_path, raw) -> None:
    text = b"user,item\n1,5\n2,6\n"
    (tmp_path / "a").write_bytes(gzip.compress(text))
    with pa.output_stream(str(tmp_path / "b"), compression="zstd") as stream:
        stream.write(text)
    for name in "ab":
        assert raw(read_interactions(tmp_path / name)) == [(1, 5), (2, 6)]
    (tmp_path / "a").write_bytes(gzip.compress(b"user,item\n1,\n"))
    with pytest.raises(DatasetError, match=r"/a, line 2: no item id"):
        read_interactions(tmp_path / "a")
    (tmp_path / "a").write_bytes(gzip.compress(text)[:-9])
    with pytest.raises(DatasetError, match="cannot be decompressed"):
        read_interactions(tmp_path / "a")


def test_bytes_of_nul_are_refused(tmp_path) -> None:
    (tmp_path / "x").write_bytes(b"user,item\n1,5\n\x001,6\n")
    with pytest.raises(DatasetError, match=r"line 3: a NUL byte"):
        read_interactions(tmp_path / "x")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_folders_of_part_files_are_read(tmp_path, raw, kind) -> None:
    (tmp_path / "_SUCCESS").touch()
    for number in (10, 2):
        frame = pl.DataFrame({"user": [number], "item": [number + 1]})
        path = tmp_path / f"part-{number}.{kind}"
        frame.write_csv(path) if kind == "csv" else frame.write_parquet(path)
    assert raw(read_interactions(tmp_path)) == [(2, 3), (10, 11)]
    assert len(load_dataset(tmp_path).interactions) == 2


@pytest.mark.parametrize(
    ("ids", "read"),
    [
        ([1.0, 2.0], [1, 2]),
        ([Decimal("1"), Decimal("2")], [1, 2]),
        ([1.5, 2.0], r"item ids are Float64 and not all whole numbers"),
        ([b"a", b"b"], r"column item holds Binary, not a item"),
        ([{"a": 1}, {"a": 2}], r"column item holds Struct"),
        ([True, False], r"item ids are Boolean"),
    ],
)
def test_ids_of_parquet_files_are_whole_numbers_or_texts(tmp_path, raw, ids, read) -> None:
    pl.DataFrame({"user": [1, 2], "item": ids}).write_parquet(tmp_path / "p")
    if isinstance(read, list):
        assert raw(read_interactions(tmp_path / "p")) == list(zip([1, 2], read, strict=True))
        return
    with pytest.raises(DatasetError, match=read) as caught:
        read_interactions(tmp_path / "p")
    assert str(tmp_path / "p") in str(caught.value)


@pytest.mark.parametrize(
    "names",
    [
        ("userid", "productid"),
        ("uid", "iid"),
        ("visitorid", "itemid"),
        ("reviewerID", "asin"),
        ("user_id", "business_id"),
    ],
)
def test_usual_names_of_columns_are_found(write, raw, names) -> None:
    assert raw(read_interactions(write(f"{names[0]},{names[1]}\n1,2\n"))) == [(1, 2)]


def test_a_header_of_positions_is_a_header(write, raw) -> None:
    path = write("0,1,2\n7,8,9\n")
    with pytest.raises(DatasetError, match=r"looks like the user.*--column user=NAME"):
        read_interactions(path)
    assert raw(read_interactions(path, columns={"user": 0, "item": 1})) == [(7, 8)]


def test_messages_about_many_columns_are_short(write) -> None:
    path = write(",".join(f"c{i}" for i in range(100_000)) + "\n")
    with pytest.raises(DatasetError, match=r"100,000 columns") as caught:
        read_interactions(path)
    assert len(str(caught.value)) - len(str(path)) < 300


def test_rows_that_repeat_others() -> None:
    users, items, times = np.array([1, 1, 2, 1]), np.array([5, 5, 5, 5]), np.array([3, 3, 3, 4])
    assert duplicate_rows(Interactions.from_raw(users, items, times=times)).tolist() == [False, True, False, False]
    assert duplicate_rows(Interactions.from_raw(users, items)).tolist() == [False, True, False, True]
    listed = Interactions.from_raw(np.array([1, 1, 1]), np.array([5, 6, 5]), chronological=True)
    assert not duplicate_rows(listed).any()
