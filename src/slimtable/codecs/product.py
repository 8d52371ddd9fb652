"""Product quantization: rows cut into M parts, each a code into a codebook; frequent ids may have finer ones (MGQE)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from slimtable.artifact.bits import code_bits, pack_bits
from slimtable.codecs.base import NOTHING_KNOWN, Block, Codec, FitContext, Fitted, Rows
from slimtable.codecs.quantize.nearest import SortedCodebook, nearest_codes
from slimtable.codecs.quantize.subspace_kmeans import kmeans
from slimtable.codecs.vectors import Vectors

_MAX_VALUE = 1e18  # of subvectors: squared distances of larger ones may be infinite, and all centroids equally near


@dataclass(frozen=True)
class Tier:
    """A group of ids that share a capacity.

    Attributes:
        num_rows: ids in the tier.
        num_codebooks: codes per row, M.
        codebook_size: centroids a code may name, K.
        quantizer: index of the set of codebooks that the tier uses.
    """

    num_rows: int
    num_codebooks: int
    codebook_size: int
    quantizer: int


@dataclass(frozen=True)
class Product(Codec):
    """Each part of a row becomes the nearest centroid of its subspace; centroids are found by k-means.

    Attributes:
        tiers: tiers of all ids, the most frequent ids first.
        share_subspaces: True for one set of centroids for all subspaces instead of one for each.
        codebook_bits: bits per centroid value.
    """

    streams = False

    tiers: tuple[Tier, ...]
    share_subspaces: bool = False
    codebook_bits: Literal[32, 16] = 32

    def fit(self, rows: Rows, context: FitContext = NOTHING_KNOWN) -> Fitted:
        return _FittedProduct(self, rows, context)

    def bits_of(self, num_embeddings: int, embedding_dim: int, frequencies: np.ndarray | None = None) -> int:
        codes = sum(tier.num_rows * tier.num_codebooks * code_bits(tier.codebook_size) for tier in self.tiers)
        flags = num_embeddings * code_bits(len(self.tiers)) if needs_flags(self.tiers, frequencies) else 0
        centroids = sum(int(np.prod(self.codebook_shape(served, embedding_dim))) for served in self.by_quantizer())
        return codes + flags + self.codebook_bits * centroids

    def by_quantizer(self) -> list[list[Tier]]:
        """The tiers that use each set of codebooks."""
        count = 1 + max(tier.quantizer for tier in self.tiers)
        return [[tier for tier in self.tiers if tier.quantizer == index] for index in range(count)]

    def codebook_shape(self, served: Sequence[Tier], embedding_dim: int) -> tuple[int, int, int]:
        """Shape (M, K, d/M) of the codebooks of some tiers; M is 1 if subspaces share one.

        Raises:
            ValueError: M does not divide d.
        """
        num_codebooks = served[0].num_codebooks
        width = subspace_width(num_codebooks, embedding_dim)
        return 1 if self.share_subspaces else num_codebooks, max(tier.codebook_size for tier in served), width


class _FittedProduct(Fitted):
    layout = "coded"

    def __init__(self, codec: Product, rows: Rows, context: FitContext) -> None:
        super().__init__(rows)
        self.codec = codec
        tiers = tiers_in_order([tier.num_rows for tier in codec.tiers], context.frequencies)
        if len(tiers) != self.num_embeddings:
            raise ValueError(f"The tiers hold {len(tiers):,} ids, and the table {self.num_embeddings:,}.")
        self._tiers = tiers
        self._ids = [np.flatnonzero(tiers == tier) for tier in range(len(codec.tiers))]
        self._codebooks = [self._codebook(index, served, rows) for index, served in enumerate(codec.by_quantizer())]

    def encode(self, rows: np.ndarray, first_id: int) -> Block:
        arrays = {}
        for index, ids in enumerate(self._ids):
            begin, end = np.searchsorted(ids, (first_id, first_id + len(rows)))
            arrays[f"codes.{index}"] = self._codes(index, rows[ids[begin:end] - first_id])
        return Block(first_id, len(rows), arrays)

    def shared_arrays(self) -> dict[str, np.ndarray]:
        dtype = np.float16 if self.codec.codebook_bits == 16 else np.float32
        arrays = {f"codebook.{index}": codebook.astype(dtype) for index, codebook in enumerate(self._codebooks)}
        if not _ascending(self._tiers):
            arrays["tiers"] = pack_bits(self._tiers, code_bits(len(self.codec.tiers)))
        return arrays

    def layout_config(self) -> dict[str, Any]:
        return described(self.codec.tiers, self.codec.share_subspaces)

    def finished(self, joined: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        packed = {}
        for index, tier in enumerate(self.codec.tiers):
            packed[f"codes.{index}"] = pack_bits(joined.pop(f"codes.{index}"), code_bits(tier.codebook_size))
        return packed

    def _place(self, joined: dict[str, np.ndarray], name: str, array: np.ndarray, block: Block) -> None:
        ids = self._ids[int(name.partition(".")[2])]
        if name not in joined:
            joined[name] = np.empty((len(ids), array.shape[1]), array.dtype)
        start = np.searchsorted(ids, block.first_id)
        joined[name][start : start + len(array)] = array

    def _codebook(self, index: int, served: Sequence[Tier], rows: Rows) -> np.ndarray:
        """Centroids as stored, rounded to ``codebook_bits``, in float32."""
        quantizer_of = np.array([tier.quantizer for tier in self.codec.tiers])
        members = quantizer_of[self._tiers] == index
        if self.padding_idx is not None:
            members[self.padding_idx] = False
        ids = np.flatnonzero(members)
        shape = self.codec.codebook_shape(served, self.embedding_dim)
        if not len(ids):
            return np.zeros(shape, np.float32)
        # The tiers of a quantizer, numbered from 0.
        tiers = self._tiers[ids] - min(t for t, tier in enumerate(self.codec.tiers) if tier.quantizer == index)
        sizes = [tier.codebook_size for tier in served]
        codebook = place_centroids(rows.pick(ids), tiers, sizes, shape)
        with np.errstate(over="ignore"):  # values that overflow 16 bits are rejected below
            codebook = codebook.astype(np.float16).astype(np.float32) if self.codec.codebook_bits == 16 else codebook
        if not np.isfinite(codebook).all():
            raise ValueError(infinite_centroid(self.codec.codebook_bits))
        return codebook

    def _codes(self, index: int, rows: np.ndarray) -> np.ndarray:
        """Codes (n, M) of rows of a tier."""
        tier = self.codec.tiers[index]
        codebook = self._codebooks[tier.quantizer][:, : tier.codebook_size]
        codebook = np.broadcast_to(codebook, (tier.num_codebooks, *codebook.shape[1:]))
        none, rows = np.zeros(len(rows), np.int8), np.ascontiguousarray(rows)
        if codebook.shape[2] == 1:
            centroids = np.ascontiguousarray(codebook[:, :, 0])
            codes = SortedCodebook((tier.codebook_size,)).encode(rows, centroids, none)
        elif max(rows.max(initial=0.0), -rows.min(initial=0.0)) > _MAX_VALUE:
            raise ValueError(f"Squares of values above {_MAX_VALUE:g} overflow in float32. Scale the table.")
        else:
            codes = nearest_codes(rows, np.ascontiguousarray(codebook), none, (tier.codebook_size,))
        return codes.astype(np.uint8 if tier.codebook_size <= 256 else np.uint16)


def place_centroids(
    rows: Vectors, tiers: np.ndarray, sizes: Sequence[int], shape: tuple[int, int, int], seed: int = 0
) -> np.ndarray:
    """Finds centroids by k-means in every subspace; all tiers use the first ones, which are fitted to all rows.

    Args:
        rows: (n, d), n ≥ 1.
        tiers: int8 (n,) tier of each row; -1 for none.
        sizes: number of centroids that each tier may use.
        shape: shape (M, K, d/M) of the codebooks; with M = 1 and several subspaces, these share the centroids.
        seed: seed of the sampling.

    Returns:
        Centroids, float32 (M, K, d/M).
    """
    codebook, placed = np.zeros(shape, np.float32), 0
    # Small tiers share the first centroids, so those are fitted to all rows; larger tiers then add theirs.
    for size in sorted(set(sizes)):
        eligible = np.array([*(other >= size for other in sizes), False])[tiers]  # the last entry is for tier -1
        chosen = rows.pick(np.flatnonzero(eligible)) if eligible.any() else rows
        chosen = chosen.cut(shape[0] * shape[2])
        codebook[:, :size] = kmeans(chosen, size, shape[0], fixed=codebook[:, :placed], seed=seed)
        placed = size
    return codebook


def tier_sizes(num_embeddings: int, fractions: tuple[float, ...]) -> list[int]:
    """Rows of each tier: the rounded running sums of ``fractions``, so that they sum to N.

    Example:
        >>> tier_sizes(3416, (0.1, 0.9))
        [342, 3074]
    """
    edges = [round(num_embeddings * float(edge)) for edge in np.cumsum(fractions)]
    edges[-1] = num_embeddings
    return [int(size) for size in np.diff([0, *edges])]


def tiers_in_order(sizes: Sequence[int], frequencies: Any) -> np.ndarray:
    """The tier of each id, int8 (N,): most frequent ids first, ties by id; by id alone without frequencies."""
    by_rank = np.repeat(np.arange(len(sizes), dtype=np.int8), sizes)
    if frequencies is None:
        return by_rank
    tiers = np.empty_like(by_rank)
    tiers[np.argsort(-np.asarray(frequencies).astype(np.float64), kind="stable")] = by_rank
    return tiers


def needs_flags(tiers: Sequence[Tier], frequencies: Any) -> bool:
    """True if the tier of each id must be stored because ids are not sorted by tier."""
    if frequencies is None or len(tiers) == 1:
        return False
    return not _ascending(tiers_in_order([tier.num_rows for tier in tiers], frequencies))


def _ascending(tiers: np.ndarray) -> bool:
    return bool((tiers[1:] >= tiers[:-1]).all())


def subspace_width(num_codebooks: int, embedding_dim: int, option: str = "num_codebooks") -> int:
    """Width d / M of a subspace.

    Raises:
        ValueError: M does not divide d; the message lists the divisors of d.
    """
    if num_codebooks < 1 or embedding_dim % num_codebooks:
        *others, last = [str(m) for m in range(1, embedding_dim + 1) if embedding_dim % m == 0]
        divisors = f"{', '.join(others)} or {last}" if others else last
        raise ValueError(f"`{option}` must divide embedding_dim={embedding_dim}, got {num_codebooks}. Use {divisors}.")
    return embedding_dim // num_codebooks


def described(tiers: Sequence[Tier], share_subspaces: bool) -> dict[str, Any]:
    """The layout config of the layout "coded"."""
    listed = [
        {
            "num_rows": tier.num_rows,
            "num_codebooks": tier.num_codebooks,
            "codebook_size": tier.codebook_size,
            "codebook": tier.quantizer,
        }
        for tier in tiers
    ]
    return {"tiers": listed, "share_subspaces": share_subspaces}


def infinite_centroid(codebook_bits: int) -> str:
    """Error message for centroids that are not finite in ``codebook_bits`` bits."""
    advice = ", or set codebook_bits to 32" if codebook_bits == 16 else ""
    return f"A centroid is infinite, or too large for {codebook_bits} bits. Scale the table{advice}."
