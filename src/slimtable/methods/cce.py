"""Clustered compositional embeddings: hashed rows, clustered while training (Tsang & Ahle 2022, arXiv 2210.05974)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from slimtable.artifact.bits import code_bits
from slimtable.codecs.quantize.nearest import nearest_codes
from slimtable.codecs.quantize.subspace_kmeans import kmeans
from slimtable.config import Count, PositiveInt
from slimtable.embeddings.base import FitContext, register
from slimtable.embeddings.modes import evaluating
from slimtable.embeddings.shared_rows import SharedRows, Term
from slimtable.embeddings.shared_rows_config import HashedRowsConfig
from slimtable.grouping.row_map import Hash

_DEFAULT_CHUNKS = (4, 2, 1)


@dataclass(frozen=True)
class CCEConfig(HashedRowsConfig):
    """Options of CCE.

    Attributes:
        chunks: number of blocks of columns, each with its own rows; a divisor of embedding_dim. None for the largest of
            4, 2 and 1 that divides it.
        recluster_epochs: number of first epochs after which ids are clustered again.
        sampled_per_row: number of ids per centroid that k-means is fitted on.
        kmeans_rounds: maximum number of k-means iterations.

    Raises:
        ValueError: a number is out of range.
    """

    chunks: PositiveInt | None = None
    recluster_epochs: Count = 1
    sampled_per_row: PositiveInt = 200
    kmeans_rounds: PositiveInt = 20

    def chunks_of(self, embedding_dim: int) -> int:
        """Number of chunks of a row."""
        return self.chunks or next(count for count in _DEFAULT_CHUNKS if embedding_dim % count == 0)

    def bits_with_rows(self, num_embeddings: int, num_rows: int, embedding_dim: int, sorted_ids: bool) -> int:
        """Bits of the rows, and of the maps that are stored after clustering."""
        half = max(1, num_rows // 2)
        maps = self.chunks_of(embedding_dim) * num_embeddings * code_bits(half)
        return 64 * half * embedding_dim + (maps if self.recluster_epochs else 0)


@register("cce")
class CCE(SharedRows):
    """In each chunk of columns a row is ``T₀[h₀(id)] + T₁[h₁(id)]``, both tables with half of the K rows.

    Both maps start as universal hashes. After an epoch, k-means on the rows of all ids replaces T₀ by centroids and h₀
    by the nearest centroid. h₁ becomes a new random hash, and each row of T₁ the mean residual of its ids. The
    optimizer state is kept. Bits: 32·K·d, and chunks·N·⌈log2(K/2)⌉ after clustering.

    Rows are initialized from a normal distribution, as in all methods; the published code uses a uniform one, ±1/√d.
    """

    config_class = CCEConfig
    config: CCEConfig
    epochs_done: Tensor

    def build(self, frequencies: Tensor | None, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        self.chunks = self.config.chunks_of(self.embedding_dim)
        if self.embedding_dim % self.chunks:
            raise ValueError(f"`CCEConfig.chunks`={self.chunks} must divide embedding_dim={self.embedding_dim}.")
        num_rows = self.config.rows_of_table(self.num_embeddings, self.embedding_dim, self.row_maps, frequencies)
        half = max(1, num_rows // 2)
        generator = np.random.default_rng(self.config.hash_seed)
        terms = [
            Term(table, table // 2 * self._width, computed=Hash.universal(half, generator))
            for table in range(2 * self.chunks)
        ]
        self.share([(half, self._width)] * (2 * self.chunks), terms, frequencies, device, dtype)
        self.register_buffer("epochs_done", torch.zeros((), dtype=torch.int64, device=device))

    def end_epoch(self) -> None:
        epoch = int(self.epochs_done)
        self.epochs_done += 1
        if epoch < self.config.recluster_epochs:
            with torch.no_grad(), evaluating(self):
                self._cluster(self.weight, epoch + 1)

    def fit_(self, table: Tensor, context: FitContext) -> None:
        """Clusters the rows of the table, and sets the rows of the hashed tables to mean residuals."""
        self._cluster(table, 0)
        self.epochs_done.fill_(self.config.recluster_epochs)

    @property
    def _width(self) -> int:
        return self.embedding_dim // self.chunks

    def _cluster(self, table: Tensor, draw: int) -> None:
        """Fits all rows and maps to the rows (N, d) of a table."""
        config, half = self.config, len(self.tables()[0])
        generator = np.random.default_rng([config.hash_seed, draw])
        values = np.ascontiguousarray(table.detach().float().cpu().numpy())
        ids = np.arange(self.num_embeddings)
        if self.padding_idx is not None and len(ids) > 1:
            ids = np.delete(ids, self.padding_idx)
        if len(ids) > config.sampled_per_row * half:
            ids = generator.choice(ids, config.sampled_per_row * half, replace=False)
        seed = int(generator.integers(1 << 31))
        centroids = kmeans(values[ids], half, self.chunks, iterations=config.kmeans_rounds, seed=seed)
        nearest = nearest_codes(values, centroids, np.zeros(len(values), np.int8), (half,))  # (N, chunks)
        terms, tables = [], self.tables()
        for chunk in range(self.chunks):
            column = chunk * self._width
            left = values[:, column : column + self._width] - centroids[chunk][nearest[:, chunk]]
            hashing = Hash.universal(half, generator)
            rows = hashing.rows(self.num_embeddings)
            used = np.maximum(np.bincount(rows, minlength=half), 1)
            sums = np.zeros((half, self._width))
            np.add.at(sums, rows, left)
            terms += [Term(2 * chunk, column, nearest[:, chunk]), Term(2 * chunk + 1, column, computed=hashing)]
            tables[2 * chunk].copy_(torch.from_numpy(centroids[chunk]))
            tables[2 * chunk + 1].copy_(torch.from_numpy((sums / used[:, None]).astype(np.float32)))
        self.place(terms, self.device, self.dtype)
        self._served = None
