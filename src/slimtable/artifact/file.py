"""One safetensors file that holds compressed tables, the dense tensors beside them, and their vocabularies.

``docs/format.md`` describes it byte by byte. A file is written to a temporary name and renamed, so that no reader
sees a partial one. It is opened by mapping it into memory, and nothing in it is ever executed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import mmap
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slimtable.artifact import layouts, vocabulary
from slimtable.artifact.header import (
    DTYPE_NAMES,
    DTYPES,
    MAX_HEADER,
    MAX_RANK,
    Extent,
    decode_header,
    encode_header,
    is_name,
    plain_json,
)
from slimtable.artifact.layout import naming
from slimtable.artifact.packed import Packed
from slimtable.errors import (
    ArtifactChecksumError,
    ArtifactFormatError,
    ArtifactValueError,
)
from slimtable.files import replace_file

_MODEL = "model"
_SIGNATURES = (
    (b"PK", "a PyTorch or zip file"),
    (b"\x80", "a pickle or an old PyTorch file"),
    (b"\x93NUMPY", "a NumPy .npy file"),
    (b"PAR1", "a Parquet file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x1f\x8b", "a gzip file"),
)


@dataclass(frozen=True)
class ArtifactFile:
    """An open artifact; its arrays are read-only views of the mapped file.

    Attributes:
        path: path of the file.
        tables: the compressed tables by name.
        tensors: the uncompressed tensors of the model by name.
        vocabularies: by table, the raw id of each row: int64 (N,), or a sequence of strings.
        model: description of the model by the writer (JSON values).
        manifest: the whole manifest (JSON values).
        arrays: every array by its full name.
        file_size: bytes of the file.
        header_size: bytes before the first array.
    """

    path: Path
    tables: dict[str, Packed]
    tensors: dict[str, np.ndarray]
    vocabularies: dict[str, np.ndarray | vocabulary.Strings]
    model: dict[str, Any]
    manifest: dict[str, Any]
    arrays: dict[str, np.ndarray]
    file_size: int
    header_size: int


def write_artifact(
    path: str | os.PathLike[str],
    tables: Mapping[str, Packed],
    *,
    tensors: Mapping[str, np.ndarray] | None = None,
    vocabularies: Mapping[str, Any] | None = None,
    model: Mapping[str, Any] | None = None,
) -> int:
    """Write tables to one file, atomically; equal input gives equal bytes.

    Args:
        path: path of the file; its folder must exist. An existing file is replaced at the very end.
        tables: the compressed tables by name; each is validated first. May be empty if there are tensors.
        tensors: uncompressed tensors that the model needs beside its tables, by name.
        vocabularies: by table, the raw id of each row: (N,) different integers or strings.
        model: description of the model, in JSON types.

    Returns:
        Size of the file in bytes.

    Raises:
        ArtifactError: if a table is not valid, for example because it holds a NaN.
        TypeError: if a tensor, a vocabulary or ``model`` is of a type that the file cannot hold.
        ValueError: if a name cannot be used or a vocabulary does not fit its table.
        FileNotFoundError: if the folder does not exist.
    """
    if not tables and not tensors:
        raise ValueError("`tables` must hold at least one table, or `tensors` one tensor.")
    arrays, heads = {}, {}
    for name, packed in tables.items():
        _check_name(name, "table")
        with naming(f"table `{name}`"):
            layouts.validate(packed)
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
        arrays[f"{_MODEL}/{name}"] = _check_tensor(name, tensor)
    arrays = {name: np.asarray(array, order="C") for name, array in sorted(arrays.items(), key=_by_alignment)}
    head = _head(tables, heads, arrays, model, _sha256)
    with replace_file(Path(path)) as file:
        file.write(head)
        for array in arrays.values():
            file.write(_bytes(array))
    return len(head) + sum(array.nbytes for array in arrays.values())


def header_size(tables: Mapping[str, Packed], *, model: Mapping[str, Any] | None = None) -> int:
    """Bytes that :func:`write_artifact` puts before the arrays of tables; nothing is written.

    Args:
        tables: the compressed tables by name.
        model: description of the model, in JSON types.
    """
    arrays = {f"{name}/{key}": array for name, packed in tables.items() for key, array in packed.arrays.items()}
    heads = {name: _table_head(packed) for name, packed in tables.items()}
    return len(_head(tables, heads, dict(sorted(arrays.items(), key=_by_alignment)), model, lambda _: "0" * 64))


def _head(
    tables: Mapping[str, Packed],
    heads: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    model: Mapping[str, Any] | None,
    digest_of: Callable[[np.ndarray], str],
) -> bytes:
    """The first bytes of a file whose arrays follow in the given order."""
    position, extents = 0, {}
    for name, array in arrays.items():
        extents[name] = Extent(DTYPE_NAMES[array.dtype], array.shape, position, position + array.nbytes)
        position += array.nbytes
    version = max((layouts.format_version(packed) for packed in tables.values()), default=1)  # the oldest that suffices
    manifest = {
        "format_version": version,
        "min_reader": version,
        "tables": heads,
        "arrays": {
            name: {"dtype": extent.dtype, "shape": extent.shape, "sha256": digest_of(arrays[name])}
            for name, extent in extents.items()
        },
        "model": plain_json(model or {}, "model"),
    }
    return encode_header(manifest, extents)


def read_artifact(path: str | os.PathLike[str], *, values: bool = True) -> ArtifactFile:
    """Open a file: check its structure, map its arrays, and check their meaning.

    The file must not be changed or truncated in place while it is open: access to a missing mapped page kills the
    process. Replacing it with :func:`write_artifact` is safe, since readers keep the old file.

    Args:
        path: the file, or a link to it.
        values: also check values (codes in range, floats finite), which reads those arrays. Checksums are checked
            by :func:`verify_artifact`.

    Returns:
        The open file.

    Raises:
        FileNotFoundError: if there is no such file.
        ArtifactFormatError: if it is not an artifact, or is truncated.
        ArtifactVersionError: if it needs a newer reader.
        ArtifactChecksumError: if its header was changed.
        ArtifactValueError: if a value is not valid.
    """
    path = Path(path)
    with naming(f"`{path}`"), open_regular(path) as file:
        file_size = os.fstat(file.fileno()).st_size
        head = read_head(file, file_size)
        manifest, extents = decode_header(head, file_size - len(head))
        mapped = np.frombuffer(mmap.mmap(file.fileno(), file_size, access=mmap.ACCESS_READ), np.uint8)
        arrays = {name: _view(mapped, len(head), extent) for name, extent in extents.items()}
        opened = _interpret(path, manifest, arrays, file_size, len(head))
        if values:
            _check_values(opened)
    return opened


def verify_artifact(path: str | os.PathLike[str]) -> ArtifactFile:
    """Open a file and check every byte and every value of it.

    Args:
        path: the file.

    Returns:
        The open file.

    Raises:
        FileNotFoundError: if there is no such file.
        ArtifactChecksumError: if a byte has changed; the message names the array.
        ArtifactError: if anything else is wrong, as for :func:`read_artifact`.
    """
    opened = read_artifact(path, values=False)
    verify_opened(opened)
    return opened


def verify_opened(opened: ArtifactFile) -> None:
    """Check every byte and every value of an open file; see :func:`verify_artifact`."""
    with naming(f"`{opened.path}`"):
        for name, array in opened.arrays.items():
            if _sha256(array) != opened.manifest["arrays"][name]["sha256"]:
                raise ArtifactChecksumError(f"array `{name}` is not the one that was written (its SHA-256 differs).")
        _check_values(opened)


def _interpret(
    path: Path, manifest: dict[str, Any], arrays: dict[str, np.ndarray], file_size: int, header_size: int
) -> ArtifactFile:
    """Sort the arrays of a file into tables, vocabularies and tensors; checks structure, reads no values."""
    owned: dict[str, dict[str, np.ndarray]] = {name: {} for name in (_MODEL, *manifest["tables"])}
    for full_name, array in arrays.items():
        owner, _, name = full_name.partition("/")
        owned[owner][name] = array
    tables, vocabularies = {}, {}
    for name, table in manifest["tables"].items():
        with naming(f"table `{name}`"):
            served = {key: array for key, array in owned[name].items() if key not in vocabulary.NAMES}
            tables[name] = Packed(arrays=served, **table)
            layouts.validate(tables[name], values=False)
            needed = layouts.format_version(tables[name])
            if manifest["min_reader"] < needed:
                raise ArtifactFormatError(
                    f"layout `{tables[name].layout}` needs a reader of format {needed}, but `min_reader` says "
                    f"{manifest['min_reader']}."
                )
            raw_ids = vocabulary.decode(owned[name], tables[name].num_embeddings)
        if raw_ids is not None:
            vocabularies[name] = raw_ids
    return ArtifactFile(
        path=path,
        tables=tables,
        tensors=owned[_MODEL],
        vocabularies=vocabularies,
        model=manifest["model"],
        manifest=manifest,
        arrays=arrays,
        file_size=file_size,
        header_size=header_size,
    )


def _check_values(opened: ArtifactFile) -> None:
    for name, packed in opened.tables.items():
        with naming(f"table `{name}`"):
            layouts.validate_values(packed)
    for name, tensor in opened.tensors.items():
        _check_tensor(name, tensor)


def _check_tensor(name: str, tensor: np.ndarray) -> np.ndarray:
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


def _check_name(name: Any, what: str) -> None:
    if not is_name(name) or (what == "table" and name == _MODEL):
        raise ValueError(
            f"{name!r} cannot be the name of a {what}: use up to 128 letters, digits, `_`, `.` and `-`, with "
            f"`.` and `-` not first, and for a table not `{_MODEL}`."
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


def _bytes(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _sha256(array: np.ndarray) -> str:
    return hashlib.sha256(_bytes(np.asarray(array, order="C"))).hexdigest()


def _view(mapped: np.ndarray, header_size: int, extent: Extent) -> np.ndarray:
    data = mapped[header_size + extent.begin : header_size + extent.end]
    array = data.view(DTYPES[extent.dtype]).reshape(extent.shape)
    if not array.flags.aligned:  # only in files of other writers
        array = array.copy()
        array.flags.writeable = False
    return array


@contextlib.contextmanager
def open_regular(path: Path) -> Iterator[Any]:
    """Open a regular file; rejects folders and pipes."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "there is no such artifact", str(path)) from None
    if not stat.S_ISREG(mode):
        raise ArtifactFormatError("it is a folder, not a file." if stat.S_ISDIR(mode) else "it is not a regular file.")
    with path.open("rb") as file:
        yield file


def read_head(file: Any, file_size: int) -> bytes:
    """The length and the header as bytes; makes no assumption about the file."""
    start: bytes = file.read(9)
    length = int.from_bytes(start[:8], "little")
    if len(start) == 9 and start[8:] == b"{" and length <= min(MAX_HEADER, file_size - 8):
        head: bytes = start + file.read(length - 1)
        return head
    if not start:
        raise ArtifactFormatError("it is empty.")
    for signature, kind in _SIGNATURES:
        if start.startswith(signature):
            raise ArtifactFormatError(f"it looks like {kind}; pack it with `slimtable compress`.")
    if start[8:] == b"{":
        raise ArtifactFormatError(f"it is cut short or damaged: its header claims {length} bytes.")
    raise ArtifactFormatError("it does not begin with a safetensors header.")
