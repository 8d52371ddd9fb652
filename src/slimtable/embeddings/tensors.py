"""Conversion of tensors to arrays of a packed table."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def to_array(tensor: Tensor) -> np.ndarray:
    """A float tensor as an array to pack: float16 stays float16, every other float type becomes float32."""
    dtype = torch.float16 if tensor.dtype == torch.float16 else torch.float32
    array: np.ndarray = tensor.detach().to("cpu", dtype).contiguous().numpy()
    return array


def float_bits(tensor: Tensor) -> int:
    """Bits per value of ``tensor`` when packed, 16 or 32."""
    return 16 if tensor.dtype == torch.float16 else 32
