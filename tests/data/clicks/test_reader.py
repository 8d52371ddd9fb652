"""Click logs as files: each format against rows written by hand, and each kind of damage."""

from __future__ import annotations

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from slimtable.artifact.vocabulary import Strings
from slimtable.data.clicks import text as click_text
from slimtable.data.clicks.clicks import Bags
from slimtable.data.clicks.raw import RawClicks, RawField, concatenate
from slimtable.data.clicks.reader import read_clicks
from slimtable.data.clicks.schema import Field, Schema
from slimtable.data.clicks.vocabulary import Vocabularies
from slimtable.data.clicks.windows import concatenate_clicks
from slimtable.errors import DatasetError, DatasetNotFoundError

SCHEMA = Schema(
    label="click",
    time="at",
    numeric=("age",),
    fields=(Field(name="user"), Field(name="genres", column="kinds", separator="|")),
)
TEXT = '''at,click,user,age,kinds,unused
10,1,ann,5,a|b,x
11,0,,-3,,x
12,0,"bob, ""b""",,b,"two
lines"
13,1,ünï,0,||c|,x
'''


def cells(field: RawField) -> list:
    """The values of a field, a list for each row of a field with several values; None for a missing integer."""
    values = list(field.values) if isinstance(field.values, Strings) else field.values.tolist()
    if field.present is not None:
        values = [value if there else None for value, there in zip(values, field.present, strict=True)]
    if field.offsets is None:
        return values
    return [values[start:stop] for start, stop in zip(field.offsets[:-1], field.offsets[1:], strict=True)]


def rows(raw: RawClicks) -> list:
    times = raw.times.tolist() if raw.times is not None else [None] * len(raw)
    return list(zip(raw.labels.tolist(), times, raw.numeric.tolist(), *map(cells, raw.fields), strict=True))


def read(path, schema=SCHEMA, chunk_rows=1000) -> RawClicks:
    return concatenate(list(read_clicks(path, schema, chunk_rows)))


def test_csv(write):
    raw = read(write(TEXT))
    assert raw.labels.tolist() == [1, 0, 0, 1]
    assert raw.times.tolist() == [10, 11, 12, 13]
    assert np.allclose(raw.numeric[:, 0], [np.log(6), -np.log(4), 0, 0])
    assert cells(raw.fields[0]) == ["ann", "", 'bob, "b"', "ünï"]
    assert cells(raw.fields[1]) == [["a", "b"], [], ["b"], ["c"]]


@pytest.mark.parametrize("chunk_rows", [1, 2, 3])
@pytest.mark.parametrize("block", [30, 64, 100])
def test_neither_chunks_nor_blocks_matter(write, monkeypatch, chunk_rows, block):
    path = write(TEXT)
    whole = rows(read(path))
    monkeypatch.setattr(click_text, "BLOCK_BYTES", block)
    chunks = list(read_clicks(path, SCHEMA, chunk_rows))
    assert max(map(len, chunks)) <= chunk_rows
    assert rows(concatenate(chunks)) == whole


def test_csv_without_a_header_compressed_with_other_line_ends(write):
    schema = Schema(label=0, positive_from=3, delimiter=";", header=False, fields=(Field(name="user", column=2),))
    path = write(gzip.compress('\ufeff4;x;ann\r\n\r\n2;y;"b"\r\n3.5;z;'.encode()), "log.csv.gz")
    raw = read(path, schema)
    assert raw.labels.tolist() == [1, 0, 1]
    assert cells(raw.fields[0]) == ["ann", "b", ""]


def test_a_folder_is_read_in_the_order_of_names(write):
    head = "click,u\n"
    for name, text in {"b.csv": "1,b\n", "a.csv": "0,a\n", ".c.csv": "no", "schema.yaml": "no"}.items():
        write(text if text == "no" else head + text, f"log/{name}")
    raw = read(write("no", "log/x.json").parent, Schema(label="click", fields=(Field(name="u"),)))
    assert cells(raw.fields[0]) == ["a", "b"]


def test_times_may_be_dates(write):
    raw = read(write("click,at,user,age,kinds\n1,1970-01-02 00:00:00.5,a,1,\n0,1970-01-03T00:00:00,b,1,\n"))
    assert raw.times.tolist() == [86_400.5, 172_800]


