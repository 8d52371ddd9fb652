"""Factorization machines (Rendle 2010, "Factorization Machines"): products of all pairs of vectors."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from slimtable.config import Config
from slimtable.models.base import register_model
from slimtable.models.ctr import CTRModel
from slimtable.models.parts.layers import LinearTerms, first_order_apart, pairwise_logits


@dataclass(frozen=True)
class FMConfig(Config):
    """A factorization machine has no options."""


@register_model("fm")
class FM(CTRModel):
    """Logit ``b + Σ_f w_f + ⟨u, x⟩ + Σ_{f<g} ⟨v_f, v_g⟩``, eq. (1), in linear time by Lemma 3.1."""

    config_class = FMConfig
    first_order = True

    def build(self, num_fields: int, num_numeric: int, embedding_dim: int) -> None:
        self.linear = LinearTerms(num_numeric)

    def logits(self, rows: Tensor, numeric: Tensor) -> Tensor:
        vectors, weights = first_order_apart(rows)
        logits: Tensor = self.linear(weights, numeric) + pairwise_logits(vectors)
        return logits
