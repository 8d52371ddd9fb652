"""A trainable product quantizer: the part that DPQ and MGQE share."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from slimtable.codecs.product import place_centroids
from slimtable.codecs.quantize.nearest import (
    Lookup,
    SortedCodebook,
    nearest_codes,
    quantize_subvectors,
)
from slimtable.codecs.vectors import Array
from slimtable.embeddings.nearest_torch import forbidden_centroids, nearest_codes_torch
from slimtable.embeddings.quantizer_config import QuantizerConfig
from slimtable.embeddings.shared_rows_kernels import sparse_rows
from slimtable.embeddings.tensors import float_bits

_CHUNK_ELEMENTS = 1 << 22  # responses in memory at a time without gradients


class ProductQuantizer(nn.Module):
    """M codebooks of K centroids; each row is cut into M parts and each part becomes one centroid.

    Args:
        num_codebooks: number of subspaces, M.
        width: length of a subvector, d/M.
        sizes: number of centroids that each tier of rows may use, (T,); K is the largest.
        config: the options.
        device: device of the parameters.
        dtype: data type of the parameters.
    """

    def __init__(
        self,
        num_codebooks: int,
        width: int,
        sizes: tuple[int, ...],
        config: QuantizerConfig,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.num_codebooks, self.width, self.sizes, self.config = num_codebooks, width, sizes, config
        self.codebook_size = max(sizes)
        stored = 1 if config.share_subspaces else num_codebooks
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        self.codebook = nn.Parameter(torch.empty(stored, self.codebook_size, width, **factory))
        if config.variant == "softmax":
            self.keys = nn.Parameter(torch.empty(stored, self.codebook_size, width, **factory))
        if config.batch_norm:
            self.norm = nn.BatchNorm1d(self.codebook_size, affine=False, **factory)
        self._usage = np.zeros((num_codebooks, self.codebook_size), dtype=np.int64)  # since the last epoch
        self._sorted = SortedCodebook(sizes)

    def reset_parameters(self) -> None:
        """Draws centroids from N(0, init_std²), or sets them to zeros if k-means will place them; keys from N(0, 1)."""
        if self.config.dense_epochs and self.config.variant == "vq":
            nn.init.zeros_(
                self.codebook
            )  # uses no random numbers, so that the table is initialized like an uncompressed one
            return
        nn.init.normal_(self.codebook, std=self.config.init_std)
        if self.config.variant == "softmax":
            # Keys of unit scale: responses to rows of scale init_std must differ enough to break symmetry.
            nn.init.normal_(self.keys, std=1.0)

    def forward(self, rows: Tensor, tiers: Tensor) -> tuple[Tensor, Tensor]:
        """Quantizes rows, differentiably.

        Args:
            rows: float (B, d).
            tiers: int8 (B,) tier of each row; -1 to skip a row, which becomes zeros.

        Returns:
            The quantized rows (B, d), whose gradient goes to ``rows`` unchanged ("vq"), and the sum over all
            elements of (centroid − row)², whose gradient goes to the centroids alone (DPQ eq. 6).
        """
        if self.config.variant == "softmax":
            return self._softmax(rows, tiers), rows.new_zeros(())
        codes = self.encode(rows, tiers)
        self._count(codes, tiers)
        quantized = self.decode(codes)  # (B, d), differentiable in the codebook
        quantized = quantized.masked_fill((tiers < 0).unsqueeze(1), 0.0)
        kept = rows.detach().masked_fill((tiers < 0).unsqueeze(1), 0.0)
        exact = torch.promote_types(rows.dtype, torch.float32)  # squares of half precision underflow
        error = (quantized.to(exact) - kept.to(exact)).square().sum()
        return quantized.detach() + (rows - rows.detach()), error

    def looks_up(self, table: Tensor) -> bool:
        """True if :meth:`look_up` supports a table: float32 on a CPU, quantized to plain nearest centroids."""
        plain = self.config.variant == "vq" and not self.config.batch_norm and not self.config.revive_dead
        return plain and self._compiled_kernels_fit(table)

    def look_up(
        self,
        table: Tensor,
        ids: Tensor,
        tiers: Tensor,
        padding_idx: int | None,
        elements: float,
        sparse: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Looks up rows and quantizes them as :meth:`forward`, in one compiled call and one node of the graph.

        Args:
            table: float32 (N, d).
            ids: integer (B,).
            tiers: int8 (N,) tier of each row of the table.
            padding_idx: id that becomes zeros, or None.
            elements: divisor of the error sum; dividing here saves a node of the graph.
            sparse: True to give the table a sparse gradient.

        Returns:
            As :meth:`forward`, with the error sum divided by ``elements``.

        Raises:
            IndexError: an id is out of range.
        """
        rows, error = _LookUp.apply(  # type: ignore[no-untyped-call]
            table, self._per_subspace(self.centroids), ids, tiers, padding_idx, elements, self, sparse
        )
        return rows, error

    def encode(self, rows: Tensor, tiers: Tensor) -> Tensor:
        """Codes of rows.

        Args:
            rows: float (B, d).
            tiers: int8 (B,).

        Returns:
            int64 (B, M).
        """
        with torch.no_grad():
            rows = rows.detach()
            codebook = self._per_subspace(self.centroids).detach()
            if self.training and self.config.batch_norm:  # batch statistics need the whole batch
                return self._responses(rows, tiers).argmax(dim=2)
            if self.config.variant == "softmax" or self.config.batch_norm:
                step = max(1, _CHUNK_ELEMENTS // (self.num_codebooks * self.codebook_size))
                chunks = zip(rows.split(step), tiers.split(step), strict=True)
                return torch.cat([self._responses(*chunk).argmax(dim=2) for chunk in chunks])
            if not self._compiled_kernels_fit(rows):
                return nearest_codes_torch(rows, codebook, tiers, self.sizes)
            codes = _encode_numba(rows.contiguous(), codebook, tiers, self._sorted, self.sizes)
            return torch.from_numpy(codes).long()

    def decode(self, codes: Tensor) -> Tensor:
        """Rows (B, d) of codes (B, M)."""
        index = torch.arange(self.num_codebooks, device=codes.device)
        return self._per_subspace(self.centroids)[index, codes].flatten(1)  # (B, M, s) -> (B, d)

    def fit_(self, rows: Tensor, tiers: Tensor, seed: int = 0) -> None:
        """Sets the centroids by k-means on rows (N, d), as :func:`place_centroids`."""
        shape = (len(self.codebook), self.codebook_size, self.width)
        vectors = Array(rows.detach().float().cpu().numpy())
        codebook = place_centroids(vectors, tiers.cpu().numpy(), self.sizes, shape, seed)
        with torch.no_grad():
            self.codebook.copy_(torch.from_numpy(codebook))
            if self.config.variant == "softmax":
                self._fit_values(rows, tiers)

    def _fit_values(self, rows: Tensor, tiers: Tensor) -> None:
        """Sets the keys to the centroids, and each value to the mean of the subvectors that choose its key."""
        self.keys.copy_(self.codebook)
        parts = rows.reshape(len(rows), self.num_codebooks, self.width)
        codes = self.encode(rows, tiers)  # (N, M)
        sums = torch.zeros(self.num_codebooks, self.codebook_size, self.width, device=rows.device, dtype=rows.dtype)
        counts = torch.zeros(self.num_codebooks, self.codebook_size, 1, device=rows.device, dtype=rows.dtype)
        index = torch.arange(self.num_codebooks, device=rows.device).expand_as(codes)
        sums.index_put_((index, codes), parts, accumulate=True)
        counts.index_put_((index, codes), torch.ones_like(parts[..., :1]), accumulate=True)
        if self.config.share_subspaces:
            sums, counts = sums.sum(0, keepdim=True), counts.sum(0, keepdim=True)
        self.codebook.copy_(torch.where(counts > 0, sums / counts.clamp(min=1), self.codebook))

    def revive_dead(self, rows: Tensor, tiers: Tensor) -> None:
        """Moves centroids that no row has chosen since the last call onto random rows (N, d) that may use them."""
        dead = torch.from_numpy(self._usage == 0)  # (M, K)
        if self.config.share_subspaces:
            dead = dead.all(dim=0, keepdim=True)
        self._usage[:] = 0
        parts = rows.detach().reshape(-1, self.num_codebooks, self.width)
        limits = torch.tensor([*self.sizes, 0])[tiers.long().cpu()]  # centroids each row may use; 0 for tier -1
        edges = [0, *sorted(set(self.sizes))]
        with torch.no_grad():
            for low, high in pairwise(edges):  # the same rows may use centroids low..high-1
                owners = (limits >= high).nonzero().flatten()
                for m in range(len(dead)):
                    centroids = low + dead[m, low:high].nonzero().flatten()
                    chosen = owners[torch.randperm(len(owners))[: len(centroids)]]
                    subspace = int(torch.randint(self.num_codebooks, ())) if self.config.share_subspaces else m
                    self.codebook[m, centroids[: len(chosen)]] = parts[chosen, subspace]

    def bits(self) -> int:
        """Bits of the centroids; keys are not packed."""
        return self.codebook.numel() * float_bits(self.served_codebook())

    def served_codebook(self) -> Tensor:
        """The centroids as stored, (M, K, s), or (1, K, s) if subspaces share them."""
        return self.codebook.half() if self.config.codebook_bits == 16 else self.codebook

    @property
    def centroids(self) -> Tensor:
        """The centroids that a lookup uses: rounded as stored, except in training mode."""
        if self.training or self.config.codebook_bits == 32:
            return self.codebook
        return self.served_codebook().to(self.codebook.dtype)

    def _per_subspace(self, codebook: Tensor) -> Tensor:
        return codebook.expand(self.num_codebooks, -1, -1) if self.config.share_subspaces else codebook

    def _compiled_kernels_fit(self, rows: Tensor) -> bool:
        return rows.device.type == "cpu" and rows.dtype == torch.float32 and not torch.compiler.is_compiling()

    def _quantize_compiled(self, lookup: Lookup, codebook: Tensor) -> tuple[np.ndarray, np.ndarray, float]:
        """Quantized rows, pull on the centroids and error sum, as :func:`quantize_subvectors`."""
        centroids = codebook.contiguous().numpy()
        if self.width > 1:
            return quantize_subvectors(lookup, centroids, self.sizes)
        rows, pull, total = self._sorted.quantize(lookup, centroids[:, :, 0])
        return rows, pull.reshape(centroids.shape), total

    def _count(self, codes: Tensor, tiers: Tensor) -> None:
        if self.config.revive_dead and self.training:
            kept = codes[tiers >= 0].cpu().numpy()
            np.add.at(self._usage, (np.arange(self.num_codebooks), kept), 1)

    def _responses(self, rows: Tensor, tiers: Tensor) -> Tensor:
        """Response of each centroid to each subvector: (B, M, K), -inf if the tier may not use the centroid."""
        parts = rows.reshape(len(rows), self.num_codebooks, self.width).transpose(0, 1)  # (M, B, s)
        if self.config.variant == "softmax":
            responses = parts @ self._per_subspace(self.keys).transpose(1, 2)  # (M, B, K)
        else:
            codebook = self._per_subspace(self.centroids)
            responses = 2 * parts @ codebook.transpose(1, 2) - codebook.square().sum(2).unsqueeze(1)
            responses = responses - parts.square().sum(2, keepdim=True)
        responses = responses.transpose(0, 1)  # (B, M, K)
        if self.config.batch_norm:
            kept = (tiers >= 0).nonzero().flatten()
            normal = self.norm(responses[kept].reshape(-1, self.codebook_size)) if len(kept) else responses[kept]
            responses = torch.zeros_like(responses).index_copy(0, kept, normal.reshape(responses[kept].shape))
        barred = forbidden_centroids(tiers, self.sizes, self.codebook_size)
        return responses.masked_fill(barred.unsqueeze(1), -torch.inf)

    def _softmax(self, rows: Tensor, tiers: Tensor) -> Tensor:
        """DPQ-SX: one-hot of the largest response forward, softmax backward."""
        responses = self._responses(rows, tiers)
        codes = responses.argmax(dim=2)  # (B, M), before the softmax, whose rounding can make ties
        soft = (responses / self.config.temperature).softmax(dim=2)
        self._count(codes, tiers)
        hard = F.one_hot(codes, self.codebook_size).to(soft.dtype)
        choice = hard - soft.detach() + soft  # straight-through estimator
        values = self._per_subspace(self.centroids)
        mixed = torch.einsum("bmk,mks->bms", choice, values).flatten(1)  # (B, d)
        exact = self.decode(codes).detach()  # the mixture is rounded; use the centroid itself
        mixed = exact + (mixed - mixed.detach())
        return mixed.masked_fill((tiers < 0).unsqueeze(1), 0.0)


def _encode_numba(
    rows: Tensor, codebook: Tensor, tiers: Tensor, sorted_codebook: SortedCodebook, sizes: tuple[int, ...]
) -> np.ndarray:
    centroids = codebook.contiguous().numpy()
    if centroids.shape[2] == 1:
        return sorted_codebook.encode(rows.numpy(), centroids[:, :, 0], tiers.numpy())
    return nearest_codes(rows.numpy(), centroids, tiers.numpy(), sizes)


class _LookUp(torch.autograd.Function):
    """Quantized rows and their scaled error; row gradients go to the table unchanged, error gradients to centroids."""

    @staticmethod
    def forward(
        ctx: Any,
        table: Tensor,
        codebook: Tensor,
        ids: Tensor,
        tiers: Tensor,
        padding_idx: int | None,
        elements: float,
        quantizer: ProductQuantizer,
        sparse: bool,
    ) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        padding = -1 if padding_idx is None else padding_idx
        ids = ids.clone(memory_format=torch.contiguous_format)  # backward needs the ids even if the caller changes them
        lookup = Lookup(table.contiguous().numpy(), ids.numpy(), tiers.numpy(), padding)
        rows, pull, total = quantizer._quantize_compiled(lookup, codebook)
        if total != total and len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < len(table):
            F.embedding(ids, table)  # raises PyTorch's error
        # Not saved_tensors: a backward pass without the penalty would free them before the penalty's backward pass.
        ctx.ids, ctx.pull, ctx.num_embeddings, ctx.padding = ids, torch.from_numpy(pull), len(table), padding
        ctx.elements, ctx.sparse = elements, sparse
        return torch.from_numpy(rows), torch.tensor(total / elements, dtype=codebook.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        of_rows, of_error = gradients
        to_table = to_codebook = None
        if of_rows is not None and ctx.needs_input_grad[0]:
            size = ctx.num_embeddings
            if ctx.sparse:
                if ctx.padding >= 0:  # its row is never trained
                    of_rows = of_rows.masked_fill((ctx.ids == ctx.padding).unsqueeze(1), 0.0)
                to_table = sparse_rows(ctx.ids.long(), of_rows, torch.Size((size, of_rows.shape[1])))
            else:
                to_table = torch.ops.aten.embedding_dense_backward(of_rows, ctx.ids, size, ctx.padding, False)
        if of_error is not None and ctx.needs_input_grad[1]:
            to_codebook = ctx.pull * (2.0 * float(of_error) / ctx.elements)
        return to_table, to_codebook, None, None, None, None, None, None
