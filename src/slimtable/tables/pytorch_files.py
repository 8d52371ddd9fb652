"""Tensors in files of ``torch.save``, without PyTorch and without running their pickles.

Such a file is a zip archive: ``data.pkl`` describes the tensors, ``data/<key>`` holds the values of each storage,
uncompressed, so that rows can be read from where they lie.
"""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from slimtable.tables.archives import checksum_of, members, read_member, start_of
from slimtable.tables.base import InMemory, Stored, Table, TableError
from slimtable.tables.numpy_files import ALONE
from slimtable.tables.pickles import Name, Persistent, Placeholder, entries, read_pickle

_PICKLE_MAX = 256 << 20
_TYPES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": "u2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
_TENSORS = {"torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor"}
_WRAPPED = {
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
}
_WITH_ATTRIBUTES = "torch._tensor._rebuild_from_type_v2"
_STATES_OF_TRAINING = ("optim", "scheduler", "lr_scheduler", "scaler")


def is_pytorch(names: list[str]) -> bool:
    """True if an archive with these members was written by ``torch.save``."""
    return any(name.endswith("/data.pkl") or name == "data.pkl" for name in names)


def read_pytorch(path: Path) -> dict[str, Table]:
    """The tensors of a file by name, those of nested dictionaries such as ``state_dict`` by their short names.

    Objects beside them, such as the configuration in a checkpoint, stay unread. States of optimizers are no tables.

    Raises:
        TableError: the file is damaged, or holds no dictionary of tensors.
    """
    parts = members(path)
    pickles = [name for name in parts if name.endswith("/data.pkl") or name == "data.pkl"]
    if len(pickles) != 1:
        raise TableError(f"{path} is damaged: it has {len(pickles)} descriptions of tensors.")
    loaded = read_pickle(read_member(path, parts[pickles[0]], _PICKLE_MAX), str(path))
    archive = _Archive(path, parts, pickles[0].removesuffix("data.pkl"))
    alone = archive.tensor(loaded)
    if alone is not None:
        return {ALONE: alone}
    if not isinstance(loaded, dict):
        if isinstance(loaded, Placeholder):
            what = f"an object of {loaded.path[:80]}, whose code is never run"
        else:
            what = f"a {type(loaded).__name__}"
        raise TableError(f"{path} holds {what}, not a tensor or a state dict. Save the state dict alone.")
    return _by_short_names(archive, loaded)


def _by_short_names(archive: _Archive, loaded: dict[Any, Any]) -> dict[str, Table]:
    found: dict[str, Table] = {}
    for keys, value in entries(loaded):
        if any(key.lower().startswith(_STATES_OF_TRAINING) for key in keys[:-1]):
            continue
        table = archive.tensor(value)
        if table is not None:
            name = keys[-1]
            found[name if name not in found else ".".join(keys)] = table
    return found


class _Archive:
    """The storages of a file."""

    def __init__(self, path: Path, parts: dict[str, zipfile.ZipInfo], root: str) -> None:
        self.path, self.parts, self.root = path, parts, root
        order = parts.get(f"{root}byteorder")
        self.order = ">" if order is not None and read_member(path, order, 16) == b"big" else "<"

    def tensor(self, value: Any) -> Table | None:
        """The tensor that a placeholder stands for; None for other objects, and for sparse and quantized tensors.

        Raises:
            TableError: the tensor is not within its storage.
        """
        for _ in range(3):  # a parameter around a tensor
            if isinstance(value, Placeholder) and value.path in _WRAPPED and value.args:
                value = value.args[0]
            elif isinstance(value, Placeholder) and value.path == _WITH_ATTRIBUTES and len(value.args) == 4:
                function, _, args, _ = value.args
                value = Placeholder(getattr(function, "path", ""), args if isinstance(args, tuple) else ())
        if not isinstance(value, Placeholder) or value.path not in _TENSORS or len(value.args) < 4:
            return None
        storage, offset, shape, stride = value.args[:4]
        kind = _storage(storage)
        if kind is None:
            return None
        key, type_name, count = kind
        numbers = (offset, *shape, *stride) if isinstance(shape, tuple) and isinstance(stride, tuple) else (None,)
        if not all(type(each) is int and each >= 0 for each in numbers) or len(shape) != len(stride):
            raise TableError(f"{self.path} is damaged: a tensor says shape {str(shape)[:60]}.")
        return self._place(key, type_name, count, offset, shape, stride)

    def _place(
        self, key: str, type_name: str, count: int, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]
    ) -> Table:
        info = self.parts.get(f"{self.root}data/{key}")
        if info is None:
            raise TableError(f"{self.path} is damaged: it lacks the values of a tensor, {key[:60]!r}.")
        if info.compress_type != zipfile.ZIP_STORED:
            raise TableError(f"{self.path} was compressed after torch.save. Save it again with torch.save.")
        dtype = np.dtype(self.order + _TYPES[type_name])
        start = start_of(self.path, info)
        last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
        if math.prod(shape) and last >= min(count, info.file_size // dtype.itemsize):
            raise TableError(f"{self.path} is damaged: a tensor says shape {str(shape)[:60]}, beyond its values.")
        place, half = start + offset * dtype.itemsize, type_name == "BFloat16Storage"
        if not math.prod(shape) or _is_contiguous(shape, stride):
            place = place if math.prod(shape) else start
            return Stored(self.path, place, shape, dtype, half, checksum_of(self.path, info))
        if half:
            raise TableError(f"{self.path} holds a transposed bfloat16 tensor. Save it with .contiguous().")
        whole = np.memmap(self.path, dtype, "r", start, (info.file_size // dtype.itemsize,))
        steps = tuple(step * dtype.itemsize for step in stride)
        return InMemory(np.lib.stride_tricks.as_strided(whole[offset:], shape, steps, writeable=False))


def _is_contiguous(shape: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    step = 1
    for size, found in zip(reversed(shape), reversed(stride), strict=True):
        if size != 1 and found != step:
            return False
        step *= size
    return True


def _storage(value: Any) -> tuple[str, str, int] | None:
    """Key, type and number of values of a storage; None if it is of a type that numpy lacks."""
    key = value.key if isinstance(value, Persistent) else None
    if not isinstance(key, tuple) or len(key) != 5 or key[0] != "storage":
        return None
    _, kind, name, _, count = key
    module, _, type_name = kind.path.rpartition(".") if isinstance(kind, Name) else ("", "", "")
    if module != "torch" or type_name not in _TYPES or not isinstance(name, str) or type(count) is not int:
        return None
    return name, type_name, count
