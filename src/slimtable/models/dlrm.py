"""DLRM (Naumov et al. 2019, arXiv 1906.00091): a network over the products of all pairs of vectors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from slimtable.config import Config
from slimtable.models.base import register_model
from slimtable.models.ctr import CTRModel
from slimtable.models.parts.layers import check_widths, perceptron


@dataclass(frozen=True)
class DLRMConfig(Config):
    """Options of DLRM.

    Attributes:
        bottom: widths of the hidden layers of the network over the numeric features; its last layer has width d.
        top: widths of the hidden layers over the products.

    Raises:
        ValueError: a width is not positive.
    """

    bottom: tuple[int, ...] = (64,)
    top: tuple[int, ...] = (128, 64)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_widths(self, "bottom", self.bottom)
        check_widths(self, "top", self.top)


@register_model("dlrm")
class DLRM(CTRModel):
    """Logit ``top([z, ⟨t_i, t_j⟩ for i > j])`` with field vectors t and z = bottom(x) of the numeric features, §2.

    Without numeric features there is no z, and the top network sees the products only.
    """

    config_class = DLRMConfig
    config: DLRMConfig
    lower: Tensor

    def build(self, num_fields: int, num_numeric: int, embedding_dim: int) -> None:
        self.bottom = None
        vectors = num_fields
        if num_numeric:
            self.bottom = perceptron(num_numeric, (*self.config.bottom, embedding_dim), output=False)
            vectors += 1
        elif num_fields < 2:
            raise ValueError("DLRM multiplies vectors, so it needs two fields at least, or integer columns.")
        i, j = torch.tril_indices(vectors, vectors, offset=-1)
        self.register_buffer("lower", i * vectors + j, persistent=False)  # (P,) flat indices of the products i > j
        products = vectors * (vectors - 1) // 2
        self.top = perceptron(products + (embedding_dim if num_numeric else 0), self.config.top, output=True)

    def logits(self, rows: Tensor, numeric: Tensor) -> Tensor:
        parts = []
        if self.bottom is not None:
            dense = self.bottom(numeric)  # (B, d)
            rows = torch.cat([dense.unsqueeze(1), rows], dim=1)  # (B, 1 + F, d)
            parts.append(dense)
        products = torch.bmm(rows, rows.transpose(1, 2)).flatten(start_dim=1)  # (B, V²)
        parts.append(products.index_select(1, self.lower))
        logits: Tensor = self.top(torch.cat(parts, dim=1)).squeeze(1)
        return logits
