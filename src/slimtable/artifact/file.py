"""One safetensors file that holds compressed tables, the dense tensors beside them, and their vocabularies.

``docs/format.md`` describes it byte by byte. A file is written to a temporary name and renamed, so that no reader
sees a partial one. It is opened by mapping it into memory, and nothing in it is ever executed.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slimtable.artifact import layouts, vocabulary
from slimtable.artifact.file_plan import MODEL, bytes_of, check_tensor, plan_file, sha256_of
from slimtable.artifact.header import DTYPES, MAX_HEADER, Extent, decode_header
from slimtable.artifact.layout import naming
from slimtable.artifact.packed import Packed
from slimtable.errors import (
    ArtifactChecksumError,
    ArtifactFormatError,
)
from slimtable.files import replace_file

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
    for name, packed in tables.items():
        with naming(f"table `{name}`"):
            layouts.validate(packed)
    plan = plan_file(tables, tensors=tensors, vocabularies=vocabularies, model=model)
    with replace_file(Path(path)) as file:
        file.write(plan.header({name: sha256_of(array) for name, array in plan.arrays.items()}))
        for array in plan.arrays.values():
            file.write(bytes_of(array))
        return file.tell()


def header_size(tables: Mapping[str, Packed], *, model: Mapping[str, Any] | None = None) -> int:
    """Bytes that :func:`write_artifact` puts before the arrays of tables; nothing is written.

    Args:
        tables: the compressed tables by name; the values of their arrays do not matter.
        model: description of the model, in JSON types.
    """
    return plan_file(tables, model=model).header_size


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
            if sha256_of(array) != opened.manifest["arrays"][name]["sha256"]:
                raise ArtifactChecksumError(f"array `{name}` is not the one that was written (its SHA-256 differs).")
        _check_values(opened)


def _interpret(
    path: Path, manifest: dict[str, Any], arrays: dict[str, np.ndarray], file_size: int, header_size: int
) -> ArtifactFile:
    """Sort the arrays of a file into tables, vocabularies and tensors; checks structure, reads no values."""
    owned: dict[str, dict[str, np.ndarray]] = {name: {} for name in (MODEL, *manifest["tables"])}
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
        tensors=owned[MODEL],
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
        check_tensor(name, tensor)


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
