"""Row maps in a file: an artifact without tables, whose tensors are the maps of both sides."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from slimtable.artifact import vocabulary
from slimtable.artifact.file import ArtifactFile, verify_artifact, write_artifact
from slimtable.artifact.layout import check_config, check_config_integer
from slimtable.artifact.shared import PRIME
from slimtable.errors import ArtifactValueError
from slimtable.grouping.grouping import Groups, format_grouping, parse_grouping
from slimtable.grouping.row_map import Hash, RowMap
from slimtable.grouping.statistics import Sizes, Statistics

_KIND, _VERSION = "slimtable row maps", 1
_SIDES = ("user", "item")


def write_groups(path: str | os.PathLike[str], groups: Groups, raw_ids: Mapping[str, np.ndarray] | None = None) -> int:
    """Writes the row maps of both sides, the grouping that made them, and optionally raw ids; all or nothing.

    The tensors are ``<side>.rows`` and, where ids have secondary rows, ``<side>.second``, int32 (N,), for the sides
    ``user`` and ``item``.

    Args:
        path: the file; its folder must exist. A file of that name is replaced.
        groups: what to write.
        raw_ids: by side, the raw ids (N,), integers or texts.

    Returns:
        Size of the file in bytes.
    """
    tensors, about = {}, {}
    for side in _SIDES:
        row_map = groups.map_of(side)
        tensors[f"{side}.rows"] = row_map.rows
        if row_map.secondary is not None:
            tensors[f"{side}.second"] = row_map.secondary
        for name, array in _encoded(raw_ids, side, row_map.num_embeddings).items():
            tensors[f"{side}.{name}"] = array
        about[side] = {
            "num_rows": row_map.num_rows,
            "second_weight": row_map.secondary_weight,
            "hash": None if row_map.computed is None else dataclasses.asdict(row_map.computed),
        }
    description = {
        "kind": _KIND,
        "version": _VERSION,
        "grouping": format_grouping(groups.grouping),
        "seed": groups.seed,
        "statistics": groups.statistics.to_dict(),
        **about,
    }
    return write_artifact(path, {}, tensors=tensors, model=description)


def read_groups(path: str | os.PathLike[str]) -> Groups:
    """Reads row maps, and checks all bytes and their meaning.

    Raises:
        FileNotFoundError: there is no such file.
        ArtifactError: it is damaged, or does not hold row maps.
    """
    return _groups(verify_artifact(path))


def read_raw_ids(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads the raw ids of a file of row maps, by side: int64 (N,) or a sequence of texts; empty if it has none.

    Raises:
        FileNotFoundError: there is no such file.
        ArtifactError: it is damaged, or does not hold row maps.
    """
    opened = verify_artifact(path)
    groups = _groups(opened)
    found = {}
    for side in _SIDES:
        arrays = {name.removeprefix(f"{side}."): array for name, array in opened.tensors.items() if _of(name, side)}
        raw_ids = vocabulary.decode(arrays, groups.map_of(side).num_embeddings)
        if raw_ids is not None:
            found[side] = raw_ids
    return found


def _encoded(raw_ids: Mapping[str, np.ndarray] | None, side: str, num_embeddings: int) -> dict[str, np.ndarray]:
    if raw_ids is None or side not in raw_ids:
        return {}
    return vocabulary.encode(raw_ids[side], num_embeddings)


def _of(name: str, side: str) -> bool:
    return name.startswith(f"{side}.") and name.removeprefix(f"{side}.") in vocabulary.NAMES


def _groups(opened: ArtifactFile) -> Groups:
    about = opened.model
    if about.get("kind") != _KIND or opened.tables:
        raise ArtifactValueError(f"`{opened.path}` holds no row maps. Make them with `slimtable group --out`.")
    if about.get("version") != _VERSION:
        raise ArtifactValueError(
            f"`{opened.path}`: row maps of version {about.get('version')!r} need a newer slimtable."
        )
    try:
        maps = [_row_map(opened.tensors, about[side], side) for side in _SIDES]
        grouping = parse_grouping(str(about["grouping"]))
        statistics = _statistics(about["statistics"])
        if type(about["seed"]) is not int or about["seed"] < 0:
            raise TypeError(f"the seed {about['seed']!r} is no integer of 0 or more.")
    except (KeyError, TypeError, ValueError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ArtifactValueError(f"`{opened.path}`: its row maps are not valid: {reason}") from error
    return Groups(maps[0], maps[1], statistics, grouping, about["seed"])


def _row_map(tensors: Mapping[str, np.ndarray], about: Mapping[str, Any], side: str) -> RowMap:
    rows, secondary = tensors[f"{side}.rows"], tensors.get(f"{side}.second")
    for array in (rows, secondary):
        if array is not None and (array.dtype != np.int32 or array.ndim != 1):
            raise ValueError(f"the rows of the {side} side must be int32 and one-dimensional.")
    num_rows, computed = about["num_rows"], about["hash"]
    if type(num_rows) is not int or not 1 <= num_rows <= len(rows):
        raise ValueError(f"the {side} side must have 1 to {len(rows)} rows, got {num_rows!r}.")
    row_map = RowMap(rows, num_rows, secondary, float(about["second_weight"]), _hash(computed, num_rows, side))
    if row_map.computed is not None and not np.array_equal(row_map.computed.rows(row_map.num_embeddings), rows):
        raise ValueError(f"the hash of the {side} side does not give its rows.")
    return row_map


def _hash(values: Any, num_rows: int, side: str) -> Hash | None:
    if values is None:
        return None
    limits = {"a": (1, PRIME - 1), "b": (0, PRIME - 1), "head": (0, num_rows)}
    limits |= {"first": (0, num_rows - 1), "count": (1, num_rows)}
    what = f"{side}.hash"
    check_config(values, what, limits)
    return Hash(**{key: check_config_integer(values, what, key, *limit) for key, limit in limits.items()})


def _statistics(values: Mapping[str, Any]) -> Statistics:
    sides = {side: Sizes(**values[side]) for side in ("users", "items")}
    found = Statistics(**{**values, **sides, "sweeps": tuple(values["sweeps"])})
    numbers = [value for name, value in values.items() if name not in (*sides, "sweeps")] + list(found.sweeps)
    for value in (*numbers, *(each for side in sides for each in values[side].values())):
        if type(value) not in (int, float, type(None)):
            raise TypeError(f"{value!r} among the statistics is no number.")
    return found
