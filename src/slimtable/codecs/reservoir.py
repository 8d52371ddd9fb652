"""A weighted random sample of rows in one pass over a table of any length.

Every row gets a key, an exponential variable divided by its weight, and the rows with the smallest keys are the sample:
a draw without replacement in proportion to the weights, as by A-ExpJ (Efraimidis and Spirakis, Information Processing
Letters 97, 2006). Here a key is a pure function of seed, id and weight, so that the sample does not depend on the size
or order of blocks, or on how many processes read them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from slimtable.codecs.vectors import BLOCK_ROWS, Vectors

_LOG_2 = 0.6931471805599453
_UNWEIGHTED = 2.0**900  # moves rows without weight behind all others


@dataclass(frozen=True, eq=False)
class RowSample:
    """A weighted sample of the rows of a table.

    Attributes:
        ids: int64 (s,) ids of the rows, ascending.
        rows: float32 (s, d).
        weights: float64 (s,): weighted sums over the sample estimate those over the table without bias.
    """

    ids: np.ndarray
    rows: np.ndarray
    weights: np.ndarray


class Reservoir:
    """The rows with the smallest keys among those seen so far.

    Args:
        size: maximum number of rows, k.
        width: values of a row, d.
        seed: seed of the keys.

    Example:
        >>> reservoir = Reservoir(size=2, width=1)
        >>> reservoir.add(0, np.ones((3, 1), np.float32), np.array([5.0, 0.0, 5.0]))
        >>> reservoir.sample().ids.tolist()
        [0, 2]
    """

    def __init__(self, size: int, width: int, seed: int = 0) -> None:
        if size < 1:
            raise ValueError(f"A sample needs at least one row, got size={size}.")
        self._size, self._seed = size, np.uint64(seed % (1 << 64))
        room = size + 1 + max(size // 4, BLOCK_ROWS)  # memory that is not filled is not taken
        self._ids, self._weights, self._keys = np.empty(room, np.int64), np.empty(room), np.empty(room)
        self._rows = np.empty((room, width), np.float32)
        self._filled, self._bound = 0, math.inf

    def add(self, first_id: int, rows: np.ndarray, weights: np.ndarray | None = None) -> None:
        """Adds consecutive rows.

        Args:
            first_id: id of the first row.
            rows: float32 (n, d).
            weights: (n,) finite and not negative; None if all rows weigh the same. Rows without weight are drawn only
                if there are too few others.
        """
        weights = np.ones(len(rows)) if weights is None else np.ascontiguousarray(weights, np.float64)
        keys = np.empty(len(rows))
        _keys_of(first_id, weights, self._seed, keys)
        chosen = np.flatnonzero(keys <= self._bound)
        self._join(first_id + chosen, rows[chosen], weights[chosen], keys[chosen])

    def merge(self, other: Reservoir) -> None:
        """Adds what another reservoir, of the same size and seed, has kept of other rows."""
        kept = slice(other._filled)
        self._join(other._ids[kept], other._rows[kept], other._weights[kept], other._keys[kept])

    def sample(self) -> RowSample:
        """The sample of all rows added so far."""
        self._shrink()
        keys, ids = self._keys[: self._filled], self._ids[: self._filled]
        kept = np.lexsort((ids, keys))[: self._size]
        kept = kept[np.argsort(ids[kept])]
        weights = self._weights[kept]
        if self._filled > self._size:
            # Cohen and Kaplan, PODC 2007: given the first key left out, rows are in the sample independently.
            chance = -np.expm1(-weights * keys.max())
            weights = np.divide(weights, chance, out=weights.copy(), where=chance > 0)
        if not weights.any():
            weights = np.ones(len(kept))
        return RowSample(ids[kept], self._rows[kept], weights)

    def _join(self, ids: np.ndarray, rows: np.ndarray, weights: np.ndarray, keys: np.ndarray) -> None:
        first = 0
        while first < len(ids):
            count = min(len(ids) - first, len(self._ids) - self._filled)
            new, place = slice(first, first + count), slice(self._filled, self._filled + count)
            self._ids[place], self._rows[place] = ids[new], rows[new]
            self._weights[place], self._keys[place] = weights[new], keys[new]
            self._filled, first = self._filled + count, first + count
            if self._filled == len(self._ids):
                self._shrink()

    def _shrink(self) -> None:
        """Keeps the rows of the sample and one more."""
        if self._filled <= self._size + 1:
            return
        smallest = np.lexsort((self._ids[: self._filled], self._keys[: self._filled]))[: self._size + 1]
        self._bound = float(self._keys[smallest[-1]])
        kept = np.sort(smallest)  # none moves up, so that they are moved in place, a part at a time
        for first in range(0, len(kept), BLOCK_ROWS):
            part = kept[first : first + BLOCK_ROWS]
            for array in (self._ids, self._rows, self._weights, self._keys):
                array[first : first + len(part)] = array[part]
        self._filled = len(kept)


def sample_rows(
    rows: Vectors,
    size: int,
    frequencies: np.ndarray | None = None,
    *,
    power: float = 1.0,
    floor: float = 0.0,
    padding_idx: int | None = None,
    seed: int = 0,
) -> RowSample:
    """Draws a weighted sample in one pass; neither rows nor weights are held in memory.

    Args:
        rows: rows of the table, which may be in a file.
        size: maximum number of rows; a table with no more is the sample itself.
        frequencies: (N,) how often each id occurs, perhaps memory-mapped; None if all rows weigh the same.
        power: weights are ``frequencies ** power``; 0, 0.5 or 1, which all machines compute alike.
        floor: smallest weight of a row, so that ids that were never seen are drawn, too.
        padding_idx: id that is never drawn.
        seed: seed of the draw.

    Returns:
        The sample.

    Raises:
        ValueError: a row holds NaN or infinite values, or an argument is out of range.
    """
    if power not in (0, 0.5, 1):
        raise ValueError(f"`power` must be 0, 0.5 or 1, got {power}.")
    reservoir = Reservoir(size, rows.shape[1], seed)
    for first, block in rows.blocks():
        weights = _weights(frequencies, first, len(block), power, floor)
        stop = first + len(block)
        if padding_idx is None or not first <= padding_idx < stop:
            reservoir.add(first, block, weights)
            continue
        place = padding_idx - first
        reservoir.add(first, block[:place], weights[:place])
        reservoir.add(padding_idx + 1, block[place + 1 :], weights[place + 1 :])
    return reservoir.sample()


def _weights(frequencies: np.ndarray | None, first: int, count: int, power: float, floor: float) -> np.ndarray:
    if frequencies is None or power == 0:
        return np.ones(count)
    weights = np.asarray(frequencies[first : first + count], np.float64)
    return np.maximum(np.sqrt(weights) if power == 0.5 else weights, floor)


@njit(cache=True, nogil=True)
def _keys_of(first_id, weights, seed, keys):  # type: ignore[no-untyped-def]
    """Keys (n,) of consecutive ids: an exponential variable of each, by splitmix64, over its weight."""
    for i in range(weights.size):
        state = (np.uint64(first_id + i) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        state ^= (seed + np.uint64(1)) * np.uint64(0xD1B54A32D192ED03)
        for _ in range(2):
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state ^= state >> np.uint64(31)
        uniform = (np.float64(state >> np.uint64(11)) + 0.5) * 2.0**-53
        exponential = _minus_log(uniform)
        keys[i] = exponential / weights[i] if weights[i] > 0 else exponential * _UNWEIGHTED


@njit(inline="always")
def _minus_log(value):  # type: ignore[no-untyped-def]
    """-log(value) of a value in (0, 1), by plain arithmetic: the same on every machine."""
    mantissa, exponent = math.frexp(value)
    if mantissa < 0.7071067811865476:
        mantissa *= 2.0
        exponent -= 1
    ratio = (mantissa - 1.0) / (mantissa + 1.0)
    square, series = ratio * ratio, 0.0
    for odd in range(25, 0, -2):
        series = series * square + 1.0 / odd
    return -(2.0 * ratio * series + exponent * _LOG_2)
