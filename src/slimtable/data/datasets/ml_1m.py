"""MovieLens-1M as the sequential recommenders use it: every rating is an interaction, in time order."""

from __future__ import annotations

import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

from slimtable.data.datasets.source import InteractionSource, RemoteFile, check_counts
from slimtable.data.interactions.formats import read_interactions
from slimtable.data.interactions.interactions import Interactions
from slimtable.errors import DatasetError

_SASREC = "sasrec_ml-1m.txt"  # as SASRec released it, ids renumbered from 1
_RATINGS = "ratings.dat"  # as GroupLens releases it
_ARCHIVE = "ml-1m.zip"
_MEMBERS = ("ratings.dat", "movies.dat", "users.dat", "README")


def _read(folder: Path) -> tuple[Interactions, None]:
    if (folder / _SASREC).is_file():
        interactions = read_interactions(folder / _SASREC, "sasrec")
    else:
        interactions = _as_sasrec(read_interactions(folder / _RATINGS, "ratings"))
    check_counts(
        "ml-1m",
        folder,
        users=(interactions.num_users, 6_040),
        items=(interactions.num_items, 3_416),
        interactions=(len(interactions), 999_611),
    )
    return interactions, None


def _as_sasrec(ratings: Interactions) -> Interactions:
    """Keep users and items with at least five ratings, counted once and not iterated, in time order."""
    enough = ratings.user_counts()[ratings.users] >= 5
    enough &= ratings.item_counts()[ratings.items] >= 5
    kept = ratings.select(enough).compact()
    if kept.times is None:
        raise DatasetError(f"{_RATINGS} has no times. Use the file as GroupLens releases it.")
    # The rows of a user are rarely in time order in this file, and ties in time keep the file's order.
    return replace(kept, chronological=False).in_time_order()


def _unpack(folder: Path) -> None:
    archive = folder / _ARCHIVE
    if not archive.is_file():
        return
    try:
        with zipfile.ZipFile(archive) as members:
            for name in _MEMBERS:
                partial = folder / f"{name}.part"
                with members.open(f"ml-1m/{name}") as packed, partial.open("wb") as plain:
                    shutil.copyfileobj(packed, plain)
                os.replace(partial, folder / name)
    except (zipfile.BadZipFile, KeyError) as error:
        raise DatasetError(f"{archive} is not the MovieLens-1M archive: {error}. Delete it and fetch again.") from error
    archive.unlink()


SOURCE = InteractionSource(
    name="ml-1m",
    about="MovieLens-1M: 6,040 users, 3,416 movies with at least five ratings, in time order",
    licence="research use, no redistribution (GroupLens)",
    url="https://grouplens.org/datasets/movielens/1m/",
    rows=999_611,
    read=_read,
    present=lambda folder: (folder / _SASREC).is_file() or (folder / _RATINGS).is_file(),
    files=(
        RemoteFile(
            url="https://files.grouplens.org/datasets/movielens/ml-1m.zip",
            path=_ARCHIVE,
            checksum="md5:c4d9eecfca2ab87c1945afe126590906",
        ),
    ),
    unpack=_unpack,
)
