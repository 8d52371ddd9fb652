"""The budget of all tables together, in words."""

from __future__ import annotations

import re

from slimtable.embedding import MethodConfig

_BUDGET = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(%|[kMG]?B)\s*")
_BITS = {"B": 8, "kB": 8 * 10**3, "MB": 8 * 10**6, "GB": 8 * 10**9}


def budget_bits(budget: str, dense_bits: int) -> int:
    """Bits that a budget of all tables allows.

    Raises:
        ValueError: the text is no budget.

    Example:
        >>> budget_bits("3.7%", 1000), budget_bits("2kB", 0)
        (37, 16000)
    """
    match = _BUDGET.fullmatch(budget)
    if match is None:
        raise ValueError(f"{budget!r} is no budget. Write a share such as 3.7%, or bytes such as 2MB")
    number = float(match[1])
    return int(number * dense_bits / 100 if match[2] == "%" else number * _BITS[match[2]])


def takes_rows(config: MethodConfig) -> bool:
    """Whether every field can have a number of rows of its own, so that the rows can be allotted."""
    return hasattr(config, "bits_of_rows")


def takes_budget(config: MethodConfig) -> bool:
    """Whether the method can keep a budget at all."""
    return takes_rows(config) or "budget" in config.to_dict()
