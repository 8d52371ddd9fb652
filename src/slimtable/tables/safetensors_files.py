"""Tables in safetensors files, also in several with an index; nothing is loaded.

The format is described at https://github.com/huggingface/safetensors: 8 bytes with the size of the header, the header
in JSON, and the values.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from slimtable.tables.base import Stored, Table, TableError

INDEX = ".safetensors.index.json"
_HEADER_MAX = 100_000_000  # as in the reference implementation
_TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "?",
}


def is_safetensors(start: bytes) -> bool:
    """True if a file that starts with these bytes (9 or more) can be a safetensors file."""
    return start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= _HEADER_MAX


def read_safetensors(path: Path) -> dict[str, Table]:
    """The tensors of a file by name, without those of types that numpy lacks.

    Raises:
        TableError: the file is damaged, or an artifact.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(_HEADER_MAX, size - 8):
            raise TableError(f"{path} is not a readable safetensors file: its header is cut off.")
        header = _parsed(file.read(length), path, "header")
    about = header.pop("__metadata__", None)
    if isinstance(about, dict) and "slimtable" in about:
        raise TableError(f"{path} is an artifact, whose tables are compressed already.")
    found: dict[str, Table] = {}
    for name, entry in header.items():
        table = _tensor(path, str(name), entry, 8 + length, size)
        if table is not None:
            found[str(name)] = table
    return found


def read_index(path: Path) -> dict[str, Table]:
    """The tensors of all files that an index names.

    Raises:
        TableError: the index is damaged, names files elsewhere, or a file lacks a tensor.
    """
    if path.stat().st_size > _HEADER_MAX:
        raise TableError(f"{path} is larger than an index can be.")
    places = _parsed(path.read_bytes(), path, "index").get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(file, str) for file in places.values()):
        raise TableError(f'{path} is not an index of safetensors files: it has no "weight_map" of names to files.')
    opened: dict[str, dict[str, Table]] = {}
    found: dict[str, Table] = {}
    for name, file in places.items():
        if file not in opened:
            if Path(file).name != file or file in ("", ".", ".."):
                raise TableError(f"{path} names {file[:60]!r}, which is not a file in its folder.")
            if not (path.parent / file).is_file():
                raise TableError(f"{path} names {file[:60]}, which is not in its folder.")
            opened[file] = read_safetensors(path.parent / file)
            _require_all(path, file, [each for each, place in places.items() if place == file], path.parent / file)
        if name in opened[file]:
            found[name] = opened[file][name]
    return found


def _require_all(index: Path, file: str, names: list[str], path: Path) -> None:
    with path.open("rb") as opened:
        there = _parsed(opened.read(int.from_bytes(opened.read(8), "little")), path, "header")
    for name in names:
        if name not in there:
            raise TableError(f"{index} says that {file[:60]} holds {name[:60]!r}, but it does not.")


def _parsed(data: bytes, path: Path, what: str) -> dict[str, Any]:
    try:
        parsed = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise TableError(f"{path} is not a readable safetensors file: its {what} is not JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise TableError(f"{path} is not a readable safetensors file: its {what} is not a JSON object.")
    return parsed


def _whole(value: Any) -> bool:
    return type(value) is int and value >= 0


def _tensor(path: Path, name: str, entry: Any, begin: int, size: int) -> Table | None:
    entry = entry if isinstance(entry, dict) else {}
    shape, place, kind = entry.get("shape"), entry.get("data_offsets"), entry.get("dtype")
    if not (
        isinstance(kind, str)
        and isinstance(shape, list)
        and all(map(_whole, shape))
        and isinstance(place, list)
        and len(place) == 2
        and all(map(_whole, place))
    ):
        raise TableError(f"{path} is not a readable safetensors file: its entry {name[:60]!r} is malformed.")
    if kind not in _TYPES:
        return None
    stored = np.dtype(_TYPES[kind])
    if place[1] - place[0] != math.prod(shape) * stored.itemsize or begin + place[1] > size:
        said = str(tuple(shape))[:60]
        raise TableError(f"{path} is damaged: {name[:60]!r} has shape {said}, which its bytes do not hold.")
    return Stored(path, begin + place[0], tuple(shape), stored, bfloat16=kind == "BF16")
