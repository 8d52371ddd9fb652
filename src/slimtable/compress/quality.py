"""Quality of compressed tables: lists of best rows, held-out items, nearest neighbours, coverage and error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from slimtable.codecs.vectors import Vectors
from slimtable.compress.guard import TaskGuard
from slimtable.compress.ranking import Lists, nearest

LIST_LENGTH, NEIGHBOURS = 20, 10
"""Length of the lists of best rows, and number of nearest neighbours."""

GROUPS = {"head": 0.1, "torso": 0.4, "tail": 0.5}
"""Share of the ids in each group, the most frequent first."""

_QUERIES, _NEIGHBOUR_QUERIES = 2000, 1000
_SCORES = 1 << 31  # scores that all queries together compute at most, of each table
_MIN_QUERIES = 100


@dataclass(frozen=True)
class Pair:
    """A measure of the uncompressed table and of the compressed one."""

    uncompressed: float
    compressed: float

    def to_dict(self) -> dict[str, float]:
        """The values as JSON values."""
        return {"uncompressed": self.uncompressed, "compressed": self.compressed}


@dataclass(frozen=True)
class ListQuality:
    """What compression does to the lists of the rows with the largest scores for sampled queries.

    Attributes:
        length: length of the lists, k.
        queries: number of queries.
        asking: name of the table of the queries.
        kept: mean share of the rows of an uncompressed list that the compressed one holds too.
        error: half the width of the 95 % interval of that mean over queries.
        by_group: the same for the rows of each popularity group, over all lists; empty without frequencies.
        coverage: share of the rows that are in at least one list.
        gini: inequality of how often rows are in lists, 0 if all are in as many and near 1 if few are in all.
    """

    length: int
    queries: int
    asking: str
    kept: float
    error: float
    by_group: dict[str, float]
    coverage: Pair
    gini: Pair

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {
            "length": self.length,
            "queries": self.queries,
            "asking": self.asking,
            "kept": self.kept,
            "error": self.error,
            "by_group": dict(self.by_group),
            "coverage": self.coverage.to_dict(),
            "gini": self.gini.to_dict(),
        }


def list_quality(
    ranked: tuple[Vectors, Vectors],
    asking: tuple[Vectors, Vectors] | None = None,
    name: str = "",
    frequencies: np.ndarray | None = None,
    seed: int = 0,
) -> ListQuality | None:
    """Compares the lists of best rows before and after compression.

    Args:
        ranked: the table whose rows are ranked, uncompressed and compressed.
        asking: the table whose rows ask, uncompressed and compressed; None if the rows of the ranked table do, of which
            none is in its own list.
        name: name of the table that asks.
        frequencies: (N,) how often the ranked ids occur, for the popularity groups.
        seed: seed of the sample of queries.

    Returns:
        The comparison; None if the table has too few rows.
    """
    before = ranked[0]
    length = min(LIST_LENGTH, (before.shape[0] - 1) // 2)
    if length < 1:
        return None
    queries_of = ranked if asking is None else asking
    ids = _sampled(len(queries_of[0]), before.shape[0], _QUERIES, seed)
    own = ids if asking is None else None
    lists = [
        nearest(queries.take(ids), table, length, own).ids.reshape(-1, length)
        for queries, table in zip(queries_of, ranked, strict=True)
    ]
    found = members(lists[0], lists[1], before.shape[0])
    per_query = found.mean(axis=1)
    groups = {}
    if frequencies is not None:
        group_of = popularity_groups(frequencies)
        for index, group in enumerate(GROUPS):
            inside = group_of[lists[0]] == index
            if inside.any():
                groups[group] = float(found[inside].mean())
    counts = [np.bincount(each.reshape(-1), minlength=before.shape[0]) for each in lists]
    return ListQuality(
        length=length,
        queries=len(ids),
        asking=name,
        kept=float(per_query.mean()),
        error=float(1.96 * per_query.std(ddof=1) / len(ids) ** 0.5) if len(ids) > 1 else 0.0,
        by_group=groups,
        coverage=Pair(*(float((count > 0).mean()) for count in counts)),
        gini=Pair(*(gini(count) for count in counts)),
    )


@dataclass(frozen=True)
class HeldOutQuality:
    """How well tables predict held-out items, for users that the choice of a method did not see.

    Attributes:
        users: number of users.
        measures: each measure of the task, such as "recall@20".
        by_group: share of the held-out items of each popularity group that are among the first 20 of their user.
    """

    users: int
    measures: dict[str, Pair]
    by_group: dict[str, Pair]

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {
            "users": self.users,
            "measures": {name: pair.to_dict() for name, pair in self.measures.items()},
            "by_group": {name: pair.to_dict() for name, pair in self.by_group.items()},
        }


def held_out_quality(
    guard: TaskGuard, tables: Mapping[str, Vectors], frequencies: np.ndarray | None = None
) -> HeldOutQuality:
    """Compares the ranks of held-out items before and after compression.

    Args:
        guard: knows the interactions and the uncompressed tables.
        tables: the compressed tables, by name.
        frequencies: (N,) how often the items occur, for the popularity groups.
    """
    found: list[tuple[Lists, np.ndarray]] = [guard.ranks({}), guard.ranks(tables)]
    values = [guard.values(ranks, targets) for targets, ranks in found]
    groups = {}
    if frequencies is not None:
        group_of = popularity_groups(frequencies)[found[0][0].ids]
        for index, group in enumerate(GROUPS):
            inside = group_of == index
            if inside.any():
                groups[group] = Pair(*(float((ranks[inside] < LIST_LENGTH).mean()) for _, ranks in found))
    measures = {name: Pair(*(float(each[name].mean()) for each in values)) for name in values[0]}
    return HeldOutQuality(len(found[0][0].starts) - 1, measures, groups)


def neighbours_kept(before: Vectors, after: Vectors, seed: int = 0) -> float | None:
    """Mean share of the 10 nearest rows by cosine that are still among the nearest; None for too few rows.

    Args:
        before: the uncompressed table.
        after: the compressed one.
        seed: seed of the sample of rows.
    """
    count = min(NEIGHBOURS, (before.shape[0] - 1) // 2)
    if count < 1:
        return None
    ids = _sampled(len(before), before.shape[0], _NEIGHBOUR_QUERIES, seed)
    lists = []
    for table in (before, after):
        turned = _Normalized(table)
        lists.append(nearest(turned.take(ids), turned, count, ids).ids.reshape(-1, count))
    return float(members(lists[0], lists[1], before.shape[0]).mean())


def relative_error(before: Vectors, after: Vectors) -> float:
    """Mean squared error over the variance of all values, or over 1 if all are equal; one pass over both."""
    total = squares = errors = 0.0
    for first, block in before.blocks():
        wide = block.astype(np.float64)
        total += float(wide.sum())
        squares += float((wide**2).sum())
        errors += float(((after.read(first, first + len(block)) - wide) ** 2).sum())
    count = before.shape[0] * before.shape[1]
    variance = squares / count - (total / count) ** 2
    return errors / count / (variance if variance > 1e-12 * squares / count else 1.0)


def members(wanted: np.ndarray, lists: np.ndarray, num_rows: int) -> np.ndarray:
    """Which rows of each list are in another list of the same query.

    Args:
        wanted: int64 (q, k) rows to look for.
        lists: int64 (q, l) rows to look in.
        num_rows: number of rows, above all of them.

    Returns:
        bool (q, k).

    Example:
        >>> members(np.array([[0, 2], [1, 2]]), np.array([[2, 3], [0, 1]]), 4).tolist()
        [[False, True], [True, False]]
    """
    place = np.arange(len(wanted))[:, None] * num_rows
    return np.isin(wanted + place, lists + place)


def popularity_groups(frequencies: np.ndarray) -> np.ndarray:
    """Group of each id as an index into :data:`GROUPS`, int64 (N,); equal frequencies by the smaller id.

    Example:
        >>> popularity_groups(np.array([5, 9, 1, 1, 1, 1, 1, 2, 1, 1])).tolist()
        [1, 0, 1, 1, 2, 2, 2, 1, 2, 2]
    """
    edges = np.round(np.cumsum(list(GROUPS.values())) * len(frequencies))
    place = np.empty(len(frequencies), np.int64)
    place[np.argsort(-np.asarray(frequencies, np.float64), kind="stable")] = np.arange(len(frequencies))
    return np.searchsorted(edges, place, side="right").clip(max=len(GROUPS) - 1)


def gini(counts: np.ndarray) -> float:
    """Gini coefficient of counts, 0 to 1; 0 if all are 0.

    Example:
        >>> gini(np.array([3, 3, 3])), round(gini(np.array([0, 0, 9])), 3)
        (0.0, 0.667)
    """
    ordered = np.sort(np.asarray(counts, np.float64))
    total, size = float(ordered.sum()), len(ordered)
    if not total:
        return 0.0
    return max(0.0, float(2 * np.arange(1, size + 1) @ ordered / (size * total) - (size + 1) / size))


class _Normalized(Vectors):
    """Vectors of length 1; zero vectors stay zeros."""

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors
        self.shape = vectors.shape

    def read(self, start: int, stop: int) -> np.ndarray:
        return self._scaled(self._vectors.read(start, stop))

    def take(self, ids: np.ndarray) -> np.ndarray:
        return self._scaled(self._vectors.take(ids))

    def _scaled(self, rows: np.ndarray) -> np.ndarray:
        lengths = np.sqrt((rows.astype(np.float64) ** 2).sum(axis=1, keepdims=True))
        return (rows / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)


def _sampled(count: int, num_rows: int, most: int, seed: int) -> np.ndarray:
    """Ids of sampled queries, ascending: fewer for larger tables."""
    size = min(count, most, max(_MIN_QUERIES, _SCORES // (16 * num_rows)))
    return np.sort(np.random.default_rng([seed, 30]).choice(count, size, replace=False))
