"""Roles of the arrays of a table: rows, assignments of ids to rows, or other, and the units of each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Role:
    """The role of an array.

    Attributes:
        kind: "rows", "assignments" of ids to rows or centroids, or "other".
        width: bits of a value.
        count: number of values.
        per_row: number of values in a row, or in the assignment of an id.
        stream: True if values are codes in a bit stream.
    """

    kind: Literal["rows", "assignments", "other"]
    width: int
    count: int
    per_row: int
    stream: bool


def plain_role(shape: tuple[int, ...], itemsize: int, rows: bool = False) -> Role:
    """The role of a plain array; its first index selects the row."""
    per_row = max(1, math.prod(shape[1:]))
    return Role("rows" if rows else "other", 8 * itemsize, math.prod(shape), per_row, stream=False)
