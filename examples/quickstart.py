"""Train a small PyTorch model whose item table is MGQE, pack the table, and look rows up from the file.

Run it with `python examples/quickstart.py`; it takes a few seconds.
"""

import tempfile
from pathlib import Path

import torch
from torch import nn

from slimtable import MGQE, MGQEConfig, open_artifact, write_artifact

torch.manual_seed(0)
ITEMS, WIDTH = 2_000, 16

# Called like nn.Embedding. Ids are sorted from most to least frequent; the frequent tenth gets 256 centroids.
items = MGQE(ITEMS, WIDTH, MGQEConfig(codebook_sizes=(256, 16)))
head = nn.Linear(WIDTH, 1)
optimizer = torch.optim.Adam([*items.parameters(), *head.parameters()], lr=0.01)

liked = torch.rand(ITEMS).round()  # what there is to learn: some items are liked, some are not
for _ in range(300):
    ids = (ITEMS * torch.rand(512) ** 3).long()  # low ids are frequent
    loss = nn.functional.binary_cross_entropy_with_logits(head(items(ids)).squeeze(1), liked[ids])
    optimizer.zero_grad()
    (loss + items.penalty()).backward()  # the penalty draws the centroids to the rows
    optimizer.step()
print(f"loss {loss:.3f}, table {items.compression_ratio():.1f}× smaller")

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "items.safetensors"
    file_size = write_artifact(path, {"item": items.eval().pack()})
    with open_artifact(path, verify=True) as artifact:  # this needs no PyTorch
        rows = artifact["item"].lookup([0, 1, 1_999])
same = (torch.from_numpy(rows) == items(torch.tensor([0, 1, 1_999]))).all()
print(f"{file_size:,} bytes; served rows equal to the trained ones: {bool(same)}")
