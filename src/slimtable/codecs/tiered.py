"""Two codecs for one table: a fine one for the most frequent ids, the head, and a coarse one for the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numba import njit

from slimtable.artifact.bits import code_bits, pack_bits
from slimtable.artifact.layouts import roles_of
from slimtable.codecs.base import NOTHING_KNOWN, Block, Codec, FitContext, Fitted, Rows
from slimtable.codecs.vectors import Vectors

CodecOf = Callable[[int, int], Codec]
"""(number of ids, width) -> the codec of a part."""
_PROBED = 8  # rows that end with a whole byte, whatever the width of a row


@dataclass(frozen=True)
class Tiered(Codec):
    """The rows of frequent ids by one codec, and those of all others by another.

    Attributes:
        head: codec of the frequent ids.
        tail: codec of the others.
        head_rows: number of frequent ids; without frequencies, the first ids. If it is 0, or all ids, the table is that
            of one codec.
        min_frequency: in place of ``head_rows``, ids that occur at least so often; 0 for ``head_rows``.
        exact_size: False if the size of a part depends on its values.
    """

    streams = False

    head: CodecOf
    tail: CodecOf
    head_rows: int = 0
    min_frequency: int = 0
    exact_size: bool = True  # type: ignore[misc]

    def fit(self, rows: Rows, context: FitContext = NOTHING_KNOWN) -> Fitted:
        count = self.size_of_head(rows.num_embeddings, context.frequencies)
        if count in (0, rows.num_embeddings):
            codec = self.head if count else self.tail
            return codec(rows.num_embeddings, rows.embedding_dim).fit(rows, context)
        return _FittedTiered(self, rows, context, head_ids(count, rows.num_embeddings, context.frequencies))

    def bits_of(self, num_embeddings: int, embedding_dim: int, frequencies: np.ndarray | None = None) -> int:
        count = self.size_of_head(num_embeddings, frequencies)
        counts = None if frequencies is None else np.asarray(frequencies)
        sizes = [(self.head, count), (self.tail, num_embeddings - count)]
        if count in (0, num_embeddings):
            (part,) = [codec for codec, size in sizes if size]
            return part(num_embeddings, embedding_dim).bits_of(num_embeddings, embedding_dim, counts)
        bits = sum(codec(size, embedding_dim).bits_of(size, embedding_dim) for codec, size in sizes)
        return bits + (0 if _sorted_by_tier(count, counts) else num_embeddings)

    def size_of_head(self, num_embeddings: int, frequencies: Any) -> int:
        """Number of ids in the head.

        Raises:
            ValueError: ``min_frequency`` is set without frequencies.
        """
        if not self.min_frequency:
            return min(self.head_rows, num_embeddings)
        if frequencies is None:
            raise ValueError("`min_frequency` needs frequencies. Pass them, or set it to 0.")
        return int((np.asarray(frequencies) >= self.min_frequency).sum())


class _FittedTiered(Fitted):
    layout = "tiered"

    def __init__(self, codec: Tiered, rows: Rows, context: FitContext, head: np.ndarray) -> None:
        super().__init__(rows)
        in_head = np.zeros(self.num_embeddings, bool)
        in_head[head] = True
        self._ids = [np.flatnonzero(in_head), np.flatnonzero(~in_head)]
        self._parts: list[Fitted] = []
        self._widths: list[dict[str, int]] = []  # bits per row of the streams of each part
        for ids, codec_of in zip(self._ids, (codec.head, codec.tail), strict=True):
            part = RowsOfPart(rows, ids)
            counts = None if context.frequencies is None else np.asarray(context.frequencies)[ids]
            fitted = codec_of(*part.shape).fit(part, replace(context, frequencies=counts, previous=None))
            self._parts.append(fitted)
            self._widths.append(_widths(fitted, part))

    def encode(self, rows: np.ndarray, first_id: int) -> Block:
        arrays: dict[str, np.ndarray] = {}
        for index, (part, ids) in enumerate(zip(self._parts, self._ids, strict=True)):
            begin, end = np.searchsorted(ids, (first_id, first_id + len(rows)))
            if begin < end:
                block = part.encode(np.ascontiguousarray(rows[ids[begin:end] - first_id]), int(begin))
                arrays |= {f"part.{index}.{name}": array for name, array in block.arrays.items()}
        return Block(first_id, len(rows), arrays)

    def finished(self, joined: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        arrays: dict[str, np.ndarray] = {}
        for index, part in enumerate(self._parts):
            prefix = f"part.{index}."
            own = {name.removeprefix(prefix): array for name, array in joined.items() if name.startswith(prefix)}
            whole = part.finished(own) | part.shared_arrays()
            arrays |= {prefix + name: array for name, array in whole.items()}
        return arrays

    def shared_arrays(self) -> dict[str, np.ndarray]:
        head, tail = self._ids
        if head[-1] < tail[0]:
            return {}
        tiers = np.ones(self.num_embeddings, np.uint8)
        tiers[head] = 0
        return {"tiers": pack_bits(tiers, code_bits(len(self._parts)))}

    def layout_config(self) -> dict[str, Any]:
        parts = [
            {"num_rows": len(ids), "layout": part.layout, "layout_config": part.layout_config()}
            for part, ids in zip(self._parts, self._ids, strict=True)
        ]
        return {"parts": parts}

    def _place(self, joined: dict[str, np.ndarray], name: str, array: np.ndarray, block: Block) -> None:
        """Copies the rows of a part to their ranks there, which need not begin with a whole byte."""
        index, own_name = int(name.split(".")[1]), name.split(".", 2)[2]
        ids, width = self._ids[index], self._widths[index].get(own_name)
        start, end = np.searchsorted(ids, (block.first_id, block.first_id + block.num_rows))
        if width is not None:
            stream = joined.setdefault(name, np.zeros((len(ids) * width + 7) // 8, np.uint8))
            _merge(array, int(start) * width, stream)
            return
        if name not in joined:
            joined[name] = np.empty((len(ids), *array.shape[1:]), array.dtype)
        joined[name][start:end] = array


class RowsOfPart(Rows):
    """Some rows of a table as a table, read when needed."""

    def __init__(self, rows: Rows, ids: np.ndarray) -> None:
        self._rows, self._ids = rows, ids
        self.shape = self.num_embeddings, self.embedding_dim = len(ids), rows.embedding_dim
        place = None if rows.padding_idx is None else int(np.searchsorted(ids, rows.padding_idx))
        inside = place is not None and place < len(ids) and ids[place] == rows.padding_idx
        self.padding_idx = place if inside else None

    def read(self, start: int, stop: int) -> np.ndarray:
        return self._rows.take(self._ids[start:stop])

    def take(self, ids: np.ndarray) -> np.ndarray:
        return self._rows.take(self._ids[ids])

    def for_repeated_reads(self) -> Vectors:
        return self._rows.for_repeated_reads().pick(self._ids)


def head_ids(count: int, num_embeddings: int, frequencies: Any) -> np.ndarray:
    """The ``count`` most frequent ids, ties by id; the first ids without frequencies."""
    if frequencies is None:
        return np.arange(count)
    return np.argsort(-np.asarray(frequencies).astype(np.float64), kind="stable")[:count]


def _sorted_by_tier(count: int, frequencies: np.ndarray | None) -> bool:
    """True if the head consists of the first ``count`` ids."""
    return frequencies is None or bool(frequencies[:count].min() >= frequencies[count:].max())


def _widths(fitted: Fitted, rows: Rows) -> dict[str, int]:
    """Bits per row of each array of a block that is a bit stream.

    Raises:
        ValueError: an array of the codec has neither rows nor bits per id.
    """
    count, widths = min(_PROBED, len(rows)), {}
    block = fitted.encode(rows.read(0, count), 0)
    # The last byte may be padded if a part has fewer rows, so the layout is asked for their bits.
    roles = roles_of(fitted.pack([block])) if count < _PROBED else {}
    for name, array in block.arrays.items():
        if array.ndim == 1 and name in roles and roles[name].stream:  # others are only packed when all is joined
            widths[name] = roles[name].width * roles[name].per_row
        elif array.ndim == 1 and array.dtype == np.uint8 and len(array) != count:
            widths[name] = len(array) * 8 // count
        elif len(array) != count:
            raise ValueError("A codec with tiers of its own cannot be a part of a tiered table. Use one without tiers.")
    return widths


@njit(nogil=True, cache=True)
def _merge(source, bit, stream):  # type: ignore[no-untyped-def]
    """Writes bytes into a stream of zeros from a bit on; the unused bits of the last byte are zeros."""
    byte, shift = bit >> 3, bit & 7
    for i in range(source.size):
        value = np.int64(source[i]) << shift
        stream[byte + i] |= np.uint8(value & 255)
        if byte + i + 1 < stream.size:
            stream[byte + i + 1] |= np.uint8(value >> 8)