def test_criteo(write):
    first = ["1", *map(str, range(13)), *(f"v{i}" for i in range(26))]
    second = ["0", "-1", *[""] * 38]
    raw = read(write("\n".join("\t".join(line) for line in (first, second))), Schema(format="criteo"))
    assert raw.labels.tolist() == [1, 0]
    assert np.allclose(raw.numeric[0], np.log1p(np.arange(13)))
    assert np.allclose(raw.numeric[1], [-np.log(2)] + [0] * 12)
    assert [cells(field) for field in raw.fields[:2]] == [["v0", ""], ["v1", ""]]


def test_libfm(write):
    fields = (
        Field(name="b", column="10-19"),
        Field(name="a", column="0-9"),
        Field(name="m", column="20-29", separator=","),
    )
    raw = read(write("1 3:1 10:1.0 21:1\n-1 20:1 25:1 9:1\r\n\n0\n"), Schema(format="libfm", fields=fields), 2)
    assert raw.labels.tolist() == [1, 0, 0]
    assert [cells(field) for field in raw.fields] == [[10, None, None], [3, 9, None], [[21], [20, 25], []]]


def parquet(tmp_path, **columns):
    table = {
        "click": pa.array([True, False, True]),
        "at": pa.array([1, 2, 3], pa.timestamp("s")),
        "age": pa.array([2.0, None, -7.0]),
        "user": pa.array(["ann", None, "ann"]).dictionary_encode(),
        "kinds": pa.array([["a", None, "b"], [], None], pa.list_(pa.string())),
    } | columns
    path = tmp_path / "log.parquet"
    pyarrow.parquet.write_table(pa.table(table), path)
    return path


@pytest.mark.parametrize("chunk_rows", [1, 2, 100])
def test_parquet(tmp_path, chunk_rows):
    raw = read(parquet(tmp_path), SCHEMA.model_copy(update={"format": "parquet"}), chunk_rows)
    assert raw.labels.tolist() == [1, 0, 1]
    assert raw.times.tolist() == [1, 2, 3]
    assert np.allclose(raw.numeric[:, 0], [np.log(3), 0, -np.log(8)])
    assert cells(raw.fields[0]) == ["ann", "", "ann"]
    assert cells(raw.fields[1]) == [["a", "", "b"], [], []]


def test_parquet_integers(tmp_path):
    path = parquet(
        tmp_path, user=pa.array([5, None, -(2**63)]), kinds=pa.array([[1], [2, 3], []], pa.list_(pa.int16()))
    )
    raw = read(path, SCHEMA.model_copy(update={"format": "parquet"}), 2)
    assert cells(raw.fields[0]) == [5, None, -(2**63)]
    assert cells(raw.fields[1]) == [[1], [2, 3], []]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"click": pa.array([0, 1, 2])}, "row 3: the label 2 is neither 0 nor 1"),
        ({"click": pa.array([0, None, 1])}, "row 2: the label 'click' is missing"),
        ({"click": pa.array(["0", "1", "1"])}, "the label 'click' is string, not a number"),
        ({"age": pa.array([1.0, float("inf"), 1.0])}, "row 2: the numeric column 'age' inf is not a number"),
        ({"user": pa.array([0.5, 1.0, 2.0])}, "field 'user' is double; values are texts or integers"),
        ({"user": pa.array([1, 2, 2**64 - 1], pa.uint64())}, "not a readable Parquet file"),
    ],
)
def test_wrong_parquet(tmp_path, columns, said):
    with pytest.raises(DatasetError, match=said) as caught:
        read(parquet(tmp_path, **columns), SCHEMA.model_copy(update={"format": "parquet"}), 2)
    assert "log.parquet" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_parquet_without_a_column_and_what_is_no_parquet(tmp_path, write):
    schema = Schema(format="parquet", label="seen", fields=(Field(name="user"),))
    with pytest.raises(DatasetError, match=r"has no column 'seen'. Its columns: click, at, age, user, kinds"):
        read(parquet(tmp_path), schema)
    with pytest.raises(DatasetError, match="not a readable Parquet file"):
        read(write(TEXT), schema)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (("at,click", "at,clicked"), "has no column 'click'. Its columns: at, clicked, user"),
        (("11,0,", "11,2,"), "line 3: the label 2 is neither 0 nor 1. .*positive_from"),
        (("11,0,", "11,yes,"), "line 3: the label 'yes' is not a number"),
        (("11,0,", "11,,"), "line 3: the label '' is not a number"),
        (("11,0,", "later,0,"), "line 3: the time 'later' is not a number or a date"),
        (("13,1,ünï,0", "13,1,ünï,old"), "line 6: the value of age 'old' is not a number"),
        (("-3,,x", "-3,,x,y"), "line 3: 7 columns instead of 6"),
        (("13,1,", "13,"), "line 6: 5 columns instead of 6"),
        (('\nlines"', "\nlines"), "line 4: a quote is never closed"),
        (('"two', '"t"wo'), "line 4: text follows a closing quote"),
    ],
)
@pytest.mark.parametrize("chunk_rows", [1, 100])
def test_wrong_csv_is_named_by_its_line(write, damage, said, chunk_rows):
    path = write(TEXT.replace(*damage))
    with pytest.raises(DatasetError, match=said) as caught:
        read(path, SCHEMA, chunk_rows)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_lines_are_counted_over_blocks(write, monkeypatch):
    monkeypatch.setattr(click_text, "BLOCK_BYTES", 64)
    text = "click,u\n" + "1,some value\n" * 50 + "\n1,b\n7,c\n"
    with pytest.raises(DatasetError, match="line 54: the label 7"):
        read(write(text), Schema(label="click", fields=(Field(name="u"),)))
    with pytest.raises(DatasetError, match="line 31 is not UTF-8 text"):
        read(
            write(b"click,u\n" + b"1,some value\n" * 29 + b"1,\xff\n"), Schema(label="click", fields=(Field(name="u"),))
        )


