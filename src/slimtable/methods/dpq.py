"""Differentiable product quantization: every row is M learned codes (Chen et al. 2020, arXiv 1908.09756)."""

from __future__ import annotations

from dataclasses import dataclass

from slimtable.embeddings.base import register
from slimtable.embeddings.product_quantizer import QuantizerConfig, check_codebook_size
from slimtable.embeddings.quantized import QuantizedEmbedding, Tier


@dataclass(frozen=True)
class DPQConfig(QuantizerConfig):
    """Options of DPQ, besides those of every quantizer.

    Attributes:
        num_codebooks: subspaces M, a divisor of embedding_dim; None for one per dimension, as MGQE §5.4.
        codebook_size: centroids per subspace K, 2 to 65536.
    """

    num_codebooks: int | None = None
    codebook_size: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        check_codebook_size(self, self.codebook_size, "codebook_size")


@register("dpq")
class DPQ(QuantizedEmbedding):
    """Serves N·M·log2 K bits of codes and `codebook_bits`·K·d of centroids (MGQE Table 1, with 32)."""

    config_class = DPQConfig
    config: DPQConfig

    def plan(self) -> list[Tier]:
        num_codebooks = self.embedding_dim if self.config.num_codebooks is None else self.config.num_codebooks
        return [Tier(self.num_embeddings, num_codebooks, self.config.codebook_size, quantizer=0)]
