"""A budget of all tables of a model, shared out over them."""

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
    """The options of every table so that all of them together keep a budget.

    Each table gets a part of the budget in proportion to its float32 bytes, from the smallest on; what one leaves goes
    to the next. A table that is too small for the method stays uncompressed, and the others pay for it.

    Args:
        shapes: num_embeddings and embedding_dim of each table, by name.
        config: options of the method; those that say its size are chosen here.
        budget: bytes served, such as "4%", "16x" or "3MB".
        frequencies: (num_embeddings,) training counts by table; None where ids are sorted.

    Returns:
        One configuration for all tables where the method shares rows between users and items by itself; otherwise one
        for each.

    Raises:
        BudgetError: the budget does not pay for the smallest tables.
        ValueError: the text is no budget.
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
            f"{method_of(config).method}: the smallest that it can make take {-(-smallest // 8):,}B."
        )
    return {name: chosen[name] for name in shapes}


def described_tables(configs: MethodConfig | Mapping[str, MethodConfig]) -> dict[str, Any]:
    """Configurations by table as JSON values under the key "tables"; nothing where all have the same."""
    if isinstance(configs, MethodConfig):
        return {}
    described = {
        name: {"method": method_of(config).method, "method_config": config.to_dict()}
        for name, config in configs.items()
    }
    return {"tables": described}


def configs_of(identity: Mapping[str, Any]) -> MethodConfig | Configs:
    """The configurations that a run folder holds."""
    if "tables" not in identity:
        return saved_config(identity["method"], identity["method_config"])
    return {name: saved_config(own["method"], own["method_config"]) for name, own in identity["tables"].items()}
