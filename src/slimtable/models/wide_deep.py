"""Wide & Deep (Cheng et al. 2016, arXiv 1606.07792): a linear model and a network over vectors."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from slimtable.models.base import register_model
from slimtable.models.ctr import CTRModel
from slimtable.models.parts.layers import LinearTerms, NetworkConfig, first_order_apart, network_input, perceptron


@dataclass(frozen=True)
class WideDeepConfig(NetworkConfig):
    """Options of Wide & Deep: those of its network."""


@register_model("wide_deep")
class WideDeep(CTRModel):
    """Logit ``b + Σ_f w_f + ⟨u, x⟩ + network([v_1 … v_F, x])``, eq. (3), without crossed features in the wide part."""

    config_class = WideDeepConfig
    config: WideDeepConfig
    first_order = True

    def build(self, num_fields: int, num_numeric: int, embedding_dim: int) -> None:
        self.linear = LinearTerms(num_numeric)
        inputs = num_fields * embedding_dim + num_numeric
        self.network = perceptron(inputs, self.config.hidden, self.config.dropout, output=True)

    def logits(self, rows: Tensor, numeric: Tensor) -> Tensor:
        vectors, weights = first_order_apart(rows)
        deep: Tensor = self.network(network_input(vectors, numeric)).squeeze(1)
        return self.linear(weights, numeric) + deep
