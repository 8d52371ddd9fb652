"""The header of an artifact: a safetensors header with the manifest as its metadata.

``docs/format.md`` describes it byte by byte. Headers are not trusted: reading one allocates at most a
small multiple of its size.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from slimtable.errors import ArtifactChecksumError, ArtifactFormatError, ArtifactVersionError

FORMAT_VERSION = 4  # newest version that this reader knows; files declare the oldest that suffices
MAX_HEADER = 8 << 20
MAX_RANK = 8
MAX_NAME = 128
MAX_BYTES = 1 << 62  # of an array, counting empty dimensions as 1: NumPy multiplies shapes in int64
DATA_ALIGNMENT = 64

DTYPES: Mapping[str, np.dtype] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "U8": np.dtype("u1"),
}
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}

ARTIFACT = "slimtable"  # the only metadata key of an artifact
DELTA = "slimtable-delta"  # the only metadata key of a delta
_NO_MANIFEST = {
    ARTIFACT: "it has no slimtable manifest; pack the table with `slimtable compress`.",
    DELTA: "it is not a delta; make one with `slimtable delta`.",
}

_NAME = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.-]{{0,{MAX_NAME - 1}}}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MANIFEST_KEYS = {
    "digest": str,
    "format_version": int,
    "min_reader": int,
    "tables": dict,
    "arrays": dict,
    "model": dict,
}
_TABLE_KEYS = {
    "layout": str,
    "num_embeddings": int,
    "embedding_dim": int,
    "padding_idx": (int, type(None)),
    "layout_config": dict,
    "method": str,
    "method_config": dict,
}
_ARRAY_KEYS = {"dtype": str, "shape": list, "sha256": str}
_TENSOR_KEYS = {"dtype": str, "shape": list, "data_offsets": list}


@dataclass(frozen=True)
class Extent:
    """Type, shape and byte range of an array, counted from the end of the header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def is_name(name: Any) -> bool:
    """True if ``name`` is a valid name of a table or tensor: letters, digits, ``_``, ``.`` and ``-``, at most 128."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def canonical_json(value: Any) -> str:
    """Canonical JSON: sorted keys, no spaces, ASCII only."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def plain_json(value: Any, what: str) -> Any:
    """Copy a value made of JSON types; tuples become lists.

    Args:
        value: None, booleans, integers, finite floats, strings, lists, tuples, mappings with string keys.
        what: its name in messages.

    Returns:
        The value; a JSON round trip does not change it.

    Raises:
        TypeError: if it holds anything else, such as a NumPy number.
        ValueError: if it holds a NaN or an infinity.
    """
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        if not math.isfinite(value):
            raise ValueError(f"`{what}` must be finite to be written as JSON, got {value}.")
        return value
    if isinstance(value, list | tuple):
        return [plain_json(item, f"{what}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Mapping):
        for key in value:
            if type(key) is not str:
                raise TypeError(f"the keys of `{what}` must be strings, got {key!r}.")
        return {key: plain_json(item, f"{what}.{key}") for key, item in value.items()}
    raise TypeError(f"`{what}` must be made of JSON types, got {type(value).__name__}.")


def encode_header(manifest: Mapping[str, Any], extents: Mapping[str, Extent], key: str = ARTIFACT) -> bytes:
    """The length and the header of a file, with the digest filled in.

    Args:
        manifest: the manifest without its digest.
        extents: the arrays in the order of their bytes.
        key: the metadata key, which tells the kind of file.

    Returns:
        The first bytes of the file; their number is a multiple of 64.

    Raises:
        ValueError: if the header would be larger than any reader accepts.
    """
    text = '{"digest":"' + 64 * "0" + '",' + canonical_json(manifest)[1:]
    tensors = {
        name: {"dtype": extent.dtype, "shape": extent.shape, "data_offsets": (extent.begin, extent.end)}
        for name, extent in extents.items()
    }
    header = json.dumps({"__metadata__": {key: text}, **tensors}, separators=(",", ":")).encode()
    header += b" " * (-(8 + len(header)) % DATA_ALIGNMENT)
    if len(header) > MAX_HEADER:
        raise ValueError(
            f"the header would take {len(header)} bytes, but at most {MAX_HEADER} are allowed: shorten `model`."
        )
    head = len(header).to_bytes(8, "little") + header
    place = _place_of_digest(key)
    return head[: place.start] + _digest(head, place).encode() + head[place.stop :]


def decode_header(head: bytes, data_size: int) -> tuple[dict[str, Any], dict[str, Extent]]:
    """Check and read the header of a file.

    Args:
        head: the 8 bytes of the length and the header.
        data_size: bytes that follow the header.

    Returns:
        The manifest, and the byte range of each array, in file order.

    Raises:
        ArtifactFormatError: if it is not the header of an artifact, or contradicts the size of the file.
        ArtifactVersionError: if a newer reader is needed.
        ArtifactChecksumError: if it was changed after it was written.
    """
    manifest, tensors = open_header(head, ARTIFACT, FORMAT_VERSION)
    _check_manifest(manifest)
    return manifest, check_extents(tensors, manifest["arrays"], data_size)


def open_header(head: bytes, key: str, newest: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Check the syntax, version and digest of a header; the caller checks its content.

    Args:
        head: the 8 bytes of the length and the header.
        key: the expected kind of file.
        newest: the newest version of that kind that can be read.

    Returns:
        The manifest, and the safetensors entry of each array.

    Raises:
        ArtifactError: as :func:`decode_header`.
    """
    if not head.startswith(_prefix(key), 8):
        raise ArtifactFormatError(_NO_MANIFEST[key])
    tensors = _strict_json(head[8:], "the header")
    metadata = tensors.pop("__metadata__")
    if not isinstance(metadata, dict) or list(metadata) != [key] or type(metadata[key]) is not str:
        raise ArtifactFormatError(f"its metadata must be the one entry `{key}`.")
    manifest = _strict_json(metadata[key].encode("utf-8", "surrogatepass"), "the manifest")
    min_reader = manifest.get("min_reader")
    if type(min_reader) is int and min_reader > newest:
        raise ArtifactVersionError(
            f"it needs a reader of format {min_reader}, this one reads {newest}: upgrade slimtable."
        )
    if manifest.get("digest") != _digest(head, _place_of_digest(key)):
        raise ArtifactChecksumError("its header is not the one that was written (the digest differs).")
    return manifest, tensors


def _prefix(key: str) -> bytes:
    """The bytes that follow the length in every file of a kind, so that the digest has a fixed position."""
    return b'{"__metadata__":{"' + key.encode() + b'":"{\\"digest\\":\\"'


def _place_of_digest(key: str) -> slice:
    begin = 8 + len(_prefix(key))
    return slice(begin, begin + 64)


def _digest(head: bytes, place: slice) -> str:
    """SHA-256 of the header with the digest itself replaced by zeros."""
    return hashlib.sha256(head[: place.start] + b"0" * 64 + head[place.stop :]).hexdigest()


def _check_manifest(manifest: dict[str, Any]) -> None:
    version = manifest.get("format_version")
    check_keys(manifest, _MANIFEST_KEYS, "the manifest", open_ended=type(version) is int and version > FORMAT_VERSION)
    if not 1 <= manifest["min_reader"] <= manifest["format_version"]:
        raise ArtifactFormatError("its format versions contradict each other.")
    for name, table in manifest["tables"].items():
        if not is_name(name) or name == "model":
            raise ArtifactFormatError(f"{name!r} cannot be the name of a table.")
        check_keys(table, _TABLE_KEYS, f"table `{name}`")
    for name, array in manifest["arrays"].items():
        owner, slash, rest = name.partition("/")
        if not slash or not is_name(rest) or (owner != "model" and owner not in manifest["tables"]):
            raise ArtifactFormatError(f"array {name!r} belongs to no table.")
        check_keys(array, _ARRAY_KEYS, f"array `{name}`")
        check_sha256(array["sha256"], f"array `{name}`")


def check_extents(tensors: dict[str, Any], arrays: Mapping[str, Any], data_size: int) -> dict[str, Extent]:
    """Byte ranges of the arrays in order; raises :class:`ArtifactFormatError` if header, manifest or size disagree."""
    if sorted(tensors) != sorted(arrays):
        odd = sorted(set(tensors) ^ set(arrays))
        raise ArtifactFormatError(f"its header and its manifest disagree on the arrays {odd}.")
    extents = {}
    for name, tensor in tensors.items():
        check_keys(tensor, _TENSOR_KEYS, f"array `{name}`")
        declared = [arrays[name]["dtype"], arrays[name]["shape"]]
        if canonical_json([tensor["dtype"], tensor["shape"]]) != canonical_json(declared):  # 1 is not 1.0 or true
            raise ArtifactFormatError(f"its header and its manifest disagree on array `{name}`.")
        extents[name] = _extent(name, tensor)
    extents = dict(sorted(extents.items(), key=lambda item: (item[1].begin, item[1].end)))
    position = 0
    for name, extent in extents.items():
        if extent.begin != position:
            raise ArtifactFormatError(f"array `{name}` begins at byte {extent.begin}, but must begin at {position}.")
        position = extent.end
    if position != data_size:
        state = "cut short" if position > data_size else "too long"
        raise ArtifactFormatError(f"it is {state}: its arrays take {position} bytes, the file has {data_size}.")
    return extents


def _extent(name: str, tensor: dict[str, Any]) -> Extent:
    if tensor["dtype"] not in DTYPES:
        raise ArtifactFormatError(f"array `{name}` has dtype {tensor['dtype']!r}; allowed are {sorted(DTYPES)}.")
    shape, offsets = tensor["shape"], tensor["data_offsets"]
    if len(shape) > MAX_RANK or len(offsets) != 2 or not all(type(n) is int and n >= 0 for n in [*shape, *offsets]):
        raise ArtifactFormatError(f"array `{name}` has no valid shape and offsets: {shape}, {offsets}.")
    itemsize = DTYPES[tensor["dtype"]].itemsize
    if math.prod(max(1, n) for n in shape) * itemsize > MAX_BYTES:  # Python integers do not overflow
        raise ArtifactFormatError(f"array `{name}` has an impossible shape: {str(shape)[:80]}.")
    size = math.prod(shape) * itemsize
    if offsets[1] - offsets[0] != size:
        raise ArtifactFormatError(f"array `{name}` of shape {shape} takes {size} bytes, not {offsets}.")
    return Extent(tensor["dtype"], tuple(shape), *offsets)


def check_sha256(value: str, what: str) -> None:
    """Raise :class:`ArtifactFormatError` unless ``value`` is a SHA-256 in hex digits."""
    if not _SHA256.fullmatch(value):
        raise ArtifactFormatError(f"{what} has no valid SHA-256.")


def check_keys(value: Any, types: Mapping[str, Any], what: str, open_ended: bool = False) -> None:
    """Raise unless ``value`` has exactly these keys with values of these types; ``open_ended`` allows more keys."""
    if not isinstance(value, dict):
        raise ArtifactFormatError(f"{what} must be an object.")
    missing, unknown = sorted(types.keys() - value.keys()), sorted(value.keys() - types.keys())
    if missing or (unknown and not open_ended):
        raise ArtifactFormatError(f"{what} lacks the keys {missing} and has the unknown keys {unknown}.")
    for key, kind in types.items():
        if not isinstance(value[key], kind) or isinstance(value[key], bool):
            raise ArtifactFormatError(f"`{key}` of {what} must not be {value[key]!r}.")


def _strict_json(text: bytes, what: str) -> dict[str, Any]:
    """Parse a JSON object; rejects duplicate keys, NaN, infinity, invalid Unicode and deep nesting."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            raise ValueError("a key occurs twice")
        return value

    def finite(number: str) -> float:
        value = float(number)
        if not math.isfinite(value):
            raise ValueError(f"the number {number} is out of range")
        return value

    try:
        value = json.loads(text.decode(), object_pairs_hook=unique, parse_float=finite, parse_constant=finite)
        json.dumps(value, ensure_ascii=False).encode()  # rejects lone surrogates
    except RecursionError:
        raise ArtifactFormatError(f"{what} is nested too deeply.") from None
    except ValueError as error:
        raise ArtifactFormatError(f"{what} is not valid JSON: {error}.") from None
    if not isinstance(value, dict):
        raise ArtifactFormatError(f"{what} must be a JSON object.")
    return value
