"""Multi-granular quantized embeddings: frequent ids get more capacity (Kang et al. 2020, arXiv 2002.08530)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from types import MappingProxyType
from typing import Any, ClassVar, Self

from slimtable.codecs.product import Tier, tier_sizes
from slimtable.embeddings.base import register
from slimtable.embeddings.quantized import QuantizedEmbedding
from slimtable.embeddings.quantizer_config import QuantizerConfig, check_codebook_size

# 5, 3 and 2 bits per value: a tenth of the table from about 1,300 ids on, where the size of the codebook no longer
# matters. Twenty dense epochs are a full training of GMF or NeuMF, to which the codes are then fitted.
_COMPACT = MappingProxyType(
    {
        "codebook_sizes": (32, 8, 4),
        "tier_fractions": (0.1, 0.5, 0.4),
        "codebook_bits": 16,
        "dense_epochs": 20,
    }
)


@dataclass(frozen=True)
class MGQEConfig(QuantizerConfig):
    """Options of MGQE, besides those of every quantizer. One value per tier, most frequent ids first.

    Attributes:
        codebook_sizes: number of centroids that each tier may use, K̃.
        tier_fractions: share of the ids in each tier; sums to 1.
        num_codebooks: number of subspaces M, or one value per tier, D̃; None for one per dimension.
        share_codebook: use one codebook for all tiers, the tail only its first centroids ("shared variable K",
            the paper's default); otherwise each tier has its own ("unshared K", "unshared D").
    """

    codebook_sizes: tuple[int, ...] = (256, 64)
    tier_fractions: tuple[float, ...] = (0.1, 0.9)
    num_codebooks: int | tuple[int, ...] | None = None
    share_codebook: bool = True

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({"compact": _COMPACT})

    def __post_init__(self) -> None:
        super().__post_init__()
        for size in self.codebook_sizes:
            check_codebook_size(self, size, "codebook_sizes")
        if len(self.codebook_sizes) != len(self.tier_fractions) or not 1 <= len(self.codebook_sizes) <= 100:
            raise ValueError(
                f"`MGQEConfig` needs one codebook size per tier, 1 to 100 tiers; got {len(self.codebook_sizes)} "
                f"sizes for {len(self.tier_fractions)} fractions."
            )
        if min(self.tier_fractions) <= 0 or abs(sum(self.tier_fractions) - 1) > 1e-6:
            raise ValueError(f"`MGQEConfig.tier_fractions` must be positive and sum to 1, got {self.tier_fractions}.")
        if isinstance(self.num_codebooks, tuple):
            if len(self.num_codebooks) != len(self.codebook_sizes):
                raise ValueError(
                    f"`MGQEConfig.num_codebooks` must be one number or one per tier, got {len(self.num_codebooks)} "
                    f"for {len(self.codebook_sizes)} tiers."
                )
            if self.share_codebook and len(set(self.num_codebooks)) > 1:
                raise ValueError(
                    f"`MGQEConfig.num_codebooks`={list(self.num_codebooks)} differs between tiers, so they cannot "
                    "share a codebook. Set share_codebook to false."
                )

    def plan(self, num_embeddings: int, embedding_dim: int) -> list[Tier]:
        per_tier = self.num_codebooks
        if not isinstance(per_tier, tuple):
            per_tier = (per_tier if per_tier is not None else embedding_dim,) * len(self.codebook_sizes)
        rows = tier_sizes(num_embeddings, self.tier_fractions)
        return [
            Tier(rows[t], per_tier[t], size, quantizer=0 if self.share_codebook else t)
            for t, size in enumerate(self.codebook_sizes)
        ]

    def sizes(self, num_embeddings: int, embedding_dim: int) -> Sequence[Self]:
        divisors = [count for count in range(1, embedding_dim + 1) if embedding_dim % count == 0]
        largest = max(self.codebook_sizes)
        found = []
        for count, power in product(divisors, range(1, 9)):  # the ratios between the tiers are kept
            sizes = tuple(max(2, (size << power) // largest) for size in self.codebook_sizes)
            found.append(replace(self, num_codebooks=count, codebook_sizes=sizes))
        return sorted(found, key=lambda config: config.table_bits(num_embeddings, embedding_dim))


@register("mgqe")
class MGQE(QuantizedEmbedding):
    """Stores Σ_t N_t·M_t·log2 K_t bits of codes and `codebook_bits`·K·d per codebook (MGQE Table 1, with 32).

    Ids that are not sorted from most to least frequent need ``frequencies``; then a tier flag per id is
    stored, and counted in ``bits``.
    """

    config_class = MGQEConfig
    config: MGQEConfig
