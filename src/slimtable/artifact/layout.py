"""The base class of layouts, and the checks that they share."""

from __future__ import annotations

import contextlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

import numpy as np

from slimtable.artifact.bits import code_bits, packed_size
from slimtable.artifact.log_scales import NUM_CODES, scale_table
from slimtable.artifact.packed import Packed
from slimtable.artifact.roles import Role, plain_role
from slimtable.errors import ArtifactError, ArtifactFormatError, ArtifactValueError

FLOATS = ("float32", "float16")
LARGEST = 3.4e38  # slightly below the largest float32, to allow for rounding in sums

SMALLEST = 2.0**-149  # the smallest float32

# Together these limits keep every bit position below 2**61, so that the kernels' int64 cannot overflow.
MAX_EMBEDDINGS = 1 << 40
MAX_DIM = 1 << 16
_CHECKED_AT_ONCE = 1 << 16  # values that stay in cache for several passes

RowsInto = Callable[[np.ndarray, np.ndarray], None]
"""Writes the rows of int64 ``ids`` (n,), all in range, to float32 ``out`` (n, d)."""


class Layout(ABC):
    """A format in which a table is stored in arrays; :data:`slimtable.artifact.layouts.LAYOUTS` lists them all.

    Attributes:
        format_version: first format version that has this layout; a file that uses it needs a reader of that version.
        row_arrays: name prefixes of the arrays of floats that hold rows.
    """

    format_version: ClassVar[int] = 1
    row_arrays: ClassVar[tuple[str, ...]] = ()

    def version_of(self, packed: Packed) -> int:
        """The oldest format version with all features that this table uses; call :meth:`check` before."""
        return self.format_version

    @abstractmethod
    def check(self, packed: Packed) -> None:
        """Raise :class:`ArtifactFormatError` unless names, types, shapes and config are valid; reads no values."""

    @abstractmethod
    def check_values(self, packed: Packed) -> None:
        """Raise :class:`ArtifactValueError` if a value is not valid; call :meth:`check` before."""

    @abstractmethod
    def exact_bits(self, packed: Packed) -> int:
        """All bits of the arrays, without the padding of bit streams to whole bytes."""

    @abstractmethod
    def open(self, packed: Packed) -> RowsInto:
        """Build lookup structures such as directories, and return the function that decodes rows."""

    def num_vectors(self, packed: Packed) -> int:
        """Number of stored rows: one per id, or fewer if ids share them; reads the config only."""
        return packed.num_embeddings

    def streams(self, packed: Packed) -> dict[str, Role]:
        """The roles of the arrays that are bit streams, and of others that could be; call :meth:`check` before."""
        return {}

    def roles(self, packed: Packed) -> dict[str, Role]:
        """The role of each array; call :meth:`check` before."""
        streams = self.streams(packed)
        return {
            name: streams.get(name) or plain_role(array.shape, array.itemsize, name.startswith(self.row_arrays))
            for name, array in packed.arrays.items()
        }


def check_head(packed: Packed) -> None:
    """Check the fields that all layouts share.

    Raises:
        ArtifactFormatError: if a size or the padding id is out of range.
    """
    _check_integer("num_embeddings", packed.num_embeddings, 1, MAX_EMBEDDINGS)
    _check_integer("embedding_dim", packed.embedding_dim, 1, MAX_DIM)
    if packed.padding_idx is not None:
        _check_integer("padding_idx", packed.padding_idx, 0, packed.num_embeddings - 1)


def check_arrays(packed: Packed, wanted: Iterable[str]) -> None:
    """Raise :class:`ArtifactFormatError` unless the arrays are exactly those ``wanted``."""
    names = set(wanted)
    for name in sorted(names - set(packed.arrays)):
        raise ArtifactFormatError(f"layout `{packed.layout}` needs an array `{name}`, which is missing.")
    for name in sorted(set(packed.arrays) - names):
        raise ArtifactFormatError(f"layout `{packed.layout}` has no array `{name}`; it has {sorted(names)}.")


def check_array(packed: Packed, name: str, dtypes: Iterable[str], shape: tuple[int, ...]) -> None:
    """Raise :class:`ArtifactFormatError` unless the array has one of the dtypes and the shape, in C order."""
    array = packed.arrays[name]
    if not isinstance(array, np.ndarray) or array.dtype.name not in dtypes or not array.dtype.isnative:
        found = getattr(array, "dtype", type(array).__name__)
        raise ArtifactFormatError(f"array `{name}` must be {' or '.join(dtypes)}, got {found}.")
    if array.shape != shape:
        raise ArtifactFormatError(f"array `{name}` must have shape {shape}, got {array.shape}.")
    if not (array.flags.c_contiguous and array.flags.aligned):
        raise ArtifactFormatError(f"array `{name}` must be contiguous and aligned; use np.ascontiguousarray.")


def check_config(config: Any, what: str, keys: Iterable[str]) -> None:
    """Raise :class:`ArtifactFormatError` unless ``config`` is a mapping with exactly these keys."""
    names = sorted(keys)
    if not hasattr(config, "keys") or sorted(config.keys()) != names:
        found = sorted(config.keys()) if hasattr(config, "keys") else type(config).__name__
        raise ArtifactFormatError(f"`{what}` must have exactly the keys {names}, got {found}.")


def check_config_integer(config: Any, what: str, key: str, low: int, high: int) -> int:
    """The integer ``config[key]``; raise :class:`ArtifactFormatError` unless it is in [low, high]."""
    _check_integer(f"{what}.{key}", config[key], low, high)
    return int(config[key])


