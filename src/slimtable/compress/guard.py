"""Guards: how much of what the tables are for survives their compression, with an interval.

Where there are interactions, a guard measures Recall@20 and NDCG@20 of the dot-product model of the two tables on
held-out items. Otherwise it measures how many of the 100 best rows by uncompressed scores are still among the 100 best.
Queries are divided into two halves at random: candidates are chosen on the guard's half, and reported on the other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from slimtable.artifact.layouts import Decoder
from slimtable.artifact.packed import Packed
from slimtable.codecs.vectors import Vectors
from slimtable.compress.ranking import Lists, nearest, rank_of
from slimtable.compress.result import GuardFacts, Kept
from slimtable.data.interactions.interactions import Interactions, without_duplicates

Half = Literal["guard", "report"]

RECALL, NDCG, OVERLAP = "recall@20", "ndcg@20", "overlap@100"
"""Names of the measures."""

_TOP, _NEIGHBOURS = 20, 100
_SCORES = 1 << 31  # scores that one judgement computes at most: a few seconds
_MIN_QUERIES = 256  # in each half, whatever the size of the table
_MAX_OVERLAP_QUERIES = 1024  # the overlap varies much less between queries than recall does
_RESAMPLES = 1000


class Decoded(Vectors):
    """The rows of a packed table, decoded when needed."""

    def __init__(self, packed: Packed) -> None:
        self._decoder = Decoder(packed)
        self.shape = (packed.num_embeddings, packed.embedding_dim)

    def read(self, start: int, stop: int) -> np.ndarray:
        return self._decoder(np.arange(start, stop))

    def take(self, ids: np.ndarray) -> np.ndarray:
        return self._decoder(np.asarray(ids, np.int64))


class Guard(ABC):
    """Judges compressed tables against the uncompressed ones."""

    @property
    @abstractmethod
    def facts(self) -> GuardFacts:
        """What is measured, and on how many queries."""

    @abstractmethod
    def judge(self, tables: Mapping[str, Vectors], half: Half = "guard") -> dict[str, Kept]:
        """The share of each measure that compressed tables keep, by its name; the one that decides first.

        Args:
            tables: compressed tables by name; those that are missing count as uncompressed.
            half: queries to judge on.
        """


@dataclass(frozen=True, eq=False)
class _Half:
    """Queries of one half.

    Attributes:
        queries: int64 (q,) rows of the query table.
        targets: rows that should come first, for each query.
        hidden: rows that do not count, for each query.
    """

    queries: np.ndarray
    targets: Lists
    hidden: Lists


class _Ranked(Guard):
    """A guard by the ranks of given rows of one table for queries that are rows of another, or of the same."""

    length = _TOP
    """Length of the lists that are compared."""

    def __init__(
        self, tables: Mapping[str, Vectors], query_name: str, ranked_name: str, halves: Mapping[Half, _Half], seed: int
    ) -> None:
        self._tables = dict(tables)
        self._names = query_name, ranked_name
        self._halves = halves
        self._seed = seed
        self._base: dict[Half, dict[str, np.ndarray]] = {}

    @abstractmethod
    def values(self, ranks: np.ndarray, targets: Lists) -> dict[str, np.ndarray]:
        """Each measure of each query, float64 (q,)."""

    def judge(self, tables: Mapping[str, Vectors], half: Half = "guard") -> dict[str, Kept]:
        if half not in self._base:
            self._base[half] = self._measured({}, half)
        base = self._base[half]
        if not set(tables) & set(self._names):  # nothing that matters has changed
            return {name: Kept(1.0, 1.0, 1.0) for name in base}
        found = self._measured(tables, half)
        return {name: kept_share(found[name], base[name], self._seed) for name in base}

    def uncompressed(self, half: Half = "guard") -> dict[str, float]:
        """Each measure of the uncompressed tables, by its name."""
        self.judge({}, half)
        return {name: float(values.mean()) for name, values in self._base[half].items()}

    @property
    def ranked_name(self) -> str:
        """Name of the table whose rows are ranked."""
        return self._names[1]

    def ranks(self, tables: Mapping[str, Vectors], half: Half = "report") -> tuple[Lists, np.ndarray]:
        """The rows that should come first for each query of a half, and their ranks; arguments as :meth:`judge`."""
        queries_of, ranked = (tables.get(name, self._tables[name]) for name in self._names)
        some = self._halves[half]
        return some.targets, rank_of(queries_of.take(some.queries), ranked, some.targets, some.hidden)

    def _measured(self, tables: Mapping[str, Vectors], half: Half) -> dict[str, np.ndarray]:
        targets, ranks = self.ranks(tables, half)
        return self.values(ranks, targets)


class TaskGuard(_Ranked):
    """Recall@20 and NDCG@20 of the dot products of users and items on held-out interactions.

    Args:
        tables: uncompressed tables by name; those of users and of items are used.
        users: name of the users' table; row u belongs to user u of the interactions.
        items: name of the items' table.
        seen: interactions whose items are no candidates for their user, such as the training part.
        held_out: interactions to predict.
        seed: seed of the halves and of the bootstrap.

    Raises:
        ValueError: the tables do not fit each other or the interactions, or fewer than four users have held-out items.
    """

    def __init__(
        self,
        tables: Mapping[str, Vectors],
        users: str,
        items: str,
        seen: Interactions,
        held_out: Interactions,
        seed: int = 0,
    ) -> None:
        (num_users, user_dim), (num_items, item_dim) = tables[users].shape, tables[items].shape
        if user_dim != item_dim:
            raise ValueError(
                f"Tables {users} and {items} are {user_dim} and {item_dim} wide, so they have no dot products. "
                "Leave --interactions out."
            )
        for side, count, rows in (("users", seen.num_users, num_users), ("items", seen.num_items, num_items)):
            if count > rows:
                raise ValueError(
                    f"The interactions have {count:,} {side}, but their table has {rows:,} rows. Use those that the "
                    "tables were trained on."
                )
        starts, targets = without_duplicates(*held_out.csr())
        seen_starts, hidden = without_duplicates(*seen.csr())
        found = np.flatnonzero(np.diff(starts))
        if len(found) < 4:
            raise ValueError(f"Only {len(found)} users have held-out items, which is too few for two halves.")
        most = max(_MIN_QUERIES, _SCORES // num_items)
        halves = {
            half: _Half(ids, _lists(starts, targets, ids), _lists(seen_starts, hidden, ids))
            for half, ids in _halves(found, most, seed).items()
        }
        super().__init__(tables, users, items, halves, seed)
        if not self.uncompressed()[RECALL]:
            raise ValueError(
                "The uncompressed tables find no held-out item, so that nothing can be kept. Check that the rows of "
                "the tables are numbered as the ids of the interactions."
            )

    @property
    def facts(self) -> GuardFacts:
        count = len(self._halves["guard"].queries)
        base = self.uncompressed()
        return GuardFacts(
            "task",
            (RECALL, NDCG),
            count,
            f"Recall@20 and NDCG@20 on held-out items of {count:,} users, of whom the uncompressed tables reach "
            f"{base[RECALL]:.4f} and {base[NDCG]:.4f}; 95 % intervals by a bootstrap over users",
        )

    def values(self, ranks: np.ndarray, targets: Lists) -> dict[str, np.ndarray]:
        starts, counts = targets.starts[:-1], np.diff(targets.starts)
        hits = np.add.reduceat((ranks < _TOP).astype(np.float64), starts)
        gains = np.add.reduceat(np.where(ranks < _TOP, 1.0 / np.log2(ranks + 2.0), 0.0), starts)
        ideal = np.cumsum(1.0 / np.log2(np.arange(_TOP) + 2.0))
        return {RECALL: hits / counts, NDCG: gains / ideal[np.minimum(counts, _TOP) - 1]}


class NeighbourGuard(_Ranked):
    """Overlap of the 100 best rows by compressed scores with those by uncompressed scores, for sampled queries.

    Args:
        tables: uncompressed tables by name.
        ranked: name of the table whose rows are ranked.
        queries: name of the table of the queries; equal to ``ranked`` if its own rows are. A query is then not in its
            own list. Compressed queries see compressed rows.
        seed: seed of the sample, the halves and the bootstrap.

    Raises:
        ValueError: the tables have different widths, or the ranked one fewer than three rows.
    """

    def __init__(self, tables: Mapping[str, Vectors], ranked: str, queries: str, seed: int = 0) -> None:
        table, asking = tables[ranked], tables[queries]
        if table.shape[1] != asking.shape[1]:
            raise ValueError(f"Tables {queries} and {ranked} have different widths, so they have no dot products.")
        own = queries == ranked
        self.length = min(_NEIGHBOURS, (table.shape[0] - 1) // 2)
        if self.length < 1 or asking.shape[0] < 2:
            raise ValueError(f"Table {ranked} of {table.shape[0]} rows is too small to compare neighbours.")
        most = min(_MAX_OVERLAP_QUERIES, max(_MIN_QUERIES, _SCORES // (16 * table.shape[0])))
        halves = {}
        for half, ids in _halves(np.arange(asking.shape[0]), most, seed).items():
            best = nearest(asking.take(ids), table, self.length, ids if own else None)
            nothing = Lists(np.zeros(len(ids) + 1, np.int64), np.empty(0, np.int64))
            halves[half] = _Half(ids, best, Lists(np.arange(len(ids) + 1), ids) if own else nothing)
        super().__init__(tables, queries, ranked, halves, seed)

    @property
    def facts(self) -> GuardFacts:
        count = len(self._halves["guard"].queries)
        kind = "rows of the table" if self._names[0] == self._names[1] else f"rows of {self._names[0]}"
        return GuardFacts(
            "neighbours",
            (OVERLAP,),
            count,
            f"the {self.length} best rows by uncompressed scores that are still the best, for {count:,} sampled "
            f"{kind}; 95 % intervals by a bootstrap over them",
        )

    def values(self, ranks: np.ndarray, targets: Lists) -> dict[str, np.ndarray]:
        found = np.add.reduceat((ranks < self.length).astype(np.float64), targets.starts[:-1])
        return {OVERLAP: found / np.diff(targets.starts)}


class Worst(Guard):
    """Several guards of tables that have nothing to do with each other; the worst of them decides.

    Args:
        guards: at least one.
    """

    def __init__(self, guards: Mapping[str, Guard]) -> None:
        self._guards = dict(guards)

    @property
    def facts(self) -> GuardFacts:
        first = next(iter(self._guards.values())).facts
        if len(self._guards) == 1:
            return first
        count = sum(guard.facts.queries for guard in self._guards.values())
        return replace(first, queries=count, description=f"the worst table of {len(self._guards)}: {first.description}")

    def judge(self, tables: Mapping[str, Vectors], half: Half = "guard") -> dict[str, Kept]:
        found = [guard.judge(tables, half) for guard in self._guards.values()]
        return {name: min((each[name] for each in found), key=lambda kept: kept.low) for name in found[0]}


def kept_share(found: np.ndarray, base: np.ndarray, seed: int = 0) -> Kept:
    """The mean over queries relative to that of the uncompressed tables, with a 95 % interval.

    Both means are of the same queries; the interval is by a bootstrap over queries, which keeps the pairs together.

    Args:
        found: float64 (q,) measure of each query with compressed tables.
        base: float64 (q,) the same with uncompressed tables. If all are 0, there is nothing to lose, and all is kept.
        seed: seed of the bootstrap.

    Example:
        >>> kept_share(np.array([0.5, 0.0, 0.5]), np.array([1.0, 0.0, 1.0]))
        Kept(share=0.5, low=0.5, high=0.5)
    """
    if not base.any():
        return Kept(1.0, 1.0, 1.0)
    generator, size = np.random.default_rng([seed, len(base)]), len(base)
    shares = []
    for _ in range(_RESAMPLES):
        some = generator.integers(0, size, size)
        total = base[some].sum()
        if total > 0:
            shares.append(found[some].sum() / total)
    low, high = np.quantile(shares, (0.025, 0.975))
    return Kept(float(found.sum() / base.sum()), float(low), float(high))


def _halves(ids: np.ndarray, most: int, seed: int) -> dict[Half, np.ndarray]:
    """Two disjoint halves of the ids at random, of at most ``most`` each, ascending."""
    mixed = np.random.default_rng([seed, 1]).permutation(ids)
    middle = (len(ids) + 1) // 2
    return {"guard": np.sort(mixed[:middle][:most]), "report": np.sort(mixed[middle:][:most])}


def _lists(starts: np.ndarray, ids: np.ndarray, queries: np.ndarray) -> Lists:
    """The lists of some queries of a CSR matrix."""
    counts = np.diff(starts)[queries]
    bounds = np.concatenate(([0], np.cumsum(counts)))
    places = np.arange(bounds[-1]) - np.repeat(bounds[:-1] - starts[queries], counts)
    return Lists(bounds, ids[places].astype(np.int64))
