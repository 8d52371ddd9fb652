"""Values as levels of one small grid, times a gain per row: the shape of a row is coded apart from its length."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from slimtable.artifact.bits import code_bits, pack_bits
from slimtable.artifact.log_scales import scale_codes, scale_range
from slimtable.artifact.rotation import rotate, transform_size
from slimtable.codecs.base import Block, Fitted, Rows

_LARGEST = 0.98 * float(np.finfo(np.float32).max)  # leaves room for rounding in sums and in the range of gains


@dataclass(frozen=True)
class LevelsForm:
    """What a packed table of levels holds besides the codes.

    Attributes:
        levels: float32 (K,) values of a shape, ascending; one grid for all dimensions.
        gain_bits: bits of the gain of a row, 8 or 16.
        seed: seed of the rotation.
        rounds: rounds of the rotation; 0 for none.
        offset: float32 (d,) that is added to each row, or None.
    """

    levels: np.ndarray
    gain_bits: int
    seed: int = 0
    rounds: int = 0
    offset: np.ndarray | None = None


def levels_bits(num_levels: int, gain_bits: int, num_embeddings: int, embedding_dim: int, offset: bool = False) -> int:
    """All bits of a packed table of levels; arguments as in :class:`LevelsForm`."""
    rows = num_embeddings * (embedding_dim * code_bits(num_levels) + gain_bits)
    shared = 32 * num_levels + (128 if gain_bits == 8 else 0) + (32 * embedding_dim if offset else 0)
    return rows + shared


class FittedLevels(Fitted):
    """Row = Rᵀ·(gain · levels of the codes) + offset, in the layout ``quantized``.

    A codec says in :meth:`shapes` how codes and gains are found.
    """

    layout = "quantized"
    margin: ClassVar[tuple[float, float]] = (1.0, 1.0)
    """Final gains over those of :meth:`rough_gains`: the smallest and the largest factor."""

    def __init__(self, rows: Rows, form: LevelsForm) -> None:
        super().__init__(rows)
        self.form = form
        low, high = np.inf, 0.0
        for first, block in rows.blocks():
            gains = self._without_padding(self.rough_gains(self._shaped(block)), first)
            low = min(low, float(gains.min(initial=np.inf, where=gains > 0)))
            high = float(np.maximum(high, gains.max()))  # NaN, of sums that overflow, stays
        if not self._bound(high * self.margin[1]) <= _LARGEST:
            raise ValueError("The values are so large that sums of them overflow float32. Scale the table.")
        self._range = _range_of(low * self.margin[0], high * self.margin[1])
        if form.gain_bits == 16 and high and not 0 < float(_half(np.array(high))) < np.inf:
            raise ValueError("The rows are too large or too small for gains of 16 bits. Use gain_bits=8.")

    @abstractmethod
    def shapes(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Codes and gains of rows without offset and rotated.

        Args:
            rows: float32 (n, d).

        Returns:
            Codes, uint8 (n, d), and gains, float32 (n,), finite and not negative; 0 for rows of zeros.
        """

    def rough_gains(self, rows: np.ndarray) -> np.ndarray:
        """The gains, float32 (n,), up to factors within ``margin``; for codecs that find them faster than codes."""
        return self.shapes(rows)[1]

    def encode(self, rows: np.ndarray, first_id: int) -> Block:
        codes, gains = self.shapes(self._shaped(rows))
        gains = self._without_padding(gains, first_id)
        stored = _half(gains) if self.form.gain_bits == 16 else scale_codes(gains, *self._range.tolist())
        return Block(first_id, len(rows), {"codes": pack_bits(codes, code_bits(len(self.form.levels))), "gain": stored})

    def shared_arrays(self) -> dict[str, np.ndarray]:
        form = self.form
        arrays = {"codebook": form.levels.astype(np.float32).reshape(1, -1, 1)}
        if form.gain_bits == 8:
            arrays["gain_range"] = self._range
        if form.offset is not None:
            arrays["offset"] = form.offset
        return arrays

    def layout_config(self) -> dict[str, Any]:
        form = self.form
        return {
            "num_codebooks": self.embedding_dim,
            "codebook_size": len(form.levels),
            "combine": "concat",
            "shared": True,
            "codebook_bits": 32,
            "gain_bits": form.gain_bits,
            "rotation": {"seed": form.seed, "rounds": form.rounds} if form.rounds else None,
            "offset": form.offset is not None,
        }

    def _shaped(self, rows: np.ndarray) -> np.ndarray:
        """The rows without the offset, rotated."""
        form = self.form
        with np.errstate(over="ignore"):  # refused when the codec is fitted
            shaped = rows.copy() if form.offset is None else rows - form.offset
        return rotate(shaped, form.seed, form.rounds) if form.rounds else shaped

    def _without_padding(self, gains: np.ndarray, first_id: int) -> np.ndarray:
        """The gains of a block; that of the padding row becomes 0: it is served as zeros, however far the offset is."""
        if self.padding_idx is not None and first_id <= self.padding_idx < first_id + len(gains):
            gains[self.padding_idx - first_id] = 0
        return gains

    def _bound(self, gain: float) -> float:
        """No number in decoding a row with this gain is larger."""
        form, dim = self.form, self.embedding_dim
        sums = np.sqrt(dim * transform_size(dim)) if form.rounds else 1.0
        offset = 0.0 if form.offset is None else float(np.abs(form.offset).max())
        return gain * float(np.abs(form.levels).max()) * sums + offset


def _range_of(low: float, high: float) -> np.ndarray:
    """The range of 8-bit gains, float64 (2,); gains below a millionth of the largest one share the smallest."""
    if not high:
        return scale_range(np.empty(0, np.float32))
    return scale_range(np.array([max(low, 1e-6 * high), high], np.float32))


def _half(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # gains that overflow 16 bits are refused when the codec is fitted
        return values.astype(np.float16)
