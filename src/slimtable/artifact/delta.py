"""Deltas: small files that turn one artifact into another.

``docs/format.md`` describes it byte by byte. Applying a delta gives the new artifact, byte for byte, or fails: the
old and the new file are identified by their SHA-256. Nothing in a delta is ever executed.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from slimtable.artifact.edits import (
    Candidate,
    Edit,
    apply_edit,
    changed_units,
    encode_edit,
    plan_edit,
    read_edit,
    replacement,
)
from slimtable.artifact.file import ArtifactFile, open_regular, read_artifact, read_head, verify_artifact
from slimtable.artifact.header import (
    DELTA,
    DTYPES,
    MAX_HEADER,
    Extent,
    check_extents,
    check_keys,
    check_sha256,
    decode_header,
    encode_header,
    open_header,
)
from slimtable.artifact.layout import naming
from slimtable.artifact.layouts import roles_of
from slimtable.artifact.roles import Role, plain_role
from slimtable.errors import ArtifactChecksumError, ArtifactError, ArtifactFormatError
from slimtable.files import replace_file

DELTA_VERSION = 1
_DATA = "data"
_MANIFEST_KEYS = {
    "digest": str,
    "format_version": int,
    "min_reader": int,
    "old": dict,
    "new": dict,
    "header": dict,
    "edits": dict,
    "sha256": str,
}
_FILE_KEYS = {"sha256": str, "size": int}
_HEADER_KEYS = {"size": int, "packed": int}
_MAX_SIZE = 1 << 62
_WINDOW = 1 << 15  # of zlib


@dataclass(frozen=True)
class DeltaSize:
    """Size of a delta, and the number of changes in it.

    Attributes:
        bytes: bytes of the delta.
        old_bytes: bytes of the old artifact.
        new_bytes: bytes of the new artifact.
        changed_rows: stored rows that differ, in all tables. A table with codes has none: its codes count as
            assignments.
        added_rows: rows appended.
        changed_assignments: assignments of ids to rows, centroids or tiers that differ, counted for each map.
        added_assignments: assignments of new ids.
        arrays: bytes of the delta by array, without unchanged arrays.
    """

    bytes: int
    old_bytes: int
    new_bytes: int
    changed_rows: int = 0
    added_rows: int = 0
    changed_assignments: int = 0
    added_assignments: int = 0
    arrays: Mapping[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def write_delta(
    old_path: str | os.PathLike[str], new_path: str | os.PathLike[str], out: str | os.PathLike[str]
) -> DeltaSize:
    """Write a delta between two artifacts atomically; equal input gives equal bytes.

    Each array is kept, replaced or edited, whichever takes the fewest bytes. An edit holds the values, rows or codes
    that changed and those that were appended.

    Args:
        old_path: artifact that the delta applies to.
        new_path: artifact that applying it gives.
        out: path of the delta; its folder must exist. An existing file is replaced at the very end.

    Returns:
        The number of changes, and the size of the delta.

    Raises:
        FileNotFoundError: if a file or the folder does not exist.
        ArtifactError: if a file is not an artifact, or is damaged.
    """
    old, new = verify_artifact(old_path), verify_artifact(new_path)
    old_roles, new_roles = _roles(old), _roles(new)
    changes: dict[str, int] = dict.fromkeys(("rows", "assignments", "added_rows", "added_assignments"), 0)
    edits, pieces = {}, []
    for name, array in new.arrays.items():
        role, made = new_roles[name], _bytes(array)
        known = name in old.arrays and _alike(old_roles[name], role)
        before = _bytes(old.arrays[name]) if known else np.empty(0, np.uint8)
        if known and old.manifest["arrays"][name] == new.manifest["arrays"][name]:
            continue
        candidates = _candidates(old_roles[name], role, array.shape[-1:]) if known else []
        _count(changes, role, candidates, before, made)
        plan = plan_edit(before, made, candidates) if known else replacement(made.size)
        edits[name] = plan
        pieces += encode_edit(plan, made)
    head, old_head = _head_of(new), _head_of(old)
    packed_head = _squeeze(head, old_head)
    data = np.concatenate([np.frombuffer(packed_head, np.uint8), *pieces])
    manifest = {
        "format_version": DELTA_VERSION,
        "min_reader": DELTA_VERSION,
        "old": _identity(old),
        "new": _identity(new),
        "header": {"size": len(head), "packed": len(packed_head)},
        "edits": {name: plan.edit.to_dict() for name, plan in edits.items()},
        "sha256": hashlib.sha256(data.data).hexdigest(),
    }
    delta_head = encode_header(manifest, {_DATA: Extent("U8", data.shape, 0, data.size)}, DELTA)
    with replace_file(Path(out)) as file:
        file.write(delta_head)
        file.write(data.data)
    return DeltaSize(
        bytes=len(delta_head) + data.size,
        old_bytes=old.file_size,
        new_bytes=new.file_size,
        changed_rows=changes["rows"],
        added_rows=changes["added_rows"],
        changed_assignments=changes["assignments"],
        added_assignments=changes["added_assignments"],
        arrays={name: plan.edit.size for name, plan in edits.items()},
    )


def apply_delta(
    old_path: str | os.PathLike[str], delta_path: str | os.PathLike[str], out: str | os.PathLike[str]
) -> int:
    """Apply a delta, atomically.

    Args:
        old_path: the artifact that the delta was made from.
        delta_path: the delta.
        out: path of the new artifact, which may be that of the old one; its folder must exist.

    Returns:
        Size of the new artifact in bytes. It is identical to the one that the delta was made for.

    Raises:
        FileNotFoundError: if a file or the folder does not exist.
        ArtifactChecksumError: if the delta was made from another file, or is damaged.
        ArtifactError: if anything else is wrong with a file.
    """
    old = read_artifact(old_path, values=False)
    with naming(f"`{delta_path}`"):
        manifest, data = _read_delta(Path(delta_path))
        if old.file_size != manifest["old"]["size"] or _file_sha256(old.path) != manifest["old"]["sha256"]:
            raise ArtifactChecksumError(
                f"it was made from another file than `{old_path}`: an artifact of {manifest['old']['size']} bytes with "
                f"the SHA-256 {manifest['old']['sha256']}."
            )
        packed_size = manifest["header"]["packed"]
        head = _unsqueeze(data[:packed_size].tobytes(), manifest["header"]["size"], _head_of(old))
        new_size: int = manifest["new"]["size"]
        _, extents = decode_header(head, new_size - len(head))
        steps = _steps(manifest["edits"], extents, old, data.size - packed_size)
        digest, position = hashlib.sha256(head), packed_size
        with replace_file(Path(out)) as file:
            file.write(head)
            for name, edit in steps.items():
                array = _bytes(old.arrays[name]) if name in old.arrays else np.empty(0, np.uint8)
                if edit is not None:
                    with naming(f"array `{name}`"):
                        array = apply_edit(edit, array, data[position : position + edit.size])
                    position += edit.size
                digest.update(array.data)
                file.write(array.data)
            if digest.hexdigest() != manifest["new"]["sha256"]:
                raise ArtifactChecksumError("applying it does not give the artifact that it was made for.")
            file.flush()
            _check_made(Path(file.name))
    return new_size


# The parts of an artifact.


def _roles(artifact: ArtifactFile) -> dict[str, Role]:
    """The role of every array, by its full name."""
    found = {name: plain_role(array.shape, array.itemsize) for name, array in artifact.arrays.items()}
    for name, packed in artifact.tables.items():
        found |= {f"{name}/{key}": role for key, role in roles_of(packed).items()}
    return found


def _alike(old: Role, new: Role) -> bool:
    """True if units of one array can be units of the other."""
    return old.stream == new.stream and old.per_row == new.per_row and (old.stream or old.width == new.width)


def _candidates(old: Role, new: Role, last: tuple[int, ...]) -> list[Candidate]:
    """Units in which the arrays could be edited: values, groups along the last index, and rows."""
    found = [Candidate(new.width, old.width, new.count, old.count)]
    if old.width == new.width:
        for values in sorted({new.per_row, *last} - {0, 1}):
            fits = new.count % values == old.count % values == 0
            if fits and new.width * values % 8 == 0:  # whole bytes
                bits = new.width * values
                found.append(Candidate(bits, bits, new.count // values, old.count // values))
    return found


def _count(changes: dict[str, int], role: Role, values: list[Candidate], old: np.ndarray, new: np.ndarray) -> None:
    """Add the changed rows or assignments of an array to the statistics."""
    if role.kind == "other":
        return
    kept = min(values[0].count, values[0].old_count) if values else 0
    if values:
        changes[role.kind] += np.unique(changed_units(old, new, values[0]) // role.per_row).size
    changes[f"added_{role.kind}"] += (role.count - kept) // role.per_row


def _identity(artifact: ArtifactFile) -> dict[str, Any]:
    return {"sha256": _file_sha256(artifact.path), "size": artifact.file_size}


def _head_of(artifact: ArtifactFile) -> bytes:
    with open_regular(artifact.path) as file:
        head: bytes = file.read(artifact.header_size)
    return head


def _file_sha256(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _bytes(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1).view(np.uint8)


# The delta as a file.


def _squeeze(head: bytes, old_head: bytes) -> bytes:
    """The new header, compressed with the old one as dictionary."""
    squeezer = zlib.compressobj(9, zlib.DEFLATED, 15, zdict=old_head[-_WINDOW:])
    return squeezer.compress(head) + squeezer.flush()


def _unsqueeze(packed: bytes, size: int, old_head: bytes) -> bytes:
    """Decompress a header; never allocates more than ``size`` + 1 bytes."""
    inflater = zlib.decompressobj(15, zdict=old_head[-_WINDOW:])
    try:
        head = inflater.decompress(packed, size + 1)
    except zlib.error as error:
        raise ArtifactFormatError(f"the header that it holds cannot be read: {error}.") from None
    if len(head) != size or not inflater.eof or inflater.unused_data:
        raise ArtifactFormatError(f"the header that it holds does not have {size} bytes.")
    return head


def _read_delta(path: Path) -> tuple[dict[str, Any], np.ndarray]:
    """The manifest and the data, uint8 (bytes,), both checked against their digests."""
    try:
        with open_regular(path) as file:
            file_size = os.fstat(file.fileno()).st_size
            head = read_head(file, file_size)
            manifest, tensors = open_header(head, DELTA, DELTA_VERSION)
            data_size = file_size - len(head)
            check_extents(tensors, {_DATA: {"dtype": "U8", "shape": [data_size]}}, data_size)
            _check_manifest(manifest)
            data = np.frombuffer(file.read(data_size), np.uint8)
    except FileNotFoundError as error:
        raise FileNotFoundError(error.errno, "there is no such delta", str(path)) from None
    if hashlib.sha256(data.data).hexdigest() != manifest["sha256"]:
        raise ArtifactChecksumError("its data are not those that were written (their SHA-256 differs).")
    return manifest, data


def _check_manifest(manifest: dict[str, Any]) -> None:
    version = manifest.get("format_version")
    check_keys(manifest, _MANIFEST_KEYS, "the manifest", open_ended=type(version) is int and version > DELTA_VERSION)
    if not 1 <= manifest["min_reader"] <= manifest["format_version"]:
        raise ArtifactFormatError("its format versions contradict each other.")
    check_sha256(manifest["sha256"], "its data")
    for name in ("old", "new"):
        check_keys(manifest[name], _FILE_KEYS, f"`{name}` of the manifest")
        check_sha256(manifest[name]["sha256"], f"`{name}`")
        if not 0 < manifest[name]["size"] < _MAX_SIZE:
            raise ArtifactFormatError(f"`{name}` of the manifest has no valid size.")
    header = manifest["header"]
    check_keys(header, _HEADER_KEYS, "`header` of the manifest")
    if not 8 < header["size"] <= min(MAX_HEADER + 8, manifest["new"]["size"]) or header["packed"] < 0:
        raise ArtifactFormatError("`header` of the manifest has no valid sizes.")


def _steps(
    edits: dict[str, Any], extents: Mapping[str, Extent], old: ArtifactFile, data_size: int
) -> dict[str, Edit | None]:
    """The edit of each array of the new artifact, in the order of its bytes; None for unchanged arrays.

    Raises:
        ArtifactFormatError: if sizes do not fit, or an array has no edit and no counterpart.
    """
    unknown = sorted(edits.keys() - extents.keys())
    if unknown:
        raise ArtifactFormatError(f"it makes the arrays {unknown}, which the new artifact does not have.")
    steps: dict[str, Edit | None] = {}
    for name, extent in extents.items():
        size = extent.end - extent.begin
        old_size = old.arrays[name].nbytes if name in old.arrays else 0
        if name in edits:
            steps[name] = read_edit(edits[name], f"the edit of array `{name}`", size, old_size)
        elif name in old.arrays and size == old_size and old.arrays[name].dtype == DTYPES[extent.dtype]:
            steps[name] = None
        else:
            raise ArtifactFormatError(f"it says nothing about array `{name}`, which is not the old one.")
    needed = sum(edit.size for edit in steps.values() if edit is not None)
    if needed != data_size:
        raise ArtifactFormatError(f"its edits take {needed} bytes, but it holds {data_size}.")
    return steps


def _check_made(path: Path) -> None:
    """Raise unless the result of a delta is a valid artifact: its digest matches, but the delta may be hostile."""
    try:
        read_artifact(path)
    except ArtifactError as error:
        raise type(error)(f"the result is not an artifact: {error}") from None
