"""Checks of a method: if it can keep a budget, and if rows can be allocated to its tables."""

from __future__ import annotations

from slimtable.embeddings.base import MethodConfig


def takes_rows(config: MethodConfig) -> bool:
    """True if each field can have its own number of rows, so that rows can be allocated to fields."""
    return hasattr(config, "bits_of_rows")


def takes_budget(config: MethodConfig) -> bool:
    """True if the method can keep a budget."""
    return takes_rows(config) or "budget" in config.to_dict()
