"""Schema files: what they say, and one line for each mistake."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict

from slimtable.data.clicks.schema import CRITEO_FIELDS, Field, Schema, read_schema
from slimtable.errors import DatasetError, SlimtableError
from slimtable.settings_file import read_yaml

GOOD = """
label: clicked
time: at
numeric: [age, 7]
fields:
  - {name: user, min_count: 2}
  - {name: genres, column: kinds, separator: "|"}
"""


def test_a_schema_says_which_columns_are_read(write):
    schema = read_schema(write(GOOD))
    assert schema.columns == ("clicked", "at", "age", 7, "user", "kinds")
    assert [field.min_count for field in schema.fields] == [2, 1]
    assert [field.min_count for field in schema.with_min_count(5).fields] == [5, 5]
    assert schema.fields[0].min_count == 2


def test_numeric_columns_were_called_integers(write):
    """Schemas and state folders of earlier versions are still read."""
    old = read_schema(write(GOOD.replace("numeric", "integers")))
    assert old == read_schema(write(GOOD))
    assert old.model_dump(mode="json", by_alias=True)["integers"] == ["age", 7]


def test_criteo_needs_no_more_than_its_name(write):
    schema = read_schema(write("format: criteo"))
    assert tuple(field.name for field in schema.fields) == CRITEO_FIELDS
    assert len(schema.numeric) == 13
    few = read_schema(write("format: criteo\nintegers: [I2]\nfields: [{name: C3, min_count: 10}]"))
    assert (few.numeric, few.fields) == (("I2",), (Field(name="C3", min_count=10),))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD + "labels: x", r"unknown key `labels`. Did you mean label\? Known keys there: format, label"),
        (GOOD.replace("min_count", "mincount"), r"unknown key `fields.0.mincount`. Did you mean min_count\?"),
        (GOOD.replace("min_count: 2", "min_count: 0"), r"`fields.0.min_count`: .*greater than or equal to 1, got 0"),
        (GOOD.replace("name: user", "name: a.b"), r"`fields.0.name`: .*pattern.*got 'a.b'"),
        (GOOD.replace("name: user, ", ""), r"`fields.0.name` is missing. Keys there: name, column"),
        (GOOD.replace('"|"', '"::"'), r"`fields.1.separator`: .*at most 1 character"),
        (GOOD + "format: xml", r"`format`: .*'csv', 'parquet', 'criteo' or 'libfm', got 'xml'"),
        (GOOD.replace("name: user", "name: genres"), r"two fields are named 'genres'"),
        (GOOD + "label: other", r"line \d+ is not YAML: `label` is given twice"),
        ("label: clicked\nfields: []", r"`fields` names no field"),
        ("fields: [{name: a}]", r"`label` is missing"),
        ("format: criteo\nlabel: x", r"a criteo file leaves no choice of label"),
        ("format: libfm\nfields: [{name: a}]", r"field 'a' of a libfm file needs a range"),
        ("- 1", r"must hold `key: value` lines"),
        ("a: [", r"line \d+ is not YAML"),
        (b"\xff\xfe", r"is not UTF-8 text"),
        ("x: 1\ny: 2", r"unknown key `x`.*1 more such mistake"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_file_and_the_key(write, text, said):
    path = write(text)
    with pytest.raises(DatasetError, match=said) as caught:
        read_schema(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_schema_that_is_not_there(tmp_path):
    with pytest.raises(DatasetError, match=r"cannot read .*: No such file"):
        read_schema(tmp_path / "none.yaml")


def test_any_model_is_read_with_any_error(write):
    class Settings(BaseModel):
        model_config = ConfigDict(extra="forbid")
        log: Schema | None = None
        epochs: int = 1

    assert read_yaml(write(""), Settings).epochs == 1
    with pytest.raises(SlimtableError, match=r"unknown key `log.lable`. Did you mean label\?"):
        read_yaml(write("log: {lable: x}"), Settings, SlimtableError)
    with pytest.raises(SlimtableError, match=r"`epochs`: .*integer.*got 'many'"):
        read_yaml(write("epochs: many"), Settings, SlimtableError)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD.replace("name: user,", "name: user, column: clicked,"), "column 'clicked' is the label"),
        (GOOD.replace("[age, 7]", "[age, clicked]"), "column 'clicked' is the label"),
        ("format: criteo\nintegers: [label]", "column 'label' is the label"),
        (GOOD + "positive_from: .nan", "`positive_from`: .*finite"),
        (GOOD.replace("name: user,", "name: user, column: true,"), "`fields.0.column"),
        (GOOD.replace("time: at", "time: 2021-13-45"), "is not YAML of settings: month must be in 1..12"),
        ("[" * 5000, "is not YAML"),
    ],
)
def test_what_would_mislead_training_is_refused(write, text, said):
    with pytest.raises(DatasetError, match=said) as caught:
        read_schema(write(text))
    assert "\n" not in str(caught.value)
