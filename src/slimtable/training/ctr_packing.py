"""A CTR model as one file, and back: frozen tables that predict the same, bit for bit."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slimtable.artifact.file import ArtifactFile, read_artifact, verify_artifact, write_artifact
from slimtable.artifact.vocabulary import Strings
from slimtable.embeddings.frozen import FrozenEmbedding
from slimtable.embeddings.modes import evaluating
from slimtable.embeddings.tensors import to_array
from slimtable.errors import ArtifactFormatError
from slimtable.models.ctr import CTRModel, get_ctr_model
from slimtable.models.parts.fields import FieldTables
from slimtable.training.packing import with_padding


def pack_ctr_model(
    model: CTRModel,
    path: str | Path,
    vocabularies: Mapping[str, Any] | None = None,
    about: dict[str, Any] | None = None,
) -> int:
    """Writes everything that serving a CTR model needs into one file, atomically; equal models give equal bytes.

    Args:
        model: its tables are packed under the names of their fields, its other parameters as plain tensors.
        path: the file, by custom ``.safetensors``.
        vocabularies: by field the raw ids, integers or texts, of all its ids; or of those from 1 on, and then id 0, the
            out-of-vocabulary value, gets one that nothing has: -2⁶³, or "<oov>" among texts (or, should that be
            taken, the next number or a longer text).
        about: JSON values to keep with the model, such as its metrics.

    Returns:
        Size of the file in bytes.

    Raises:
        ArtifactValueError: a value is NaN or infinite.
        ValueError: a vocabulary does not fit its table, or a field has a name that a table in a file cannot have.
    """
    tables = model.fields.embeddings()
    with evaluating(model):
        packed = {field: table.pack() for field, table in tables.items()}
    raw_ids = {}
    for field, values in (vocabularies or {}).items():
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
    return write_artifact(
        path,
        packed,
        tensors={name: to_array(parameter) for name, parameter in _others(model).items()},
        vocabularies=raw_ids,
        model={
            "click_model": model.name,
            "click_model_config": model.config.to_dict(),
            "fields": list(tables),
            "num_integers": model.num_integers,
            **(about or {}),
        },
    )


def load_ctr_model(path: str | os.PathLike[str], *, verify: bool = False) -> CTRModel:
    """The model in a packed file, predicting from the packed tables: codes stay codes in memory.

    Args:
        path: what :func:`pack_ctr_model` wrote.
        verify: also check every byte against its checksum.

    Returns:
        The model in evaluation mode; nothing in it can be trained.

    Raises:
        FileNotFoundError: there is no such file.
        ArtifactError: the file cannot be trusted, holds no CTR model, or one that is not known here.
    """
    opened = verify_artifact(path) if verify else read_artifact(path)
    try:
        return _model_of(opened)
    except (ValueError, TypeError, RuntimeError) as error:  # the last where options ask for absurd sizes
        reason = str(error).split("\n")[0]
        raise ArtifactFormatError(f"`{opened.path}` holds no CTR model that can be used: {reason}") from error


def _model_of(opened: ArtifactFile) -> CTRModel:
    """The model in an open file; raises ValueError or TypeError where its parts do not fit together."""
    about = opened.model
    name, options, integers = (about.get(key) for key in ("click_model", "click_model_config", "num_integers"))
    if not isinstance(name, str) or not isinstance(options, dict):
        raise ValueError("it names no CTR model. Look its tables up with `open_artifact`.")
    if not isinstance(integers, int) or not 0 <= integers <= 1 << 20:
        raise ValueError(f"`num_integers` must be a count of columns, got {integers!r}.")
    fields = about.get("fields")
    if not isinstance(fields, list) or sorted(map(str, fields)) != sorted(opened.tables):
        raise ValueError("its fields are not its tables.")
    cls = get_ctr_model(name)
    with torch.random.fork_rng(devices=[]):
        tables = FieldTables({field: FrozenEmbedding(opened.tables[field]) for field in fields})
        model = cls(tables, integers, cls.config_class.from_dict(options))
    parameters = _others(model)
    if set(parameters) != set(opened.tensors):
        differing = sorted(set(parameters) ^ set(opened.tensors))
        raise ValueError(f"its tensors are not those of the model ({', '.join(differing[:3])}).")
    for key, parameter in parameters.items():
        values = opened.tensors[key]
        if values.shape != tuple(parameter.shape):
            raise ValueError(f"tensor {key} has shape {values.shape} instead of {tuple(parameter.shape)}.")
        parameter.data = torch.from_numpy(values.copy()).to(parameter.dtype)
    return model.requires_grad_(False).eval()


def _others(model: CTRModel) -> dict[str, torch.nn.Parameter]:
    """The parameters outside the tables, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if not name.startswith("fields.")}
