"""MovieLens-1M as a click log: a rating of 4 or more is a click; user, movie, sex, age, occupation and genres."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from slimtable.data.clicks.raw import RawClicks, RawField
from slimtable.data.clicks.schema import Field, Schema
from slimtable.data.clicks.text import split_cells, strings_of
from slimtable.data.datasets import ml_1m
from slimtable.data.datasets.click_source import ClickSource
from slimtable.data.datasets.double_colon import MOVIES, RATINGS, USERS, read_double_colon
from slimtable.errors import DatasetError

_POSITIVE_FROM = 4
_RATINGS = ("ratings.dat", "ratings.csv")  # as GroupLens releases it, and a copy without times and with blank ratings


def _read(folder: Path, schema: Schema, chunk_rows: int) -> Iterator[RawClicks]:
    import polars as pl

    users = read_double_colon(folder / "users.dat", USERS)
    movies = read_double_colon(folder / "movies.dat", MOVIES, "latin-1")
    rows = _ratings(folder).select("user", "movie", "rating")
    rows = rows.join(users, on="user", how="left", maintain_order="left")
    rows = rows.join(movies, on="movie", how="left", maintain_order="left")
    lost = rows["sex"].is_null() | rows["genres"].is_null()
    if lost.any():
        user, movie = rows.row(int(lost.arg_max() or 0))[:2]
        raise DatasetError(f"{folder}: user {user} or movie {movie} of the ratings is unknown. Fetch the data again.")
    rows = rows.with_columns(pl.col("user", "movie", "rating", "age", "occupation").cast(pl.Int64))
    whole = RawClicks(
        (rows["rating"] >= _POSITIVE_FROM).to_numpy().astype(np.float32),
        np.zeros((rows.height, 0), np.float32),
        (
            RawField.from_values(rows["user"].to_numpy()),
            RawField.from_values(rows["movie"].to_numpy()),
            RawField(strings_of(rows["sex"])),
            RawField.from_values(rows["age"].to_numpy()),
            RawField.from_values(rows["occupation"].to_numpy()),
            split_cells(strings_of(rows["genres"]), "|"),
        ),
    )
    for start in range(0, len(whole), chunk_rows):
        yield whole.slice(start, start + chunk_rows)


def _ratings(folder: Path) -> Any:
    """User, movie and rating as texts; rows without a rating are left out."""
    import polars as pl

    if (folder / _RATINGS[0]).is_file():
        return read_double_colon(folder / _RATINGS[0], RATINGS)
    path = folder / _RATINGS[1]
    try:
        rows = pl.read_csv(path, columns=["user", "movie", "rating"], infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DatasetError(f"{path} is not a table of user, movie, rating: {str(error).splitlines()[0]}") from None
    return rows.drop_nulls("rating")


SOURCE = ClickSource(
    name="ml-1m-ctr",
    about="MovieLens-1M, a click is a rating of 4 or more; 6 fields, genres multi-valued; split at random",
    licence=ml_1m.SOURCE.licence,
    url=ml_1m.SOURCE.url,
    schema=Schema(
        label="rating",
        positive_from=_POSITIVE_FROM,
        fields=(
            Field(name="user"),
            Field(name="movie"),
            Field(name="sex"),
            Field(name="age"),
            Field(name="occupation"),
            Field(name="genres", separator="|"),
        ),
    ),
    read=_read,
    present=lambda folder: (
        any((folder / name).is_file() for name in _RATINGS)
        and all((folder / name).is_file() for name in ("users.dat", "movies.dat"))
    ),
    files=ml_1m.SOURCE.files,
    unpack=ml_1m.SOURCE.unpack,
    chronological=False,
    folder="ml-1m",
)
