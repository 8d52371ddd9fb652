"""Budgets in words: a share of the uncompressed tables, or bytes."""

from __future__ import annotations

import re

BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}
"""Units of bytes that budgets are written in, powers of ten."""

_BUDGET = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(%|[kMG]?B)\s*")


def bits_of_budget(budget: str, dense_bits: int) -> float:
    """Bits that a budget allows.

    Args:
        budget: a share of the float32 table, or tables, such as "4%"; or bytes such as "2MB".
        dense_bits: what they take in float32.

    Returns:
        The bits, not rounded.

    Raises:
        ValueError: the text is no budget.

    Example:
        >>> bits_of_budget("4%", 1000), bits_of_budget("2 kB", 0)
        (40.0, 16000.0)
    """
    match = _BUDGET.fullmatch(budget)
    if match is None:
        raise ValueError(f"{budget!r} is no budget of a table. Write a share such as 4%, or bytes such as 2MB.")
    number = float(match[1])
    return number * dense_bits / 100 if match[2] == "%" else 8 * number * BYTES[match[2]]
