"""Checks of sizes against the memory of the machine, before anything is allocated."""

from __future__ import annotations

import os

from slimtable.errors import SlimtableError


def total_memory() -> int:
    """Bytes of memory of the machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def require_memory(num_bytes: float, what: str, advice: str) -> None:
    """Raises an error for sizes that can never fit.

    Args:
        num_bytes: minimum number of bytes needed.
        what: what needs them; start of the message.
        advice: what to do; end of the message.

    Raises:
        SlimtableError: the machine has less memory than that.

    Example:
        >>> require_memory(8, "A number", "Leave it out.")
    """
    total = total_memory()
    if num_bytes > total:
        needed, there = num_bytes / 1e9, total / 1e9
        raise SlimtableError(
            f"{what} needs {needed:,.0f} GB of memory at least, but this machine has {there:,.0f} GB. {advice}"
        )
