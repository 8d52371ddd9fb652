"""Differentiable product quantization: every row is M learned codes (Chen et al. 2020, arXiv 1908.09756)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from slimtable.codecs.product import Tier
from slimtable.embeddings.base import register
from slimtable.embeddings.quantized import QuantizedEmbedding
from slimtable.embeddings.quantizer_config import QuantizerConfig, check_codebook_size


@dataclass(frozen=True)
class DPQConfig(QuantizerConfig):
    """Options of DPQ, besides those of every quantizer.

    Attributes:
        num_codebooks: number of subspaces M, a divisor of embedding_dim; None for one per dimension, as in MGQE §5.4.
        codebook_size: number of centroids per subspace K, 2 to 65536.
    """

    num_codebooks: int | None = None
    codebook_size: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        check_codebook_size(self, self.codebook_size, "codebook_size")

    def plan(self, num_embeddings: int, embedding_dim: int) -> list[Tier]:
        num_codebooks = embedding_dim if self.num_codebooks is None else self.num_codebooks
        return [Tier(num_embeddings, num_codebooks, self.codebook_size, quantizer=0)]

    def sizes(self, num_embeddings: int, embedding_dim: int) -> Sequence[Self]:
        divisors = [count for count in range(1, embedding_dim + 1) if embedding_dim % count == 0]
        found = [
            replace(self, num_codebooks=count, codebook_size=1 << power) for count in divisors for power in range(1, 9)
        ]
        return sorted(found, key=lambda config: config.table_bits(num_embeddings, embedding_dim))


@register("dpq")
class DPQ(QuantizedEmbedding):
    """Stores N·M·log2 K bits of codes and `codebook_bits`·K·d bits of centroids (MGQE Table 1, with 32)."""

    config_class = DPQConfig
    config: DPQConfig
