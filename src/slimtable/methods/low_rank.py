"""Low-rank factorization: the table is a product P·Q of two thin matrices, trained end to end (MGQE §3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimtable.artifact.packed import Packed
from slimtable.codecs.base import Codec
from slimtable.codecs.low_rank import LowRank as LowRankCodec
from slimtable.codecs.low_rank import principal_directions
from slimtable.embeddings.base import CodecConfig, CompressedEmbedding, FitContext, register
from slimtable.embeddings.tensors import float_bits, to_array

_ROWS_PER_CHUNK = 65_536


@dataclass(frozen=True)
class LowRankConfig(CodecConfig):
    """Options of the low-rank table.

    Attributes:
        rank: inner width r, at most embedding_dim; None for three quarters of it, the paper's 48 of 64.
    """

    rank: int | None = None

    def rank_of(self, embedding_dim: int) -> int:
        """The inner width r for rows of width ``embedding_dim``.

        Raises:
            ValueError: r is not 1 to embedding_dim.
        """
        rank = self.rank if self.rank is not None else max(1, 3 * embedding_dim // 4)
        if not 1 <= rank <= embedding_dim:
            raise ValueError(f"`LowRankConfig.rank` must be 1 to embedding_dim={embedding_dim}, got {rank}.")
        return rank

    def codec(self, num_embeddings: int, embedding_dim: int) -> Codec:
        return LowRankCodec(self.rank_of(embedding_dim))

    def sizes(self, num_embeddings: int, embedding_dim: int) -> Sequence[Self]:
        return [replace(self, rank=rank) for rank in range(1, embedding_dim + 1)]


@register("low_rank")
class LowRank(CompressedEmbedding):
    """Row ``i`` is ``P[i] @ Q`` with P (N, r) and Q (r, d): 32·(N·r + r·d) bits (MGQE Table 1).

    P is drawn from N(0, init_std²) and Q from N(0, 1/r), so that rows start at the scale of an uncompressed
    table. With both factors at 0.01 the product starts at 1e-4 and training makes no progress for epochs.
    """

    config_class = LowRankConfig
    config: LowRankConfig
    serve_tolerance = 1e-5
    row_prefix = "left"

    def build(self, frequencies: Tensor | None, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        self.rank = rank = self.config.rank_of(self.embedding_dim)
        self.left = nn.Parameter(torch.empty(self.num_embeddings, rank, device=device, dtype=dtype))
        self.right = nn.Parameter(torch.empty(rank, self.embedding_dim, device=device, dtype=dtype))

    def reset_parameters(self) -> None:
        nn.init.normal_(self.left, std=self.config.init_std)
        nn.init.normal_(self.right, std=self.rank**-0.5)

    def fit_(self, table: Tensor, context: FitContext) -> None:
        """Sets P and Q by the truncated singular value decomposition, the best product in squared error."""
        # The eigenvectors of the small d × d Gram matrix are the right singular vectors, at any N.
        gram = torch.zeros(self.embedding_dim, self.embedding_dim, dtype=torch.float64, device=table.device)
        for chunk in table.split(_ROWS_PER_CHUNK):
            gram += chunk.double().T @ chunk.double()
        basis = torch.from_numpy(principal_directions(gram.cpu().numpy(), self.rank)).to(table)  # (d, r)
        self.left.copy_(table @ basis)
        self.right.copy_(basis.T)

    def rows(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.left, sparse=self.sparse) @ self.right

    def bits(self) -> int:
        return self.rank * (self.num_embeddings + self.embedding_dim) * float_bits(self.left)

    def pack(self) -> Packed:
        return self.packed("low_rank", {"left": to_array(self.left), "right": to_array(self.right)})
