"""The experiments on Saec on a small synthetic click log."""

from __future__ import annotations

from dataclasses import replace

from slimtable.training.ctr_trainer import CTRTrainConfig
from studies import Saec
from studies.saec.experiments import Panel, Retraining

DATA = "synthetic-ctr:6000"

WINDOWS = Panel(
    "movietweetings-deepfm",
    "Synthetic, DeepFM",
    DATA,
    "deepfm",
    CTRTrainConfig(batch_size=512, row_learning_rate=0.1),
    seeds=1,
    windows=3,
)
SPLIT = replace(
    WINDOWS,
    name="ml-1m-dlrm",
    title="Synthetic, DLRM",
    model_name="dlrm",
    train=CTRTrainConfig(epochs=2, batch_size=512, row_learning_rate=0.1),
    windows=0,
    retrain=Retraining(epochs=2, decay=0.5),
)


def tiny_study() -> Saec:
    """Both protocols on a small log, one seed."""
    return Saec("quick", (WINDOWS, SPLIT), 1)
