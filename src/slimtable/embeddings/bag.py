"""Pooled lookup for every method: sums and means of bags of rows, as ``torch.nn.EmbeddingBag``."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from slimtable.embeddings.table import EmbeddingTable


def embedding_bag(
    embedding: EmbeddingTable,
    ids: Tensor,
    offsets: Tensor,
    mode: Literal["sum", "mean"] = "sum",
    per_sample_weights: Tensor | None = None,
    *,
    include_last_offset: bool = False,
) -> Tensor:
    """Looks up rows and pools each bag; differentiable in training mode, and adds to ``penalty()`` as a lookup does.

    Args:
        embedding: any compressed table.
        ids: integer (n,).
        offsets: integer (B,): start of each bag, from 0, in ascending order.
        mode: "sum" or "mean". The padding id adds nothing, and a mean does not count it.
        per_sample_weights: float (n,) factors of the rows, for "sum" only.
        include_last_offset: True if ``offsets`` is (B + 1,) and ends with n.

    Returns:
        float (B, embedding_dim); an empty bag is zeros.

    Raises:
        ValueError: the offsets, the mode or the weights are invalid.
        IndexError: an id is out of range.

    Example:
        >>> from slimtable.methods.full import Full
        >>> table = Full.from_table(torch.eye(3))
        >>> embedding_bag(table, torch.tensor([0, 2, 2]), torch.tensor([0, 2])).tolist()
        [[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]]
    """
    if mode not in ("sum", "mean"):
        raise ValueError(f"`mode` must be 'sum' or 'mean', got {mode!r}.")
    if ids.ndim != 1 or offsets.ndim != 1:
        raise ValueError(f"Bags need flat ids and offsets, got shapes {tuple(ids.shape)} and {tuple(offsets.shape)}.")
    if per_sample_weights is not None and (mode == "mean" or per_sample_weights.shape != ids.shape):
        raise ValueError("`per_sample_weights` must have the shape of the ids, and goes with mode 'sum' only.")
    bounds = offsets if include_last_offset else torch.cat([offsets, offsets.new_tensor([len(ids)])])
    sizes = bounds.diff()
    if len(bounds) == 0 or bounds[0] != 0 or bounds[-1] != len(ids) or bool((sizes < 0).any()):
        raise ValueError(f"`offsets` must begin with 0, never fall, and end with the number of ids, {len(ids)}.")
    bag_of = torch.repeat_interleave(torch.arange(len(sizes), device=ids.device), sizes)  # (n,)
    rows = embedding(ids)  # (n, d)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(1)
    pooled = rows.new_zeros(len(sizes), rows.shape[1]).index_add(0, bag_of, rows)  # (B, d)
    if mode == "mean":
        counted = torch.ones_like(ids) if embedding.padding_idx is None else (ids != embedding.padding_idx).long()
        counts = torch.zeros_like(sizes).index_add(0, bag_of, counted.to(sizes.dtype))
        pooled = pooled / counts.clamp(min=1).unsqueeze(1)
    return pooled
