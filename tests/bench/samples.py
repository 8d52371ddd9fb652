"""Records made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from slimtable.bench import label_of, parse_methods
from slimtable.embeddings.base import method_of
from slimtable.training.evaluation import MASKS
from slimtable.training.trainer import TrainConfig


def make_record(method: str, seed: int, hit_rate: float, bits: int = 1000, **changes: Any) -> dict[str, Any]:
    """A finished run with HR@10 = ``hit_rate`` and NDCG@10 half of it under every mask."""
    (config,) = parse_methods(method)
    metrics = {"hit_rate@10": hit_rate, "ndcg@10": hit_rate / 2, "mrr": 0.1}
    metrics |= {f"hit_rate@10/{group}": hit_rate for group in ("head", "torso", "tail")}
    train = {name: value for name, value in TrainConfig(epochs=2).to_dict().items() if name != "seed"}
    return {
        "label": label_of(config),
        "data": "ml-1m",
        "fingerprint": "0123456789abcdef",
        "counts": {"users": 60, "items": 34, "train": 900, "valid": 60, "test": 60},
        "split": "leave-two-out",
        "backbone": "gmf",
        "train": train,
        "method": method_of(config).method,
        "method_config": config.to_dict(),
        "seed": seed,
        "compressed_after_training": method_of(config).post_training,
        "bits": bits,
        "full_bits": 4000,
        "size_percent": 100 * bits / 4000,
        "embedding_bits": bits,
        "embedding_compression_ratio": 4000 / bits,
        "metrics": {epoch: dict.fromkeys(MASKS, metrics) for epoch in ("last", "best")},
        "best_epoch": 2,
        "seconds_per_epoch": 1.0,
        "penalty": 0.0,
        "curve": [{"epoch": epoch, "loss": 0.5, "hit_rate@10": 0.1 * epoch, "ndcg@10": 0.05} for epoch in (1, 2)],
        "date": "2026-11-21T06:00:00+00:00",
        "versions": {"slimtable": "0.1.0", "torch": "2.13.0"},
        "cpu": "a processor (2 cores)",
        **changes,
    }


def write_records(out: Path, *records: dict[str, Any]) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return out
