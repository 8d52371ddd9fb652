"""Statistics of a trained table and of the frequencies of its ids, which decide how it is best compressed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numba import njit

from slimtable.codecs.base import FitContext, Rows

HEAD = 0.1
"""Share of the ids whose occurrences :attr:`FrequencyStatistics.top_decile_share` counts."""

_SAMPLED_ROWS = 1 << 16
_SAMPLE_WORK = 1 << 34  # multiplications for the spectrum: a few seconds
_HASHES = 1 << 20  # different rows that are remembered to count duplicates
_FIT_POINTS = 200  # ranks between which Zipf's law is fitted


@dataclass(frozen=True)
class TableStatistics:
    """Statistics of a table. Norms and the spectrum are those of finite rows; norms leave zero rows out.

    Attributes:
        num_embeddings: number of ids, N.
        embedding_dim: width of a row, d.
        dtype: data type of the table.
        non_finite_rows: number of rows with a NaN, or a value that is infinite in float32.
        zero_rows: number of rows of zeros.
        duplicate_rows: number of rows that are equal to an earlier one in float32; zero rows do not count.
        duplicates_estimated: True if duplicates were counted in a sample of the different rows and scaled up.
        smallest_value: smallest finite value.
        largest_value: largest finite value.
        norm_mean: mean length of a row.
        norm_min: smallest length.
        norm_max: largest length.
        norm_spread: standard deviation of the lengths over their mean.
        sampled_rows: number of rows that the following are computed from.
        effective_rank: exp(entropy) of the eigenvalues of the second moments: d if all directions are equally strong.
        rank_90: number of directions that hold 90 % of the squared length of all rows.
        mean_share: squared length of the mean row over the mean squared length: near 1 if rows differ little.
    """

    num_embeddings: int
    embedding_dim: int
    dtype: str
    non_finite_rows: int
    zero_rows: int
    duplicate_rows: int
    duplicates_estimated: bool
    smallest_value: float
    largest_value: float
    norm_mean: float
    norm_min: float
    norm_max: float
    norm_spread: float
    sampled_rows: int
    effective_rank: float
    rank_90: int
    mean_share: float

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values; floats have six digits, the same on every machine."""
        return _rounded(asdict(self))


