"""DeepFM (Guo et al. 2017, arXiv 1703.04247): a factorization machine and a network over the same vectors."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from slimtable.models.base import register_model
from slimtable.models.ctr import CTRModel
from slimtable.models.parts.layers import (
    LinearTerms,
    NetworkConfig,
    first_order_apart,
    network_input,
    pairwise_logits,
    perceptron,
)


@dataclass(frozen=True)
class DeepFMConfig(NetworkConfig):
    """Options of DeepFM: those of its network."""


@register_model("deepfm")
class DeepFM(CTRModel):
    """Logit ``b + Σ_f w_f + ⟨u, x⟩ + Σ_{f<g} ⟨v_f, v_g⟩ + network([v_1 … v_F, x])``, eqs. (1)–(4).

    v are the vectors of the fields and w their first-order weights. The numeric features x are linear terms and
    inputs of the network.
    """

    config_class = DeepFMConfig
    config: DeepFMConfig
    first_order = True

    def build(self, num_fields: int, num_numeric: int, embedding_dim: int) -> None:
        self.linear = LinearTerms(num_numeric)
        inputs = num_fields * embedding_dim + num_numeric
        self.network = perceptron(inputs, self.config.hidden, self.config.dropout, output=True)

    def logits(self, rows: Tensor, numeric: Tensor) -> Tensor:
        vectors, weights = first_order_apart(rows)
        deep: Tensor = self.network(network_input(vectors, numeric)).squeeze(1)
        return self.linear(weights, numeric) + pairwise_logits(vectors) + deep
