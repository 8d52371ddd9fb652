"""Options of learned product quantization, and the tiers of ids that share a capacity."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from slimtable.artifact.bits import code_bits
from slimtable.config import Count, Positive
from slimtable.embeddings.config import MethodConfig


@dataclass(frozen=True)
class Tier:
    """A group of ids that share a capacity.

    Attributes:
        num_rows: ids in the tier.
        num_codebooks: codes per row, M.
        codebook_size: centroids a code may name, K.
        quantizer: which of the table's quantizers serves the tier.
    """

    num_rows: int
    num_codebooks: int
    codebook_size: int
    quantizer: int


def tier_sizes(num_embeddings: int, fractions: tuple[float, ...]) -> list[int]:
    """Rows of each tier: the rounded running sums of ``fractions``, so that they add up.

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
    """Whether the tier of each id must be stored, since ids are not sorted by tier."""
    if frequencies is None or len(tiers) == 1:
        return False
    order = tiers_in_order([tier.num_rows for tier in tiers], frequencies)
    return bool((order[1:] < order[:-1]).any())


@dataclass(frozen=True)
class QuantizerConfig(MethodConfig):
    """Options of learned product quantization that do not depend on how ids are split into tiers.

    Attributes:
        variant: "vq" picks the nearest centroid and passes gradients straight through (the papers' choice);
            "softmax" picks the largest dot product with a key and learns keys and values by a softmax.
        share_subspaces: one set of centroids for all subspaces instead of one for each.
        batch_norm: normalise the distances over the batch before picking, one mean and variance per centroid,
            as the official DPQ code does. Off, since MGQE's equation is the plain nearest centroid.
        initialization: "normal" draws centroids from N(0, init_std²); "kmeans" places them by k-means on the
            fresh rows.
        revive_dead: after each epoch, move centroids that no row chose onto rows picked at random.
        temperature: of the softmax variant.
        dense_epochs: epochs that the table is first trained in as it is; then centroids are placed on it by k-means,
            and the remaining epochs train both.
        codebook_bits: width of a served centroid value; 16 halves the codebooks, which weigh where ids are few.
    """

    variant: Literal["vq", "softmax"] = "vq"
    share_subspaces: bool = False
    batch_norm: bool = False
    initialization: Literal["normal", "kmeans"] = "normal"
    revive_dead: bool = False
    temperature: Positive = 1.0
    dense_epochs: Count = 0
    codebook_bits: Literal[32, 16] = 32

    @abstractmethod
    def plan(self, num_embeddings: int, embedding_dim: int) -> list[Tier]:
        """The tiers of a table, most frequent ids first.

        Raises:
            ValueError: the options do not fit the sizes.
        """

    def table_bits(self, num_embeddings: int, embedding_dim: int, frequencies: Any = None) -> int:
        tiers = self.plan(num_embeddings, embedding_dim)
        codes = sum(tier.num_rows * tier.num_codebooks * code_bits(tier.codebook_size) for tier in tiers)
        flags = num_embeddings * code_bits(len(tiers)) if needs_flags(tiers, frequencies) else 0
        return codes + flags + sum(self._codebook_bits(tiers, embedding_dim))

    def _codebook_bits(self, tiers: Sequence[Tier], embedding_dim: int) -> Iterator[int]:
        for quantizer in {tier.quantizer for tier in tiers}:
            served = [tier for tier in tiers if tier.quantizer == quantizer]
            width = subspace_width(self, served[0].num_codebooks, embedding_dim)
            stored = 1 if self.share_subspaces else served[0].num_codebooks
            yield self.codebook_bits * stored * max(tier.codebook_size for tier in served) * width


def subspace_width(config: MethodConfig, num_codebooks: int, embedding_dim: int) -> int:
    """Width d / M, or a ValueError that lists the numbers of codebooks that divide the dimension."""
    if num_codebooks < 1 or embedding_dim % num_codebooks:
        divisors = [str(m) for m in range(1, embedding_dim + 1) if embedding_dim % m == 0]
        raise ValueError(
            f"`{type(config).__name__}.num_codebooks` must divide embedding_dim={embedding_dim}, "
            f"got {num_codebooks}. Use {', '.join(divisors[:-1])} or {divisors[-1]}."
        )
    return embedding_dim // num_codebooks


def check_codebook_size(config: MethodConfig, size: int, name: str) -> None:
    """Raises ValueError unless a codebook of ``size`` centroids can be stored in codes of 1 to 16 bits."""
    if not 2 <= size <= 65_536:
        raise ValueError(f"`{type(config).__name__}.{name}` must be 2 to 65536 centroids, got {size}.")
