"""Dropout with a mask that is sampled about seven times faster than PyTorch's on a CPU (a third of a SASRec step)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

_STEPS = 1 << 16  # of a random number; the dropout share is rounded to one of them


class Dropout(nn.Module):
    """Sets a share of the activations to zero during training and scales up the others.

    On a CPU the mask uses 16 random bits per value from a NumPy generator that is seeded by PyTorch's, so that
    ``torch.manual_seed`` determines it; on other devices it is PyTorch's own dropout.

    Args:
        share: share of the activations to drop, in [0, 1); on a CPU rounded to a multiple of 2⁻¹⁶.

    Raises:
        ValueError: the share is out of range.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        if not 0 <= share < 1:
            raise ValueError(f"`share` must be in [0, 1), got {share}.")
        self.share = share

    def forward(self, values: Tensor) -> Tensor:
        """Applies dropout to values of any shape."""
        dropped = min(round(self.share * _STEPS), _STEPS - 1)
        if not self.training or not dropped:
            return values
        if values.device.type != "cpu" or torch.compiler.is_compiling():
            return F.dropout(values, self.share)
        generator = np.random.Generator(np.random.SFC64(int(torch.randint(1 << 62, ()))))
        kept = generator.integers(_STEPS, size=values.numel(), dtype=np.uint16) >= dropped
        scale = torch.from_numpy(kept).to(values.dtype).mul_(_STEPS / (_STEPS - dropped))
        return values * scale.view(values.shape)

    def extra_repr(self) -> str:
        return f"{self.share}"
