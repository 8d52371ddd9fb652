"""A reproduction that takes seconds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from slimtable.training.trainer import TrainConfig
from studies import MGQE
from studies.mgqe.experiments import FULL_PANELS, Panel, Points
from tests.bench.samples import make_record

DATA = "synthetic:1500"
POINTS = Points(dims=(8,), bits=(2,), ranks=(8,), codebooks=(8,))


def tiny_study(seeds: int = 1) -> MGQE:
    """All panels, one epoch each, on synthetic data where the data is MovieLens."""
    train = TrainConfig(epochs=1, batch_size=1024, learning_rate=0.01, evaluate_every=0)

    def shrunk(panel: Panel) -> Panel:
        data = DATA if panel.data == "ml-1m" else panel.data
        small = "mgqe[preset=compact;dense_epochs=1]"
        seeded = replace(panel.seeded(seeds), compact=small, trained_compact=small, trained_epochs=2)
        return replace(seeded, data=data, train=train, points=POINTS)

    return MGQE("quick", tuple(map(shrunk, FULL_PANELS)))


def record_of(panel: Panel, method: str, seed: int, value: float, bits: int = 1000, **changes: Any) -> dict[str, Any]:
    """A finished run of a panel, made by hand: HR@10, or RMSE, is ``value``."""
    train = {name: setting for name, setting in panel.train.to_dict().items() if name != "seed"}
    record = make_record(method, seed, value, bits, data=panel.data, backbone=panel.model_name, train=train, **changes)
    if panel.model_name == "item_gmf":
        record["metrics"] = {"last": {"all": {"rmse": value, "mae": value / 2}}, "best": None}
        record["curve"] = [{"epoch": 1, "loss": value**2}]
    return record


def make_movies(folder: Path, genres: list[str]) -> Path:
    """A list of films, ids from 0, as MovieLens writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{film}::A film called é (2000)::{names}" for film, names in enumerate(genres)]
    (folder / "movies.dat").write_text("\n".join(lines) + "\n", encoding="latin-1")
    return folder
