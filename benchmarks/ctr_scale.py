"""Seconds and memory of training and compressing a CTR model whose fields have 10 million values together.

    python benchmarks/ctr_scale.py [--rows 22000000] [--users 15000000] [--items 6000000] [--write PAGE] [--json FILE]

The log is synthetic (``synthetic-ctr``) and made on the way. A DeepFM with vectors of 16 is trained on all rows but the
last two percent in one pass, measured on these, compressed by Saec to 1/27 of its tables, trained on soft labels for a
tenth of the rows, measured again, packed and verified. Peak memory is the operating system's account of this process.
"""

import argparse
import datetime
import json
import os
import platform
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch

from slimtable import verify_artifact
from slimtable.bench.machine import cpu_name
from slimtable.data.clicks.vocabulary import Vocabularies
from slimtable.data.clicks.windows import concatenate_clicks
from slimtable.data.datasets.synthetic_ctr import make_synthetic_clicks
from slimtable.methods.saec import SaecConfig
from slimtable.models.ctr import build_ctr_model
from slimtable.training.ctr_trainer import CTRTrainConfig, CTRTrainer, evaluate_clicks
from slimtable.training.distillation import soften
from slimtable.training.field_allocation import allocate
from slimtable.training.field_compression import compress_fields, field_bits
from slimtable.training.packing import pack_model
from slimtable.training.sensitivity import measure_sensitivity

EMBEDDING_DIM, BATCH, RETRAINED, TESTED = 16, 4096, 0.1, 0.02
SHARE = 1 / 27


class Stages:
    """Seconds of each stage, and the peak memory after it."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        self.lines.append({"stage": name, "seconds": time.perf_counter() - started, "peak_bytes": peak})
        print(f"{name:<46}{self.lines[-1]['seconds']:>9.1f} s   peak {peak / 1e9:5.2f} GB", flush=True)


def measure(rows: int, users: int, items: int) -> dict[str, Any]:
    torch.manual_seed(0)
    stages = Stages()
    dataset = make_synthetic_clicks(rows, sizes={"user": users, "item": items})
    with stages.stage("make the log and count its values"):
        vocabularies = Vocabularies.from_schema(dataset.schema)
        for chunk in dataset.chunks():
            vocabularies.count(chunk)
    with stages.stage("make it again and number its values"):
        clicks = concatenate_clicks([vocabularies.encode(chunk) for chunk in dataset.chunks()])
    sizes = vocabularies.sizes
    cut = round(len(clicks) * (1 - TESTED))
    train, test = clicks.slice(0, cut), clicks.slice(cut, len(clicks))
    counts = dict(zip(sizes, train.counts(list(sizes.values())), strict=True))
    model = build_ctr_model("deepfm", sizes, train.numeric.shape[1], EMBEDDING_DIM)
    config = CTRTrainConfig(batch_size=BATCH, row_learning_rate=0.05)
    with stages.stage(f"train on {len(train):,} rows"):
        CTRTrainer(model, config).fit(train)
    full = evaluate_clicks(model, test)
    with stages.stage("measure sensitivities"):
        sensitivity = measure_sensitivity(model, train)
    with stages.stage("split the budget over fields"):
        tables = {field: table.weight.numpy() for field, table in model.fields.embeddings().items()}
        configs = allocate(
            tables, counts, SHARE * model.fields.dense_bits(), SaecConfig(row_bits=8), sensitivity=sensitivity
        )
        del tables
    with stages.stage("compress"):
        small = compress_fields(model, configs, counts, sensitivity=sensitivity)
    before = evaluate_clicks(small, test)
    part = train.slice(cut - round(RETRAINED * cut), cut)
    with stages.stage(f"train on soft labels of {len(part):,} rows"):
        retraining = CTRTrainConfig(batch_size=BATCH, learning_rate=3e-4, row_optimizer="adam", row_learning_rate=1e-3)
        CTRTrainer(small, retraining).fit(soften(part, model))
    after = evaluate_clicks(small, test)
    with tempfile.TemporaryDirectory() as folder, stages.stage("pack and verify"):
        path = Path(folder) / "model.safetensors"
        file_bytes = pack_model(small, path)
        verify_artifact(path)
    sized = field_bits(small)
    return {
        "command": f"benchmarks/ctr_scale.py --rows {rows} --users {users} --items {items}",
        "rows": rows,
        "values": {field: size - 1 for field, size in sizes.items()},
        "vectors": sized.num_vectors,
        "dense_bytes": sized.dense_bits // 8,
        "bytes": sized.total // 8,
        "file_bytes": file_bytes,
        "ratio": sized.compression_ratio,
        "full": full,
        "before": before,
        "after": after,
        "stages": stages.lines,
        "date": datetime.date.today().isoformat(),
        "machine": cpu_name(),
        "threads": torch.get_num_threads(),
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "numba": numba.__version__,
            "torch": torch.__version__,
        },
    }


def page(result: dict[str, Any]) -> str:
    values = sum(result["values"].values())
    lines = [
        "# Ten million values: seconds and memory",
        "",
        f"`python {result['command']}` on {result['date']}: {result['machine']}, "
        f"{result['threads']} threads; " + ", ".join(f"{name} {v}" for name, v in result["versions"].items()) + ".",
        "",
        f"DeepFM, d = {EMBEDDING_DIM}, {values:,} values in {len(result['values'])} fields ("
        + ", ".join(f"{field} {size:,}" for field, size in result["values"].items())
        + f"), {result['rows']:,} rows of `synthetic-ctr`, one pass, batches of {BATCH:,}.",
        "",
        "| stage | seconds | peak memory so far |",
        "|---|---:|---:|",
        *(f"| {s['stage']} | {s['seconds']:.1f} | {s['peak_bytes'] / 1e9:.2f} GB |" for s in result["stages"]),
        f"| together | {sum(s['seconds'] for s in result['stages']):.0f} | |",
        "",
        "| model | bytes of the tables | vectors | AUC | log loss |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, key in (("uncompressed", "full"), ("Saec before retraining", "before"), ("Saec after it", "after")):
        size, vectors = (
            (result["dense_bytes"], values + len(result["values"]))
            if key == "full"
            else (result["bytes"], result["vectors"])
        )
        scores = result[key]
        lines.append(f"| {name} | {size:,} | {vectors:,} | {scores['auc']:.4f} | {scores['log_loss']:.4f} |")
    lines += [
        "",
        f"{result['ratio']:.1f}× smaller, all maps counted; the packed model is {result['file_bytes']:,} bytes.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=22_000_000)
    parser.add_argument("--users", type=int, default=15_000_000)
    parser.add_argument("--items", type=int, default=6_000_000)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--write", type=Path, help="write a page of Markdown")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores")
    result = measure(arguments.rows, arguments.users, arguments.items)
    text = page(result)
    print(text)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    if arguments.write:
        arguments.write.write_text(text)


if __name__ == "__main__":
    main()
