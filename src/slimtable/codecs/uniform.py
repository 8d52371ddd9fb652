"""Uniform scalar quantization: every value becomes one of 2^bits evenly spaced values (MGQE §5.4, "SQ")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from slimtable.artifact.bits import pack_bits
from slimtable.artifact.log_scales import scale_codes, scale_range, scale_table
from slimtable.artifact.scaled import zero_points
from slimtable.codecs.base import NOTHING_KNOWN, Block, Codec, FitContext, Fitted, Rows
from slimtable.codecs.quantize.clipping import least_error, search_grid
from slimtable.codecs.quantize.scalar import codes_of, ends_of, make_grid, refusal, round_half

_ADVICE = "Use scale_bits=32"
_FINEST = 0.3
"""Searched steps are hardly ever a smaller share of the step that covers a whole row."""
_NEGLIGIBLE = 1e-6
"""Rows that are smaller than the largest one by this factor share the smallest of the 8-bit steps."""


@dataclass(frozen=True)
class Uniform(Codec):
    """Codes of ``bits`` bits between the smallest and the largest value of each column, or of each row.

    Attributes:
        bits: bits per value, 1 to 8.
        axis: "column" keeps an offset and a step per dimension, "row" per id.
        scale_bits: bits of each offset and step, 32 or 16; or, with axis "row", 8: a logarithmic step and a zero point,
            for rows that have values of both signs or near zero.
        clip: with axis "row", True to search the grid with the least squared error, which may clip outliers, instead
            of the one from the smallest to the largest value.
    """

    bits: int = 8
    axis: Literal["column", "row"] = "column"
    scale_bits: Literal[32, 16, 8] = 32
    clip: bool = False

    def fit(self, rows: Rows, context: FitContext = NOTHING_KNOWN) -> Fitted:
        return _FittedUniform(self, rows)

    # The size is not named `bits`, since that is an option of this codec.

    def bits_of(self, num_embeddings: int, embedding_dim: int, frequencies: np.ndarray | None = None) -> int:
        grids = embedding_dim if self.axis == "column" else num_embeddings
        shared = 128 if self.scale_bits == 8 else 0
        return self.bits * num_embeddings * embedding_dim + 2 * self.scale_bits * grids + shared


class _FittedUniform(Fitted):
    layout = "scaled"

    def __init__(self, codec: Uniform, rows: Rows) -> None:
        super().__init__(rows)
        self.codec = codec
        # The padding row is always decoded as zeros, so it must not widen the grid: another row stands in for it.
        self._stand_in: np.ndarray | None = None
        if self.padding_idx is not None and self.num_embeddings > 1:
            other = 0 if self.padding_idx else 1
            self._stand_in = rows.read(other, other + 1)
        low = np.full(self.embedding_dim, np.inf, np.float32)
        high, self._largest = -low, 0.0
        for first, block in rows.blocks() if codec.axis == "column" or codec.scale_bits == 16 else ():
            seen = self._without_padding(block, first)
            low, high = np.minimum(low, seen.min(axis=0)), np.maximum(high, seen.max(axis=0))
        self._largest = float(max(np.abs(low).max(), np.abs(high).max()))
        if codec.scale_bits == 8:
            self._range = self._range_of_steps(rows)
        if codec.axis == "column":
            self._grid = make_grid(low, high, codec.bits, codec.scale_bits, self._largest, _ADVICE)

    def encode(self, rows: np.ndarray, first_id: int) -> Block:
        codec = self.codec
        if codec.axis == "column":
            codes = codes_of(rows, self._grid[0], self._grid[1], codec.bits)
            return Block(first_id, len(rows), {"codes": pack_bits(codes, codec.bits)})
        if codec.scale_bits == 8:
            return Block(first_id, len(rows), self._shortly_scaled(rows))
        offset, step = self._row_grids(self._without_padding(rows, first_id))
        arrays = {"codes": pack_bits(codes_of(rows, offset, step, codec.bits), codec.bits)}
        return Block(first_id, len(rows), arrays | self._scales(offset, step))

    def shared_arrays(self) -> dict[str, np.ndarray]:
        if self.codec.scale_bits == 8:
            return {"step_range": self._range}
        return self._scales(*self._grid) if self.codec.axis == "column" else {}

    def layout_config(self) -> dict[str, Any]:
        config = {"bits": self.codec.bits, "axis": self.codec.axis}
        return config | {"scale_bits": 8} if self.codec.scale_bits == 8 else config

    def _row_grids(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Offset and step of each row, float32 (n, 1) each."""
        codec = self.codec
        low, high = (end[:, None] for end in ends_of(rows))
        offset, step = make_grid(low, high, codec.bits, codec.scale_bits, self._largest, _ADVICE)
        if not codec.clip:
            return offset, step
        found = search_grid(rows, low[:, 0], high[:, 0], codec.bits)
        if codec.scale_bits == 16:
            found = round_half(found[0]), round_half(found[1])
        # The whole range stays where rounding to 16 bits has spoilt what was found.
        _, offset, step = least_error(rows, [(offset[:, 0], step[:, 0]), found], codec.bits)
        return offset[:, None], step[:, None]

    def _range_of_steps(self, rows: Rows) -> np.ndarray:
        """The range of 8-bit steps, float64 (2,)."""
        smallest, largest = np.inf, 0.0
        for _, block in rows.blocks():
            low, high = _reach(block)
            with np.errstate(over="ignore"):  # a range beyond float32 is refused below
                spans = high - low
            smallest = min(smallest, float(spans.min(initial=np.inf, where=spans > 0)))
            largest = max(largest, float(spans.max()))
        if not np.isfinite(largest):
            raise ValueError(refusal(8, _ADVICE))
        if not largest:
            return scale_range(np.empty(0, np.float32))
        smallest = max(smallest * (_FINEST if self.codec.clip else 1.0), _NEGLIGIBLE * largest)
        ends = np.array([smallest, largest], np.float32) / np.float32(2**self.codec.bits - 1)
        if not ends.min() > 0:
            raise ValueError(refusal(8, _ADVICE))
        return scale_range(ends)

    def _shortly_scaled(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Codes, 8-bit steps and zero points of rows: those with the least error near a grid with free scales."""
        bits, top = self.codec.bits, np.float32(2**self.codec.bits - 1)
        low, high = _reach(rows)
        offset, step = low, (high - low) / top
        if self.codec.clip:
            offset, step = search_grid(rows, low, high, bits)
        steps, points = scale_table(*self._range.tolist()), zero_points(bits)
        near = scale_codes(step, *self._range.tolist())
        tried = []
        for finer in (0, -1, 1):
            code = np.where(near, (near.astype(np.int64) + finer).clip(1, 255), 0)
            zero = np.rint(-offset / np.where(code, steps[code], np.float32(1)) * (np.float32(255) / top))
            tried += [(code, (zero + more).clip(0, 255).astype(np.int64)) for more in (0, -1, 1)]
        grids = ((-steps[code] * points[zero], steps[code]) for code, zero in tried)
        place, offset, step = least_error(rows, grids, bits)
        code, zero = (np.choose(place, list(part)).astype(np.uint8) for part in zip(*tried, strict=True))
        codes = codes_of(rows, offset[:, None], step[:, None], bits)
        return {"codes": pack_bits(codes, bits), "step": code, "zero": np.where(code, zero, 0).astype(np.uint8)}

    def _scales(self, offset: np.ndarray, step: np.ndarray) -> dict[str, np.ndarray]:
        dtype = np.float16 if self.codec.scale_bits == 16 else np.float32
        return {"offset": offset.ravel().astype(dtype), "step": step.ravel().astype(dtype)}

    def _without_padding(self, rows: np.ndarray, first_id: int) -> np.ndarray:
        """The rows of a block, with another in place of the padding row."""
        if self._stand_in is None or not first_id <= self.padding_idx < first_id + len(rows):  # type: ignore[operator]
            return rows
        seen = rows.copy()
        seen[self.padding_idx - first_id] = self._stand_in  # type: ignore[operator]
        return seen


def _reach(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The smallest and the largest value of each row, or 0, which a grid with a zero point must hold; (n,) each."""
    low, high = ends_of(rows)
    return np.minimum(low, np.float32(0)), np.maximum(high, np.float32(0))
