"""Ranks of given rows among all rows of a table by dot product, block by block: no matrix of all scores is kept.

Products in float32 by BLAS decide all comparisons but those closer than their rounding error; these are decided by
products in float64, added up in a fixed order. So ranks are the same on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from slimtable.codecs.vectors import Vectors

_QUERIES_AT_A_TIME = 128
_ROWS_AT_A_TIME = 1 << 13  # scores of a block of queries take 4 MB
_SCORES_AT_A_TIME = 512  # between looks at whether a rank is beyond the limit
_SPARE = 32  # rows behind the last of a list that are scored exactly, too


@dataclass(frozen=True, eq=False)
class Lists:
    """A list of row ids for each query.

    Attributes:
        starts: int64 (queries + 1,).
        ids: int64 (total,); those of query q are ``ids[starts[q]:starts[q + 1]]``, ascending and different.
    """

    starts: np.ndarray
    ids: np.ndarray

    def of(self, start: int, stop: int) -> Lists:
        """The lists of queries ``start … stop - 1``."""
        bounds = self.starts[start : stop + 1]
        return Lists(bounds - bounds[0], self.ids[bounds[0] : bounds[-1]])

    @property
    def owners(self) -> np.ndarray:
        """The query of each id, int64 (total,)."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))


def rank_of(queries: np.ndarray, table: Vectors, targets: Lists, hidden: Lists, limit: float = np.inf) -> np.ndarray:
    """The rank of each target among all rows of the table by dot product with its query.

    Args:
        queries: float32 (q, d).
        table: (N, d) rows.
        targets: rows to rank, for each query.
        hidden: rows that do not count, for each query; a target of a query counts even if it is hidden.
        limit: ranks from here on need not be exact, which saves most of the time.

    Returns:
        float64 (targets,): rows that score higher plus half of those with an equal score; some number of at least
        ``limit`` where that is ``limit`` or more.
    """
    ranks = np.zeros(len(targets.ids))
    needed, places = np.unique(np.concatenate((targets.ids, hidden.ids)), return_inverse=True)
    known = table.take(needed).astype(np.float64)
    of_targets, of_hidden = places[: len(targets.ids)], places[len(targets.ids) :]
    exact = np.empty(len(targets.ids))
    wide = queries.astype(np.float64)
    enough = limit + np.diff(hidden.starts).astype(np.float64)  # so many rows, hidden ones included, decide
    _exact_scores(wide, known, targets.starts, of_targets, exact)
    for first_row, rows in table.blocks(size=_ROWS_AT_A_TIME):
        turned, rows64 = np.ascontiguousarray(rows.T), rows.astype(np.float64)
        longest = float(np.sqrt((rows64**2).sum(axis=1).max()))
        for first in range(0, len(queries), _QUERIES_AT_A_TIME):
            some = slice(first, first + _QUERIES_AT_A_TIME)
            scores = queries[some] @ turned
            margins = _margin(wide[some], longest)
            starts = targets.starts[first : first + len(scores) + 1]
            _count(scores, wide[some], rows64, margins, enough[some], starts, targets.ids, first_row, exact, ranks)
    _uncount(wide, known, hidden.starts, of_hidden, targets.starts, of_targets, exact, ranks)
    return ranks