def check_finite(packed: Packed, name: str) -> float:
    """Check that an array holds no NaN and no infinity.

    Returns:
        The largest magnitude.

    Raises:
        ArtifactValueError: if it does; the message names the first position.
    """
    array = packed.arrays[name]
    # Without the sign, floats sort as their bits do, infinity and NaN last; NumPy is faster with integers.
    bits = np.dtype(f"u{array.itemsize}")
    unsigned = bits.type((1 << (8 * array.itemsize - 1)) - 1)
    magnitude = 0.0
    for start, part in parts(array):
        largest = float((part.view(bits) & unsigned).max().view(part.dtype))
        if not math.isfinite(largest):
            bad = int(np.isfinite(part).argmin())
            place = tuple(map(int, np.unravel_index(start + bad, array.shape)))
            raise ArtifactValueError(f"array `{name}` holds {part[bad]} at {place}; all values must be finite.")
        magnitude = max(magnitude, largest)
    return magnitude


def check_steps(packed: Packed, name: str, what: str = "steps") -> float:
    """Check that the values of an array are finite and not negative.

    Returns:
        The largest.

    Raises:
        ArtifactValueError: if one is not.
    """
    largest = check_finite(packed, name)
    for start, step in parts(packed.arrays[name]):
        if (step < 0).any():
            place = int((step < 0).argmax())
            raise ArtifactValueError(f"array `{name}` holds {step[place]:g} at {start + place}; {what} are >= 0.")
    return largest


def check_scales(packed: Packed, offset_name: str, step_name: str, bits: int) -> float:
    """Check the scales of ``bits``-bit codes.

    Returns:
        The largest magnitude that ``offset + step · code`` can have.

    Raises:
        ArtifactValueError: if a scale is not finite, a step is negative, or a value overflows float32.
    """
    check_finite(packed, offset_name)
    check_steps(packed, step_name)
    magnitude = 0.0
    for start, step in parts(packed.arrays[step_name]):
        offset = packed.arrays[offset_name][start : start + step.size].astype(np.float32)
        with np.errstate(over="ignore"):
            largest = offset + step.astype(np.float32) * np.float32((1 << bits) - 1)
        if not np.isfinite(largest).all():
            place = start + int(np.isfinite(largest).argmin())
            raise ArtifactValueError(f"`{offset_name} + {step_name} · code` overflows float32 at {place}.")
        magnitude = max(magnitude, float(np.abs(offset).max()), float(np.abs(largest).max()))
    return magnitude


def check_stream(packed: Packed, name: str, count: int, width: int) -> None:
    """Raise :class:`ArtifactFormatError` unless the array is a bit stream of ``count`` codes."""
    check_array(packed, name, ("uint8",), (packed_size(count, width),))


def check_stream_end(packed: Packed, name: str, count: int, width: int) -> None:
    """Raise :class:`ArtifactValueError` unless the unused bits at the end of the stream are zero."""
    unused = -count * width % 8
    if unused and int(packed.arrays[name][-1]) >> (8 - unused):
        raise ArtifactValueError(f"array `{name}` must end with {unused} zero bits; its last byte has others.")


def check_codes(packed: Packed, name: str, count: int, codebook_size: int) -> None:
    """Raise :class:`ArtifactValueError` unless the stream ends with zero bits and its codes are below the size."""
    from slimtable.artifact import kernels  # numba is imported on first use

    width = code_bits(codebook_size)
    check_stream_end(packed, name, count, width)
    if codebook_size == 1 << width:
        return  # every code of this width is in range
    largest = kernels.max_code(read_only(packed.arrays[name]), width, count)
    if largest >= codebook_size:
        raise ArtifactValueError(
            f"array `{name}` holds the code {largest}; codes must be below codebook_size={codebook_size}."
        )


def check_scale_range(packed: Packed, name: str, num_codes: int = NUM_CODES) -> float:
    """Check the range of coded scales, (smallest, ratio), of which ``num_codes`` codes are used.

    Returns:
        The largest scale.

    Raises:
        ArtifactValueError: if they are not finite, the smallest scale is not positive in float32, the ratio is below
            1, or the largest scale overflows.
    """
    check_finite(packed, name)
    smallest, ratio = packed.arrays[name].tolist()
    if ratio < 1 or not SMALLEST <= smallest <= LARGEST:
        raise ArtifactValueError(
            f"array `{name}` must be a positive float32 and a ratio >= 1, got {smallest}, {ratio}."
        )
    largest = float(scale_table(smallest, ratio)[num_codes - 1])
    if not largest <= LARGEST:
        raise ArtifactValueError(f"array `{name}` must not lead to scales that overflow float32.")
    return largest


@contextlib.contextmanager
def naming(what: str) -> Iterator[None]:
    """Prefix the message of an artifact error with ``what``."""
    try:
        yield
    except ArtifactError as error:
        raise type(error)(f"{what}: {error}") from None


def parts(array: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Pieces of the flat array, with the position of their first element."""
    flat = array.reshape(-1)
    for start in range(0, flat.size, _CHECKED_AT_ONCE):
        yield start, flat[start : start + _CHECKED_AT_ONCE]


def aligned_zeros(shape: tuple[int, ...]) -> np.ndarray:
    """Zeros in float32 from a multiple of 64 bytes on, so that reading 16 values touches one cache line, not two."""
    count = math.prod(shape)
    room = np.zeros(count + 15, np.float32)
    first = -room.ctypes.data % 64 // 4
    return room[first : first + count].reshape(shape)


def read_only(array: np.ndarray) -> np.ndarray:
    """A read-only view as a plain array, so that kernels are compiled once for arrays of any origin."""
    view = array.view(np.ndarray)
    view.flags.writeable = False
    return view


def _check_integer(what: str, value: Any, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ArtifactFormatError(f"`{what}` must be an integer from {low} to {high}, got {value!r}.")
