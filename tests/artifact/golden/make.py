"""Write the golden files: ``python tests/artifact/golden/make.py``; those that exist must come out unchanged.

The files of a version are never written again once it is released: readers must open them for ever.
"""

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[2]))

from slimtable.artifact import write_artifact  # noqa: E402
from slimtable.artifact.delta import write_delta  # noqa: E402
from tests.artifact.artifact_samples import (  # noqa: E402
    coded,
    dense,
    low_rank,
    product_samples,
    scaled,
    shared,
    shared_samples,
    tiered_samples,
)
from tests.artifact.delta_samples import follower  # noqa: E402
from tests.artifact.quantized_samples import quantized_samples  # noqa: E402
from tests.artifact.tiered_samples import sparse  # noqa: E402


def golden_files():
    """Arguments of ``write_artifact`` by file name: one per layout and kind, and some for the rest of the format."""
    rest = {
        "tables": {"user": dense(4, 2), "item": scaled(5, 3, 8, padding_idx=0)},
        "tensors": {"output.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "steps": np.array(7)},
        "vocabularies": {"user": np.array([30, 10, 40, 20]), "item": ["", "one", "zwei", "три", "四"]},
        "model": {"backbone": "gmf", "metrics": {"ndcg_at_k": 0.25}, "k": [10]},
    }
    grouping = {"user": np.array([[0, 1], [2, 2], [1, 0]], np.int32), "item": np.array([0, 0, 1, 5], np.int32)}
    first = {
        "v1-dense": {"tables": {"t": dense(7, 5, padding_idx=2)}},
        "v1-dense-float16": {"tables": {"t": dense(7, 5, np.float16)}},
        "v1-low_rank": {"tables": {"t": low_rank(9, 5, 3)}},
        "v1-scaled-column": {"tables": {"t": scaled(11, 5, 6)}},
        "v1-scaled-row": {"tables": {"t": scaled(11, 5, 3, "row", np.float16)}},
        "v1-coded": {"tables": {"t": coded([(12, 4, 16, 0)], dim=8)}},
        "v1-coded-shared": {"tables": {"t": coded([(12, 4, 11, 0)], dim=8, share=True)}},
        "v1-coded-tiers": {"tables": {"t": coded([(5, 4, 16, 0), (15, 4, 4, 0)], dim=8)}},
        "v1-coded-unsorted": {"tables": {"t": coded([(20, 4, 16, 0), (60, 2, 4, 1)], dim=8, flagged=True)}},
        "v1-everything": rest,
        "v1-no-tables": {"tables": {}, "tensors": grouping, "model": {"grouping": "baco"}},
    }
    second = {f"v2-shared-{name}": {"tables": {"t": packed}} for name, packed in shared_samples().items()}
    second["v2-mixed"] = {"tables": {"user": shared_samples()["mean-of-two"], "item": dense(4, 6)}}
    third = {f"v3-{name}": {"tables": {"t": packed}} for name, packed in product_samples().items()}
    kinds = {f"quantized-{name}": packed for name, packed in quantized_samples().items()} | tiered_samples()
    fourth = {f"v4-{name}": {"tables": {"t": packed}} for name, packed in kinds.items()}
    fourth["v4-mixed"] = {
        "tables": {"user": sparse(), "item": quantized_samples()["scalar-2-bit"], "old": scaled(5, 3, 2)},
        "vocabularies": {"user": np.arange(11) * 5},
    }
    return first | second | third | fourth


def golden_pair():
    """Two artifacts whose delta has gaps and marks, codes, values and rows, and arrays that are replaced or grow."""
    rng = np.random.default_rng(0)
    table = shared([(9, 4, 32)], [(0, 0, "stored", 1.0)], num=200, dim=4)
    old = {"tables": {"t": table, "u": scaled(30, 4, 5)}, "tensors": {"w": np.arange(64), "v": np.arange(6)}}
    new = {
        "tables": {"t": follower(table, rng, 0.03, 3), "u": follower(old["tables"]["u"], rng, 0.4, 0)},
        "tensors": {"w": np.arange(64) + 3, "v": np.arange(9), "x": np.ones(2)},
    }
    return {"old": old, "new": new}


if __name__ == "__main__":
    for name, arguments in golden_pair().items():
        print(name, write_artifact(HERE / f"deltas/{name}.safetensors", **arguments))
    print(
        "delta", write_delta(*(HERE / f"deltas/{name}" for name in ("old.safetensors", "new.safetensors", "v1.delta")))
    )
    for name, arguments in golden_files().items():
        print(name, write_artifact(HERE / f"{name}.safetensors", **arguments))
