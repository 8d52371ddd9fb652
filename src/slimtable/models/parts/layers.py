"""Layers of CTR models: linear terms, pairwise products and a perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from slimtable.config import Config, Share


@dataclass(frozen=True)
class NetworkConfig(Config):
    """Options of models with a perceptron.

    Attributes:
        hidden: widths of its hidden layers.
        dropout: share of their activations that training drops.

    Raises:
        ValueError: a width is not positive, or the dropout is not at least 0 and below 1.
    """

    hidden: tuple[int, ...] = (128, 64)
    dropout: Share = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_widths(self, "hidden", self.hidden)


def check_widths(config: Config, option: str, widths: Sequence[int]) -> None:
    """Raises ValueError if there is no layer, or a width is not positive."""
    if not widths or min(widths) < 1:
        raise ValueError(
            f"`{type(config).__name__}.{option}` must be the positive widths of at least one layer, got {list(widths)}."
        )


class LinearTerms(nn.Module):
    """Logits (B,) of the numeric features and of first-order weights: ``b + ⟨u, x⟩ + Σ_f w_f``.

    Args:
        num_numeric: number of numeric columns, I; may be 0.
    """

    def __init__(self, num_numeric: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(()))
        self.weight = nn.Parameter(torch.zeros(num_numeric)) if num_numeric else None

    def forward(self, weights: Tensor, numeric: Tensor) -> Tensor:
        """Logits of first-order weights (B, F) and numeric features (B, I)."""
        logits = self.bias + weights.sum(dim=1)
        return logits if self.weight is None else logits + numeric @ self.weight


def first_order_apart(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors (B, F, d) and first-order weights (B, F), the last column, of rows (B, F, d + 1)."""
    vectors, weights = rows.split([rows.shape[2] - 1, 1], dim=2)
    return vectors, weights.squeeze(2)


def pairwise_logits(vectors: Tensor) -> Tensor:
    """``Σ_{f<g} ⟨v_f, v_g⟩ = ½ Σ_j ((Σ_f v_fj)² − Σ_f v_fj²)`` of vectors (B, F, d): logits (B,)."""
    total = vectors.sum(dim=1)  # (B, d)
    return 0.5 * (total.square().sum(dim=1) - vectors.square().sum(dim=(1, 2)))


def network_input(vectors: Tensor, numeric: Tensor) -> Tensor:
    """All vectors (B, F, d) and numeric features (B, I) concatenated: (B, F·d + I)."""
    flat = vectors.flatten(start_dim=1)
    return torch.cat([flat, numeric], dim=1) if numeric.shape[1] else flat


def perceptron(inputs: int, widths: Sequence[int], dropout: float = 0.0, *, output: bool) -> nn.Sequential:
    """A perceptron with ReLU and dropout after each hidden layer.

    Args:
        inputs: width of the input.
        widths: of the hidden layers.
        dropout: share of activations that training drops.
        output: add a linear output layer of width 1.
    """
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Linear(inputs, width), nn.ReLU()]
        if dropout:
            layers.append(nn.Dropout(dropout))
        inputs = width
    if output:
        layers.append(nn.Linear(inputs, 1))
    return nn.Sequential(*layers)
