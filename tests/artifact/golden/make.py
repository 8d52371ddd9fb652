"""Write the golden files of the current format version: ``python tests/artifact/golden/make.py``.

The files of a version are never written again once it is released: readers must open them for ever.
"""

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from artifact_samples import coded, dense, low_rank, scaled  # noqa: E402

from slimtable.artifact import write_artifact  # noqa: E402


def golden_files():
    """Arguments of ``write_artifact`` by file name: one file per layout, and one that uses the rest of the format."""
    rest = {
        "tables": {"user": dense(4, 2), "item": scaled(5, 3, 8, padding_idx=0)},
        "tensors": {"output.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "steps": np.array(7)},
        "vocabularies": {"user": np.array([30, 10, 40, 20]), "item": ["", "one", "zwei", "три", "四"]},
        "model": {"backbone": "gmf", "metrics": {"ndcg_at_k": 0.25}, "k": [10]},
    }
    return {
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
    }


if __name__ == "__main__":
    for name, arguments in golden_files().items():
        print(name, write_artifact(HERE / f"{name}.safetensors", **arguments))
