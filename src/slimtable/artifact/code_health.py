"""Code health: how well the codes of a table use their codebooks, and how many ids share all their codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from slimtable.artifact.bits import code_bits
from slimtable.artifact.codes import Codes

USED_ENOUGH = 0.9
"""A codebook is collapsed if a smaller share of its centroids is used, and there are ids enough to use them all."""

_IDS_PER_CENTROID = 39  # faiss warns below this number: fewer ids may leave centroids unused without a fault
_WORD = 64


@dataclass(frozen=True)
class CodebookHealth:
    """The use of one codebook.

    Attributes:
        name: name of the codebook.
        codebook_size: number of centroids, K.
        num_codes: number of codes that point into it.
        used: number of centroids that at least one code points to.
        dead: number of the others.
        entropy: entropy of the codes in bits; at most log2 K.
        perplexity: 2 to the power of the entropy: the number of equally used centroids that would have this entropy.
        entropy_ratio: entropy divided by log2 K; 1 if all centroids are used equally, and for a single centroid.
        largest_bucket: largest share of the codes that point to the same centroid.
    """

    name: str
    codebook_size: int
    num_codes: int
    used: int
    dead: int
    entropy: float
    perplexity: float
    entropy_ratio: float
    largest_bucket: float

    @property
    def used_fraction(self) -> float:
        """Share of the centroids that are used."""
        return self.used / self.codebook_size

    @property
    def collapsed(self) -> bool:
        """True if too few centroids are used although there are ids enough."""
        return self.used_fraction < USED_ENOUGH and self.num_codes >= _IDS_PER_CENTROID * self.codebook_size

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {**asdict(self), "used_fraction": self.used_fraction, "collapsed": self.collapsed}


@dataclass(frozen=True)
class CodeHealth:
    """The health of the codes of a group of ids.

    Attributes:
        name: name of the group; empty if it is the whole table.
        num_ids: number of ids, N.
        codebooks: the health of each codebook; one that all positions share comes last, as "all codes".
        distinct: number of different code tuples.
        unique: number of ids whose code tuple no other id has.
        largest_collision: the largest number of ids that have the same code tuple.
    """

    name: str
    num_ids: int
    codebooks: tuple[CodebookHealth, ...]
    distinct: int
    unique: int
    largest_collision: int

    @property
    def no_collision_rate(self) -> float:
        """Share of the ids whose code tuple no other id has; 1 without ids."""
        return self.unique / self.num_ids if self.num_ids else 1.0

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {
            "name": self.name,
            "num_ids": self.num_ids,
            "distinct_tuples": self.distinct,
            "unique_ids": self.unique,
            "no_collision_rate": self.no_collision_rate,
            "largest_collision": self.largest_collision,
            "codebooks": [each.to_dict() for each in self.codebooks],
        }


def code_health(codes: Codes) -> CodeHealth:
    """Measures how codes use their codebooks, block by block.

    Needs 8 bytes per id and 64 bits of codes for the collisions, and 8 bytes per centroid.

    Args:
        codes: the codes of a group of ids; see :func:`slimtable.artifact.codes.codes_of`.

    Returns:
        The health of each codebook and the collisions of code tuples; gains do not count.

    Example:
        >>> from slimtable.artifact.codes import codes_of_array
        >>> health = code_health(codes_of_array(np.array([[0, 1], [0, 1], [3, 1]]), (4, 2)))
        >>> [book.used for book in health.codebooks], health.distinct, round(health.no_collision_rate, 3)
        ([2, 1], 2, 0.333)
    """
    places = np.concatenate([[0], np.cumsum(codes.sizes)]).astype(np.int64)
    counts = np.zeros(places[-1], np.int64)
    words = np.empty((codes.num_ids, len(_layout(codes.sizes))), np.uint64)
    first = 0
    for block in codes.blocks():
        np.add.at(counts, (block.astype(np.int64) + places[:-1]).reshape(-1), 1)
        words[first : first + len(block)] = _as_words(block, codes.sizes)
        first += len(block)
    books = [counts[places[m] : places[m + 1]] for m in range(len(codes.sizes))]
    found = [_health(name, book) for name, book in zip(codes.names, books, strict=True)]
    if codes.one_codebook:
        found.append(_health("all codes", np.sum(books, axis=0)))
    lengths = _run_lengths(words)
    return CodeHealth(
        name=codes.name,
        num_ids=codes.num_ids,
        codebooks=tuple(found),
        distinct=len(lengths),
        unique=int((lengths == 1).sum()),
        largest_collision=int(lengths.max(initial=0)),
    )


def no_collision_rate(groups: Sequence[CodeHealth]) -> float:
    """Share of the ids of all groups whose code tuple no other id of their group has; 1 without ids."""
    ids = sum(group.num_ids for group in groups)
    return sum(group.unique for group in groups) / ids if ids else 1.0


def warnings_of(groups: Sequence[CodeHealth]) -> list[str]:
    """One sentence for each codebook that is collapsed."""
    return [
        f"{_titled(group.name, book.name)} is collapsed: {book.dead:,} of {book.codebook_size:,} centroids are dead "
        f"although {book.num_codes:,} codes point into it. Start it from rows of the table, and revive dead centroids."
        for group in groups
        for book in group.codebooks
        if book.collapsed
    ]


def _titled(group: str, book: str) -> str:
    text = f"{group}, {book}" if group else book
    return text[:1].upper() + text[1:]


def _health(name: str, counts: np.ndarray) -> CodebookHealth:
    total, size = int(counts.sum()), len(counts)
    shares = counts[counts > 0] / max(total, 1)
    entropy = max(0.0, -float(np.sum(shares * np.log2(shares)))) if total else 0.0
    return CodebookHealth(
        name=name,
        codebook_size=size,
        num_codes=total,
        used=len(shares),
        dead=size - len(shares),
        entropy=entropy,
        perplexity=2.0**entropy,
        entropy_ratio=entropy / float(np.log2(size)) if size > 1 else 1.0,
        largest_bucket=float(shares.max(initial=0.0)),
    )


def _layout(sizes: Sequence[int]) -> list[list[int]]:
    """The positions whose codes fit together into each word of 64 bits."""
    words: list[list[int]] = [[]]
    filled = 0
    for m, size in enumerate(sizes):
        width = code_bits(size)
        if filled + width > _WORD:
            words.append([])
            filled = 0
        words[-1].append(m)
        filled += width
    return words


def _as_words(block: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """The code tuples as uint64 (n, W); equal words mean equal tuples."""
    layout = _layout(sizes)
    words = np.zeros((len(block), len(layout)), np.uint64)
    for w, positions in enumerate(layout):
        for m in positions:
            words[:, w] = (words[:, w] << np.uint64(code_bits(sizes[m]))) | block[:, m].astype(np.uint64)
    return words


def _run_lengths(words: np.ndarray) -> np.ndarray:
    """How many rows have each of the different words, int64; the words are sorted in place if they are one column."""
    if not len(words):
        return np.empty(0, np.int64)
    if words.shape[1] == 1:
        words.sort(axis=0)
    else:
        words = words[np.lexsort(words.T)]
    starts = np.flatnonzero(np.r_[True, (words[1:] != words[:-1]).any(axis=1)])
    return np.diff(np.r_[starts, len(words)])