def test_ragged_criteo(write):
    with pytest.raises(DatasetError, match="line 2: 39 columns instead of 40"):
        read(write("0" + "\t" * 39 + "\n0" + "\t" * 38 + "\n"), Schema(format="criteo"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1 3:1 4:1", "several features of field 'a'"),
        ("1 3:1 99:1", "a feature number is in the range of no field"),
        ("1 3:2", "a feature has a value other than 0 and 1"),
        ("x 3:1", "expected `label number:1"),
        ("1 3", "expected `label number:1"),
        ("1 3:1:10:1", "expected `label number:1"),
        ("1 3:15", "a feature has a value other than 0 and 1"),
        ("5 3:1", "the label 5 is neither 0 nor 1"),
    ],
)
def test_wrong_libfm(write, line, said):
    fields = (Field(name="a", column="0-9"), Field(name="b", column="10-19"))
    with pytest.raises(DatasetError, match=f"line 2: {said}"):
        read(write(f"1 3:1 12:1\n{line}\n1 3:1\n"), Schema(format="libfm", fields=fields))


def test_libfm_ranges_must_not_overlap(write):
    fields = (Field(name="a", column="5-9"), Field(name="b", column="0-5"))
    with pytest.raises(DatasetError, match="overlap"):
        read(write("1 5:1\n"), Schema(format="libfm", fields=fields))


@pytest.mark.parametrize("text", ["", "\n\n", "click,at,user,age,kinds\n", "click,at,user,age,kinds\n\n"])
def test_a_file_without_rows(write, text):
    with pytest.raises(DatasetError, match="holds no rows"):
        read(write(text))


def test_what_is_not_there(tmp_path):
    with pytest.raises(DatasetNotFoundError, match="neither a file nor a folder"):
        read(tmp_path / "none.csv")
    with pytest.raises(DatasetNotFoundError, match="holds no file of a click log"):
        read(tmp_path)
    with pytest.raises(ValueError, match="chunk_rows"):
        read(tmp_path, SCHEMA, 0)


def test_columns_by_position_and_by_name_need_the_right_header(write):
    by_name = Schema(label="click", header=False, fields=(Field(name="u"),))
    with pytest.raises(DatasetError, match="column 'click' must be a position"):
        read(write("1,a\n"), by_name)
    with pytest.raises(DatasetError, match=r"has no column 5. Its columns: positions 0 to 1"):
        read(write("1,a\n"), Schema(label=5, header=False, fields=(Field(name="u", column=1),)))


def test_broken_gzip_is_one_line(write):
    whole = gzip.compress(TEXT.encode())
    with pytest.raises(DatasetError, match="cannot read"):
        read(write(whole[:-12], "log.csv.gz"))
    with pytest.raises(DatasetError, match="cannot read"):
        read(write(TEXT, "plain.csv.gz"))


