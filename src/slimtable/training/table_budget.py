"""Allocation of a budget to the tables of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slimtable.budget import bits_of_budget
from slimtable.embeddings.base import MethodConfig, method_of
from slimtable.embeddings.fitting import fit_budget
from slimtable.embeddings.registry import saved_config
from slimtable.errors import BudgetError
from slimtable.methods.full import FullConfig

Configs = dict[str, MethodConfig]


def fit_tables(
    shapes: Mapping[str, tuple[int, int]],
    config: MethodConfig,
    budget: str,
    frequencies: Mapping[str, Any] | None = None,
) -> MethodConfig | Configs:
    """Chooses the options of every table so that all tables together keep a budget.

    Each table gets a share of the budget in proportion to its float32 bytes, smallest table first; what one does not
    use goes to the next. A table that is too small for the method stays uncompressed, and the others get less.

    Args:
        shapes: num_embeddings and embedding_dim of each table, by name.
        config: options of the method; those that determine its size are chosen here.
        budget: bytes served, such as "4%", "16x" or "3MB".
        frequencies: (num_embeddings,) training counts by table; None if ids are sorted.

    Returns:
        One configuration for all tables if the method itself shares rows between users and items, else one for each.

    Raises:
        BudgetError: the budget is too small; the message gives the smallest one.
        ValueError: the text is not a budget.
    """
    shared = config.with_budget(budget)
    if shared is not None:
        return shared
    dense = {name: 32 * rows * width for name, (rows, width) in shapes.items()}
    left = limit = bits_of_budget(budget, sum(dense.values()))
    waiting = sum(dense.values())
    chosen: Configs = {}
    for name, (rows, width) in sorted(shapes.items(), key=lambda item: dense[item[0]]):
        counts = (frequencies or {}).get(name)
        try:
            chosen[name] = fit_budget(config, left * dense[name] / waiting, rows, width, counts)
        except (BudgetError, ValueError):
            chosen[name] = FullConfig(init_std=config.init_std)
        left -= chosen[name].table_bits(rows, width, counts)
        waiting -= dense[name]
    if left < 0:
        smallest = sum(
            min(dense[name], config.sizes(rows, width)[0].table_bits(rows, width, (frequencies or {}).get(name)))
            for name, (rows, width) in shapes.items()
        )
        raise BudgetError(
            f"A budget of {budget}, {limit / 8:,.0f}B, is too small for these tables in method "
            f"{method_of(config).method}: the smallest possible tables take {-(-smallest // 8):,}B."
        )
    return {name: chosen[name] for name in shapes}


def described_tables(configs: MethodConfig | Mapping[str, MethodConfig]) -> dict[str, Any]:
    """Configurations by table as JSON values under the key "tables"; empty if all have the same."""
    if isinstance(configs, MethodConfig):
        return {}
    described = {
        name: {"method": method_of(config).method, "method_config": config.to_dict()}
        for name, config in configs.items()
    }
    return {"tables": described}


def configs_of(identity: Mapping[str, Any]) -> MethodConfig | Configs:
    """The configurations of the tables from the settings of a run folder."""
    if "tables" not in identity:
        return saved_config(identity["method"], identity["method_config"])
    return {name: saved_config(own["method"], own["method_config"]) for name, own in identity["tables"].items()}
