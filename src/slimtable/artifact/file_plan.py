"""The plan of an artifact: which arrays it holds, where their bytes lie, and what its header says."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from slimtable.artifact import layouts, vocabulary
from slimtable.artifact.header import DTYPE_NAMES, MAX_RANK, Extent, encode_header, is_name, plain_json
from slimtable.artifact.layout import naming
from slimtable.artifact.packed import Packed
from slimtable.errors import ArtifactValueError

MODEL = "model"
"""Owner of the tensors among the arrays of a file."""


@dataclass(frozen=True)
class FilePlan:
    """Where everything lies in a file.

    Attributes:
        arrays: the arrays by full name, in the order of the file; of an array that is written later only type and shape
            matter.
        extents: type, shape and bytes of each array, counted from the end of the header.
        manifest: the manifest without digests.
    """

    arrays: Mapping[str, np.ndarray]
    extents: Mapping[str, Extent]
    manifest: Mapping[str, Any]

    @property
    def header_size(self) -> int:
        """Bytes before the first array, whatever the values are."""
        return len(self.header(dict.fromkeys(self.arrays, "0" * 64)))

    @property
    def file_size(self) -> int:
        """Bytes of the whole file."""
        return self.header_size + sum(array.nbytes for array in self.arrays.values())

    def header(self, digests: Mapping[str, str]) -> bytes:
        """The first bytes of the file.

        Args:
            digests: SHA-256 of each array in hex digits.
        """
        arrays = {
            name: {"dtype": extent.dtype, "shape": extent.shape, "sha256": digests[name]}
            for name, extent in self.extents.items()
        }
        return encode_header({**self.manifest, "arrays": arrays}, self.extents)


def plan_file(
    tables: Mapping[str, Packed],
    *,
    tensors: Mapping[str, np.ndarray] | None = None,
    vocabularies: Mapping[str, Any] | None = None,
    model: Mapping[str, Any] | None = None,
) -> FilePlan:
    """Plans a file; arguments and errors as for :func:`slimtable.artifact.file.write_artifact`.

    Tables are not validated, and the values of their arrays are not read.
    """
    if not tables and not tensors:
        raise ValueError("`tables` must hold at least one table, or `tensors` one tensor.")
    arrays, heads = {}, {}
    for name, packed in tables.items():
        _check_name(name, "table")
        heads[name] = _table_head(packed)
        arrays.update({f"{name}/{key}": array for key, array in packed.arrays.items()})
    for name, raw_ids in (vocabularies or {}).items():
        if name not in tables:
            raise ValueError(f"`vocabularies` names a table `{name}` that is not written; there are {sorted(tables)}.")
        with naming(f"vocabulary of `{name}`"):
            encoded = vocabulary.encode(raw_ids, tables[name].num_embeddings)
        arrays.update({f"{name}/{key}": array for key, array in encoded.items()})
    for name, tensor in (tensors or {}).items():
        _check_name(name, "tensor")
        arrays[f"{MODEL}/{name}"] = check_tensor(name, tensor)
    arrays = dict(sorted(arrays.items(), key=_by_alignment))

    position, extents = 0, {}
    for name, array in arrays.items():
        extents[name] = Extent(DTYPE_NAMES[array.dtype], array.shape, position, position + array.nbytes)
        position += array.nbytes
    version = max((layouts.format_version(packed) for packed in tables.values()), default=1)  # the oldest that suffices
    manifest = {
        "format_version": version,
        "min_reader": version,
        "tables": heads,
        "model": plain_json(model or {}, "model"),
    }
    return FilePlan(arrays, extents, manifest)


def check_tensor(name: str, tensor: np.ndarray) -> np.ndarray:
    """The tensor itself, once its type and values are checked.

    Raises:
        TypeError: if a file cannot hold its type.
        ValueError: if it has too many dimensions.
        ArtifactValueError: if a value is not finite.
    """
    if not isinstance(tensor, np.ndarray) or tensor.dtype not in DTYPE_NAMES:
        found = getattr(tensor, "dtype", type(tensor).__name__)
        known = sorted(dtype.name for dtype in DTYPE_NAMES)
        raise TypeError(f"tensor `{name}` must be a NumPy array of {known}, got {found}.")
    if tensor.ndim > MAX_RANK:
        raise ValueError(f"tensor `{name}` must have at most {MAX_RANK} dimensions, got {tensor.ndim}.")
    if not np.isfinite(tensor).all():
        raise ArtifactValueError(f"tensor `{name}` holds a NaN or an infinity; every value must be finite.")
    return tensor


def bytes_of(array: np.ndarray) -> memoryview:
    """The bytes of an array in C order."""
    return np.asarray(array, order="C").reshape(-1).view(np.uint8).data


def sha256_of(array: np.ndarray) -> str:
    """SHA-256 of the bytes of an array, in hex digits."""
    return hashlib.sha256(bytes_of(array)).hexdigest()


def _check_name(name: Any, what: str) -> None:
    if not is_name(name) or (what == "table" and name == MODEL):
        raise ValueError(
            f"{name!r} cannot be the name of a {what}: use up to 128 letters, digits, `_`, `.` and `-`, with "
            f"`.` and `-` not first, and for a table not `{MODEL}`."
        )


def _table_head(packed: Packed) -> dict[str, Any]:
    return {
        "layout": packed.layout,
        "num_embeddings": packed.num_embeddings,
        "embedding_dim": packed.embedding_dim,
        "padding_idx": packed.padding_idx,
        "layout_config": plain_json(packed.layout_config, "layout_config"),
        "method": packed.method,
        "method_config": plain_json(packed.method_config, "method_config"),
    }


def _by_alignment(item: tuple[str, np.ndarray]) -> tuple[int, str]:
    """Sort key of the arrays in a file: first those whose size is a multiple of 64, then of 32, and so on.

    Each array then begins at a multiple of that number, aligned for its type, with rows in few cache lines.
    """
    name, array = item
    alignment = next(n for n in (64, 32, 16, 8, 4, 2, 1) if array.nbytes % n == 0)
    return -alignment, name
