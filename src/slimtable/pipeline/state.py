"""Models and training states as files of plain arrays, without pickles."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from slimtable.data.clicks.clicks import Bags, Clicks
from slimtable.errors import CheckpointError


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays to a file; names must not start with a slash."""
    with path.open("wb") as file:
        np.savez(file, **dict(arrays))  # type: ignore[arg-type]


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Reads the output of :func:`save_arrays`.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
            return {name: saved[name] for name in saved.files}
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing. Restore the state folder, or start a new one.") from error
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        # NumPy takes any other file for a pickle, and its message explains how to open one
        what = error if zipfile.is_zipfile(path) else "it is not a complete archive of arrays"
        raise CheckpointError(f"{path} is damaged ({what}). Restore the state folder, or start a new one.") from error


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes tensors by name."""
    save_arrays(path, {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()})


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Reads the output of :func:`save_tensors`; errors as for :func:`load_arrays`."""
    return {name: torch.from_numpy(array) for name, array in load_arrays(path).items()}


def save_clicks(path: Path, clicks: Clicks) -> None:
    """Writes encoded clicks."""
    arrays: dict[str, Any] = {"labels": clicks.labels, "integers": clicks.numeric}
    for place, field in enumerate(clicks.ids):
        if isinstance(field, Bags):
            arrays[f"values.{place}"], arrays[f"offsets.{place}"] = field.values, field.offsets
        else:
            arrays[f"ids.{place}"] = field
    save_arrays(path, arrays)


def load_clicks(path: Path) -> Clicks:
    """Reads the output of :func:`save_clicks`; errors as for :func:`load_arrays`."""
    arrays = load_arrays(path)
    ids: list[np.ndarray | Bags] = []
    while len(ids) < sum(not name.startswith(("labels", "integers", "offsets")) for name in arrays):
        place = len(ids)
        single = arrays.get(f"ids.{place}")
        ids.append(Bags(arrays[f"values.{place}"], arrays[f"offsets.{place}"]) if single is None else single)
    return Clicks(arrays["labels"], arrays["integers"], tuple(ids))
