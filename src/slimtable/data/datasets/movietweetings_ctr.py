"""MovieTweetings as a click log: a rating of 8 or more is a click; user, film, genres, weekday and hour."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from slimtable.data.clicks.raw import RawClicks, RawField
from slimtable.data.clicks.schema import Field, Schema
from slimtable.data.clicks.text import split_cells, strings_of
from slimtable.data.datasets import movietweetings
from slimtable.data.datasets.click_source import ClickSource
from slimtable.data.datasets.double_colon import MOVIES, RATINGS, read_double_colon
from slimtable.data.datasets.source import RemoteFile, holds

_POSITIVE_FROM = 8


def _read(folder: Path, schema: Schema, chunk_rows: int) -> Iterator[RawClicks]:
    import polars as pl

    films = read_double_colon(folder / "movies.dat", MOVIES).unique("movie", keep="first")
    rows = read_double_colon(folder / "ratings.dat", RATINGS)
    numbers = rows.with_columns(pl.col("user", "rating", "time").cast(pl.Int64))
    # Ties in time keep the order of the file.
    rows = numbers.join(films, on="movie", how="left", maintain_order="left").sort("time", maintain_order=True)
    when = pl.from_epoch("time", time_unit="s")
    rows = rows.with_columns(weekday=when.dt.weekday().cast(pl.Int64), hour=when.dt.hour().cast(pl.Int64))
    whole = RawClicks(
        (rows["rating"] >= _POSITIVE_FROM).to_numpy().astype(np.float32),
        np.zeros((rows.height, 0), np.float32),
        (
            RawField.from_values(rows["user"].to_numpy()),
            RawField(strings_of(rows["movie"])),
            split_cells(strings_of(rows["genres"].fill_null("")), "|"),
            RawField.from_values(rows["weekday"].to_numpy()),
            RawField.from_values(rows["hour"].to_numpy()),
        ),
        rows["time"].to_numpy().astype(np.float64),
    )
    for start in range(0, len(whole), chunk_rows):
        yield whole.slice(start, start + chunk_rows)


SOURCE = ClickSource(
    name="movietweetings-ctr",
    about="Film ratings from Twitter in time order, a click is a rating of 8 or more; 5 fields, genres multi-valued",
    licence=movietweetings.SOURCE.licence,
    url=movietweetings.SOURCE.url,
    schema=Schema(
        label="rating",
        positive_from=_POSITIVE_FROM,
        time="time",
        fields=(
            Field(name="user"),
            Field(name="film"),
            Field(name="genres", separator="|"),
            Field(name="weekday"),
            Field(name="hour"),
        ),
    ),
    read=_read,
    present=holds("ratings.dat", "movies.dat"),
    files=(
        *movietweetings.SOURCE.files,
        RemoteFile(movietweetings.SOURCE.files[0].url.replace("ratings.dat", "movies.dat"), "movies.dat", None),
    ),
    folder="movietweetings",
)
