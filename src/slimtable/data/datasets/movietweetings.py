"""MovieTweetings: film ratings found in tweets, 0 to 10, with times.

The upstream file kept growing after the version documented here (November 2013, 141,695 ratings). A larger
file is a later version and is taken as it is.
"""

from __future__ import annotations

from pathlib import Path

from slimtable.data.datasets.source import InteractionSource, RemoteFile, check_counts, holds
from slimtable.data.interactions.formats import read_interactions
from slimtable.data.interactions.interactions import Interactions

_DOCUMENTED = 141_695


def _read(folder: Path) -> tuple[Interactions, None]:
    interactions = read_interactions(folder / "ratings.dat", "ratings").in_time_order()
    if len(interactions) <= _DOCUMENTED:
        check_counts(
            "movietweetings",
            folder,
            users=(interactions.num_users, 21_081),
            items=(interactions.num_items, 12_611),
            interactions=(len(interactions), _DOCUMENTED),
        )
    return interactions, None


SOURCE = InteractionSource(
    name="movietweetings",
    about="Film ratings from Twitter with times: at least 21,081 users and 12,611 films (it grows upstream)",
    licence="MIT",
    url="https://github.com/sidooms/MovieTweetings",
    rows=None,
    read=_read,
    present=holds("ratings.dat"),
    files=(
        RemoteFile(
            url="https://raw.githubusercontent.com/sidooms/MovieTweetings/master/latest/ratings.dat",
            path="ratings.dat",
            checksum=None,
        ),
    ),
)
