import subprocess
import sys
from datetime import date, datetime

import polars as pl
import pytest

from slimtable.data import read_interactions
from slimtable.errors import DatasetError


@pytest.mark.parametrize("names", ["user,item", "user_id,item_id", "userId,movieId", "UID,Movie"])
def test_usual_column_names_are_recognised(write, raw, names):
    assert raw(read_interactions(write(f"{names}\n1,5\n"))) == [(1, 5)]


def test_columns_can_be_named_and_others_are_left_out(write, raw):
    path = write("who,what,rating,when\na,x,bad,3\nb,y,,1\n")
    data = read_interactions(path, columns={"user": "who", "item": "what", "time": "when"})
    assert raw(data) == [("a", "x"), ("b", "y")]
    assert data.ratings is None
    assert data.times.tolist() == [3, 1]


def test_columns_can_be_given_by_position_where_there_is_no_header(write, raw):
    path = write("1\t5\t3\t9\n2\t6\t4\t8\n")
    data = read_interactions(path, columns={"user": 0, "item": 1, "rating": 2, "time": 3})
    assert raw(data) == [(1, 5), (2, 6)]
    assert (data.ratings.tolist(), data.times.tolist()) == ([3, 4], [9, 8])


def test_unknown_columns_are_listed(write, tmp_path):
    path = write("who,item\n1,2\n")
    with pytest.raises(DatasetError, match=r"looks like the user.*who, item"):
        read_interactions(path)
    with pytest.raises(DatasetError, match=r"no column 'usr'.*who, item"):
        read_interactions(path, columns={"user": "usr", "item": "item"})
    with pytest.raises(DatasetError, match=r"no column 7.*positions 0 to 1"):
        read_interactions(path, columns={"user": 0, "item": 7})
    assert len(read_interactions(path, columns={"user": "who"})) == 1  # the item is found
    with pytest.raises(DatasetError, match=r"looks like the user.*--column user=NAME"):
        read_interactions(path, columns={"item": "item"})
    with pytest.raises(ValueError, match="must map user and item"):
        read_interactions(path, columns={"user": "who", "item": "item", "label": "x"})
    pl.DataFrame({"a": [1], "item": [2]}).write_parquet(tmp_path / "p")
    with pytest.raises(DatasetError, match="a, item"):
        read_interactions(tmp_path / "p")
    with pytest.raises(ValueError, match="named columns"):
        read_interactions(tmp_path / "p", columns={"user": 0, "item": 1})


def test_ids_with_leading_zeros_stay_strings(write):
    data = read_interactions(write("user,item\n7,007\n8,7\n"))
    assert data.user_vocabulary.tolist() == [7, 8]
    assert data.item_vocabulary.tolist() == ["007", "7"]


def test_blank_lines_are_no_rows(write, raw):
    path = write("\nuser,item\n1,5\n\n2,6\r\n\r\n3,7\n\n")
    assert raw(read_interactions(path)) == [(1, 5), (2, 6), (3, 7)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user,item\n1,5\n\n,6\n", r"line 4: no user id \(1 such"),
        ("user,item\n1,5\n2,\n3,\n", r"line 3: no item id \(2 such"),
        ("user,item\n1,5\n,\n", r"line 3: no user id"),
        ("user,item\n1,5\n2\n", r"line 3: no item id"),
        ("user,item\n1,5\n\n2,6,7\n", r"line 4: more or fewer fields"),
        ("user,item,rating\n1,5,3\n\n2,6,\n", r"line 4: no rating \(1 such.*drop_missing=True"),
        ("user,item,rating\n1,5,x\n", r"line 2: the rating 'x'"),
        ("user,item,rating\n1,5,nan\n", r"line 2: the rating 'nan'"),
        ("user,item,time\n1,5,3\n1,6,\n", r"line 3: no time"),
        ("user,item,time\n1,5,3\n1,6,soon\n", r"line 3: the time 'soon'"),
        ("user,item,time\n1,5,soon\n", r"line 2: the time 'soon'"),
        ("user,item\n", r"holds no interactions"),
        ('user,item\n1,"5\n', r"not a readable table"),
        ("1::2::3\n1::2\n", r"no rating|fewer fields"),
        ("1::2::3\n1::2::3::4\n", r"line 2: more or fewer fields"),
        ("1::2::3\n1:2::3:4\n", r"single colon"),
    ],
)
def test_malformed_rows_name_file_and_line(write, text, message):
    path = write(text)
    with pytest.raises(DatasetError, match=message) as caught:
        read_interactions(path)
    assert str(path) in str(caught.value)


