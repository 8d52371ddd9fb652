"""Packed tables: plain arrays and a description of how to decode them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Packed:
    """One compressed table as plain arrays and JSON values; decodable without PyTorch.

    Attributes:
        layout: name of the decoder, one of :data:`slimtable.artifact.layouts.LAYOUTS`.
        num_embeddings: number of ids, ``N``.
        embedding_dim: width of a row, ``d``.
        arrays: the arrays by name; codes under 8 bits are bit-packed into ``uint8``.
        layout_config: options of the decoder (JSON types only).
        padding_idx: the id that is served as exact zeros, or None.
        method: registry name of the method that made it; information only, not used to decode.
        method_config: the configuration of that method (JSON types only); information only.
    """

    layout: str
    num_embeddings: int
    embedding_dim: int
    arrays: Mapping[str, np.ndarray]
    layout_config: Mapping[str, Any] = field(default_factory=dict)
    padding_idx: int | None = None
    method: str = ""
    method_config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Total bytes of all arrays."""
        return sum(array.nbytes for array in self.arrays.values())
