"""Run the periodic loop on hours of made-up clicks, one with flipped labels, and read what it published.

Run it with `python examples/hourly_loop.py`; it takes some seconds. `slimtable pipeline run` does the same from a file
of settings, waits for new hours with `--follow`, and may be killed at any moment.
"""

import tempfile
from pathlib import Path

from slimtable import open_artifact
from slimtable.artifact.delta import apply_delta
from slimtable.data.clicks.writer import write_windows
from slimtable.data.datasets import make_synthetic_clicks
from slimtable.pipeline import PipelineSettings, run_pipeline

with tempfile.TemporaryDirectory() as folder:
    hours, state = Path(folder) / "hours", Path(folder) / "state"
    write_windows(make_synthetic_clicks(48_000, windows=6), hours, poison=[3])  # a file an hour, and schema.yaml
    settings = {
        "state": state,
        "data": {"path": hours},
        "train": {"epochs": 2, "batch_size": 256, "row_learning_rate": 0.1},
        "compress": {"method": "saec", "budget": "20%"},
        "gate": {"max_auc_drop": 0.03, "max_log_loss_rise": 0.03, "calibration": None},
    }
    for record in run_pipeline(PipelineSettings.model_validate(settings)):
        found, verdict = record["metrics"]["retrained"], record["verdict"]["decision"]
        print(f"hour {record['window']}: AUC {found['auc']:.3f} on the next, {record['bytes']:,} bytes: {verdict}")

    published = state / "published"
    served = (published / "current").resolve()  # once; the pointer may move while a reader opens several files
    new = Path(folder) / "new.safetensors"  # made of the version that meta.json names, the one before
    apply_delta(published / "v00001" / "model.safetensors", served / "delta.safetensors", new)
    same = new.read_bytes() == (served / "model.safetensors").read_bytes()
    print(f"{served.name} is served; the version before it and the delta make the same file: {same}")
    with open_artifact(served / "model.safetensors") as artifact:  # this needs no PyTorch
        shop = artifact["shop"]
        print("rows of two shops:", shop.lookup(shop.ids_of(["shop-3", "shop-67"])).shape)
