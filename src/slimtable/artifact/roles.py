"""Roles of the arrays of a table: rows, assignments of ids to rows, or other, and the units of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from slimtable.artifact.bits import code_bits
from slimtable.artifact.packed import Packed


@dataclass(frozen=True)
class Role:
    """The role of an array.

    Attributes:
        kind: "rows", "assignments" of ids to rows or centroids, or "other".
        width: bits of a value.
        count: number of values.
        per_row: number of values of a row, or of the assignment of an id.
        stream: whether values are codes in a bit stream.
    """

    kind: Literal["rows", "assignments", "other"]
    width: int
    count: int
    per_row: int
    stream: bool


def roles_of(packed: Packed) -> dict[str, Role]:
    """The role of each array of a table whose structure was checked."""
    streams = _STREAMS[packed.layout](packed) if packed.layout in _STREAMS else {}
    return {
        name: streams[name] if name in streams else plain_role(array.shape, array.itemsize, _is_rows(packed, name))
        for name, array in packed.arrays.items()
    }


def plain_role(shape: tuple[int, ...], itemsize: int, rows: bool = False) -> Role:
    """The role of a plain array; its first index selects the row."""
    per_row = max(1, math.prod(shape[1:]))
    return Role("rows" if rows else "other", 8 * itemsize, math.prod(shape), per_row, stream=False)


def _is_rows(packed: Packed, name: str) -> bool:
    if packed.layout == "shared":
        return name.startswith("rows.")
    return (packed.layout, name) in (("dense", "table"), ("low_rank", "left"))


def _scaled(packed: Packed) -> dict[str, Role]:
    dim = packed.embedding_dim
    return {"codes": Role("rows", packed.layout_config["bits"], packed.num_embeddings * dim, dim, stream=True)}


def _coded(packed: Packed) -> dict[str, Role]:
    tiers: list[dict[str, Any]] = packed.layout_config["tiers"]
    found = {"tiers": Role("assignments", code_bits(len(tiers)), packed.num_embeddings, 1, stream=True)}
    for index, tier in enumerate(tiers):
        codes = tier["num_codebooks"]
        width = code_bits(tier["codebook_size"])
        found[f"codes.{index}"] = Role("assignments", width, tier["num_rows"] * codes, codes, stream=True)
    return found


def _shared(packed: Packed) -> dict[str, Role]:
    tables: list[dict[str, int]] = packed.layout_config["tables"]
    found = {}
    for index, table in enumerate(tables):
        if table["bits"] <= 8:
            count = table["num_rows"] * table["width"]
            found[f"rows.{index}"] = Role("rows", table["bits"], count, table["width"], stream=True)
    for index, term in enumerate(packed.layout_config["terms"]):
        width = code_bits(tables[term["table"]]["num_rows"])
        found[f"map.{index}"] = Role("assignments", width, packed.num_embeddings, 1, stream=True)
    return found


_STREAMS: Mapping[str, Callable[[Packed], dict[str, Role]]] = {"coded": _coded, "scaled": _scaled, "shared": _shared}
"""The arrays by layout that may be bit streams; other layouts have none."""
