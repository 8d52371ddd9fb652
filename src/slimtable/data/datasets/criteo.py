"""Criteo's display advertising log: a week of ads, 13 columns of numbers and 26 of hashed categories."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from slimtable.data.clicks.raw import RawClicks
from slimtable.data.clicks.reader import read_clicks
from slimtable.data.clicks.schema import Schema
from slimtable.data.datasets.click_source import ClickSource

#: The whole log, Criteo's sample of it, and its first 80,000 rows; the first that is there is read.
_FILES = ("train.txt", "dac_sample.txt", "dac80k.tsv")


def _file(folder: Path) -> Path | None:
    return next((folder / name for name in _FILES if (folder / name).is_file()), None)


def _read(folder: Path, schema: Schema, chunk_rows: int) -> Iterator[RawClicks]:
    return read_clicks(_file(folder) or folder / _FILES[0], schema, chunk_rows)


SOURCE = ClickSource(
    name="criteo",
    about="Criteo display ads in time order, 13 integers and 26 fields: the Kaggle train.txt, or a sample of it",
    licence="research use, no redistribution (Criteo)",
    url="https://ailab.criteo.com/ressources/",
    schema=Schema(format="criteo"),
    read=_read,
    present=lambda folder: _file(folder) is not None,
)
