"""Schemas of click logs: a small YAML file that describes the columns.

.. code-block:: yaml

    format: csv            # csv, parquet, criteo or libfm
    label: clicked
    time: shown_at
    numeric: [age_of_account]
    fields:
      - {name: user, min_count: 2}
      - {name: genres, separator: "|"}
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Strict, model_validator
from pydantic import Field as Setting

from slimtable.settings_file import read_yaml

#: A column by name or, in a file without a header, by position from 0.
Column = str | Annotated[int, Strict()]

CRITEO_NUMERIC = tuple(f"I{i}" for i in range(1, 14))
CRITEO_FIELDS = tuple(f"C{i}" for i in range(1, 27))
CRITEO_COLUMNS = ("label", *CRITEO_NUMERIC, *CRITEO_FIELDS)


class Field(BaseModel):
    """A categorical column.

    Attributes:
        name: name of the field: letters, digits, ``_`` and ``-``.
        column: its column; None: the column of the same name. In libFM files, the range of its feature numbers, such as
            ``0-956``.
        separator: one character between the values of a cell; empty: one value per cell. Lists in Parquet do not need
            it; in libFM any separator allows several features of the range in a row.
        min_count: number of occurrences before a value gets its own id.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Setting(pattern=r"^[A-Za-z0-9_-]+$")
    column: Column | None = None
    separator: str = Setting(default="", max_length=1, pattern=r"^[\x01-\x7f]?$")
    min_count: int = Setting(default=1, ge=1)

    @property
    def source_column(self) -> Column:
        """The column that the field is read from."""
        return self.name if self.column is None else self.column


class Schema(BaseModel):
    """The columns of a click log.

    Attributes:
        format: ``criteo`` is the tab-separated layout of Criteo's files: label, 13 numbers, 26 fields, no header.
        label: the column of labels. None for criteo and libfm, where it is the first.
        positive_from: smallest label that counts as a click; None: labels are 0 and 1 (−1 and 1 in libFM files).
        numeric: columns of numbers, read as sign(x) · log(1 + |x|).
        fields: the categorical columns, in the order of the tables.
        time: the column of times, numbers or dates; rows must be in its order. None: the order of the file.
        delimiter: separator of the columns of a csv file.
        header: true if the first line names the columns.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["csv", "parquet", "criteo", "libfm"] = "csv"
    label: Column | None = None
    positive_from: float | None = Setting(default=None, allow_inf_nan=False)
    numeric: tuple[Column, ...] = Setting(
        default=(), validation_alias=AliasChoices("numeric", "integers"), serialization_alias="integers"
    )  # `integers` is its name in schemas of earlier versions, and in the state folders of pipelines
    fields: tuple[Field, ...] = ()
    time: Column | None = None
    delimiter: str = Setting(default=",", pattern=r"^[\x01-\x09\x0b\x0c\x0e-\x21\x23-\x7f]$")
    header: bool = True

    @model_validator(mode="before")
    @classmethod
    def _name_fields(cls, values: Any) -> Any:
        """Accepts names for fields: ``fields: [user, item]``."""
        if isinstance(values, dict) and isinstance(values.get("fields"), (list, tuple)):
            named = [{"name": field} if isinstance(field, str) else field for field in values["fields"]]
            return {**values, "fields": named}
        return values

    @model_validator(mode="before")
    @classmethod
    def _fill_criteo(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("format") == "criteo":
            given = {"fields": [{"name": name} for name in CRITEO_FIELDS], **values}
            return given if "integers" in given else {"numeric": CRITEO_NUMERIC, **given}
        return values

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        names = [field.name for field in self.fields]
        twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
        if twice is not None:
            raise ValueError(f"two fields are named {twice!r}. Give each a different name")
        if not names:
            raise ValueError("`fields` names no field. Give at least one, such as {name: user}")
        given = self.model_fields_set
        fixed = {"criteo": {"label", "delimiter", "header", "time"}, "parquet": {"delimiter", "header"}}
        fixed["libfm"] = fixed["criteo"] | {"numeric"}
        settled = sorted(given & fixed.get(self.format, set()))
        if settled:
            raise ValueError(f"a {self.format} file leaves no choice of {', '.join(settled)}. Leave it out")
        if self.label is None and self.format in ("csv", "parquet"):
            raise ValueError("`label` is missing. Name the column of the labels")
        label = "label" if self.format == "criteo" else self.label
        told = [*self.numeric, *(field.source_column for field in self.fields)]
        if label is not None and label in told:
            raise ValueError(f"column {label!r} is the label, so it cannot be a field or a numeric column as well")
        if self.format == "libfm":
            for field in self.fields:
                feature_range(field)
        return self

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns that are read: label, time, numeric columns, fields."""
        first = [] if self.label is None else [self.label]
        return (
            *first,
            *([] if self.time is None else [self.time]),
            *self.numeric,
            *(f.source_column for f in self.fields),
        )

    def with_min_count(self, min_count: int) -> Self:
        """A copy with one minimum count for all fields."""
        if min_count < 1:
            raise ValueError(f"`min_count` must be at least 1, got {min_count}.")
        fields = tuple(field.model_copy(update={"min_count": min_count}) for field in self.fields)
        return self.model_copy(update={"fields": fields})


def read_schema(path: str | Path) -> Schema:
    """Reads a schema file; raises a :class:`DatasetError` of one line if it is invalid."""
    return read_yaml(path, Schema)


def feature_range(field: Field) -> tuple[int, int]:
    """First and last feature number of a field of a libFM file.

    Raises:
        ValueError: its column is not such a range.
    """
    first, dash, last = str(field.source_column).partition("-")
    if not (dash and first.isdecimal() and last.isdecimal() and int(first) <= int(last) < 1 << 31):
        raise ValueError(
            f"field {field.name!r} of a libfm file needs a range of feature numbers, such as column: 0-956"
        )
    return int(first), int(last)