def test_rows_without_a_rating_can_be_dropped(write, raw):
    path = write("user,item,rating\n1,5,3\n2,6,\n")
    data = read_interactions(path, drop_missing=True)
    assert raw(data) == [(1, 5)]
    assert data.user_vocabulary.tolist() == [1]
    with pytest.raises(DatasetError, match="no item id"):
        read_interactions(write("user,item,rating\n1,,3\n"), drop_missing=True)
    with pytest.raises(DatasetError, match="holds no interactions"):
        read_interactions(write("user,item,rating\n1,5,\n"), drop_missing=True)


def test_quoted_ids_may_hold_the_separator(write, raw):
    assert raw(read_interactions(write('user,item\n"a, b",x\n'))) == [("a, b", "x")]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (["100", "7"], [100, 7]),
        (["100.0", "7"], [100, 7]),
        (["1.5", "2"], [1_500_000, 2_000_000]),
        (["2024-01-01", "1970-01-02"], [1_704_067_200, 86_400]),
        (["2019-10-01 00:00:00 UTC", "2019-10-01 00:00:02 UTC"], [1_569_888_000, 1_569_888_002]),
        (["1970-01-01T00:00:01", "1970-01-01T00:00:00.000002"], [1_000_000, 2]),
    ],
)
def test_times_are_whole_seconds_or_microseconds(write, times, expected):
    data = read_interactions(write("user,item,time\n" + "".join(f"1,2,{time}\n" for time in times)))
    assert data.times.tolist() == expected


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ([3, 4], [3, 4]),
        ([3.0, 4.0], [3, 4]),
        ([date(1970, 1, 2), date(1970, 1, 1)], [86_400, 0]),
        ([datetime(1970, 1, 1, 0, 0, 1), datetime(1970, 1, 1)], [1, 0]),
    ],
)
def test_parquet_keeps_types(tmp_path, raw, column, expected):
    frame = pl.DataFrame({"user_id": ["b", "a"], "item_id": [3, 9], "timestamp": column, "other": [None, 1]})
    frame.write_parquet(tmp_path / "data")
    data = read_interactions(tmp_path / "data")
    assert raw(data) == [("b", 3), ("a", 9)]
    assert data.times.tolist() == expected


def test_bad_parquet_is_explained(tmp_path, write):
    pl.DataFrame({"user": [1, None], "item": [2, 3]}).write_parquet(tmp_path / "nulls")
    with pytest.raises(DatasetError, match=r"row 2: no user id"):
        read_interactions(tmp_path / "nulls")
    pl.DataFrame({"user": [1], "item": [2], "rating": [float("nan")]}).write_parquet(tmp_path / "nan")
    with pytest.raises(DatasetError, match=r"row 1: the rating nan"):
        read_interactions(tmp_path / "nan")
    with pytest.raises(DatasetError, match="not a readable Parquet file"):
        read_interactions(write(b"PAR1garbage"))


def test_missing_polars_says_what_to_install(write, monkeypatch):
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(DatasetError, match=r"pip install 'slimtable\[train\]'"):
        read_interactions(write("user,item\n1,2\n"))
    assert len(read_interactions(write("1 2\n"))) == 1


def test_importing_the_package_loads_no_heavy_library():
    code = "import sys, slimtable.data; print({'torch', 'polars', 'pyarrow'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
