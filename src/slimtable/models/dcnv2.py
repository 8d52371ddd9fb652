"""DCN-V2 (Wang et al. 2021, arXiv 2008.13535): layers of explicit crosses, with a network after or parallel to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from slimtable.config import PositiveInt
from slimtable.models.base import register_model
from slimtable.models.ctr import CTRModel
from slimtable.models.parts.layers import NetworkConfig, network_input, perceptron


@dataclass(frozen=True)
class DCNv2Config(NetworkConfig):
    """Options of DCN-V2, besides those of its network.

    Attributes:
        cross_layers: number of cross layers.
        rank: rank of their factorized matrices; None for full matrices.
        structure: the network is "stacked" on the last cross layer, or "parallel" to the cross layers.

    Raises:
        ValueError: a number is not positive.
    """

    cross_layers: PositiveInt = 2
    rank: PositiveInt | None = None
    structure: Literal["stacked", "parallel"] = "stacked"


@register_model("dcnv2")
class DCNv2(CTRModel):
    """Cross layers ``x_{l+1} = x_0 ⊙ (W_l x_l + b_l) + x_l``, eq. (1), or ``W_l = U_l V_lᵀ``, eq. (2).

    x_0 concatenates all vectors and the numeric features. Stacked, the logit is linear in the network of the last
    cross layer; in parallel, in both side by side.
    """

    config_class = DCNv2Config
    config: DCNv2Config

    def build(self, num_fields: int, num_numeric: int, embedding_dim: int) -> None:
        config = self.config
        width = num_fields * embedding_dim + num_numeric
        if config.rank is not None and config.rank >= width:
            raise ValueError(
                f"`DCNv2Config.rank` must be below the width of its input, {width}, got {config.rank}. "
                "Leave it out for full matrices."
            )
        self.crosses = nn.ModuleList(_cross(width, config.rank) for _ in range(config.cross_layers))
        self.network = perceptron(width, config.hidden, config.dropout, output=False)
        self.output = nn.Linear(config.hidden[-1] + (width if config.structure == "parallel" else 0), 1)

    def logits(self, rows: Tensor, numeric: Tensor) -> Tensor:
        start = network_input(rows, numeric)  # (B, F·d + I)
        crossed = start
        for cross in self.crosses:
            crossed = torch.addcmul(crossed, start, cross(crossed))
        if self.config.structure == "stacked":
            last = self.network(crossed)
        else:
            last = torch.cat([crossed, self.network(start)], dim=1)
        logits: Tensor = self.output(last).squeeze(1)
        return logits


def _cross(width: int, rank: int | None) -> nn.Module:
    if rank is None:
        return nn.Linear(width, width)
    return nn.Sequential(nn.Linear(width, rank, bias=False), nn.Linear(rank, width))
