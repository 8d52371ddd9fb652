"""A reproduction of BACO on synthetic data, with runs made by hand."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from slimtable.bench.labels import label_of
from slimtable.embeddings.base import method_of
from slimtable.training.evaluation import ACTIVITY_QUARTERS, MASKS
from slimtable.training.trainer import TrainConfig
from studies import BACO
from studies.baco.experiments import BACKBONE, Entry
from studies.baco.size import Size
from tests.bench.samples import make_record

DATA = "synthetic:1500"
SIZE = Size(22_363, 12_101, 4_154, 4_113, 64, "0123456789abcdef")
_QUALITY_PER_K = {10: 1.0, 20: 1.4, 50: 2.1}


def tiny_study(seeds: int = 1) -> BACO:
    """All panels on synthetic data, two epochs each."""
    train = TrainConfig.for_model(
        BACKBONE, epochs=2, batch_size=512, learning_rate=0.05, patience=0, evaluate_every=1, embedding_dim=16
    )
    usual = BACO.of(quick=True)
    panels = tuple(replace(panel, data=DATA, split="random", train=train, seeds=seeds) for panel in usual.panels)
    return replace(usual, panels=panels)


def write_sizes(out: Path, size: Size = SIZE, *panels: str) -> Path:
    """What a reproduction keeps of the sizes of its data."""
    out.mkdir(parents=True, exist_ok=True)
    sizes = {panel: asdict(size) for panel in panels or ("beauty", "small_start", "gowalla")}
    (out / "matched-sizes.json").write_text(json.dumps(sizes))
    return out


def record_of(
    study: BACO, entry: Entry, seed: int, recall: float, panel: str = "beauty", **changes: Any
) -> dict[str, Any]:
    """A finished run of a row: capped R@10 is ``recall`` under every mask, NDCG half of it, other k in proportion."""
    about = study.panel(panel)
    config = entry.config(SIZE, seed, about.init_std)
    metrics = {"mrr": 0.1}
    for k, times in _QUALITY_PER_K.items():
        value = times * recall
        metrics |= {f"capped_recall@{k}": value, f"recall@{k}": 0.9 * value, f"ndcg@{k}": value / 2}
        metrics |= {f"capped_recall@{k}/{quarter}": value * (1 + i / 10) for i, quarter in enumerate(ACTIVITY_QUARTERS)}
    width = about.train.embedding_dim if entry.embedding_dim is None else entry.embedding_dim
    train = {**about.train.to_dict(), "embedding_dim": width}
    full = entry.method == "full" or method_of(config).post_training
    parameters = 64 * (34_464 if full else 8_267)
    bits = 32 * parameters
    record = make_record(
        label_of(config),
        seed,
        0.0,
        data=about.data,
        split=about.split,
        backbone=BACKBONE,
        train={name: value for name, value in train.items() if name != "seed"},
        bits=bits,
        full_bits=32 * 64 * 34_464,
        embedding_bits=bits,
        trained_parameters=parameters,
        second_rows=20_000 if entry.method == "baco" else 0,
        metrics={epoch: dict.fromkeys(MASKS, metrics) for epoch in ("last", "best")},
        curve=[],
    )
    return record | changes
