"""A synthetic click log of any size: heavy-tailed fields, values that appear over time, preferences that drift.

Every value has a hidden vector: that of its cluster and some noise of its own, so similar values exist. The vectors of
the clusters rotate slowly. A click's log-odds are a sum of products of such vectors, of a weight for each value, and of
the columns of numbers. The ``r`` most popular values of a field have a share of about ``(r/n)^power`` of the rows, but
seven in ten values do not occur before a time of their own.

Every draw is a hash of (seed, row, purpose), so any rows can be generated without those before them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
from numba import njit

from slimtable.data.clicks.raw import RawClicks, RawField, log_scale
from slimtable.data.clicks.schema import Field, Schema
from slimtable.data.datasets.click_source import ClickDataset
from slimtable.data.datasets.source import GeneratedSource
from slimtable.data.datasets.synthetic import _mix, _stream, _uniform

_NAME = "synthetic-ctr"
_ABOUT = "generated: heavy-tailed fields, new values over time, drifting preferences; any size"
DEFAULT_ROWS = 240_000
MAX_ROWS = 1 << 40

FIELDS = ("user", "item", "shop", "category", "place", "tags")
_TAGS = FIELDS.index("tags")
_NUMERIC = ("age", "price", "visits")
_FIXED_SIZES = {"shop": 400, "category": 24, "place": 60, "tags": 120}
# The share of the n·x most popular values is about x^power: the smaller, the heavier the head.
_POWERS = np.array([0.45, 0.3, 0.35, 0.5, 0.4, 0.5])
_DIMENSIONS, _CLUSTERS, _MAX_TAGS = 4, 12, 4
_BORN_AT_START = 0.3
_NOISE = 0.35  # of a value's vector, beside the cluster's, which is 1 in the mean
_TURN = 0.3 * math.pi  # rotation of the clusters' vectors from the first row to the last
_BIAS = -2.0
_START_TIME = 1_600_000_000


def make_synthetic_clicks(
    rows: int = DEFAULT_ROWS, seed: int = 0, windows: int = 24, sizes: Mapping[str, int] | None = None
) -> ClickDataset:
    """Describes the log; its rows are generated on demand.

    Args:
        rows: exact number of rows.
        seed: equal seeds give equal rows.
        windows: number of hours, and of windows.
        sizes: number of values by field: user (a hundredth of the rows), item (a quarter of that), shop, category,
            place, tags.

    Returns:
        The dataset. ``user`` and ``item`` are integers, the others texts, ``tags`` has 0 to 4 values.

    Raises:
        ValueError: a number is out of range, or there is no such field.
    """
    if not 1 <= windows <= rows <= MAX_ROWS:
        raise ValueError(
            f"`rows` must be in 1..{MAX_ROWS:,} and `windows` in 1..rows, got {rows:,} rows and {windows:,} windows."
        )
    if not 0 <= seed < 1 << 63:
        raise ValueError(f"`seed` must be in 0..2**63-1, got {seed}.")
    settled = {"user": max(50, rows // 100), "item": max(50, rows // 400), **_FIXED_SIZES, **(sizes or {})}
    unknown = sorted(set(settled) - set(FIELDS))
    if unknown or not all(1 <= size < 1 << 31 for size in settled.values()):
        raise ValueError(
            f"`sizes` gives each of {', '.join(FIELDS)} a number of values from 1 on, got {dict(sizes or {})}."
        )
    return ClickDataset(
        _NAME if rows == DEFAULT_ROWS else f"{_NAME}:{rows}",
        SCHEMA,
        partial(_chunks, rows, seed, windows, np.array([settled[name] for name in FIELDS], np.int64)),
        windows=windows,
        rows=rows,
        about=_ABOUT,
        licence="Apache-2.0",
        url=__name__,
    )


SOURCE = GeneratedSource(_NAME, "clicks", _ABOUT, make_synthetic_clicks, size="rows")

SCHEMA = Schema(
    label="clicked",
    time="time",
    numeric=_NUMERIC,
    fields=tuple(Field(name=name, separator="|" if name == "tags" else "") for name in FIELDS),
)


def _chunks(rows: int, seed: int, windows: int, sizes: np.ndarray, chunk_rows: int) -> Iterator[RawClicks]:
    for first in range(0, rows, chunk_rows):
        yield _make(first, min(rows, first + chunk_rows), rows, seed, windows, sizes)


def _make(first: int, last: int, rows: int, seed: int, windows: int, sizes: np.ndarray) -> RawClicks:
    labels, numbers, values, counts = _rows(np.uint64(seed), first, last, rows, sizes, _POWERS)
    fields = [RawField(_raw_integers(values[field, :, 0])) for field in range(2)]
    fields += [_texts(FIELDS[field], values[field, :, 0]) for field in range(2, _TAGS)]
    kept = np.arange(_MAX_TAGS) < counts[:, None]
    offsets = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    tags = _texts("tag", values[_TAGS][kept])
    fields.append(RawField(tags.values, None, offsets))
    times = _START_TIME + np.arange(first, last) * (3600 * windows) // rows
    return RawClicks(labels, log_scale(numbers), tuple(fields), times.astype(np.float64))


def _raw_integers(values: np.ndarray) -> np.ndarray:
    """A bijection to odd-looking numbers of 40 bits."""
    return (values * 0x9E3779B1 + 12_345) & ((1 << 40) - 1)


def _texts(prefix: str, values: np.ndarray) -> RawField:
    """``shop-17`` and the like; each distinct one is created once."""
    from slimtable.artifact.vocabulary import Strings
    from slimtable.data.clicks.raw import take_strings

    distinct, places = np.unique(values, return_inverse=True)
    made = RawField.from_values([f"{prefix}-{value}" for value in distinct.tolist()]).values
    assert isinstance(made, Strings)
    return RawField(take_strings(made, places))


@njit(cache=True, nogil=True)
def _normal(state):  # type: ignore[no-untyped-def]  # pragma: no cover
    """About a standard normal draw: the sum of four uniform ones, of variance 1/3, scaled."""
    total = 0.0
    for i in range(4):
        total += _uniform(state + np.uint64(i + 1) * np.uint64(0x9E3779B97F4A7C15))
    return (total - 2.0) * 1.7320508075688772


@njit(cache=True, nogil=True)
def _add_vector(seed, field, value, time, vector):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Adds the hidden vector of a value at a time in 0..1."""
    own = _stream(seed, 100 + field, value)
    cluster = np.int64(own % np.uint64(_CLUSTERS))
    start, end = _stream(seed, 200 + field, cluster), _stream(seed, 300 + field, cluster)
    cosine, sine = math.cos(_TURN * time), math.sin(_TURN * time)
    for i in range(_DIMENSIONS):
        step = np.uint64(7 * (i + 1))
        centre = cosine * _normal(_mix(start + step)) + sine * _normal(_mix(end + step))
        vector[i] += centre + _NOISE * _normal(_mix(own + step))


