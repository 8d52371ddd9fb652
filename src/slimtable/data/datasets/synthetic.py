"""A synthetic dataset of any size: communities, power-law popularity and a sequential signal.

Users have a main and a second community of items. Each step of a user follows one of the fixed successors of
the item before it, or draws by popularity from a community or the whole catalogue. A user never has an item
twice. The ``r`` most popular of ``n`` items are drawn with chance ``(r/n)^(1/4)``, so a uniform ``u`` gives
the rank ``⌊n·u⁴⌋``: plain products, so that equal seeds give equal bytes on every machine. Every draw is a
hash of (seed, user, step), so users can be made in any order and in chunks of any length.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from slimtable.data.datasets.source import Dataset, GeneratedSource
from slimtable.data.interactions.interactions import Interactions
from slimtable.errors import DatasetError

_ABOUT = "generated: communities, power-law popularity, sequential signal; any size (synthetic:1000000)"
DEFAULT_INTERACTIONS = 80_000
MIN_INTERACTIONS, MAX_INTERACTIONS = 1_000, 2_000_000_000

_PER_USER = 40  # mean number of rows per user at sizes from 1e4
_COMMUNITY_ITEMS = 60
_SUCCESSORS = 4
# Of each step: follow the item before, else stay in a community (mostly the main one), else roam.
_FOLLOW, _STAY, _MAIN = 0.3, 0.88, 0.8
_START_TIME, _START_SPAN, _MAX_GAP = 1_600_000_000, 31_536_000, 172_800  # seconds


def make_synthetic(num_interactions: int = DEFAULT_INTERACTIONS, seed: int = 0) -> Dataset:
    """Make the dataset in memory.

    Args:
        num_interactions: exact number of rows, 1e3 to 2e9; users number about a fortieth of it and items half
            of that.
        seed: equal seeds give equal bytes.

    Returns:
        The dataset: rows by user, in time order, with times in seconds. Raw ids are ``0..n-1``; an unpopular
        item may have no row.

    Raises:
        ValueError: if `num_interactions` or `seed` is out of range.

    Example:
        >>> len(make_synthetic(1_000, seed=1).interactions)
        1000
    """
    plan = Plan(num_interactions, seed)
    users, items, times = plan.rows(0, plan.num_users)
    interactions = Interactions(
        users, items, np.arange(plan.num_users), np.arange(plan.num_items), None, times, chronological=True
    )
    return Dataset(
        name="synthetic" if num_interactions == DEFAULT_INTERACTIONS else f"synthetic:{num_interactions}",
        interactions=interactions,
        about=_ABOUT,
        licence="Apache-2.0",
        url="slimtable.data.datasets.synthetic",
    )


SOURCE = GeneratedSource("synthetic", "interactions", _ABOUT, make_synthetic, size="num_interactions")


def make_dataset(
    out_path: str | Path,
    num_interactions: int = DEFAULT_INTERACTIONS,
    seed: int = 0,
    format: str = "parquet",
    *,
    chunk_rows: int = 4_000_000,
) -> Path:
    """Write the dataset to a file in chunks of users, so that memory is bounded.

    Args:
        out_path: the file to write; written atomically.
        num_interactions: as in :func:`make_synthetic`.
        seed: likewise.
        format: ``"parquet"`` or ``"csv"`` (columns user, item, time), or ``"sasrec"`` (``user item`` lines).
        chunk_rows: about how many rows to hold at once; the file's rows do not depend on it.

    Returns:
        `out_path`.

    Raises:
        ValueError: if a number is out of range or `format` is unknown.
        DatasetError: if pyarrow is missing.
    """
    if format not in ("parquet", "csv", "sasrec"):
        raise ValueError(f"unknown format {format!r}. Use parquet, csv or sasrec.")
    plan, out_path = Plan(num_interactions, seed), Path(out_path)
    out_path.parent.mkdir(parents=True, exist_ok=True)
    partial = out_path.with_name(f"{out_path.name}.{os.getpid()}.part")
    try:
        _write(partial, plan.chunks(chunk_rows), format)
        os.replace(partial, out_path)
    finally:
        partial.unlink(missing_ok=True)
    return out_path


def _write(path: Path, chunks: Iterator[tuple[np.ndarray, ...]], format: str) -> None:
    try:
        import pyarrow as pa
        import pyarrow.csv
        import pyarrow.parquet
    except ImportError as error:
        raise DatasetError(
            "writing a dataset needs pyarrow, which is not installed. Run: pip install 'slimtable[train]'"
        ) from error
    names = ("user", "item") if format == "sasrec" else ("user", "item", "time")
    schema = pa.schema([(name, pa.int64() if name == "time" else pa.int32()) for name in names])
    with path.open("wb") as file:
        if format == "parquet":
            writer: Any = pyarrow.parquet.ParquetWriter(file, schema)
        else:
            options = pyarrow.csv.WriteOptions(
                include_header=format == "csv", delimiter="," if format == "csv" else " "
            )
            writer = pyarrow.csv.CSVWriter(file, schema, write_options=options)
        with writer:
            for columns in chunks:
                writer.write_table(pa.table(list(columns[: len(names)]), schema=schema))
        file.flush()
        os.fsync(file.fileno())


class Plan:
    """The number of items of each user, and the layout of the catalogue; all rows follow from it."""

    def __init__(self, num_interactions: int, seed: int) -> None:
        if not MIN_INTERACTIONS <= num_interactions <= MAX_INTERACTIONS:
            raise ValueError(
                f"`num_interactions` must be in {MIN_INTERACTIONS:,}..{MAX_INTERACTIONS:,}, got {num_interactions:,}."
            )
        if not 0 <= seed < 2**63:
            raise ValueError(f"`seed` must be in 0..2**63-1, got {seed}.")
        self.seed = np.uint64(seed)
        self.num_users = max(64, num_interactions // _PER_USER)
        self.num_items = max(400, self.num_users // 2)
        # Rows of user u are first_rows[u] .. first_rows[u + 1] - 1.
        self.first_rows = _first_rows(self.seed, self.num_users, num_interactions)
        self.raw_items = _shuffled(self.seed, self.num_items)

    def rows(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Users, items (int32) and times (int64) of the users ``first..last-1``."""
        return _rows(self.seed, first, last, self.first_rows, self.raw_items)

    def chunks(self, chunk_rows: int) -> Iterator[tuple[np.ndarray, ...]]:
        """Yields all rows, about `chunk_rows` at a time, never splitting a user."""
        first = 0
        while first < self.num_users:
            last = int(np.searchsorted(self.first_rows, self.first_rows[first] + chunk_rows, side="right")) - 1
            last = min(max(last, first + 1), self.num_users)
            yield self.rows(first, last)
            first = last


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, nogil=True)
def _mix(state: np.uint64) -> np.uint64:  # pragma: no cover
    """The finaliser of splitmix64: a bijection that spreads every input bit over the output."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


@njit(cache=True, nogil=True)
def _stream(seed: np.uint64, purpose: int, number: int) -> np.uint64:  # pragma: no cover
    """Start of the random stream that belongs to a purpose and a number."""
    return _mix(_mix(_mix(seed) + np.uint64(purpose)) + np.uint64(number))


@njit(cache=True, nogil=True)
def _uniform(state: np.uint64) -> float:  # pragma: no cover
    """A draw in [0, 1)."""
    return np.float64(_mix(state) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@njit(cache=True, nogil=True)
def _first_rows(seed: np.uint64, num_users: int, num_interactions: int) -> np.ndarray:  # pragma: no cover
    """Share the rows out: five to each user, the others by a power law cut at ten times the least share."""
    total = 0.0
    for user in range(num_users):
        total += 1.0 / math.sqrt(1.0 - 0.99 * _uniform(_stream(seed, 1, user)))
    free = num_interactions - 5 * num_users
    first_rows = np.zeros(num_users + 1, np.int64)
    given = 0
    for user in range(num_users):
        rows = int(free * (1.0 / math.sqrt(1.0 - 0.99 * _uniform(_stream(seed, 1, user)))) / total)
        first_rows[user + 1] = rows
        given += rows
    for user in range(num_users):
        first_rows[user + 1] += first_rows[user] + 5 + (user < free - given)
    return first_rows


@njit(cache=True, nogil=True)
def _shuffled(seed: np.uint64, size: int) -> np.ndarray:  # pragma: no cover
    """A permutation of ``0..size-1``, so that raw ids tell nothing about popularity or community."""
    order = np.arange(size).astype(np.int32)
    for last in range(size - 1, 0, -1):
        other = int(_uniform(_stream(seed, 2, last)) * (last + 1))
        order[last], order[other] = order[other], order[last]
    return order


@njit(cache=True, nogil=True)
def _rows(
    seed: np.uint64, first: int, last: int, first_rows: np.ndarray, raw_items: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # pragma: no cover
    size, start = first_rows[last] - first_rows[first], first_rows[first]
    users, items, times = np.empty(size, np.int32), np.empty(size, np.int32), np.empty(size, np.int64)
    # Items are numbered by popularity here: community c holds c, c + communities, c + 2 communities, …
    num_items = raw_items.size
    communities = max(1, num_items // _COMMUNITY_ITEMS)
    taken_by = np.full(num_items, -1, np.int32)
    for user in range(first, last):
        state = _stream(seed, 3, user)
        main = _skewed(communities, _uniform(state))
        state += _GOLDEN
        second = _skewed(communities, _uniform(state))
        state += _GOLDEN
        time = _START_TIME + int(_uniform(state) * _START_SPAN)
        previous = -1
        for row in range(first_rows[user] - start, first_rows[user + 1] - start):
            item = -1
            tries = 0
            while item < 0 or taken_by[item] == user:
                if tries == 32:  # the neighbourhood is used up: take the next item that is free
                    while taken_by[item] == user:
                        item = (item + 1) % num_items
                    break
                tries += 1
                state += _GOLDEN
                way = _uniform(state)
                state += _GOLDEN
                draw = _uniform(state)
                if way < _FOLLOW and previous >= 0:
                    successor = _skewed(_SUCCESSORS, draw)
                    place = _uniform(_stream(seed, 4, previous * _SUCCESSORS + successor))
                    item = _member(previous % communities, communities, num_items, place)
                elif way < _STAY:
                    state += _GOLDEN
                    community = main if _uniform(state) < _MAIN else second
                    item = _member(community, communities, num_items, draw)
                else:
                    item = _popular(num_items, draw)
            taken_by[item] = user
            previous = item
            state += _GOLDEN
            time += 1 + int(_uniform(state) * _MAX_GAP)
            users[row], items[row], times[row] = user, raw_items[item], time
    return users, items, times


@njit(cache=True, nogil=True)
def _member(community: int, communities: int, num_items: int, draw: float) -> int:  # pragma: no cover
    """An item of the community, popular ones more often."""
    size = (num_items - community + communities - 1) // communities
    return community + communities * _popular(size, draw)


@njit(cache=True, nogil=True)
def _popular(size: int, draw: float) -> int:  # pragma: no cover
    """A rank in ``0..size-1``: half of the draws fall on the first sixteenth."""
    return int(size * draw * draw * draw * draw)


@njit(cache=True, nogil=True)
def _skewed(size: int, draw: float) -> int:  # pragma: no cover
    """A number in ``0..size-1``: half of the draws fall on the first quarter."""
    return int(size * draw * draw)
