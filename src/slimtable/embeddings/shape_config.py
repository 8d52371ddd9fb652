"""Options of the methods that code a row as a gain times a shape, and the rule that chooses them for a size."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, ClassVar, NamedTuple, Self

import numpy as np

from slimtable.artifact.bits import code_bits
from slimtable.codecs.gain_shape import CodebookBits, GainBits, GainShape
from slimtable.config import Bounds, Count, NotNegative
from slimtable.embeddings.config import CodecConfig

GAIN_BITS: tuple[GainBits, ...] = (8, 7, 6, 5, 4)
"""Bits of gains that the rule chooses from."""
CODEBOOK_BITS: tuple[CodebookBits, ...] = (8, 4)
"""Bits of centroid values that the rule chooses from."""
_DEFAULT_RATIO = 16  # how many times smaller than float32 a table is if no option says so
_STEP = 1.01  # from a codebook size to the next
_SLACK = 1.02  # a larger table may have an expected error larger by this, so that budgets are filled
_SPREAD = 1.11  # by this, where else there would be no table within a per cent: the law does not know better
_BUCKET = 1.01  # that per cent
_LEAST = 16  # centroids of each of several stages
# In weighted squared error over weighted energy. Those of gains are above their rounding errors, since errors of
# lengths harm rankings more; how far they hold is in docs/decisions/0015-vector-codecs.md.
_OF_ROUNDING = {32: 0.0, 16: 0.0, 8: 0.0, 4: 0.015}
_OF_GAIN = {16: 0.0, 8: 1e-4, 7: 5e-4, 6: 0.002, 5: 0.008, 4: 0.036, 0: 0.0}


class ErrorLaw(NamedTuple):
    """How the error of the shapes falls: factor · C^-power · e^(-per_share · C / N) · M^-stages · e^(-per_bit · bits).

    With many centroids for few rows, the number of centroids counts; with few for many rows, the bits of the codes do
    too.

    Attributes:
        factor: error of one centroid.
        power: exponent of the number C of centroids that are as wide as a row.
        per_share: exponent per centroid and row: with as many centroids as rows, hardly an error is left.
        stages: exponent of the number of codebooks M.
        per_bit: exponent per bit of the codes of a row, in large tables.
        few: number of rows from which these bits begin to count.
        summed: True if every centroid is as wide as a row; False if one of each codebook together are.
    """

    factor: float
    power: float
    per_share: float
    stages: float
    per_bit: float
    few: int
    summed: bool

    def error(self, number: int, sizes: np.ndarray, widths: np.ndarray, num_embeddings: int) -> np.ndarray:
        """Expected weighted squared errors over the weighted energy, for codebook sizes and widths of codes (n,)."""
        centroids = sizes * (number if self.summed else 1)
        shares = np.minimum(centroids / num_embeddings, 1.0)
        per_bit = self.per_bit * max(0.0, 1.0 - self.few / num_embeddings)
        logs = -self.power * np.log(centroids) - self.per_share * shares - per_bit * number * widths
        errors: np.ndarray = self.factor * np.exp(logs) * number**-self.stages
        return errors


class Shape(NamedTuple):
    """One choice of the options."""

    num_codebooks: int
    codebook_size: int
    gain_bits: GainBits
    codebook_bits: CodebookBits


@dataclass(frozen=True)
class ShapeConfig(CodecConfig):
    """Options of the methods that code shapes. What is not given is chosen for the size of the table.

    Attributes:
        num_codebooks: codes per row M; None to choose.
        codebook_size: number of centroids that a code can name K, up to 65536; None to choose.
        gain_bits: bits of the gain of a row: 4 to 8, on a logarithmic scale; 16; 0 to code rows as they are; None to
            choose.
        codebook_bits: bits per centroid value: 32, 16, or 8 or 4 with a scale per centroid; None to choose.
        power: centroids are fitted with weights frequency^power; 0 for equal weights.
        seed: seed of all random draws.
    """

    law: ClassVar[ErrorLaw]

    num_codebooks: Annotated[int, Bounds(1, 256)] | None = None
    codebook_size: Annotated[int, Bounds(1, 65536)] | None = None
    gain_bits: GainBits | None = None
    codebook_bits: CodebookBits | None = None
    power: NotNegative = 1.0
    seed: Count = 0

    @abstractmethod
    def codec_of(self, shape: Shape) -> GainShape:
        """The codec with a choice of the options."""

    @abstractmethod
    def numbers(self, embedding_dim: int) -> Sequence[int]:
        """Numbers of codebooks to choose from."""

    @abstractmethod
    def largest_codebook(self, number: int, num_embeddings: int) -> int:
        """Largest number of centroids per codebook to choose, with ``number`` codebooks."""

    def codec(self, num_embeddings: int, embedding_dim: int) -> GainShape:
        chosen = self.complete(num_embeddings, embedding_dim)
        codec = self.codec_of(chosen)
        codec.codebook_shape(embedding_dim)  # raises if the options do not fit the sizes
        return codec

    def complete(self, num_embeddings: int, embedding_dim: int) -> Shape:
        """All options; those not given are chosen for a table a sixteenth of float32, or the smallest above that.

        Raises:
            ValueError: a number of codebooks does not fit the width.
        """
        given = (self.num_codebooks, self.codebook_size, self.gain_bits, self.codebook_bits)
        if None not in given:
            return Shape(*given)  # type: ignore[arg-type]
        found = self._frontier(num_embeddings, embedding_dim)
        limit = 32 * num_embeddings * embedding_dim / _DEFAULT_RATIO
        fitting = [shape for bits, shape in found if bits <= limit]
        return fitting[-1] if fitting else found[0][1]

    def sizes(self, num_embeddings: int, embedding_dim: int) -> Sequence[Self]:
        """For every size the options with about the smallest expected error."""
        return [replace(self, **shape._asdict()) for _, shape in self._frontier(num_embeddings, embedding_dim)]

    def _frontier(self, num_embeddings: int, embedding_dim: int) -> list[tuple[int, Shape]]:
        """Choices with ascending bits, which hardly any smaller choice is better than."""
        return _frontier(self, num_embeddings, embedding_dim)


@lru_cache(maxsize=64)
def _frontier(config: ShapeConfig, num_embeddings: int, embedding_dim: int) -> list[tuple[int, Shape]]:
    numbers = config.numbers(embedding_dim) if config.num_codebooks is None else [config.num_codebooks]
    gains = GAIN_BITS if config.gain_bits is None else (config.gain_bits,)
    books = CODEBOOK_BITS if config.codebook_bits is None else (config.codebook_bits,)
    columns: list[np.ndarray] = []
    for number, gain, book in itertools.product(numbers, gains, books):
        if config.codebook_size is None:
            least = _LEAST if number > 1 and config.law.summed else 2
            sizes = _sizes(least, max(least, config.largest_codebook(number, num_embeddings)))
        else:
            sizes = np.array([config.codebook_size])
        # The bits of a table grow evenly with K but for the width of a code.
        few, more = (config.codec_of(Shape(number, size, gain, book)) for size in (1, 2))
        least = few.bits_of(num_embeddings, embedding_dim)
        widths = np.array([code_bits(int(size)) for size in sizes])
        bits = least + (sizes - 1) * (more.bits_of(num_embeddings, embedding_dim) - least)
        bits = bits + num_embeddings * number * (widths - 1)
        errors = config.law.error(number, sizes, widths, num_embeddings) + _OF_ROUNDING[book] + _OF_GAIN[gain]
        same = np.ones(len(sizes))
        columns.append(np.stack([bits, errors, number * same, sizes, gain * same, book * same]))
    bits, errors, *options = np.concatenate(columns, axis=1)
    order = np.lexsort((errors, bits))
    before = np.concatenate([[np.inf], np.minimum.accumulate(errors[order])[:-1]])
    kept = order[errors[order] < _SLACK * before]
    # Where none is kept within a per cent, one that may as well be better, as far as the law knows.
    near = order[errors[order] < _SPREAD * before]
    buckets = np.floor(np.log(bits) / np.log(_BUCKET))
    near = near[~np.isin(buckets[near], buckets[kept])]
    near = near[np.lexsort((errors[near], buckets[near]))]
    near = near[np.unique(buckets[near], return_index=True)[1]]
    kept = np.concatenate([kept, near])
    kept = kept[np.argsort(bits[kept], kind="stable")]
    return [(int(bits[place]), Shape._make(int(option[place]) for option in options)) for place in kept]


def next_power(size: int) -> int:
    """The smallest power of two that is not below ``size``: codes are as wide for it as for ``size``.

    Example:
        >>> next_power(819)
        1024
    """
    return 1 << code_bits(size) if size > 1 else 1


def _sizes(least: int, largest: int) -> np.ndarray:
    """Codebook sizes in steps of about a hundredth, and all powers of two; int64."""
    steps = 2 * _STEP ** np.arange(int(np.log(largest / 2) / np.log(_STEP)) + 1)
    sizes = np.concatenate([steps.astype(np.int64), 1 << np.arange(1, 17), [largest]])
    return np.unique(sizes[(sizes >= least) & (sizes <= largest)])
