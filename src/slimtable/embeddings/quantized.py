"""Tables whose rows are codes into learned codebooks, in one or more frequency tiers."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimtable.artifact.bits import code_bits, pack_bits
from slimtable.artifact.packed import Packed
from slimtable.codecs.product import described, infinite_centroid, subspace_width, tiers_in_order
from slimtable.embeddings.base import CompressedEmbedding, FitContext
from slimtable.embeddings.modes import evaluating
from slimtable.embeddings.product_quantizer import ProductQuantizer
from slimtable.embeddings.quantizer_config import QuantizerConfig, check_codebook_size
from slimtable.embeddings.tensors import to_array

_ROWS_PER_CHUNK = 65_536
_PENDING_PENALTIES = 1000  # lookups without a call of penalty() before we warn


class QuantizedEmbedding(CompressedEmbedding):
    """A full table in training; codes and codebooks when packed (DPQ §3, MGQE §3.3 and §4).

    Training keeps an ordinary table. A lookup replaces each row by its nearest centroids, passes the gradient
    straight through to the row, and adds to :meth:`penalty` the mean squared distance that pulls the centroids
    to their rows. Only the codes of the rows and the centroids are packed.
    """

    config: QuantizerConfig
    tiers: Tensor
    epochs_done: Tensor

    def build(self, frequencies: Tensor | None, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        self.tier_plan = self.config.plan(self.num_embeddings, self.embedding_dim)
        quantizers = []
        for index in range(1 + max(tier.quantizer for tier in self.tier_plan)):
            served = [tier for tier in self.tier_plan if tier.quantizer == index]
            option = f"{type(self.config).__name__}.num_codebooks"
            width = subspace_width(served[0].num_codebooks, self.embedding_dim, option)
            sizes = tuple(tier.codebook_size for tier in served)
            for size in sizes:
                check_codebook_size(self.config, size, "codebook_size")
            quantizers.append(
                ProductQuantizer(served[0].num_codebooks, width, sizes, self.config, device=device, dtype=dtype)
            )
        self.table = nn.Parameter(torch.empty(self.num_embeddings, self.embedding_dim, device=device, dtype=dtype))
        self.quantizers = nn.ModuleList(quantizers)
        counts = None if frequencies is None else frequencies.cpu().numpy()
        tiers = torch.from_numpy(tiers_in_order([tier.num_rows for tier in self.tier_plan], counts))
        self.register_buffer("tiers", tiers.to(device))
        if self.config.dense_epochs:
            self.register_buffer("epochs_done", torch.zeros((), dtype=torch.int64, device=device))
        self._terms: list[Tensor] = []
        self._epochs = 0  # the buffer above as an int
        self._placed = False  # True if the centroids were fitted to the present dense table

    def reset_parameters(self) -> None:
        nn.init.normal_(self.table, std=self.config.init_std)
        for quantizer in self._quantizers():
            quantizer.reset_parameters()
        if self.config.initialization == "kmeans":
            self._fit_codebooks()

    def fit_(self, table: Tensor, context: FitContext) -> None:
        """Copies the table and fits the centroids by k-means; the dense epochs are then over."""
        self.table.copy_(table)
        if self.config.dense_epochs:
            self._count_epochs(self.config.dense_epochs)
        self._fit_codebooks()

    def rows(self, ids: Tensor) -> Tensor:
        if self.is_dense:
            if self.training:
                return F.embedding(ids, self.table, sparse=self.sparse)
            self._place_centroids()
        if self._quantizers()[0].looks_up(self.table):
            quantized, error = self._look_up(ids)
        else:
            rows = F.embedding(ids, self.table, sparse=self.sparse)  # also checks the ids
            quantized, error = self._quantize(rows, self._tiers_of(ids))
            if self.training:
                error = error / self._elements(ids)
        if self.training and torch.is_grad_enabled() and self.config.variant == "vq":
            self._remember(error)
        return quantized

    def penalty(self) -> Tensor:
        """Mean squared distance between looked-up rows and their centroids, summed over lookups since the last call.

        Its weight in the loss is 1 in both papers (DPQ eq. 6). Its gradient goes to the centroids alone.
        """
        terms, self._terms = self._terms, []
        return sum(terms[1:], start=terms[0]) if terms else super().penalty()

    @property
    def is_dense(self) -> bool:
        """True during the first ``dense_epochs`` epochs, in which the table is trained without quantization."""
        return self._epochs < self.config.dense_epochs

    def train(self, mode: bool = True) -> Self:
        if mode:
            self._placed = False  # the table is about to change
        return super().train(mode)

    def end_epoch(self) -> None:
        if self.is_dense:
            self._count_epochs(self._epochs + 1)
            if self._epochs == self.config.dense_epochs:
                with torch.no_grad():
                    self._fit_codebooks()
            return
        if not self.config.revive_dead:
            return
        for index, quantizer in enumerate(self._quantizers()):
            ids, tiers = self._members(index)
            quantizer.revive_dead(self.table.detach()[ids], tiers)

    def codes(self, tier: int) -> Tensor:
        """Codes (num_rows, M) of the ids of a tier, in id order, as packed."""
        self._place_centroids()
        ids = (self.tiers == tier).nonzero().flatten()
        quantizer = self._quantizers()[self.tier_plan[tier].quantizer]
        with torch.no_grad(), evaluating(quantizer):
            chunks = [
                quantizer.encode(self.table[chunk], self._local_tiers(self.tiers[chunk]))
                for chunk in ids.split(_ROWS_PER_CHUNK)
            ]
        return torch.cat(chunks) if len(ids) else ids.new_zeros(0, quantizer.num_codebooks)

    def bits(self) -> int:
        codes = sum(tier.num_rows * tier.num_codebooks * code_bits(tier.codebook_size) for tier in self.tier_plan)
        flags = 0 if self._sorted_by_tier() else self.num_embeddings * code_bits(len(self.tier_plan))
        return codes + flags + sum(quantizer.bits() for quantizer in self._quantizers())

    def pack(self) -> Packed:
        if not bool(torch.isfinite(self.table).all()):
            raise ValueError("The table holds NaN or infinite values; the training diverged. Lower the learning rate.")
        self._place_centroids()
        self._require_finite_codebooks()
        arrays: dict[str, np.ndarray] = {}
        for index, tier in enumerate(self.tier_plan):
            codes = self.codes(index).to("cpu", torch.int32).numpy()
            arrays[f"codes.{index}"] = pack_bits(codes, code_bits(tier.codebook_size))
        for index, quantizer in enumerate(self._quantizers()):
            arrays[f"codebook.{index}"] = to_array(quantizer.served_codebook())
        if not self._sorted_by_tier():
            arrays["tiers"] = pack_bits(self.tiers.cpu().numpy(), code_bits(len(self.tier_plan)))
        return self.packed("coded", arrays, described(self.tier_plan, self.config.share_subspaces))

    def __getstate__(self) -> dict[str, Any]:
        """State of a copy or a pickle: everything but the pending penalties, which belong to a graph."""
        return {**self.__dict__, "_terms": []}

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *arguments: Any) -> None:
        """Rejects the tiers of another configuration, whose sizes would not match :meth:`bits`."""
        found = state.get(f"{prefix}tiers")
        if found is not None and found.shape == self.tiers.shape:
            sizes = torch.bincount(found.long().clamp(min=0), minlength=len(self.tier_plan)).tolist()
            expected = [tier.num_rows for tier in self.tier_plan]
            if sizes != expected or int(found.min()) < 0:
                arguments[-1].append(
                    f"{prefix}tiers hold {sizes} ids, but the configuration makes tiers of {expected}."
                )
        super()._load_from_state_dict(state, prefix, *arguments)
        self._epochs = int(self.epochs_done) if self.config.dense_epochs else 0
        self._placed = False

    # Ids, tiers and their quantizers.

    def _quantizers(self) -> list[ProductQuantizer]:
        return list(self.quantizers)  # type: ignore[arg-type]

    def _sorted_by_tier(self) -> bool:
        return bool((self.tiers[1:] >= self.tiers[:-1]).all())

    def _tiers_of(self, ids: Tensor) -> Tensor:
        """Tier of each id, int8 (B,); -1 for the padding id, which no quantizer sees."""
        one_tier = len(self.tier_plan) == 1
        tiers = torch.zeros(len(ids), dtype=torch.int8, device=ids.device) if one_tier else self.tiers[ids]
        return tiers if self.padding_idx is None else tiers.masked_fill(ids == self.padding_idx, -1)

    def _local_tiers(self, tiers: Tensor) -> Tensor:
        """Tiers numbered from 0 within their quantizer."""
        if len(self.quantizers) == 1:
            return tiers
        return tiers.clamp(max=0)  # one tier per quantizer

    def _members(self, quantizer: int) -> tuple[Tensor, Tensor]:
        """Ids of a quantizer, without the padding id, and their tiers numbered from 0 within it."""
        tiers = self._tiers_of(torch.arange(self.num_embeddings, device=self.tiers.device))
        served = [index for index, tier in enumerate(self.tier_plan) if tier.quantizer == quantizer]
        ids = torch.isin(tiers, torch.tensor(served, dtype=tiers.dtype, device=tiers.device)).nonzero().flatten()
        return ids, self._local_tiers(tiers[ids])

    def _look_up(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Quantized rows (B, d) and their mean squared error, by compiled kernels."""
        elements = float(self._elements(ids))
        if len(self.quantizers) == 1:
            return self._quantizers()[0].look_up(self.table, ids, self.tiers, self.padding_idx, elements, self.sparse)
        tiers_of_ids, only_tier = self.tiers[ids], torch.zeros_like(self.tiers)
        quantized, error = self.table.new_zeros(len(ids), self.embedding_dim), self.table.new_zeros(())
        for index, quantizer in enumerate(self._quantizers()):
            members = (tiers_of_ids == index).nonzero().flatten()
            part, part_error = quantizer.look_up(
                self.table, ids[members], only_tier, self.padding_idx, elements, self.sparse
            )
            quantized = quantized.index_copy(0, members, part)
            error = error + part_error
        return quantized, error

    def _elements(self, ids: Tensor) -> Tensor | float:
        """Number of elements that the penalty averages over: all except those of the padding id."""
        if self.padding_idx is None:
            return max(float(len(ids) * self.embedding_dim), 1.0)
        # A tensor, so that the GPU need not synchronize.
        return ((ids != self.padding_idx).sum() * float(self.embedding_dim)).clamp(min=1.0)

    def _quantize(self, rows: Tensor, tiers: Tensor) -> tuple[Tensor, Tensor]:
        if len(self.quantizers) == 1:
            return self._quantizers()[0](rows, tiers)
        quantized, error = torch.zeros_like(rows), rows.new_zeros(())
        for index, quantizer in enumerate(self._quantizers()):
            members = (tiers == index).nonzero().flatten()
            part, part_error = quantizer(rows[members], self._local_tiers(tiers[members]))
            quantized = quantized.index_copy(0, members, part)
            error = error + part_error
        return quantized, error

    def _count_epochs(self, number: int) -> None:
        self._epochs = number
        self.epochs_done.fill_(number)

    def _place_centroids(self) -> None:
        """Fits the centroids of a table that is still dense, as if its dense epochs ended now."""
        if self.is_dense and not self._placed:
            with torch.no_grad():
                self._fit_codebooks()
            self._placed = not self.training

    def _require_finite_codebooks(self) -> None:
        for quantizer in self._quantizers():
            if not bool(torch.isfinite(quantizer.served_codebook()).all()):
                raise ValueError(infinite_centroid(self.config.codebook_bits))

    def _fit_codebooks(self) -> None:
        for index, quantizer in enumerate(self._quantizers()):
            ids, tiers = self._members(index)
            if len(ids):
                quantizer.fit_(self.table[ids], tiers)
        self._require_finite_codebooks()

    def _remember(self, term: Tensor) -> None:
        self._terms.append(term)
        if len(self._terms) > _PENDING_PENALTIES:
            self._terms = self._terms[-1:]
            warnings.warn(
                f"{type(self).__name__}.penalty() was not called for {_PENDING_PENALTIES} training lookups. Add it "
                "to the loss of every step, or the centroids never learn.",
                stacklevel=4,
            )