@njit(cache=True, nogil=True)
def _draw(seed, field, stream, time, size, power):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Samples a value that exists at a time, popular ones more often."""
    value = 0
    for i in range(24):
        value = int(size * _uniform(stream + np.uint64(i)) ** (1.0 / power))
        born = (_uniform(_stream(seed, 400 + field, value)) - _BORN_AT_START) / (1.0 - _BORN_AT_START)
        if born <= time:
            return value
    return 0


@njit(cache=True, nogil=True)
def _rows(seed, first, last, total, sizes, powers):  # type: ignore[no-untyped-def]  # pragma: no cover
    n, fields = last - first, sizes.size
    labels, numbers = np.zeros(n, np.float32), np.zeros((n, 3))
    values, counts = np.zeros((fields, n, _MAX_TAGS), np.int64), np.zeros(n, np.int64)
    vectors = np.zeros((fields, _DIMENSIONS))
    for row in range(first, last):
        here, time = row - first, row / total
        vectors[:] = 0.0
        logit = _BIAS
        for field in range(fields):
            drawn = 1
            if field == fields - 1:
                drawn = int(_uniform(_stream(seed, 9, row)) * (_MAX_TAGS + 1))
                counts[here] = drawn
            for place in range(drawn):
                stream = _stream(seed, 10 + field * _MAX_TAGS + place, row)
                value = _draw(seed, field, stream, time, sizes[field], powers[field])
                values[field, here, place] = value
                _add_vector(seed, field, value, time, vectors[field])
                logit += 0.5 / drawn * _normal(_stream(seed, 500 + field, value))
            if drawn > 1:
                vectors[field] /= drawn
        # Of the pairs that matter, users and items matter most.
        for i in range(_DIMENSIONS):
            user, item, shop = vectors[0, i], vectors[1, i], vectors[2, i]
            logit += 1.5 * user * item + 0.6 * user * vectors[3, i] + 0.5 * item * vectors[4, i]
            logit += 0.3 * user * vectors[5, i] + 0.3 * shop * item
        for i in range(3):
            numbers[here, i] = math.floor(math.exp(1.2 * _normal(_stream(seed, 600 + i, row)) + 2.0 + i) - 1.0)
            if numbers[here, i] < 0.0:
                numbers[here, i] = 0.0
            logit += 0.2 * (i - 1) * (math.log1p(numbers[here, i]) - 2.0 - i)
        if _uniform(_stream(seed, 8, row)) < 1.0 / (1.0 + math.exp(-logit)):
            labels[here] = 1.0
    return labels, numbers, values, counts
