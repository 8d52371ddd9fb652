"""Options of learned product quantization."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

from slimtable.codecs.base import Codec
from slimtable.codecs.product import Product, Tier, subspace_width
from slimtable.config import Count, Positive
from slimtable.embeddings.config import MethodConfig


@dataclass(frozen=True)
class QuantizerConfig(MethodConfig):
    """Options of learned product quantization that do not depend on how ids are split into tiers.

    Attributes:
        variant: "vq" picks the nearest centroid and passes gradients straight through (the papers' choice);
            "softmax" picks the largest dot product with a key and learns keys and values by a softmax.
        share_subspaces: use one set of centroids for all subspaces instead of one for each.
        batch_norm: normalise the distances over the batch before picking, one mean and variance per centroid,
            as the official DPQ code does. Off, since MGQE's equation is the plain nearest centroid.
        initialization: "normal" draws centroids from N(0, init_std²); "kmeans" finds them by k-means on the
            initial rows.
        revive_dead: after each epoch, move centroids that no row chose onto rows picked at random.
        temperature: temperature of the softmax variant.
        dense_epochs: number of epochs in which the table is first trained without quantization; then k-means finds the
            centroids, and the remaining epochs train both.
        codebook_bits: bits per centroid value; 16 halves the codebooks, which matters for tables with few ids.
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

    def codec(self, num_embeddings: int, embedding_dim: int) -> Codec | None:
        product = self._product(num_embeddings, embedding_dim)
        return None if self.variant == "softmax" or self.batch_norm else product

    def table_bits(self, num_embeddings: int, embedding_dim: int, frequencies: Any = None) -> int:
        return self._product(num_embeddings, embedding_dim).bits_of(num_embeddings, embedding_dim, frequencies)

    def _product(self, num_embeddings: int, embedding_dim: int) -> Product:
        """The codec of the plain quantizer; all variants have its size."""
        tiers = self.plan(num_embeddings, embedding_dim)
        for tier in tiers:
            subspace_width(tier.num_codebooks, embedding_dim, f"{type(self).__name__}.num_codebooks")
        return Product(tuple(tiers), self.share_subspaces, self.codebook_bits)


def check_codebook_size(config: MethodConfig, size: int, name: str) -> None:
    """Raises ValueError unless a codebook of ``size`` centroids can be stored in codes of 1 to 16 bits."""
    if not 2 <= size <= 65_536:
        raise ValueError(f"`{type(config).__name__}.{name}` must be 2 to 65536 centroids, got {size}.")
