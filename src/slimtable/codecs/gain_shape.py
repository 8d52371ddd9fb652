"""What the codecs of shapes share: a row is a gain times a shape, and the shape is coded by centroids.

In a recommender the norm of a row carries popularity and spans orders of magnitude, so that one codebook for rows of
all norms is spent on the norms. The direction of a row is coded instead (Sabin & Gray 1984), and the factor that brings
its code nearest to the row is kept apart, in a few bits on a logarithmic scale.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numba import njit

from slimtable.artifact.bits import code_bits, pack_bits
from slimtable.artifact.log_scales import scale_codes, scale_range, scale_table
from slimtable.codecs.base import Block, Codec, FitContext, Fitted, Rows
from slimtable.codecs.reservoir import Reservoir

GainBits = Literal[16, 8, 7, 6, 5, 4, 0]
CodebookBits = Literal[32, 16, 8, 4]

_SAMPLE, _PER_CENTROID = 100_000, 256  # rows of the sample: at least, and for each centroid of a codebook
_LEAST_WEIGHT = 0.01  # of the mean: ids that training never saw are coded too
_SPAN = 1e4  # of gains: smaller ones are rounded up to the largest over this, which changes no score that matters
_LOWEST = (0.0, 0.01, 0.03, 0.1, 0.2)  # shares of the gains that the logarithmic scale may leave below it
_LARGEST, _TINY = 3e38, float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class GainShape(Codec):
    """Options of the codecs of shapes.

    Attributes:
        num_codebooks: codes per row, M.
        codebook_size: centroids that a code can name, K.
        gain_bits: bits of the gain of a row: 4 to 8, on a logarithmic scale; 16; or 0 to code rows as they are.
        codebook_bits: bits per centroid value: 32, 16, or 8 or 4 with a scale per centroid.
        power: centroids are fitted with weights frequency^power times squared norm.
        seed: seed of all random draws.
    """

    num_codebooks: int
    codebook_size: int
    gain_bits: GainBits = 8
    codebook_bits: CodebookBits = 8
    power: float = 1.0
    seed: int = 0

    @property
    def scale_bits(self) -> int:
        """Bits of the scale of a centroid of few bits: shapes have norm 1, rows without gains may have any."""
        return 16 if self.gain_bits else 32

    @abstractmethod
    def codebook_shape(self, embedding_dim: int) -> tuple[int, int, int]:
        """Shape (books, K, width) of the codebook.

        Raises:
            ValueError: the number of codebooks does not fit the width.
        """

    def bits_of(self, num_embeddings: int, embedding_dim: int, frequencies: np.ndarray | None = None) -> int:
        books, size, width = self.codebook_shape(embedding_dim)
        scales = self.scale_bits if self.codebook_bits <= 8 else 0
        per_row = self.num_codebooks * code_bits(size) + self.gain_bits
        gain_range = 128 if 0 < self.gain_bits <= 8 else 0
        return num_embeddings * per_row + books * size * (width * self.codebook_bits + scales) + gain_range


@dataclass(frozen=True, eq=False)
class ShapeSample:
    """Rows that a codec is fitted to.

    Attributes:
        shapes: float32 (n, d).
        norms: float64 (n,) norms of the rows.
        weights: float32 (n,).
        largest: largest norm of all rows of the table.
        zeros: number of rows of zeros in the table, without the padding.
    """

    shapes: np.ndarray
    norms: np.ndarray
    weights: np.ndarray
    largest: float
    zeros: int


class FittedGainShape(Fitted):
    """Codebooks fitted to the shapes of a sample of the rows.

    Attributes:
        books: float32 (books, K, width) centroids as they are served.
    """

    layout = "quantized"
    combine: ClassVar[Literal["concat", "sum"]]

    def __init__(self, codec: GainShape, rows: Rows, context: FitContext) -> None:
        super().__init__(rows)
        self.codec = codec
        shape = codec.codebook_shape(self.embedding_dim)
        sample = self._sample(rows, context)
        # Without gains, a row of zeros needs centroids of zeros: the first of each codebook.
        first = int(codec.gain_bits == 0 and sample.zeros > 0 and shape[1] > 1)
        books = np.zeros(shape, np.float32)
        if len(sample.shapes):
            found = self.fit_books(sample.shapes, sample.weights, shape[1] - first)
            books[:, first : first + found.shape[1]] = found
        else:
            self.fit_nothing()
        self._stored = rounded(books, codec.codebook_bits, codec.scale_bits)
        self.books = served(self._stored, codec.codebook_bits)
        if not np.isfinite(self.books).all():
            raise ValueError(
                f"A centroid is too large for {codec.codebook_bits} bits. Scale the table, or set codebook_bits=32."
            )
        self._range = self._gain_range(sample)

    @abstractmethod
    def fit_books(self, shapes: np.ndarray, weights: np.ndarray, size: int) -> np.ndarray:
        """Centroids float32 (books, up to ``size``, width) for shapes (n, d) with weights (n,), n ≥ 1."""

    def fit_nothing(self) -> None:
        """Called instead of :meth:`fit_books` for a table of zeros."""

    @abstractmethod
    def codes_of(self, shapes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Codes int32 (n, M) of shapes (n, d), and the factor (n,) that brings the coded shape nearest to each."""

    def encode(self, rows: np.ndarray, first_id: int) -> Block:
        shapes, norms = self._shapes(rows)
        codes, factors = self.codes_of(shapes)
        codes[norms == 0] = 0
        size = self.codec.codebook_size
        arrays = {"codes": pack_bits(codes.astype(np.uint8) if size <= 256 else codes, code_bits(size))}
        if self.codec.gain_bits:
            gains = np.minimum(norms * np.maximum(factors, _TINY), _LARGEST)
            arrays["gain"] = self._stored_gains(np.where(norms > 0, np.maximum(gains, _TINY), 0.0))
        return Block(first_id, len(rows), arrays)

    def shared_arrays(self) -> dict[str, np.ndarray]:
        more = {"gain_range": self._range} if 0 < self.codec.gain_bits <= 8 else {}
        return as_stored(self._stored, self.codec.codebook_bits) | more

    def layout_config(self) -> dict[str, Any]:
        codec = self.codec
        return {
            "num_codebooks": codec.num_codebooks,
            "codebook_size": codec.codebook_size,
            "combine": self.combine,
            "shared": self.books.shape[0] < codec.num_codebooks,
            "codebook_bits": codec.codebook_bits,
            "gain_bits": codec.gain_bits,
            "rotation": None,
            "offset": False,
        }

    def _shapes(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Shapes float32 (n, d), of norm 1 or 0 if there are gains, and norms float64 (n,)."""
        shapes, norms = np.empty(rows.shape, np.float32), np.empty(len(rows))
        _normalize(np.ascontiguousarray(rows, np.float32), self.codec.gain_bits > 0, shapes, norms)
        return shapes, norms

    def _sample(self, rows: Rows, context: FitContext) -> ShapeSample:
        """The shapes that centroids are fitted to: of all rows but those of zeros, or of some if there are many.

        It is drawn in one pass, in memory that does not grow with the table.
        """
        codec, zeros, largest = self.codec, 0, 0.0
        reservoir = Reservoir(max(_SAMPLE, _PER_CENTROID * codec.codebook_size), self.embedding_dim, codec.seed)
        counts, mean = context.frequencies, mean_of(context.frequencies)
        for first, block in rows.blocks():
            norms = np.empty(len(block))
            _normalize(block, False, np.empty((0, 0), np.float32), norms)
            zeros += int((norms == 0).sum())
            largest = max(largest, float(norms.max()))
            some = None if counts is None else counts[first : first + len(block)]
            weights = importance(some, mean, len(block), codec.power)
            reservoir.add(
                first, block, np.where(norms > 0, weights * np.square(norms) if codec.gain_bits else weights, 0)
            )
        found = reservoir.sample()
        shapes, norms = self._shapes(found.rows)
        valid = norms > 0
        shapes, norms = shapes[valid], norms[valid]
        some = None if counts is None else np.asarray(counts[found.ids[valid]])
        weights = importance(some, mean, len(norms), codec.power)
        if codec.gain_bits:
            drawn = found.weights[valid] / (weights * np.square(norms))  # 1 if no row was left out
            weights = weights * np.square(norms / largest)
        else:
            drawn = found.weights[valid] / weights
        weights = weights * drawn
        weights = (weights / weights.mean()).astype(np.float32) if len(weights) else weights.astype(np.float32)
        return ShapeSample(shapes, norms, weights, largest, zeros - (self.padding_idx is not None))

    def _gain_range(self, sample: ShapeSample) -> np.ndarray:
        """Smallest gain and ratio of the logarithmic scale with the least weighted error on the sample."""
        count = 1 << self.codec.gain_bits
        if not len(sample.shapes) or not 2 < count <= 256:
            return np.ones(2)
        gains = sample.norms * np.maximum(self.codes_of(sample.shapes)[1], _TINY)
        largest = float(gains.max() * max(1.0, sample.largest / sample.norms.max()))
        if largest > _LARGEST:
            raise ValueError("The rows are too large for gains in float32. Scale the table, or set gain_bits=0.")
        weights = sample.weights / np.square(sample.norms / sample.largest)
        best, least = np.ones(2), np.inf
        for share in _LOWEST:
            smallest = min(max(float(np.quantile(gains, share)), largest / _SPAN, _TINY), largest)
            tried = scale_range(np.array([smallest, largest]), count)
            found = scale_table(*tried)[scale_codes(gains, tried[0], tried[1], count)]
            cost = float((weights * np.square((found - gains) / largest)).sum())
            if cost < least:
                best, least = tried, cost
        return best

    def _stored_gains(self, gains: np.ndarray) -> np.ndarray:
        bits = self.codec.gain_bits
        if bits <= 8:
            return pack_bits(scale_codes(gains, self._range[0], self._range[1], 1 << bits), bits)
        with np.errstate(over="ignore"):
            half = gains.astype(np.float16)
        if not np.isfinite(half).all():
            raise ValueError("The gain of a row is too large for 16 bits. Scale the table, or set gain_bits=8.")
        return half


def mean_of(frequencies: np.ndarray | None) -> float:
    """Mean frequency; 0 without frequencies."""
    return 0.0 if frequencies is None else float(np.mean(frequencies, dtype=np.float64))


def importance(frequencies: np.ndarray | None, mean: float, count: int, power: float) -> np.ndarray:
    """Weight of some ids, float64 (n,): their frequency to a power, with a floor for ids that are hardly ever seen.

    All weights are 1 without frequencies, or if all are 0.

    Args:
        frequencies: (n,) of these ids, or None.
        mean: mean frequency of all ids.
        count: number of ids, n.
        power: 1, 0.5 or 0.
    """
    if frequencies is None or power == 0 or mean == 0:
        return np.ones(count)
    weights: np.ndarray = np.maximum(np.asarray(frequencies, np.float64) / mean, _LEAST_WEIGHT) ** power
    return weights


def rounded(books: np.ndarray, bits: int, scale_bits: int = 32) -> dict[str, np.ndarray]:
    """A codebook (books, K, width) rounded to ``bits`` bits per value; to 8 and 4 bits with a scale per centroid."""
    if bits > 8:
        with np.errstate(over="ignore"):  # the caller rejects values that overflow 16 bits
            return {"codebook": books.astype(np.float16 if bits == 16 else np.float32)}
    largest = 2 ** (bits - 1) - 1
    scale = (np.abs(books).max(axis=2) / np.float32(largest)).astype(np.float16 if scale_bits == 16 else np.float32)
    wide = scale.astype(np.float32)[:, :, None]
    codes = np.rint(books / np.where(wide > 0, wide, np.float32(1))).clip(-largest, largest)
    return {"codebook": (codes + 2 ** (bits - 1)).astype(np.uint8), "codebook_scale": scale}


def served(found: dict[str, np.ndarray], bits: int) -> np.ndarray:
    """The float32 values that a rounded codebook decodes to."""
    values = found["codebook"].astype(np.float32)
    if bits <= 8:
        values -= np.float32(2 ** (bits - 1))
        values *= found["codebook_scale"].astype(np.float32)[:, :, None]
    return values


def as_stored(found: dict[str, np.ndarray], bits: int) -> dict[str, np.ndarray]:
    """The arrays of a rounded codebook; 4-bit values as a bit stream."""
    return found | {"codebook": pack_bits(found["codebook"], 4)} if bits == 4 else found


@njit(nogil=True, cache=True)
def factors_of_parts(shapes, books, codes, factors):  # type: ignore[no-untyped-def]
    """Writes the factor (n,) that brings the joined centroids of each row nearest to it; 0 for centroids of zeros."""
    width = books.shape[2]
    for b in range(codes.shape[0]):
        dot, square = 0.0, 0.0
        for m in range(codes.shape[1]):
            book = m if books.shape[0] > 1 else 0
            for j in range(width):
                value = np.float64(books[book, codes[b, m], j])
                dot += value * shapes[b, m * width + j]
                square += value * value
        factors[b] = dot / square if square > 0 else 0.0


@njit(nogil=True, cache=True)
def _normalize(rows, scale, shapes, norms):  # type: ignore[no-untyped-def]
    """Writes the norms of rows, and the rows over their norms, or as they are; only norms if ``shapes`` is empty."""
    even = rows.shape[1] - rows.shape[1] % 4
    for b in range(rows.shape[0]):
        # Four sums, so that an addition need not wait for the one before it.
        one, two, three, four = 0.0, 0.0, 0.0, 0.0
        for j in range(0, even, 4):
            x, y, z, w = rows[b, j], rows[b, j + 1], rows[b, j + 2], rows[b, j + 3]
            one += np.float64(x) * np.float64(x)
            two += np.float64(y) * np.float64(y)
            three += np.float64(z) * np.float64(z)
            four += np.float64(w) * np.float64(w)
        for j in range(even, rows.shape[1]):
            one += np.float64(rows[b, j]) * np.float64(rows[b, j])
        norms[b] = np.sqrt((one + two) + (three + four))
        if shapes.size:
            factor = 1.0 / norms[b] if scale and norms[b] > 0 else 1.0
            for j in range(rows.shape[1]):
                shapes[b, j] = rows[b, j] * factor
