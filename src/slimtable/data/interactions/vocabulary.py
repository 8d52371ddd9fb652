"""Numbering of raw ids as dense ids ``0..n-1``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

if TYPE_CHECKING:
    import polars as pl

# A lookup table over the value range is faster than sorting if it is not much larger than the data.
_TABLE_SLOTS_PER_ROW = 8
_TABLE_SLOTS_MIN = 1 << 20


def encode(raw: np.ndarray | pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """Number the distinct raw ids in ascending order.

    Dense id ``k`` is the ``k``-th smallest raw id (integers by value, strings by code point), so ids depend
    only on the set of raw ids, not on the order of rows.

    Args:
        raw: (E,) integers or strings, without missing values.

    Returns:
        ``(ids, vocabulary)``: int32 (E,) and the raw id of each dense id, int64 or unicode (n,).

    Raises:
        TypeError: if the raw ids are neither integers nor strings.

    Example:
        >>> ids, vocabulary = encode(np.array([30, 10, 30]))
        >>> ids.tolist(), vocabulary.tolist()
        ([1, 0, 1], [10, 30])
    """
    if not isinstance(raw, np.ndarray):
        if str(raw.dtype) == "String":
            return _encode_string_series(raw)
        raw = raw.to_numpy()
    if raw.dtype.kind == "O" and all(isinstance(value, str) for value in raw):
        raw = raw.astype(np.str_)
    if raw.dtype.kind in "iu":
        return _encode_integers(raw)
    if raw.dtype.kind == "U":
        vocabulary, ids = np.unique(raw, return_inverse=True)
        return ids.astype(np.int32), vocabulary
    raise TypeError(f"raw ids must be integers or strings, got dtype {raw.dtype}. Cast the column first.")


def _encode_integers(raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if raw.dtype == np.uint64 and raw.size and int(raw.max()) > np.iinfo(np.int64).max:
        raise TypeError("raw ids must fit int64, got uint64 beyond it. Cast the column to strings first.")
    if not raw.size:
        return np.zeros(0, np.int32), np.zeros(0, np.int64)
    low, high = int(raw.min()), int(raw.max())
    if high - low < max(_TABLE_SLOTS_PER_ROW * raw.size, _TABLE_SLOTS_MIN):
        return _encode_by_table(raw, low, high - low + 1)
    vocabulary, ids = np.unique(raw, return_inverse=True)
    return ids.astype(np.int32), vocabulary.astype(np.int64)


@njit(cache=True, nogil=True)
def _encode_by_table(raw: np.ndarray, low: int, slots: int) -> tuple[np.ndarray, np.ndarray]:  # pragma: no cover
    table = np.zeros(slots, np.int32)
    for value in raw:
        table[np.int64(value) - low] = 1
    size = 0
    for slot in range(slots):
        size += table[slot]
    vocabulary = np.empty(size, np.int64)
    dense = 0
    for slot in range(slots):
        if table[slot]:
            vocabulary[dense] = low + slot
            table[slot] = dense
            dense += 1
    ids = np.empty(raw.size, np.int32)
    for row in range(raw.size):
        ids[row] = table[np.int64(raw[row]) - low]
    return ids, vocabulary


def _encode_string_series(raw: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """Encode by a polars Enum, which hashes each row; NumPy would sort fixed-width copies."""
    import polars as pl

    categories = raw.unique().sort()
    ids: Any = raw.cast(pl.Enum(categories)).to_physical().to_numpy()
    return ids.astype(np.int32), np.array(categories.to_list(), dtype=np.str_)
