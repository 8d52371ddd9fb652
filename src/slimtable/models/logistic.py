"""Logistic regression: one weight per value (as in McMahan et al. 2013, "Ad Click Prediction")."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from slimtable.config import Config
from slimtable.models.base import register_model
from slimtable.models.ctr import CTRModel
from slimtable.models.parts.layers import LinearTerms


@dataclass(frozen=True)
class LogisticConfig(Config):
    """Logistic regression has no options."""


@register_model("logistic")
class Logistic(CTRModel):
    """Logit ``b + Σ_f w_f + ⟨u, x⟩``; its tables have one column, whatever ``embedding_dim`` is."""

    config_class = LogisticConfig
    first_order = True

    @classmethod
    def width(cls, embedding_dim: int) -> int:
        return 1

    def build(self, num_fields: int, num_numeric: int, embedding_dim: int) -> None:
        self.linear = LinearTerms(num_numeric)

    def logits(self, rows: Tensor, numeric: Tensor) -> Tensor:
        logits: Tensor = self.linear(rows.squeeze(2), numeric)
        return logits
