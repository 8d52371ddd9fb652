"""Output of commands: lines, tables, and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

_PIPED_WIDTH = 200  # columns when piped, so that nothing is truncated
_UNITS = ("kB", "MB", "GB", "TB")


def show(renderable: Any) -> None:
    """Prints a line or a rich table on standard output; with colours and the window width only on a terminal."""
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console = Console(markup=False, highlight=False, width=_PIPED_WIDTH)
    console.print(renderable, soft_wrap=isinstance(renderable, str))


def show_json(value: Any) -> None:
    """Prints a value as JSON."""
    print(json.dumps(value, indent=2, allow_nan=False), flush=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], texts: Sequence[str] = ()) -> Table:
    """A table whose columns are numbers, aligned to the right, except for the first and those in ``texts``."""
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        drawn.add_column(column, justify="left" if index == 0 or column in texts else "right", overflow="fold")
    for row in rows:
        drawn.add_row(*map(str, row))
    return drawn


def size(count: float) -> str:
    """A human-readable number of bytes.

    Example:
        >>> size(4_802_848 / 8)
        '600.4 kB'
    """
    if count < 1000:
        return f"{count:,.0f} bytes"
    power = min(int(math.log10(count)) // 3, len(_UNITS))
    return f"{count / 1000**power:,.1f} {_UNITS[power - 1]}"