def test_rows_can_be_sliced_taken_and_joined(write):
    raw = read(write(TEXT))
    assert rows(concatenate([raw.slice(0, 1), raw.slice(1, 4)])) == rows(raw)
    chosen = np.array([3, 0, 0])
    assert rows(raw.take(chosen)) == [rows(raw)[i] for i in chosen]
    assert rows(raw.slice(1, 4).take(np.array([2]))) == rows(raw)[3:]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("click,user,user\n1,a,b\n", "has several columns 'user'. Rename all but one"),
        ("click,user\r1,a\r0,b\r", "its first line is no line of columns"),
        ("click,user," + "x" * 200_000 + "\n1,a,b\n", "its first line is no line of columns"),
    ],
)
def test_a_header_that_cannot_be_read_is_told(tmp_path, text, said):
    path = tmp_path / "log.csv"
    path.write_bytes(text.encode())
    with pytest.raises(DatasetError, match=said):
        list(read_clicks(path, Schema(label="click", fields=(Field(name="user"),))))


def test_a_quote_within_a_text_is_a_character_wherever_blocks_end(tmp_path, monkeypatch):
    lines = ['1,5" screen', '0,"two\nlines, ""quoted"""', '0,7" pad', '1,"three\n\nlines"'] * 5
    path = tmp_path / "log.csv"
    path.write_text("click,user\n" + "\n".join(lines) + "\n")
    schema = Schema(label="click", fields=(Field(name="user"),))
    expected = ['5" screen', 'two\nlines, "quoted"', '7" pad', "three\n\nlines"] * 5
    for size in range(3, 90):
        monkeypatch.setattr(click_text, "BLOCK_BYTES", size)
        assert cells(concatenate(list(read_clicks(path, schema))).fields[0]) == expected, size


def test_a_column_name_that_a_parquet_file_has_twice_is_told(tmp_path):
    table = pa.Table.from_arrays([pa.array([1, 0]), pa.array(["a", "b"]), pa.array(["c", "d"])], ["y", "u", "u"])
    pa.parquet.write_table(table, tmp_path / "log.parquet")
    schema = Schema(format="parquet", label="y", fields=(Field(name="u"),))
    with pytest.raises(DatasetError, match="has several columns 'u'"):
        list(read_clicks(tmp_path / "log.parquet", schema))


def test_times_finer_than_microseconds_are_rounded(tmp_path):
    columns = {"y": [1, 0], "u": ["a", "b"], "t": pa.array([1_000_000_001, 2_000_000_999], pa.timestamp("ns"))}
    pa.parquet.write_table(pa.table(columns), tmp_path / "log.parquet")
    schema = Schema(format="parquet", label="y", time="t", fields=(Field(name="u"),))
    (rows,) = read_clicks(tmp_path / "log.parquet", schema)
    assert rows.times.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("values", [[3, 4], ["a", "b"], [[3], [4, 5]], [["a"], []]], ids=str)
@pytest.mark.parametrize("place", [0, 1])
def test_a_file_without_a_value_in_a_column_fits_any_type(tmp_path, values, place):
    columns = [{"y": [1, 0], "u": values}, {"y": [1, 0], "u": pa.nulls(2)}]
    for number in (0, 1):
        pa.parquet.write_table(pa.table(columns[number ^ place]), tmp_path / f"{number}.parquet")
    chunks = list(read_clicks(tmp_path, Schema(format="parquet", label="y", fields=(Field(name="u"),))))
    vocabularies = Vocabularies({"u": 1})
    for chunk in chunks:
        vocabularies.count(chunk)
    distinct = {value for row in values for value in (row if isinstance(row, list) else [row])}
    assert len(vocabularies["u"]) == 1 + len(distinct)
    apart = concatenate_clicks([vocabularies.encode(chunk) for chunk in chunks])
    together = vocabularies.encode(concatenate(chunks))
    for encoded in (apart, together):
        (ids,) = encoded.ids
        assert len(ids) == 4
        flat = ids.values if isinstance(ids, Bags) else ids
        assert sorted(flat[flat > 0]) == sorted(range(1, 1 + len(distinct)))


def test_libfm_comments_and_features_that_are_0_are_passed_over(write) -> None:
    text = "# a log\n1 0:1 5:1 # the first\n0 1:0 2:1 6:1.0\n"
    schema = Schema(format="libfm", fields=[{"name": "a", "column": "0-4"}, {"name": "b", "column": "5-9"}])
    chunk = read(write(text), schema, 10)
    assert chunk.labels.tolist() == [1, 0]
    assert [field.values.tolist() for field in chunk.fields] == [[0, 2], [5, 6]]


def test_fields_may_be_named_alone() -> None:
    assert Schema(label="y", fields=["user", "item"]) == Schema(label="y", fields=[{"name": "user"}, {"name": "item"}])
