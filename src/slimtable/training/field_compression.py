"""Compressed copies of CTR models, and the sizes of their tables."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from slimtable.embeddings.base import EmbeddingTable, MethodConfig, method_of
from slimtable.embeddings.modes import evaluating
from slimtable.embeddings.table import stored_rows
from slimtable.errors import BudgetError
from slimtable.models.ctr import CTRModel
from slimtable.models.parts.fields import FieldTables


def compress_fields(
    model: CTRModel,
    configs: Mapping[str, MethodConfig],
    frequencies: Mapping[str, np.ndarray] | None = None,
    *,
    previous: CTRModel | None = None,
    sensitivity: Mapping[str, np.ndarray] | None = None,
) -> CTRModel:
    """Returns a copy of a trained model with compressed tables, which can be trained.

    Args:
        model: the trained model; not changed.
        configs: method configuration of each field; the tables of other fields are copied.
        frequencies: by field, (ids,) count of each id, for methods that use them.
        previous: an earlier compressed model of the same fields, for methods that warm-start from its tables.
        sensitivity: by field, the cost of errors in its vectors, from
            :func:`slimtable.training.sensitivity.measure_sensitivity`, for methods that use it.

    Returns:
        The copy; it shares no memory with the model.

    Raises:
        ValueError: a field is unknown, or its table cannot be compressed as asked.
        BudgetError: the budget of a field is too small; the message names the field.
    """
    tables = model.fields.embeddings()
    for what, named in (("configs", configs), ("frequencies", frequencies or {}), ("sensitivity", sensitivity or {})):
        if unknown := sorted(set(named) - set(tables)):
            raise ValueError(f"`{what}` names {', '.join(unknown)}, but the fields are {', '.join(tables)}.")
    before = {} if previous is None else previous.fields.embeddings()
    compressed: dict[str, EmbeddingTable] = {}
    for field, table in tables.items():
        if field not in configs:
            compressed[field] = copy.deepcopy(table)
            continue
        counts, cost = (frequencies or {}).get(field), (sensitivity or {}).get(field)
        try:
            compressed[field] = method_of(configs[field]).from_table(
                decoded(table),
                configs[field],
                frequencies=None if counts is None else torch.from_numpy(_signed(np.asarray(counts))),
                previous=before.get(field),
                metric=None if cost is None else torch.from_numpy(np.asarray(cost)),
            )
        except (ValueError, BudgetError) as error:
            raise type(error)(f"The table of field {field} cannot be compressed as asked: {error}") from error
    # The copy gets the new tables instead of copies of the old ones, which may be large.
    return copy.deepcopy(model, {id(model.fields): FieldTables(compressed)})


@dataclass(frozen=True)
class FieldBits:
    """Sizes of the tables of a model.

    Attributes:
        bits: bits of the table of each field, as served.
        vectors: number of rows stored for each field.
        dense_bits: bits of all tables in float32.
        other_bits: bits of the parameters outside the tables in float32.
    """

    bits: dict[str, int]
    vectors: dict[str, int]
    dense_bits: int
    other_bits: int

    @property
    def total(self) -> int:
        """Bits of all tables."""
        return sum(self.bits.values())

    @property
    def num_vectors(self) -> int:
        """Number of rows stored for all fields."""
        return sum(self.vectors.values())

    @property
    def compression_ratio(self) -> float:
        """Bits in float32 divided by bits served, maps and codes included."""
        return self.dense_bits / self.total


def field_bits(model: CTRModel) -> FieldBits:
    """Measures the tables of a model."""
    tables = model.fields.embeddings()
    others = (parameter for name, parameter in model.named_parameters() if not name.startswith("fields."))
    return FieldBits(
        bits={field: table.bits() for field, table in tables.items()},
        vectors={field: table.num_vectors() for field, table in tables.items()},
        dense_bits=model.fields.dense_bits(),
        other_bits=sum(32 * parameter.numel() for parameter in others),
    )


def _signed(counts: np.ndarray) -> np.ndarray:
    """Counts as a type that PyTorch can compare, which excludes uint64."""
    return counts.astype(np.float64) if counts.dtype.kind == "u" else counts


def decoded(table: EmbeddingTable) -> Tensor:
    """The table (N, width) as it is served; not a copy if it is stored uncompressed, since it may be large."""
    with evaluating(table):
        stored = stored_rows(table)
        return stored[0].detach() if stored is not None and stored[1] is None else table.weight