@dataclass(frozen=True)
class FrequencyStatistics:
    """Statistics of how often ids occur.

    Attributes:
        occurrences: sum over all ids.
        unseen_ids: number of ids that never occur.
        median: median number of occurrences of an id.
        top_decile_share: share of the occurrences that belongs to the most frequent tenth of the ids.
        zipf_slope: z of the law frequency ∝ rank^(−z), fitted to the ids that occur; None if fewer than three do.
    """

    occurrences: float
    unseen_ids: int
    median: float
    top_decile_share: float
    zipf_slope: float | None

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values; floats have six digits."""
        return _rounded(asdict(self))


def table_statistics(table: Any, seed: int = 0) -> TableStatistics:
    """Measures a table in one pass over its blocks; it is never loaded whole.

    Counts, norms and extreme values are those of all rows; the spectrum is that of a random sample of at most 65,536
    rows, read in the same pass. Duplicates are exact up to about a million different rows, and estimated beyond.

    Args:
        table: float (N, d): an array, a :class:`numpy.memmap`, or another reader of blocks; may hold NaN.
        seed: seed of the sample.

    Returns:
        The statistics.

    Raises:
        ValueError: the table is not a matrix of floats with rows and columns.

    Example:
        >>> found = table_statistics(np.array([[3, 4], [3, 4], [0, 0], [0, 10]], np.float32))
        >>> found.duplicate_rows, found.zero_rows, found.norm_max, found.rank_90
        (1, 1, 10.0, 1)
    """
    rows = _UncheckedRows(table)
    generator = np.random.default_rng([seed, 20])
    wanted = _sample_ids(*rows.shape, generator)
    lengths, hashes = _Lengths(), _DistinctRows(generator)
    sample = np.empty((len(wanted), rows.embedding_dim), np.float32)
    non_finite, filled = 0, 0
    smallest, largest = np.inf, -np.inf
    for first, block in rows.blocks():
        finite = np.isfinite(block).all(axis=1)
        some = wanted[np.searchsorted(wanted, first) : np.searchsorted(wanted, first + len(block))] - first
        some = some[finite[some]]
        sample[filled : filled + len(some)] = block[some]
        filled += len(some)
        non_finite += int(len(block) - finite.sum())
        valid = block if finite.all() else block[finite]
        if valid.size:
            smallest, largest = min(smallest, float(valid.min())), max(largest, float(valid.max()))
        hashes.add(valid[lengths.add(valid)])
    effective_rank, rank_90, mean_share = _spectrum(sample[:filled])
    duplicates, estimated = hashes.duplicates()
    return TableStatistics(
        num_embeddings=rows.num_embeddings,
        embedding_dim=rows.embedding_dim,
        dtype=np.dtype(table.dtype).name,
        non_finite_rows=non_finite,
        zero_rows=rows.num_embeddings - non_finite - lengths.count,
        duplicate_rows=duplicates,
        duplicates_estimated=estimated,
        smallest_value=smallest if smallest <= largest else 0.0,
        largest_value=largest if smallest <= largest else 0.0,
        norm_mean=lengths.mean,
        norm_min=lengths.smallest if lengths.count else 0.0,
        norm_max=lengths.largest,
        norm_spread=lengths.spread,
        sampled_rows=filled,
        effective_rank=effective_rank,
        rank_90=rank_90,
        mean_share=mean_share,
    )


def frequency_statistics(frequencies: np.ndarray) -> FrequencyStatistics:
    """Measures how unevenly ids occur.

    Args:
        frequencies: (N,) how often each id occurs.

    Returns:
        The statistics.

    Raises:
        ValueError: a frequency is negative or not finite, or there are none.

    Example:
        >>> found = frequency_statistics(1000 / np.arange(1, 101))
        >>> round(found.top_decile_share, 3), round(found.zipf_slope, 3)
        (0.565, 1.0)
    """
    counts = np.asarray(frequencies)
    if counts.ndim != 1 or not counts.size:
        raise ValueError(f"frequencies must hold one number per id, got shape {counts.shape}.")
    FitContext(counts).checked(len(counts))
    ordered = np.sort(counts.astype(np.float64))[::-1]
    total = float(ordered.sum())
    head = float(ordered[: max(1, round(HEAD * len(ordered)))].sum())
    seen = int((ordered > 0).sum())
    return FrequencyStatistics(
        occurrences=total,
        unseen_ids=len(ordered) - seen,
        median=float(np.median(ordered)),
        top_decile_share=head / total if total else 0.0,
        zipf_slope=_zipf_slope(ordered[:seen]) if seen >= 3 else None,
    )


class _UncheckedRows(Rows):
    """Rows that may hold NaN; values too large for float32 become infinite."""

    def read(self, start: int, stop: int) -> np.ndarray:
        return self.read_unchecked(start, stop)


class _Lengths:
    """Running statistics of the lengths of nonzero rows."""

    def __init__(self) -> None:
        self.count, self.largest, self.smallest = 0, 0.0, np.inf
        self._sum = self._squares = 0.0

    def add(self, rows: np.ndarray) -> np.ndarray:
        """Adds finite rows (n, d); returns which are not zero, bool (n,)."""
        lengths = _lengths_of(rows)
        nonzero: np.ndarray = lengths > 0
        some = lengths[nonzero]
        if some.size:
            self.count += len(some)
            self.largest, self.smallest = max(self.largest, float(some.max())), min(self.smallest, float(some.min()))
            self._sum += float(some.sum())
            self._squares += float((some**2).sum())
        return nonzero

    @property
    def mean(self) -> float:
        """Mean length; 0 without rows."""
        return self._sum / self.count if self.count else 0.0

    @property
    def spread(self) -> float:
        """Standard deviation over the mean; 0 without rows."""
        if not self.count:
            return 0.0
        return float(np.sqrt(max(0.0, self._squares / self.count - self.mean**2)) / self.mean)


class _DistinctRows:
    """Counts rows that repeat an earlier one, with bounded memory.

    Rows are remembered by a hash of 64 bits. Once there are too many, only those whose hash starts with more and more
    zeros are kept: a random sample of the different rows, each with all of its copies.
    """

    def __init__(self, generator: np.random.Generator) -> None:
        self._key = np.uint64(generator.integers(0, 1 << 63))
        self._hashes, self._counts = np.empty(0, np.uint64), np.empty(0, np.int64)
        self._waiting: list[np.ndarray] = []
        self._num_waiting = 0
        self._zeros = 0

    def add(self, rows: np.ndarray) -> None:
        """Adds float32 rows (n, d)."""
        hashes = np.empty(len(rows), np.uint64)
        _hash_rows((rows + np.float32(0)).view(np.uint32), self._key, hashes)  # -0 becomes 0
        self._waiting.append(self._kept(hashes))
        self._num_waiting += len(self._waiting[-1])
        if self._num_waiting >= _HASHES:
            self._merge()

    def duplicates(self) -> tuple[int, bool]:
        """The number of rows that repeat an earlier one, and whether it is an estimate."""
        self._merge()
        return int(self._counts.sum() - len(self._counts)) << self._zeros, self._zeros > 0

    def _kept(self, hashes: np.ndarray) -> np.ndarray:
        return hashes[hashes >> np.uint64(64 - self._zeros) == 0] if self._zeros else hashes

    def _merge(self) -> None:
        joined = np.concatenate([self._hashes, *self._waiting])
        counts = np.concatenate([self._counts, np.ones(self._num_waiting, np.int64)])
        self._waiting, self._num_waiting = [], 0
        self._hashes, places = np.unique(joined, return_inverse=True)
        self._counts = np.zeros(len(self._hashes), np.int64)
        np.add.at(self._counts, places, counts)
        while len(self._hashes) > _HASHES:
            self._zeros += 1
            last = int(np.searchsorted(self._hashes, np.uint64(1) << np.uint64(64 - self._zeros)))
            self._hashes, self._counts = self._hashes[:last], self._counts[:last]


def _sample_ids(num_embeddings: int, embedding_dim: int, generator: np.random.Generator) -> np.ndarray:
    """Ids of the sampled rows, ascending."""
    count = min(num_embeddings, _SAMPLED_ROWS, max(4 * embedding_dim, _SAMPLE_WORK // embedding_dim**2))
    if count == num_embeddings:
        return np.arange(num_embeddings)
    return np.sort(generator.choice(num_embeddings, count, replace=False, shuffle=False))


def _spectrum(sample: np.ndarray) -> tuple[float, int, float]:
    """Effective rank, number of directions with 90 % of the energy, and share of the mean row; zeros without energy."""
    rows = sample.astype(np.float64)
    scale = float(np.abs(rows).max(initial=0.0))
    if not scale:
        return 0.0, 0, 0.0
    rows /= scale
    gram = rows.T @ rows
    energy = np.clip(np.linalg.eigvalsh(gram)[::-1], 0.0, None)
    shares = energy / energy.sum()
    present = shares[shares > 0]
    effective = float(np.exp(-np.sum(present * np.log(present))))
    mean_share = len(rows) * float((rows.mean(axis=0) ** 2).sum()) / float(np.trace(gram))
    return effective, int(np.searchsorted(np.cumsum(shares), 0.9 - 1e-9)) + 1, mean_share


def _zipf_slope(ordered: np.ndarray) -> float:
    """Slope of the logarithm of descending frequencies over that of their rank, at ranks spaced evenly in it."""
    ranks = np.unique(np.geomspace(1, len(ordered), _FIT_POINTS).round().astype(np.int64))
    x, y = np.log(ranks), np.log(ordered[ranks - 1])
    x -= x.mean()
    return -float(x @ y / (x @ x))


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in values.items()}


@njit(cache=True, nogil=True)
def _hash_rows(rows, key, hashes):  # type: ignore[no-untyped-def]
    """A hash of each row of uint32 (n, d) to uint64 (n,): splitmix64 over its values."""
    for i in range(rows.shape[0]):
        state = key
        for j in range(rows.shape[1]):
            state = (state ^ np.uint64(rows[i, j])) + np.uint64(0x9E3779B97F4A7C15)
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state ^= state >> np.uint64(31)
        hashes[i] = state


@njit(cache=True, nogil=True)
def _norms(rows, lengths):  # type: ignore[no-untyped-def]
    for i in range(rows.shape[0]):
        total = 0.0
        for j in range(rows.shape[1]):
            value = np.float64(rows[i, j])
            total += value * value
        lengths[i] = np.sqrt(total)


def _lengths_of(rows: np.ndarray) -> np.ndarray:
    """Length of each row, float64 (n,)."""
    lengths = np.empty(len(rows))
    _norms(rows, lengths)
    return lengths
