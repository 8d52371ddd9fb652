"""A run folder after training: the model back in memory, and packed into one file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from slimtable.artifact.file import write_artifact
from slimtable.backbone import Backbone, build, get_backbone
from slimtable.embedding import get_config
from slimtable.errors import CheckpointError
from slimtable.modes import evaluating
from slimtable.train import CHECKPOINT, SETTINGS, VOCABULARIES, load_checkpoint, load_settings


@dataclass(frozen=True)
class RestoredRun:
    """A trained model and what belongs to it.

    Attributes:
        model: the recommender, in evaluation mode.
        vocabularies: raw id of each "user" and "item" id.
        identity: backbone, method and training settings, as the run folder holds them.
        epoch: the epoch that the parameters are from.
    """

    model: Backbone
    vocabularies: dict[str, np.ndarray]
    identity: dict[str, Any]
    epoch: int


def restore_run(folder: str | Path, epoch: Literal["last", "best"] = "last") -> RestoredRun:
    """Loads the model of a run folder; needs neither the data nor a finished run.

    Args:
        folder: what ``train(..., out=folder)`` wrote.
        epoch: the last finished epoch, or the best one on the validation part.

    Returns:
        The run.

    Raises:
        CheckpointError: the folder holds no run, or no finished or validated epoch, or is damaged.
    """
    folder = Path(folder)
    for name in (SETTINGS, VOCABULARIES, CHECKPOINT):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} is not a run with a finished epoch: it has no {name}.")
    identity, checkpoint = load_settings(folder / SETTINGS), load_checkpoint(folder / CHECKPOINT)
    if epoch == "best" and checkpoint["best_state"] is None:
        raise CheckpointError(f"{folder} has no best epoch, since nothing was ranked for validation. Use the last one.")
    try:
        with np.load(folder / VOCABULARIES, allow_pickle=False) as saved:
            vocabularies = {side: saved[side] for side in ("user", "item")}
        model = build(
            identity["backbone"],
            len(vocabularies["user"]),
            len(vocabularies["item"]),
            identity["train"]["embedding_dim"],
            get_config(identity["method"], identity["method_config"]),
            get_backbone(identity["backbone"]).config_class.from_dict(identity["backbone_config"]),
        )
        model.load_state_dict(checkpoint["model"] if epoch == "last" else checkpoint["best_state"])
    except Exception as error:  # files that do not belong together fail in many ways
        reason = str(error).split("\n")[0]
        raise CheckpointError(f"{folder} is damaged: its files do not fit together ({reason}).") from error
    number = len(checkpoint["history"]) if epoch == "last" else checkpoint["best_epoch"]
    return RestoredRun(model.eval(), vocabularies, identity, number)


def pack_model(
    model: Backbone,
    path: str | Path,
    *,
    vocabularies: dict[str, np.ndarray] | None = None,
    about: dict[str, Any] | None = None,
) -> int:
    """Writes everything that serving a recommender needs into one file, atomically.

    Args:
        model: the recommender; its tables are packed under their names ("user", "item", …), its other parameters
            as plain tensors.
        path: the file, by custom ``.safetensors``.
        vocabularies: raw id of each "user" and "item" id, stored beside the tables of that side; None for none.
        about: JSON values to keep with the model, such as its metrics.

    Returns:
        Size of the file in bytes.

    Raises:
        ArtifactValueError: a value is NaN or infinite.
        ValueError: a vocabulary does not fit its tables.
    """
    embeddings = model.embeddings()
    with evaluating(model):
        tables = {name: embedding.pack() for name, embedding in embeddings.items()}
    by_table = {}
    if vocabularies is not None:
        users, items = len(vocabularies["user"]), len(vocabularies["item"])
        for spec in model.table_specs(users, items, 1, model.config):
            if embeddings[spec.name].num_embeddings != spec.num_embeddings:
                raise ValueError(
                    f"Table {spec.name} has {embeddings[spec.name].num_embeddings} rows, which does not fit a "
                    f"vocabulary of {len(vocabularies[spec.side])} {spec.side}s."
                )
            if spec.num_embeddings == len(vocabularies[spec.side]):  # not so where a row is for padding
                by_table[spec.name] = vocabularies[spec.side]
    return write_artifact(
        path,
        tables,
        tensors=model.dense_tensors(),
        vocabularies=by_table,
        model={"backbone": model.name, "backbone_config": model.config.to_dict(), **(about or {})},
    )
