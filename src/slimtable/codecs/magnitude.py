"""Magnitude pruning: the largest values of a table are kept in 8 bits each, all others are zero (Han et al. 2015)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slimtable.artifact.bits import pack_bits
from slimtable.codecs.base import NOTHING_KNOWN, Block, Codec, FitContext, Fitted, Rows

_CENTRE, _TOP = 128, 127  # the code of zero, and the largest distance of a code from it
_SMALLEST_STEP, _LARGEST_STEP = 2.0**-24, 65472.0  # the last but one of 16 bits, since steps are rounded up
_DIGIT_BITS = 16


@dataclass(frozen=True)
class Magnitude(Codec):
    """The ``keep`` · N · d values of the largest magnitude, with a bitmap of their places and a step per row.

    Of equally large values the first are kept, in the order of the table, so that the size is exact.

    Attributes:
        keep: share of the values that are kept, above 0 and up to 1.
    """

    streams = False

    keep: float = 0.25

    def fit(self, rows: Rows, context: FitContext = NOTHING_KNOWN) -> Fitted:
        return _FittedMagnitude(self, rows)

    def bits_of(self, num_embeddings: int, embedding_dim: int, frequencies: np.ndarray | None = None) -> int:
        return num_embeddings * (embedding_dim + 16) + 8 * self.kept(num_embeddings, embedding_dim)

    def kept(self, num_embeddings: int, embedding_dim: int) -> int:
        """Number of values that are kept."""
        return round(self.keep * num_embeddings * embedding_dim)


class _FittedMagnitude(Fitted):
    layout = "sparse"

    def __init__(self, codec: Magnitude, rows: Rows) -> None:
        super().__init__(rows)
        kept = codec.kept(self.num_embeddings, self.embedding_dim)
        largest = rows.largest()
        if largest and not _TOP * _SMALLEST_STEP <= largest <= _TOP * _LARGEST_STEP:
            raise ValueError("The values are too large or too small for steps of 16 bits. Scale the table.")
        self._threshold, ties = _threshold(rows, kept)
        self._last = _place_of_tie(rows, self._threshold, ties)

    def encode(self, rows: np.ndarray, first_id: int) -> Block:
        magnitudes = _bits(rows)
        place = np.arange(rows.size).reshape(rows.shape) + first_id * self.embedding_dim
        kept = (magnitudes > self._threshold) | ((magnitudes == self._threshold) & (place <= self._last))
        top = np.abs(rows).max(axis=1, initial=0, where=kept)
        step = _step(top)
        safe = np.where(step > 0, step, np.float32(1))[:, None]
        codes = np.rint(rows / safe).clip(-_TOP, _TOP) + _CENTRE
        # A code of 0 stands for values that are dropped, until all blocks are joined.
        return Block(first_id, len(rows), {"kept": (codes * kept).astype(np.uint8), "step": step.astype(np.float16)})

    def finished(self, joined: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        codes = joined["kept"]
        kept = codes != 0
        return {"bitmap": pack_bits(kept.view(np.uint8), 1), "values": codes[kept], "step": joined["step"]}


def _bits(values: np.ndarray) -> np.ndarray:
    """Magnitudes as integers of the same order: floats without their sign sort as their bits do; uint32."""
    bits: np.ndarray = np.ascontiguousarray(values).view(np.uint32) & np.uint32(0x7FFF_FFFF)
    return bits


def _threshold(rows: Rows, kept: int) -> tuple[int, int]:
    """The bits of the smallest magnitude that is kept, and how many values of that magnitude are.

    Found by counting the upper halves of all magnitudes and then the lower halves, in two passes over the table.
    """
    prefix, wanted = 0, kept
    for shift in (_DIGIT_BITS, 0):
        counts = np.zeros(1 << _DIGIT_BITS, np.int64)
        for _, block in rows.blocks():
            bits = _bits(block).ravel()
            if not shift:
                bits = bits[bits >> _DIGIT_BITS == prefix]
            digits = (bits >> np.uint32(shift)) & np.uint32((1 << _DIGIT_BITS) - 1)
            counts += np.bincount(digits, minlength=len(counts))
        above = counts[::-1].cumsum()
        digit = len(counts) - 1 - int(np.searchsorted(above, max(1, wanted)))
        wanted -= int(counts[digit + 1 :].sum())
        prefix = prefix << _DIGIT_BITS | digit
    return prefix, wanted


def _place_of_tie(rows: Rows, threshold: int, ties: int) -> int:
    """The place in the table, read row by row, of the last value of the threshold's magnitude that is kept."""
    for first, block in rows.blocks():
        equal = np.flatnonzero(_bits(block).ravel() == threshold)
        if ties <= len(equal):
            return first * block.shape[1] + int(equal[ties - 1]) if ties else -1
        ties -= len(equal)
    return rows.num_embeddings * rows.embedding_dim


def _step(top: np.ndarray) -> np.ndarray:
    """Step of rows with the largest kept magnitudes ``top`` (n,), as float16 holds it, so that these are reached."""
    step = (top / np.float32(_TOP) * np.float32(1 + 2.0**-11)).astype(np.float16).astype(np.float32)
    return np.where(top > 0, np.maximum(step, np.float32(_SMALLEST_STEP)), np.float32(0))
