"""Read a trained table from a file of another program."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from slimtable.files import check_archive

_LISTED = 6  # matrices that a message names


def read_table(path: str | Path, name: str | None = None) -> np.ndarray:
    """Reads a dense table from ``.npy``, ``.npz``, ``.safetensors`` or a PyTorch file, without ever running code in it.

    Args:
        path: the file; its format is detected from its content.
        name: name of the tensor, if the file holds several matrices.

    Returns:
        float (N, d).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file has no such matrix; the message lists its matrices.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    tensors = _read_tensors(path)
    matrices = {key: array for key, array in tensors.items() if array.ndim == 2 and array.dtype.kind == "f"}
    if name is None and len(matrices) == 1:
        return next(iter(matrices.values()))
    if name in matrices:
        return matrices[name]
    listed = ", ".join(f"{key} {array.shape}" for key, array in list(matrices.items())[:_LISTED]) or "none"
    more = f", and {len(matrices) - _LISTED} more" if len(matrices) > _LISTED else ""
    if name is not None:
        raise ValueError(f"{path} holds no table {name[:60]!r}. Its floating-point matrices: {listed}{more}.")
    advice = " Choose one with name=…, or --name." if matrices else ""
    raise ValueError(f"{path} does not hold exactly one table. Its floating-point matrices: {listed}{more}.{advice}")


def _read_tensors(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a file by name; a lone array is named "table"."""
    with path.open("rb") as file:
        start = file.read(10)
    if start.startswith(b"\x93NUMPY"):
        return {"table": _map_array(path)}
    if start[8:9] == b"{":
        return _read_safetensors(path)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        try:
            check_archive(path)
        except ValueError as error:
            raise ValueError(f"{path} is damaged: {error}.") from error
        return _read_archive(path) if all(name.endswith(".npy") for name in names) else _read_pytorch(path)
    raise ValueError(f"{path} is neither .npy, .npz, .safetensors nor a PyTorch file; pickles are never opened.")


def _map_array(path: Path) -> np.ndarray:
    """The array of an ``.npy`` file, mapped into memory, once the shape in its header is checked."""
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version[0] == 1 else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(file)
            there = path.stat().st_size - file.tell()
        if min(shape, default=1) < 0 or math.prod(shape) * dtype.itemsize > there:
            raise ValueError(f"its header says shape {str(shape)[:60]}, which its {there:,} bytes do not hold")
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{path} is not a readable .npy table: {str(error)[:160]}") from error


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    try:
        with safe_open(path, framework="pt") as opened:
            if "slimtable" in (opened.metadata() or {}):
                raise ValueError(f"{path} is an artifact, whose tables are compressed already.")
        return _to_arrays(load_file(path))
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from error


def _read_archive(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except ValueError as error:
        raise ValueError(f"{path} is not a readable .npz archive: {str(error)[:160]}") from error


def _read_pytorch(path: Path) -> dict[str, np.ndarray]:
    try:
        loaded = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:
        raise ValueError(
            f"{path} holds more than plain tensors, so it is not opened. Save the state dict alone."
        ) from error
    if isinstance(loaded, Tensor):
        loaded = {"table": loaded}
    if not isinstance(loaded, Mapping):
        raise ValueError(f"{path} holds a {type(loaded).__name__}, not a tensor or a state dict.")
    return _to_arrays(_flattened(loaded))


def _flattened(nested: Mapping[Any, object], depth: int = 3) -> dict[str, Tensor]:
    """The tensors of a checkpoint, also from nested dictionaries such as "model_state_dict", by short names."""
    found = {str(name): value for name, value in nested.items() if isinstance(value, Tensor)}
    for key, inner in nested.items():
        if isinstance(inner, Mapping) and depth:
            for name, value in _flattened(inner, depth - 1).items():
                found[name if name not in found else f"{key}.{name}"] = value
    return found


def _to_arrays(tensors: Mapping[str, object]) -> dict[str, np.ndarray]:
    """Dense tensors as arrays; sparse and quantized ones cannot be tables and are left out."""
    return {
        str(name): (value.detach().float() if value.is_floating_point() else value).numpy()
        for name, value in tensors.items()
        if isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized
    }
