"""Train SASRec with a compressed item table, pack it, and recommend what comes next, from the file.

Run it with `python examples/next_item.py`; it takes a few seconds.
"""

import tempfile
from pathlib import Path

import torch

from slimtable import MGQEConfig, TrainConfig, evaluate, load_dataset, load_model, train
from slimtable.data import order_by_frequency, split
from slimtable.models.sasrec import SASRecConfig
from slimtable.training.packing import pack_model

torch.set_num_threads(1)
parts = order_by_frequency(split(load_dataset("synthetic:20000")))  # or "ml-1m", or a file of yours with times

# What is not given here is as SASRec's paper has it: 128 sequences a step, 1 negative per position.
config = TrainConfig.for_model("sasrec", embedding_dim=16, epochs=10, evaluate_every=0, learning_rate=0.01)
method = MGQEConfig(codebook_sizes=(64, 16))
trained = train(parts, "sasrec", method, config, model_config=SASRecConfig(max_length=20)).model

found = evaluate(trained, parts)["train"]["hit_rate@10"]
print(f"hit rate at 10: {found:.3f}, by chance about {10 / parts.num_items:.3f}")
print(f"model at {100 * trained.bits() / trained.full_bits():.0f}% of its size with a float32 table")

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "next_item.safetensors"
    pack_model(trained, path)
    served = load_model(path)  # codes stay codes in memory
history, users = parts.history("test"), torch.tensor([0, 1, 2])
best = served.scorer(history)(users).topk(3).indices
print("raw ids of what comes next, for three users:", parts.train.item_vocabulary[best].tolist())
same = torch.equal(best, trained.eval().scorer(history)(users).topk(3).indices)
print("the same as from the trained model:", same)
