"""Growing the tables of a model for new values, together with the optimizer state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch

from slimtable.embeddings.base import CompressedEmbedding, Growable
from slimtable.models.ctr import CTRModel
from slimtable.training.ctr_trainer import CTRTrainer


def grow_(
    model: CTRModel,
    field_sizes: Mapping[str, int],
    init: Literal["default", "normal"] = "default",
    trainer: CTRTrainer | None = None,
) -> None:
    """Adds rows for new ids at the end of the tables, in place.

    This replaces the parameters of the tables: optimizers other than that of ``trainer`` no longer train them.

    Args:
        model: the tables that grow must be of a method that supports it, such as ``full``.
        field_sizes: new number of ids by field; fields that are not named do not change.
        init: "default" copies the OOV row, id 0; "normal" draws new rows as in a fresh table, from PyTorch's generator.
        trainer: trainer of the model, to be continued; its state for new rows is fresh.

    Raises:
        TypeError: a table that would grow does not support it.
        ValueError: a field is unknown, or would shrink. On errors no table changes.
    """
    if init not in ("default", "normal"):
        raise ValueError(f"`init` must be 'default' or 'normal', got {init!r}.")
    tables = model.fields.embeddings()
    if unknown := sorted(set(field_sizes) - set(tables)):
        raise ValueError(f"`field_sizes` names {', '.join(unknown)}, but the fields are {', '.join(tables)}.")
    growing = {field: size for field, size in field_sizes.items() if size != tables[field].num_embeddings}
    for field, size in growing.items():
        if size < tables[field].num_embeddings:
            raise ValueError(f"Field {field} has {tables[field].num_embeddings} ids and cannot shrink to {size}.")
        if not isinstance(tables[field], Growable):
            raise TypeError(
                f"The table of field {field} is of method {tables[field].method} and cannot grow. Grow the "
                "uncompressed model, and compress that."
            )
    for field, size in growing.items():
        table = tables[field]
        rows = None
        if init == "default":
            first = table(torch.zeros(1, dtype=torch.int64, device=table.device)).detach()
            rows = first.expand(size - table.num_embeddings, -1)
        assert isinstance(table, CompressedEmbedding)
        assert isinstance(table, Growable)
        before = table.row_parameters()
        table.grow_(size, rows)
        if trainer is not None:
            for old, new in zip(before, table.row_parameters(), strict=True):
                trainer.replace_rows_(old, new)
