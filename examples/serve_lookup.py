"""Serve rows and pooled bags from a packed file: NumPy only, PyTorch is never imported.

Run it with `python examples/serve_lookup.py`.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

from slimtable import open_artifact, write_artifact
from slimtable.artifact.packed import Packed

# In production the file comes from `slimtable train`, `pack` or `compress`; here is one row per film, by hand.
films = ["Alien", "Brazil", "Casablanca", "Diva"]
table = np.arange(12, dtype=np.float32).reshape(4, 3)

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "films.safetensors"
    write_artifact(path, {"film": Packed("dense", 4, 3, {"table": table})}, vocabularies={"film": films})

    with open_artifact(path) as artifact:  # maps the file into memory; many processes share it
        film = artifact["film"]
        ids = film.ids_of(["Diva", "Alien"])
        print("rows:", film.lookup(ids).tolist())
        # Two bags, of ids 0, 1, 2 and of id 3, as torch.nn.EmbeddingBag takes them.
        print("means:", film.bag([0, 1, 2, 3], offsets=[0, 3], mode="mean").tolist())
        try:
            film.lookup(4)
        except IndexError as error:
            print("refused:", error)
print("PyTorch imported:", "torch" in sys.modules)
