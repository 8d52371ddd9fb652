"""The module of a post-training codec: a dense table in training, what the codec makes of it in evaluation."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimtable.artifact.layouts import exact_bits
from slimtable.artifact.packed import Packed
from slimtable.codecs.base import Codec, Rows
from slimtable.embeddings.base import CompressedEmbedding, FitContext
from slimtable.embeddings.frozen import FrozenEmbedding


class PostTraining(CompressedEmbedding):
    """Trains as a dense table; in evaluation mode, and when packed, rows are those that the codec makes of it.

    A method of a codec is a registered subclass with a ``config_class`` whose ``codec()`` names the codec. The table is
    compressed once and again only after it has changed. Frequencies are kept in the state dict, since a restored table
    must be compressed alike.
    """

    post_training = True
    frequencies: Tensor

    def build(self, frequencies: Tensor | None, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        self.codec()  # options that do not fit the sizes are refused here
        self.table = nn.Parameter(torch.empty(self.num_embeddings, self.embedding_dim, device=device, dtype=dtype))
        self.register_buffer("frequencies", torch.empty(0, dtype=torch.int64, device=device))
        if frequencies is not None:
            self._remember(frequencies)
        self._served: tuple[Any, FrozenEmbedding] | None = None  # state of the table, and its compressed form

    def reset_parameters(self) -> None:
        nn.init.normal_(self.table, std=self.config.init_std)

    def fit_(self, table: Tensor, context: FitContext) -> None:
        self.table.copy_(table)
        if context.frequencies is not None:
            self._remember(torch.as_tensor(context.frequencies))

    def rows(self, ids: Tensor) -> Tensor:
        return self.trained_rows(ids) if self.training else self._served_rows(ids)

    def trained_rows(self, ids: Tensor) -> Tensor:
        """Rows in training mode, float (B, d), differentiable."""
        return F.embedding(ids, self.table, sparse=self.sparse)

    def trained_table(self) -> Tensor:
        """The table to compress, float (N, d)."""
        return self.table.detach()

    def stored_rows(self) -> tuple[Tensor, Tensor | None] | None:
        plain = self.training and self.padding_idx is None
        plain = plain and type(self).trained_rows is PostTraining.trained_rows
        return (self.table, None) if plain else None

    def codec(self) -> Codec:
        """The codec of the table.

        Raises:
            ValueError: the method has no codec, or its options do not fit the sizes.
        """
        codec = self.config.codec(self.num_embeddings, self.embedding_dim)
        if codec is None:
            raise ValueError(f"{type(self.config).__name__} has no codec. A post-training method needs one.")
        return codec

    def bits(self) -> int:
        codec = self.codec()
        if codec.exact_size:
            return codec.bits_of(self.num_embeddings, self.embedding_dim, self._counts())
        return exact_bits(self.pack())

    @torch.no_grad()
    def pack(self) -> Packed:
        return self._compressed() if self.training else self._frozen().pack()

    def train(self, mode: bool = True) -> Self:
        self._served = None  # fused optimizers change the table without increasing its version
        return super().train(mode)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_served": None}

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        # States of `uniform` from before it had a codec hold no frequencies.
        saved = state_dict.setdefault(prefix + "frequencies", self.frequencies.new_empty(0))
        if saved.shape in ((0,), (self.num_embeddings,)):
            self.frequencies = torch.empty_like(saved, device=self.frequencies.device)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    @torch.compiler.disable
    def _served_rows(self, ids: Tensor) -> Tensor:
        rows: Tensor = self._frozen().rows(ids)
        return rows

    def _frozen(self) -> FrozenEmbedding:
        """The compressed table, made again if the table has changed."""
        key = [(tensor._version, tensor.data_ptr(), tensor.dtype) for tensor in (self.table, self.frequencies)]
        if self._served is None or self._served[0] != key:
            with torch.no_grad():
                frozen = FrozenEmbedding(self._compressed()).to(self.device, self.dtype)
            self._served = (key, frozen)
        return self._served[1]

    def _compressed(self) -> Packed:
        table = self.trained_table().float().cpu().clone()
        if self.padding_idx is not None:
            table[self.padding_idx] = 0  # served as zeros, whatever it was initialized to
        rows, context = Rows(table.numpy(), self.padding_idx), FitContext(self._counts())
        return self.codec().compress(rows, context, self.method, self.config.to_dict())

    def _remember(self, frequencies: Tensor) -> None:
        """Keeps frequencies as the bits of float64 numbers, which ``half()`` and the like leave alone."""
        counts = frequencies.detach().to(self.table.device, torch.float64).contiguous()
        self.frequencies = counts.view(torch.int64).clone()

    def _counts(self) -> np.ndarray | None:
        return self.frequencies.cpu().view(torch.float64).numpy() if len(self.frequencies) else None
