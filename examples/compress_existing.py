"""Compress the tables of a model that is already trained to 4 bits per value, in place.

Run it with `python examples/compress_existing.py`.
"""

import torch
from torch import nn

from slimtable import UniformConfig, compress_


class Scorer(nn.Module):
    """Stands for any model of yours."""

    def __init__(self) -> None:
        super().__init__()
        self.user = nn.Embedding(5_000, 32)
        self.item = nn.Embedding(20_000, 32)

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """Scores (B,) of users (B,) for items (B,)."""
        return (self.user(users) * self.item(items)).sum(dim=1)


torch.manual_seed(0)
model = Scorer()
users, items = torch.randint(5_000, (1_000,)), torch.randint(20_000, (1_000,))
before = model(users, items)

# The filter chooses tables by module and name; without it all of them are compressed.
compress_(model, UniformConfig(bits=4), filter_fn=lambda module, name: name == "item")

after = model(users, items)
correlation = torch.corrcoef(torch.stack([before, after]))[0, 1]
print(f"item table {model.item.compression_ratio():.1f}× smaller, scores correlate {correlation:.4f} with those before")
