"""Compression of a trained CTR model to a budget."""

from __future__ import annotations

from collections.abc import Sequence

from slimtable.budget import bits_of_budget
from slimtable.data.clicks.clicks import Clicks
from slimtable.methods.saec import SaecConfig
from slimtable.models.ctr import CTRModel
from slimtable.training.field_allocation import allocate
from slimtable.training.field_compression import compress_fields, decoded
from slimtable.training.sensitivity import measure_sensitivity


def compress_to_budget(
    model: CTRModel,
    clicks: Clicks,
    budget: str,
    config: SaecConfig | None = None,
    *,
    stages: Sequence[int] = (),
    max_row_share: float = 1.0,
    use_sensitivity: bool = True,
) -> CTRModel:
    """Compresses a copy of a trained model by shared rows, so that all tables together keep a budget.

    Measures frequencies and sensitivities on the clicks, allocates the budget to the fields
    (:func:`slimtable.training.field_allocation.allocate`) and clusters every table. Retrain the copy afterwards, with
    labels by :func:`slimtable.training.distillation.soften`.

    Args:
        model: the trained model; not changed.
        clicks: the training clicks of the model, or a sample of them.
        budget: budget of all tables and their maps: a share of the float32 tables such as "3.7%", or bytes such as
            "40MB".
        config: options of every field, except the number of rows; None for rows in 8 bits.
        stages: numbers of residual stages to choose from; empty for that of ``config``.
        max_row_share: largest number of rows of a field, as a share of its ids.
        use_sensitivity: weigh errors by their cost in predictions; if False, squared errors of all fields count alike.

    Returns:
        The compressed copy, which can be trained.

    Raises:
        ValueError: the text is not a budget, or there are no clicks.
        BudgetError: the budget is below one row per field; the message gives the smallest budget.
    """
    tables = model.fields.embeddings()
    sizes = [table.num_embeddings for table in tables.values()]
    frequencies = dict(zip(tables, clicks.counts(sizes), strict=True))
    sensitivity = measure_sensitivity(model, clicks) if use_sensitivity else None
    configs = allocate(
        {field: decoded(table).cpu().numpy() for field, table in tables.items()},
        frequencies,
        bits_of_budget(budget, model.fields.dense_bits()),
        config if config is not None else SaecConfig(row_bits=8),
        sensitivity=sensitivity,
        stages=stages,
        max_row_share=max_row_share,
    )
    return compress_fields(model, configs, frequencies, sensitivity=sensitivity)
