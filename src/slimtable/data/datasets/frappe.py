"""Frappe: use of apps in context, each with two apps that were not used; the published validation and test parts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from slimtable.data.clicks.raw import RawClicks
from slimtable.data.clicks.reader import read_clicks
from slimtable.data.clicks.schema import Field, Schema
from slimtable.data.datasets.click_source import ClickSource
from slimtable.data.datasets.source import RemoteFile, holds

_URL = "https://raw.githubusercontent.com/hexiangnan/neural_factorization_machine/master/data/frappe/"
_FILES = ("frappe.validation.libfm", "frappe.test.libfm")
# Found from the data: the 10 features of a row never leave these ranges, which have the sizes of Frappe's columns.
_RANGES = {
    "user": "0-956",
    "app": "957-5038",
    "daytime": "5039-5045",
    "weekday": "5046-5052",
    "weekend": "5053-5054",
    "homework": "5055-5057",
    "cost": "5058-5059",
    "weather": "5060-5068",
    "country": "5069-5148",
    "city": "5149-5381",
}


def _read(folder: Path, schema: Schema, chunk_rows: int) -> Iterator[RawClicks]:
    for name in _FILES:
        yield from read_clicks(folder / name, schema, chunk_rows)


SOURCE = ClickSource(
    name="frappe",
    about="Use of apps in context, 10 fields: 57,722 validation and 28,860 test rows, without times",
    licence="research use (Baltrunas et al.)",
    url="https://github.com/hexiangnan/neural_factorization_machine",
    schema=Schema(format="libfm", fields=tuple(Field(name=name, column=part) for name, part in _RANGES.items())),
    read=_read,
    present=holds(*_FILES),
    rows=86_582,
    files=tuple(RemoteFile(_URL + name, name, None) for name in _FILES),
    chronological=False,
)
