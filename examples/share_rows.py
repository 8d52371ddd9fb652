"""Let similar users and similar items share rows before training; then train, pack and serve LightGCN with them.

Run it with `python examples/share_rows.py`; it takes some seconds.
"""

import tempfile
from pathlib import Path

import torch

from slimtable import FullConfig, InteractionGraph, TrainConfig, evaluate, group, load_dataset, load_model, train
from slimtable.data import order_by_frequency, split
from slimtable.embeddings.base import get_config
from slimtable.training.packing import pack_model

torch.set_num_threads(1)
parts = order_by_frequency(split(load_dataset("synthetic:20000"), "random"))  # or "beauty", or a file of yours

graph = InteractionGraph.from_interactions(parts.train)  # what is withheld takes no part
groups = group(graph, "baco[merge=true]", num_rows=graph.num_nodes // 4)
found = groups.statistics
print(f"{graph.num_nodes} users and items share {groups.num_rows} rows; {found.second_users_percent:.0f}% of users")
print(f"have the mean of two; {found.intra_edges_percent:.0f}% of edges lie within a group")

# The preset makes four such groupings, side by side, and serves their rows in 8 bits.
config = TrainConfig.for_model("lightgcn", embedding_dim=32, epochs=20, learning_rate=0.01, patience=0)
models = {}
for name, method in {"full": FullConfig(init_std=0.1), "baco": get_config("baco", {"preset": "best"})}.items():
    models[name] = model = train(parts, "lightgcn", method, config).model
    tables, recall = model.embeddings().values(), evaluate(model, parts, ks=[20])["train+valid"]["capped_recall@20"]
    trained, served = sum(table.trained_parameters() for table in tables), sum(table.bits() for table in tables) // 8
    print(f"{name}: {trained} trained parameters, {served} bytes served, recall at 20 {recall:.3f}")

with tempfile.TemporaryDirectory() as folder:
    pack_model(models["baco"], Path(folder) / "shared.safetensors")
    packed = load_model(Path(folder) / "shared.safetensors")  # maps and 8-bit rows stay so in memory
users = torch.tensor([0, 1, 2])
same = torch.equal(packed.scorer()(users), models["baco"].eval().scorer()(users))
print("scores from the file equal those of the trained model:", same)
