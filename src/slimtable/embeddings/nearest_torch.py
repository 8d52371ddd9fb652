"""Nearest centroids by PyTorch operations, on any device, in any precision; of equally near centroids, any may win."""

from __future__ import annotations

import torch
from torch import Tensor

_CHUNK_ELEMENTS = 1 << 24  # distances in memory at a time


def nearest_codes_torch(rows: Tensor, codebook: Tensor, tiers: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """As :func:`slimtable.codecs.quantize.nearest.nearest_codes`.

    Args:
        rows: float (B, M·s).
        codebook: float (M, K, s).
        tiers: int8 (B,).
        sizes: number of centroids that each tier may use, (T,).

    Returns:
        int64 (B, M); 0 for rows of tier -1.
    """
    num_subspaces, num_centroids, width = codebook.shape
    if codebook.dtype in (torch.float16, torch.bfloat16):  # their squares are too coarse, or overflow
        codebook = codebook.float()
    codes = []
    step = max(1, _CHUNK_ELEMENTS // (num_subspaces * num_centroids * width))
    for chunk, chunk_tiers in zip(rows.split(step), tiers.split(step), strict=True):
        parts = chunk.reshape(len(chunk), num_subspaces, 1, width).to(codebook.dtype)
        distances = (parts - codebook).square().sum(dim=3)  # (B, M, K)
        barred = forbidden_centroids(chunk_tiers, sizes, num_centroids).unsqueeze(1)
        codes.append(distances.masked_fill(barred, torch.inf).argmin(dim=2))
    return torch.cat(codes)


def forbidden_centroids(tiers: Tensor, sizes: tuple[int, ...], num_centroids: int) -> Tensor:
    """Mask (B, K) of the centroids that the tier of each row may not use; none for tier -1."""
    limits = torch.tensor([*sizes, num_centroids], device=tiers.device)  # the last entry is for tier -1
    return torch.arange(num_centroids, device=tiers.device) >= limits[tiers.long()].unsqueeze(1)