def nearest(queries: np.ndarray, table: Vectors, k: int, own: np.ndarray | None = None) -> Lists:
    """The k rows with the largest dot product with each query; equal scores by the smaller id.

    Args:
        queries: float32 (q, d).
        table: (N, d) rows, more than k.
        k: length of the lists.
        own: integer (q,) row that each query is, and that its list does not hold; None if queries are not rows.

    Raises:
        ValueError: scores are infinite in float32.
    """
    kept = min(k + _SPARE, table.shape[0] - (own is not None))
    best = np.full((len(queries), kept), -np.inf, np.float32)
    ids = np.full((len(queries), kept), -1, np.int64)
    for first_row, rows in table.blocks(size=_ROWS_AT_A_TIME):
        turned = np.ascontiguousarray(rows.T)
        for first in range(0, len(queries), _QUERIES_AT_A_TIME):
            some = slice(first, first + _QUERIES_AT_A_TIME)
            with np.errstate(over="ignore", invalid="ignore"):
                scores = queries[some] @ turned
            if own is not None:
                there = np.flatnonzero((own[some] >= first_row) & (own[some] < first_row + len(rows)))
                scores[there, own[some][there] - first_row] = -np.inf
            _keep_best(scores, first_row, best[some], ids[some])
    if not np.isfinite(best).all():
        raise ValueError("Scores of rows are too large for float32. Divide the tables by a number, such as 1e6.")
    chosen = np.empty((len(queries), k), np.int64)
    for first in range(0, len(queries), _QUERIES_AT_A_TIME):
        some = slice(first, first + _QUERIES_AT_A_TIME)
        needed, places = np.unique(ids[some], return_inverse=True)
        known = table.take(needed).astype(np.float64)
        exact = np.empty(ids[some].size)
        starts = np.arange(0, exact.size + 1, kept)
        _exact_scores(queries[some].astype(np.float64), known, starts, places.reshape(-1), exact)
        order = np.lexsort((ids[some], -exact.reshape(-1, kept)), axis=1)[:, :k]
        chosen[some] = np.sort(np.take_along_axis(ids[some], order, axis=1), axis=1)
    return Lists(np.arange(0, chosen.size + 1, k), chosen.reshape(-1))


def _margin(queries: np.ndarray, longest: float) -> np.ndarray:
    """Bound of the rounding error of float32 scores, float64 (q,), of rows that are at most ``longest``."""
    rounding = (queries.shape[1] + 2) * 2.0**-23
    return rounding * longest * np.sqrt((queries**2).sum(axis=1)) + 1e-37


@njit(cache=True, nogil=True)
def _dot(left, right):  # type: ignore[no-untyped-def]
    total = 0.0
    for i in range(left.size):
        total += left[i] * right[i]
    return total


@njit(cache=True, nogil=True)
def _exact_scores(queries, known, starts, places, exact):  # type: ignore[no-untyped-def]
    for q in range(starts.size - 1):
        for t in range(starts[q], starts[q + 1]):
            exact[t] = _dot(queries[q], known[places[t]])


@njit(cache=True, nogil=True)
def _count(  # type: ignore[no-untyped-def]
    scores, queries, rows, margins, enough, starts, ids, first_row, exact, ranks
):
    """Adds the rows of a block that score higher than each target, and half of the equal ones except itself."""
    for q in range(scores.shape[0]):
        for t in range(starts[q], starts[q + 1]):
            # As float32 and one step outwards, so that the loop compares numbers of one type.
            low = np.float32(exact[t] - margins[q])
            high = np.float32(exact[t] + margins[q])
            for first in range(0, scores.shape[1], _SCORES_AT_A_TIME):
                if ranks[t] >= enough[q]:
                    break
                line = scores[q, first : first + _SCORES_AT_A_TIME]
                above, near = 0, 0
                for j in range(line.size):
                    above += line[j] > high
                    near += line[j] >= low
                ranks[t] += above
                if near == above:
                    continue
                for j in range(line.size):
                    if line[j] >= low and not line[j] > high and first_row + first + j != ids[t]:
                        score = _dot(queries[q], rows[first + j])
                        ranks[t] += (score > exact[t]) + 0.5 * (score == exact[t])


@njit(cache=True, nogil=True)
def _uncount(queries, known, hidden_starts, hidden, starts, targets, exact, ranks):  # type: ignore[no-untyped-def]
    """Takes hidden rows out of the ranks again."""
    for q in range(starts.size - 1):
        for h in range(hidden_starts[q], hidden_starts[q + 1]):
            score = _dot(queries[q], known[hidden[h]])
            for t in range(starts[q], starts[q + 1]):
                if hidden[h] != targets[t]:
                    ranks[t] -= (score > exact[t]) + 0.5 * (score == exact[t])


@njit(cache=True, nogil=True)
def _keep_best(scores, first_row, best, ids):  # type: ignore[no-untyped-def]
    """Merges a block of scores into the best of each query, in descending order."""
    kept = best.shape[1]
    for q in range(scores.shape[0]):
        for j in range(scores.shape[1]):
            score = scores[q, j]
            if score <= best[q, kept - 1]:
                continue
            place = kept - 1
            while place > 0 and best[q, place - 1] < score:
                best[q, place], ids[q, place] = best[q, place - 1], ids[q, place - 1]
                place -= 1
            best[q, place], ids[q, place] = score, first_row + j
