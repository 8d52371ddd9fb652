"""Models after training: restored from a run folder, packed into one file, and loaded from that file."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from slimtable.artifact.file import ArtifactFile, read_artifact, verify_artifact, write_artifact
from slimtable.artifact.vocabulary import Strings
from slimtable.embeddings.frozen import FrozenEmbedding
from slimtable.embeddings.modes import evaluating
from slimtable.errors import ArtifactFormatError, CheckpointError
from slimtable.models.base import Ranker, Recommender, build, get_ranker
from slimtable.models.ctr import CTRModel, get_ctr_model
from slimtable.models.parts.fields import FieldTables
from slimtable.training.run_folder import CHECKPOINT, SETTINGS, VOCABULARIES, load_checkpoint, load_settings
from slimtable.training.table_budget import configs_of

_PADDING_TEXT = "<padding>"
_PADDING_NUMBER = int(np.iinfo(np.int64).min)


@dataclass(frozen=True)
class RestoredRun:
    """A trained model with its vocabularies and settings.

    Attributes:
        model: the recommender, in evaluation mode.
        vocabularies: raw id of each "user" and "item" id.
        identity: model, method and training settings of the run folder.
        epoch: epoch of the parameters.
    """

    model: Ranker
    vocabularies: dict[str, np.ndarray]
    identity: dict[str, Any]
    epoch: int


def restore_run(folder: str | Path, epoch: Literal["last", "best"] | None = None) -> RestoredRun:
    """Loads the model of a run folder; needs neither the data nor a finished run.

    Args:
        folder: folder written by ``train(..., out=folder)``.
        epoch: the last epoch of the checkpoint, or the best on the validation part; None for the one that training
            returns: the best if there is patience and a validation, else the last.

    Returns:
        The run.

    Raises:
        CheckpointError: the folder holds no run or no suitable epoch, or is damaged.
    """
    folder = Path(folder)
    for name in (SETTINGS, VOCABULARIES, CHECKPOINT):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} is not a run with a finished epoch: it has no {name}.")
    identity, checkpoint = load_settings(folder / SETTINGS), load_checkpoint(folder / CHECKPOINT)
    if epoch is None:
        epoch = "best" if identity["train"].get("patience") and checkpoint["best_state"] is not None else "last"
    if epoch == "best" and checkpoint["best_state"] is None:
        raise CheckpointError(f"{folder} has no best epoch, because there was no validation. Use the last one.")
    try:
        with np.load(folder / VOCABULARIES, allow_pickle=False) as saved:
            vocabularies = {side: saved[side] for side in ("user", "item")}
        model = build(
            identity["backbone"],
            len(vocabularies["user"]),
            len(vocabularies["item"]),
            identity["train"]["embedding_dim"],
            configs_of(identity),
            get_ranker(identity["backbone"]).config_class.from_dict(identity["backbone_config"]),
            restoring=True,
        )
        model.load_state_dict(checkpoint["model"] if epoch == "last" else checkpoint["best_state"])
    except Exception as error:  # inconsistent files fail in many ways
        reason = str(error).split("\n")[0]
        raise CheckpointError(f"{folder} is damaged: its files do not fit together ({reason}).") from error
    number = len(checkpoint["history"]) if epoch == "last" else checkpoint["best_epoch"]
    return RestoredRun(model.eval(), vocabularies, identity, number)


def pack_model(
    model: Recommender,
    path: str | Path,
    vocabularies: Mapping[str, Any] | None = None,
    about: dict[str, Any] | None = None,
) -> int:
    """Writes a recommender to one file, atomically; equal models give equal bytes.

    Args:
        model: a ranker or a CTR model; its tables are packed under their names ("user", "item", …, or those of the
            fields), its other parameters as plain tensors.
        path: path of the file, usually ``.safetensors``.
        vocabularies: raw ids, stored beside the tables. For a ranker: those of each "user" and "item" id; a padding row
            gets an unused raw id, -2⁶³ or "<padding>". For a CTR model: by field those of all ids, or of the ids from 1
            on; then the OOV id 0 gets an unused one, -2⁶³ or "<oov>". If these are in use, the next number or a longer
            text.
        about: JSON values to store with the model, such as its metrics.

    Returns:
        Size of the file in bytes.

    Raises:
        ArtifactValueError: a value is NaN or infinite.
        ValueError: a vocabulary does not fit its tables, or the name of a field is not a valid table name.
    """
    with evaluating(model):
        tables = {name: embedding.pack() for name, embedding in model.embeddings().items()}
    if isinstance(model, CTRModel):
        raw_ids = _raw_ids_of_fields(model, vocabularies or {})
        described: dict[str, Any] = {
            "click_model": model.name,
            "click_model_config": model.config.to_dict(),
            "fields": list(tables),
            "num_integers": model.num_numeric,
        }
    else:
        assert isinstance(model, Ranker)
        raw_ids = {} if vocabularies is None else _raw_ids_of_sides(model, vocabularies)
        described = {"backbone": model.name, "backbone_config": model.config.to_dict()}
    return write_artifact(
        path,
        tables,
        tensors=model.dense_tensors(),
        vocabularies=raw_ids,
        model={**described, **(about or {})},
    )


def load_model(path: str | os.PathLike[str], *, verify: bool = False) -> Recommender:
    """Loads the recommender of a packed file; its tables stay packed in memory.

    Args:
        path: file written by :func:`pack_model`, ``slimtable train``, ``slimtable pack`` or the pipeline.
        verify: also check every byte against its checksum.

    Returns:
        The ranker or CTR model in evaluation mode. Its tables are
        :class:`slimtable.embeddings.frozen.FrozenEmbedding`, so it cannot be trained; ``scorer``, ``evaluate``
        and ``predict`` work as for the trained model.

    Raises:
        FileNotFoundError: there is no such file.
        ArtifactError: the file is damaged, or holds no recommender or an unknown one.
    """
    opened = verify_artifact(path) if verify else read_artifact(path)
    try:
        return _ctr_model_of(opened) if "click_model" in opened.model else _ranker_of(opened)
    except (ValueError, TypeError, RuntimeError) as error:  # RuntimeError if options demand absurd sizes
        reason = str(error).split("\n")[0]
        raise ArtifactFormatError(f"`{opened.path}` holds no valid recommender: {reason}") from error


def _raw_ids_of_sides(model: Ranker, vocabularies: Mapping[str, Any]) -> dict[str, Any]:
    """Raw ids of each table of a ranker, from the vocabularies of users and items."""
    embeddings, by_table = model.embeddings(), {}
    users, items = len(vocabularies["user"]), len(vocabularies["item"])
    width = next(iter(embeddings.values())).embedding_dim  # the first table of every ranker is of full width
    for spec in model.table_specs(users, items, width, model.config):
        if embeddings[spec.name].num_embeddings != spec.num_embeddings:
            raise ValueError(
                f"Table {spec.name} has {embeddings[spec.name].num_embeddings} rows, which does not fit a "
                f"vocabulary of {len(vocabularies[spec.side])} {spec.side}s."
            )
        raw_ids: np.ndarray | Strings = np.asarray(vocabularies[spec.side])
        if spec.padding_idx is not None and spec.num_embeddings > len(raw_ids):
            raw_ids = with_padding(raw_ids, spec.padding_idx)
        by_table[spec.name] = raw_ids
    return by_table


def _raw_ids_of_fields(model: CTRModel, vocabularies: Mapping[str, Any]) -> dict[str, Any]:
    """Raw ids of each table of a CTR model, including the OOV id."""
    tables, raw_ids = model.embeddings(), {}
    for field, values in vocabularies.items():
        if field not in tables:
            raise ValueError(f"`vocabularies` names {field}, but the fields are {', '.join(tables)}.")
        missing = tables[field].num_embeddings - len(values)
        if missing not in (0, 1):
            raise ValueError(
                f"The table of field {field} has {tables[field].num_embeddings} rows, which does not fit a vocabulary "
                f"of {len(values)} values."
            )
        known = values if isinstance(values, Strings) else np.asarray(values)
        raw_ids[field] = with_padding(known, 0, "<oov>") if missing else values
    return raw_ids


def _ranker_of(opened: ArtifactFile) -> Ranker:
    """The ranker in an open file; raises ValueError or TypeError if its parts are inconsistent."""
    name, options = opened.model.get("backbone"), opened.model.get("backbone_config")
    if not isinstance(name, str) or not isinstance(options, dict):
        raise ValueError("it names no model. Look its tables up with `open_artifact`.")
    cls = get_ranker(name)
    tables = {f"{table}_embedding": FrozenEmbedding(packed) for table, packed in opened.tables.items()}
    arguments = {**tables, "config": cls.config_class.from_dict(options)}
    inspect.signature(cls).bind(**arguments)  # raises TypeError if a table is missing or unknown
    with torch.random.fork_rng():
        model = cls(**arguments)
    _check_sizes(model)
    _load_tensors(model, opened.tensors)
    return model.requires_grad_(False).eval()


def _ctr_model_of(opened: ArtifactFile) -> CTRModel:
    """The CTR model in an open file; raises ValueError or TypeError if its parts are inconsistent."""
    about = opened.model
    name, options, integers = (about.get(key) for key in ("click_model", "click_model_config", "num_integers"))
    if not isinstance(name, str) or not isinstance(options, dict):
        raise ValueError("it names no model. Look its tables up with `open_artifact`.")
    if not isinstance(integers, int) or not 0 <= integers <= 1 << 20:
        raise ValueError(f"`num_integers` must be a count of columns, got {integers!r}.")
    fields = about.get("fields")
    if not isinstance(fields, list) or sorted(map(str, fields)) != sorted(opened.tables):
        raise ValueError("its fields are not its tables.")
    cls = get_ctr_model(name)
    with torch.random.fork_rng(devices=[]):
        tables = FieldTables({field: FrozenEmbedding(opened.tables[field]) for field in fields})
        model = cls(tables, integers, cls.config_class.from_dict(options))
    _load_tensors(model, opened.tensors)
    return model.requires_grad_(False).eval()


def _check_sizes(model: Ranker) -> None:
    """Raises ValueError if tables of the same users or items differ in length."""
    embeddings = model.embeddings()
    width = next(iter(embeddings.values())).embedding_dim
    lengths: dict[str, set[int]] = {}
    for spec in model.table_specs(0, 0, width, model.config):  # with no users and items, only padding rows remain
        lengths.setdefault(spec.side, set()).add(embeddings[spec.name].num_embeddings - spec.num_embeddings)
    for side, found in lengths.items():
        if len(found) > 1:
            raise ValueError(f"its tables are of {' and '.join(map(str, sorted(found)))} {side}s.")


def _load_tensors(model: Recommender, tensors: Mapping[str, np.ndarray]) -> None:
    """Replaces the parameters and buffers outside the tables by the tensors of a file."""
    parameters = dict(model.named_parameters())  # frozen tables have none
    buffers = set(model.extra_buffers())
    if {*parameters, *buffers} != set(tensors):
        differing = sorted({*parameters, *buffers} ^ set(tensors))
        raise ValueError(f"its tensors are not those of the model ({', '.join(differing[:3])}).")
    for name, parameter in parameters.items():
        if tensors[name].shape != tuple(parameter.shape):
            raise ValueError(f"tensor {name} has shape {tensors[name].shape} instead of {tuple(parameter.shape)}.")
        parameter.data = torch.from_numpy(tensors[name].copy()).to(parameter.dtype)
    model.load_buffers({name: tensors[name] for name in buffers})


def with_padding(raw_ids: np.ndarray | Strings, row: int, text: str = _PADDING_TEXT) -> np.ndarray | Strings:
    """A vocabulary (n + 1,) with an unused raw id inserted for a row: -2⁶³ or ``text``, or the next unused one."""
    if isinstance(raw_ids, Strings):
        while raw_ids.has(text):
            text += "_"
        return raw_ids.inserted(row, text)
    if raw_ids.dtype.kind in "iu":
        number = _PADDING_NUMBER
        while (raw_ids == number).any():
            number += 1
        return np.insert(raw_ids.astype(np.int64), row, number)
    texts = raw_ids.tolist()
    taken = set(texts)
    while text in taken:
        text += "_"
    return np.array([*texts[:row], text, *texts[row:]], dtype=object)
