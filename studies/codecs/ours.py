"""Tables compressed by the library's own methods within a budget of bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from slimtable.artifact.layouts import decode
from slimtable.compress import compress_table
from slimtable.embeddings.base import get_config
from slimtable.embeddings.fitting import fit_budget


@dataclass(frozen=True, eq=False)
class Coded:
    """A compressed table.

    Attributes:
        rows: float32 (N, d), decoded.
        bits: of all its arrays, codebooks and the padding to whole bytes included.
        setting: the options that were chosen, as JSON values.
    """

    rows: np.ndarray
    bits: int
    setting: Mapping[str, Any]


def size_within(
    method: str, options: Mapping[str, Any], shape: tuple[int, int], frequencies: np.ndarray, bits: float
) -> dict[str, Any]:
    """The options of a method whose table is the largest within a budget.

    Raises:
        BudgetError: even the smallest is larger.
    """
    config = get_config(method, dict(options))
    if "budget" in config.to_dict() and len(config.sizes(*shape)) == 1:  # it finds its size by itself
        config = get_config(method, {**options, "budget": f"{int(bits // 8)}B"})
    return fit_budget(config, bits, *shape, frequencies).to_dict()


def compress(
    method: str, options: Mapping[str, Any], table: np.ndarray, frequencies: np.ndarray, padding_idx: int | None
) -> Coded:
    """Compresses a table by a method with fixed options.

    Args:
        method: registry name.
        options: all of its options.
        table: float32 (N, d).
        frequencies: (N,) training interactions.
        padding_idx: row that is served as zeros, or None.

    Raises:
        ValueError: the method refuses the table.
    """
    config = get_config(method, dict(options))
    packed = compress_table(table, config, padding_idx=padding_idx, frequencies=frequencies)
    return Coded(decode(packed, np.arange(len(table))), 8 * packed.nbytes, options)
