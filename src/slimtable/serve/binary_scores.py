"""Scores between tables of one bit per value, by counting the bits in which two rows differ.

For rows ``u = m + g·s`` and ``v = n + h·t`` with signs s and t, ``⟨u, v⟩ = g·h·(d − 2·differences) + ⟨u − m, n⟩ + ⟨m,
v⟩``: the last two terms are one number per query and one per item.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped, call-arg, assignment"
# numba compiles these functions from the types of their arguments, which mypy cannot follow.

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

from slimtable.artifact.layouts import Decoder
from slimtable.artifact.log_scales import scale_table
from slimtable.artifact.packed import Packed

_ROWS_AT_ONCE = 4096


class BinaryScores:
    """Products of queries with all items, where both tables have one bit per value.

    These are tables of method ``binary``, or of ``rabitq`` with 1 bit and without a rotation or with the same.

    Args:
        queries: table of the queries, such as users.
        items: table of the items, of the same width.

    Raises:
        ValueError: a table has more than one bit per value, or the two do not fit each other.

    Example:
        >>> from slimtable.codecs.base import Rows
        >>> from slimtable.codecs.binary import Binary
        >>> table = Binary(gain_bits=16).compress(Rows(np.array([[1, 1], [-1, -1]], np.float32)))
        >>> BinaryScores(table, table)([0]).tolist()
        [[2.0, -2.0]]
    """

    def __init__(self, queries: Packed, items: Packed) -> None:
        for packed in (queries, items):
            _check(packed)
        if queries.embedding_dim != items.embedding_dim:
            raise ValueError(f"Queries have {queries.embedding_dim} dimensions and items {items.embedding_dim}.")
        if queries.layout_config["rotation"] != items.layout_config["rotation"]:
            raise ValueError("Queries and items must have the same rotation, or none.")
        self._num_queries, self._dim = queries.num_embeddings, items.embedding_dim
        self._queries, self._items = Decoder(queries), Decoder(items)
        self._query_words, self._item_words = _words(queries), _words(items)
        self._query_gains, self._item_gains = _gains(queries), _gains(items)
        self._query_mean, self._item_mean = _mean(queries), _mean(items)
        self._item_terms = np.empty(items.num_embeddings, np.float32)
        for start in range(0, items.num_embeddings, _ROWS_AT_ONCE):
            ids = np.arange(start, min(start + _ROWS_AT_ONCE, items.num_embeddings))
            self._item_terms[ids] = _dot(self._items(ids), self._query_mean)

    def __call__(self, ids: Any) -> np.ndarray:
        """Scores of some queries.

        Args:
            ids: integers (B,), each in [0, number of queries).

        Returns:
            float32 (B, number of items), the products of the decoded rows up to rounding.

        Raises:
            TypeError: the ids are not integers.
            IndexError: an id is out of range.
        """
        rows = self._queries(ids)  # also checks the ids
        chosen = np.asarray(ids, np.int64)
        if chosen.ndim != 1:
            raise ValueError(f"`ids` must have one dimension, got shape {chosen.shape}.")
        padding = (chosen == self._queries.padding_idx) if self._queries.padding_idx is not None else None
        terms = _dot(rows - self._query_mean, self._item_mean)
        out = np.empty((len(chosen), len(self._item_words)), np.float32)
        scores_by_bits(
            self._query_words[chosen],
            self._query_gains[chosen],
            terms,
            self._item_words,
            self._item_gains,
            self._item_terms,
            self._dim,
            out,
        )
        if padding is not None:
            out[padding] = 0
        if self._items.padding_idx is not None:
            out[:, self._items.padding_idx] = 0
        return out


@intrinsic
def count_bits(_typing: Any, word: Any) -> Any:
    """Number of ones in a word of 64 bits."""

    def emit(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.uint64(types.uint64), emit


@njit(cache=True, nogil=True)
def scores_by_bits(query_words, query_gains, query_terms, item_words, item_gains, item_terms, dim, out):
    """``out[b, i] = gain · gain · (dim - 2 · differing bits) + term + term``; words are uint64 (n, W)."""
    for b in range(query_words.shape[0]):
        for i in range(item_words.shape[0]):
            different = np.int64(0)
            for w in range(item_words.shape[1]):
                different += np.int64(count_bits(query_words[b, w] ^ item_words[i, w]))
            product = query_gains[b] * item_gains[i] * np.float32(dim - 2 * different)
            out[b, i] = product + (query_terms[b] + item_terms[i])


@njit(cache=True, nogil=True)
def align_rows(codes, dim, words):
    """Copies rows of ``dim`` bits from a stream to words of 64 bits, whose unused bits stay zero."""
    for i in range(words.shape[0]):
        for j in range(dim):
            bit = i * dim + j
            value = np.uint64(codes[bit >> 3] >> (bit & 7) & 1)
            words[i, j >> 6] |= value << np.uint64(j & 63)


def _check(packed: Packed) -> None:
    config, codebook = packed.layout_config, packed.arrays.get("codebook")
    signs = codebook is not None and codebook.shape == (1, 2, 1) and codebook.dtype.kind == "f"
    if codebook is None or not signs or codebook[0, 0, 0] != -codebook[0, 1, 0]:
        raise ValueError("Scores by bits need tables of one bit per value, as methods binary and rabitq make them.")
    if config["rotation"] is not None and config["offset"]:
        raise ValueError("Scores by bits need tables with either a rotation or an offset.")


def _words(packed: Packed) -> np.ndarray:
    words = np.zeros((packed.num_embeddings, -(-packed.embedding_dim // 64)), np.uint64)
    align_rows(packed.arrays["codes"], packed.embedding_dim, words)
    return words


def _gains(packed: Packed) -> np.ndarray:
    """The gain of each row times the value of its signs, float32 (N,)."""
    level, bits = np.float32(packed.arrays["codebook"][0, 1, 0]), packed.layout_config["gain_bits"]
    if bits == 0:
        return np.full(packed.num_embeddings, level, np.float32)
    gains = packed.arrays["gain"]
    scales = scale_table(*packed.arrays["gain_range"].tolist())[gains] if bits == 8 else gains.astype(np.float32)
    return np.asarray(scales * level, np.float32)


def _mean(packed: Packed) -> np.ndarray:
    return np.asarray(packed.arrays.get("offset", np.zeros(packed.embedding_dim, np.float32)), np.float32)


def _dot(rows: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Products of rows (n, d) with a vector, summed in float64 and in the order of the columns' pairs."""
    return (rows.astype(np.float64) * vector).sum(axis=1).astype(np.float32)
