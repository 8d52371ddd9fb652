"""Compress one trained table by a given configuration."""

from __future__ import annotations

import numpy as np
import torch

from slimtable.artifact.packed import Packed
from slimtable.codecs.base import FitContext, Rows
from slimtable.codecs.vectors import TableLike
from slimtable.embeddings.base import MethodConfig, method_of


def compress_table(
    table: TableLike,
    config: MethodConfig,
    *,
    padding_idx: int | None = None,
    frequencies: np.ndarray | None = None,
) -> Packed:
    """Compresses one trained table, block by block if the method has a codec.

    Args:
        table: float (N, d), finite; with a codec, a :class:`numpy.memmap` and a table in a file are read by blocks.
        config: configuration of the method.
        padding_idx: id that is served as zeros; its row must be zeros.
        frequencies: (N,) training counts, for methods with frequency tiers.

    Returns:
        The packed table, ready for ``write_artifact``.

    Raises:
        ValueError: the table is not a finite matrix, or the configuration does not fit its shape.
    """
    rows = Rows(table, padding_idx)
    codec = config.codec(*rows.shape)
    if codec is not None:
        context = FitContext(None if frequencies is None else np.asarray(frequencies))
        return codec.compress(rows, context, method_of(config).method, config.to_dict())
    counts = None if frequencies is None else torch.from_numpy(np.asarray(frequencies))
    with np.errstate(over="ignore"):  # values too large for float32 become infinite, and are rejected below
        values = torch.from_numpy(np.array(table, dtype=np.float32))
    return method_of(config).from_table(values, config, padding_idx=padding_idx, frequencies=counts).eval().pack()
