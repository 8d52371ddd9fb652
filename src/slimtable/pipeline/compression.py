"""Compression of the tables of all fields: method and options of each, and when to cluster again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import numpy as np
import torch

from slimtable.budget import bits_of_budget
from slimtable.embeddings.base import EmbeddingTable, MethodConfig, create, get_config, method_of
from slimtable.embeddings.modes import evaluating
from slimtable.embeddings.registry import saved_config
from slimtable.errors import BudgetError
from slimtable.models.ctr import CTRModel
from slimtable.pipeline.budget import takes_rows
from slimtable.pipeline.settings import CompressSettings
from slimtable.training.field_allocation import allocate
from slimtable.training.field_compression import decoded, field_bits

_ROWS = 1 << 16  # rows per block
_USED = 0.95  # least part of a budget that warm-started tables must use; below it their sizes are chosen again

Configs = dict[str, MethodConfig]
Arrays = Mapping[str, np.ndarray]


def choose_configs(
    settings: CompressSettings, model: CTRModel, frequencies: Arrays, sensitivity: Arrays | None = None
) -> Configs:
    """Chooses the method and options of every field so that all tables together keep the budget.

    Args:
        settings: the settings of compression.
        model: the uncompressed model.
        frequencies: by field, (ids,) count of each id.
        sensitivity: by field, float (width, width), the cost of errors in its vectors; None if all cost the same.

    Returns:
        A configuration for every field.

    Raises:
        ValueError: a named field does not exist.
        BudgetError: the budget is too small for the fields with methods of their own, or for the others.
    """
    tables = model.fields.embeddings()
    check_fields(settings, tables)
    configs: Configs = {field: own.config for field, own in settings.fields.items()}
    others = [field for field in tables if field not in configs]
    if settings.budget is None:
        return {field: configs.get(field, settings.config) for field in tables}
    left = bits_of_budget(settings.budget, model.fields.dense_bits())
    for field, config in configs.items():
        counts = torch.from_numpy(np.asarray(frequencies[field]))
        left -= create(config, tables[field].num_embeddings, tables[field].embedding_dim, frequencies=counts).bits()
    if left <= 0:
        raise BudgetError(
            f"`compress.budget`={settings.budget} is used up by the fields that have methods of their own."
        )
    if others:
        configs |= _share_out(settings, {field: tables[field] for field in others}, frequencies, sensitivity, left)
    return {field: configs[field] for field in tables}


def check_fields(settings: CompressSettings, fields: Iterable[str]) -> None:
    """Raises ValueError if a field with a method of its own does not exist."""
    if unknown := sorted(set(settings.fields) - set(fields)):
        raise ValueError(f"`compress.fields` names {', '.join(unknown)}, but the fields are {', '.join(fields)}.")


def _share_out(
    settings: CompressSettings,
    tables: Mapping[str, EmbeddingTable],
    frequencies: Arrays,
    sensitivity: Arrays | None,
    bits: float,
) -> Configs:
    config = settings.config
    if takes_rows(config):
        weights = {field: decoded(table).numpy() for field, table in tables.items()}
        counts = {field: np.asarray(frequencies[field]) for field in tables}
        return allocate(
            weights,
            counts,
            bits,
            cast(Any, config),
            sensitivity=sensitivity,
            stages=settings.stages,
            max_row_share=settings.max_row_share,
        )
    share = 100 * bits / sum(table.dense_bits for table in tables.values())
    chosen = get_config(settings.method, {**settings.options, "budget": f"{share:.6f}%"})
    return dict.fromkeys(tables, chosen)


def fits_budget(settings: CompressSettings, model: CTRModel) -> bool:
    """True if the tables of a compressed model keep the budget and use most of it."""
    if settings.budget is None:
        return True
    allowed = bits_of_budget(settings.budget, model.fields.dense_bits())
    return _USED * allowed <= field_bits(model).total <= allowed


@torch.no_grad()
def relative_distortion(
    model: CTRModel, compressed: CTRModel, frequencies: Arrays, sensitivity: Arrays | None = None
) -> float:
    """Squared error of all rows divided by their squared norm, both weighted by frequency.

    Args:
        model: the uncompressed model.
        compressed: a compressed model of the same fields.
        frequencies: by field, (ids,) count of each id.
        sensitivity: by field, float (width, width), the quadratic form of errors and norms; None for plain squares.

    Returns:
        0 for uncompressed tables; 1 for tables of zeros.
    """
    error = length = 0.0
    before, after = model.fields.embeddings(), compressed.fields.embeddings()
    for field, counts in frequencies.items():
        table, small = before[field], after[field]
        cost = torch.eye(table.embedding_dim).double() if sensitivity is None else torch.from_numpy(sensitivity[field])
        with evaluating(table), evaluating(small):
            for ids in torch.arange(table.num_embeddings).split(_ROWS):
                rows = table(ids).double()
                weight = torch.from_numpy(counts[ids.numpy()].astype(np.float64))
                lost = rows - small(ids)
                error += float((((lost @ cost) * lost).sum(dim=1) * weight).sum())
                length += float((((rows @ cost) * rows).sum(dim=1) * weight).sum())
    return error / length if length else 0.0


def format_configs(configs: Configs) -> dict[str, Any]:
    """Configurations as JSON values."""
    return {
        field: {"method": method_of(config).method, "options": config.to_dict()} for field, config in configs.items()
    }


def parse_configs(formatted: Mapping[str, Any]) -> Configs:
    """Configurations from the output of :func:`format_configs`."""
    return {field: saved_config(own["method"], own["options"]) for field, own in formatted.items()}
