"""What a method can do about the budget of all tables together."""

from __future__ import annotations

from slimtable.embeddings.base import MethodConfig


def takes_rows(config: MethodConfig) -> bool:
    """Whether every field can have a number of rows of its own, so that the rows can be allotted."""
    return hasattr(config, "bits_of_rows")


def takes_budget(config: MethodConfig) -> bool:
    """Whether the method can keep a budget at all."""
    return takes_rows(config) or "budget" in config.to_dict()
