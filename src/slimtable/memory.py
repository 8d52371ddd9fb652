"""Sizes that are checked against the memory of the machine before anything is allocated."""

from __future__ import annotations

import os

from slimtable.errors import SlimtableError


def total_memory() -> int:
    """Bytes of memory that the machine has, used or not."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def require_memory(num_bytes: float, what: str, advice: str) -> None:
    """Refuses what can never fit.

    Args:
        num_bytes: that are needed at least.
        what: what needs them; begins the message.
        advice: what to do; ends it.

    Raises:
        SlimtableError: the machine has less memory than that.

    Example:
        >>> require_memory(8, "A number", "Leave it out.")
    """
    total = total_memory()
    if num_bytes > total:
        needed, there = num_bytes / 1e9, total / 1e9
        raise SlimtableError(
            f"{what} needs {needed:,.0f} GB of memory at least, and this machine has {there:,.0f} GB. {advice}"
        )
