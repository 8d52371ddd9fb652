"""Compressed copies of CTR models, and what their tables weigh."""

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
    """A copy of a trained model over smaller tables, which can be trained on.

    Args:
        model: it stays as it is.
        configs: configuration of the method of each field; the tables of other fields are copied as they are.
        frequencies: by field, (ids,) how often each id occurs, for methods that go by them.
        previous: an earlier compressed model of the same fields, for methods that continue from its tables.
        sensitivity: by field, what errors of its vectors cost, from
            :func:`slimtable.training.sensitivity.measure_sensitivity`, for methods that weigh directions.

    Returns:
        The copy; it shares no memory with the model.

    Raises:
        ValueError: a field is unknown, or its table cannot be compressed as asked.
        BudgetError: the budget of a field does not pay for its fewest rows; names the field.
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
            raise type(error)(f"The table of field {field} cannot be compressed so: {error}") from error
    # The copy takes the new tables where it would have copied the old ones, which may be large.
    return copy.deepcopy(model, {id(model.fields): FieldTables(compressed)})


@dataclass(frozen=True)
class FieldBits:
    """What the tables of a model weigh.

    Attributes:
        bits: of the table of each field, as served.
        vectors: rows that are kept for each field.
        dense_bits: of all tables in float32.
        other_bits: of the parameters outside the tables in float32.
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
        """Rows that are kept for all fields."""
        return sum(self.vectors.values())

    @property
    def compression_ratio(self) -> float:
        """How many times smaller than float32 the tables are, all maps and codes counted."""
        return self.dense_bits / self.total


def field_bits(model: CTRModel) -> FieldBits:
    """What the tables of a model weigh."""
    tables = model.fields.embeddings()
    others = (parameter for name, parameter in model.named_parameters() if not name.startswith("fields."))
    return FieldBits(
        bits={field: table.bits() for field, table in tables.items()},
        vectors={field: table.num_vectors() for field, table in tables.items()},
        dense_bits=model.fields.dense_bits(),
        other_bits=sum(32 * parameter.numel() for parameter in others),
    )


def _signed(counts: np.ndarray) -> np.ndarray:
    """Counts of a type that PyTorch can compare; unsigned ones of 64 bits are not."""
    return counts.astype(np.float64) if counts.dtype.kind == "u" else counts


def decoded(table: EmbeddingTable) -> Tensor:
    """The table (N, width) as it is served, itself where it is stored so: a copy of a large one is worth avoiding."""
    with evaluating(table):
        stored = stored_rows(table)
        return stored[0].detach() if stored is not None and stored[1] is None else table.weight
