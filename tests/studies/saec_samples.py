"""The experiments on Saec on a small synthetic click log."""

from __future__ import annotations

from dataclasses import replace

from slimtable.training.ctr_trainer import CTRTrainConfig
from studies.saec.experiments import Panel, Profile, Retraining

DATA = "synthetic-ctr:6000"

WINDOWS = Panel(
    "movietweetings-deepfm",
    "movietweetings",
    "Synthetic, DeepFM",
    DATA,
    "deepfm",
    CTRTrainConfig(batch_size=512, row_learning_rate=0.1),
    windows=3,
)
SPLIT = replace(
    WINDOWS,
    name="ml-1m-dlrm",
    item="ml-1m",
    title="Synthetic, DLRM",
    model="dlrm",
    train=CTRTrainConfig(epochs=2, batch_size=512, row_learning_rate=0.1),
    windows=0,
    retrain=Retraining(epochs=2, decay=0.5),
)


def tiny_profile(seeds: int = 1, name: str = "quick") -> Profile:
    """Both protocols on a small log."""
    return Profile(name, (WINDOWS, SPLIT), seeds)
