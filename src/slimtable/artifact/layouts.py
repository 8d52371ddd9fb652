"""The list of layouts, and functions on packed tables: validate, measure, decode, pool."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from slimtable.artifact.bits import exact_array
from slimtable.artifact.coded import CodedLayout
from slimtable.artifact.layout import Layout, check_head, read_only
from slimtable.artifact.packed import Packed
from slimtable.artifact.plain import DenseLayout, LowRankLayout
from slimtable.artifact.quantized import QuantizedLayout
from slimtable.artifact.roles import Role
from slimtable.artifact.scaled import ScaledLayout
from slimtable.artifact.shared import SharedLayout
from slimtable.artifact.sparse import SparseLayout
from slimtable.artifact.tiered import TieredLayout
from slimtable.errors import ArtifactFormatError

_OF_ONE_PART: dict[str, Layout] = {
    "coded": CodedLayout(),
    "dense": DenseLayout(),
    "low_rank": LowRankLayout(),
    "quantized": QuantizedLayout(),
    "scaled": ScaledLayout(),
    "shared": SharedLayout(),
    "sparse": SparseLayout(),
}
LAYOUTS: Mapping[str, Layout] = MappingProxyType({**_OF_ONE_PART, "tiered": TieredLayout(_OF_ONE_PART)})
"""All layouts. A new one means a new format version."""

_ROWS_AT_ONCE = 1024


def validate(packed: Packed, *, values: bool = True) -> None:
    """Check that a packed table can be decoded.

    Args:
        packed: the table.
        values: True to check the values of the arrays, too: floats finite, codes and tiers in range.

    Raises:
        ArtifactFormatError: if names, types, shapes and config are inconsistent.
        ArtifactValueError: if a value is not valid.
    """
    layout = _layout_of(packed)
    check_head(packed)
    layout.check(packed)
    if values:
        layout.check_values(packed)


def validate_values(packed: Packed) -> None:
    """Check the values of a packed table whose structure was validated.

    Raises:
        ArtifactValueError: if a value is not valid.
    """
    _layout_of(packed).check_values(packed)


def exact_bits(packed: Packed) -> int:
    """All bits of a packed table, without the padding of bit streams to whole bytes.

    Args:
        packed: the table.

    Returns:
        The bits of codes, codebooks, factors, scales, tier flags and maps; at most ``8 * packed.nbytes``.

    Raises:
        ArtifactFormatError: if the layout is unknown.
    """
    return _layout_of(packed).exact_bits(packed)


def num_vectors(packed: Packed) -> int:
    """Number of stored rows: one per id, or fewer if ids share them; the arrays may be missing."""
    return _layout_of(packed).num_vectors(packed)


def roles_of(packed: Packed) -> dict[str, Role]:
    """The role of each array of a table; call :func:`validate` before."""
    return _layout_of(packed).roles(packed)


def format_version(packed: Packed) -> int:
    """The oldest format version with all features that a packed table uses; call :func:`validate` before.

    Raises:
        ArtifactFormatError: if the layout is unknown.
    """
    return _layout_of(packed).version_of(packed)


def decode(packed: Packed, ids: Any, out: np.ndarray | None = None) -> np.ndarray:
    """Decode the rows of ids; for repeated calls keep a :class:`Decoder`.

    Args:
        packed: the table.
        ids: integers of any shape, each in [0, num_embeddings).
        out: float32 (*ids.shape, d), contiguous; if given, filled and returned.

    Returns:
        float32 (*ids.shape, d).

    Raises:
        TypeError: if the ids are not integers.
        IndexError: if an id is out of range.
        ValueError: if ``out`` has another shape or is not contiguous.
        ArtifactError: if the table is not valid.
    """
    return Decoder(packed)(ids, out)


def decode_bag(
    packed: Packed,
    ids: Any,
    offsets: Any,
    mode: str = "sum",
    per_sample_weights: Any = None,
    include_last_offset: bool = False,
) -> np.ndarray:
    """Decode and pool bags of ids; see :meth:`Decoder.bag`."""
    return Decoder(packed).bag(ids, offsets, mode, per_sample_weights, include_last_offset)


class Decoder:
    """A packed table that is ready for lookups: its structure is checked and its directories are built.

    Thread-safe. No lookup can read outside the arrays, whatever their values.

    Args:
        packed: the table; its arrays are used in place.

    Raises:
        ArtifactError: if the structure of the table is not valid.

    Example:
        >>> table = Packed("dense", 2, 2, {"table": np.eye(2, dtype=np.float32)})
        >>> Decoder(table)([1, 0]).tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """

    def __init__(self, packed: Packed) -> None:
        validate(packed, values=False)
        self.num_embeddings = packed.num_embeddings
        self.embedding_dim = packed.embedding_dim
        self.padding_idx = packed.padding_idx
        self._rows_into = _layout_of(packed).open(packed)

    def __call__(self, ids: Any, out: np.ndarray | None = None) -> np.ndarray:
        """Decode the rows of ids.

        Args:
            ids: integers of any shape, each in [0, num_embeddings).
            out: float32 (*ids.shape, d), contiguous; if given, filled and returned.

        Returns:
            float32 (*ids.shape, d); the row of ``padding_idx`` is zeros.

        Raises:
            TypeError: if the ids are not integers, or ``out`` is not float32.
            IndexError: if an id is out of range; ``out`` is then untouched.
            ValueError: if ``out`` has another shape or is not contiguous.
        """
        checked = self._check_ids(ids)
        shape = (*checked.shape, self.embedding_dim)
        if out is None:
            out = np.empty(shape, np.float32)
        elif not isinstance(out, np.ndarray) or out.dtype != np.float32:
            raise TypeError(f"`out` must be a float32 array, got {getattr(out, 'dtype', type(out).__name__)}.")
        elif out.shape != shape or not out.flags.c_contiguous or not out.flags.writeable or not out.flags.aligned:
            raise ValueError(f"`out` must be a writable contiguous array of shape {shape}, got {out.shape}.")
        self._decode(checked.reshape(-1), out.reshape(-1, self.embedding_dim))
        return out

    def bag(
        self,
        ids: Any,
        offsets: Any,
        mode: str = "sum",
        per_sample_weights: Any = None,
        include_last_offset: bool = False,
    ) -> np.ndarray:
        """Pool bags of ids like ``torch.nn.EmbeddingBag``, in chunks that fit into the cache.

        Rows are added in float32 in the order of the ids. An empty bag gives zeros. The ``padding_idx`` of the table
        adds nothing, and a mean does not count it.

        Args:
            ids: integers (n,), each in [0, num_embeddings).
            offsets: integers (B,): start of each bag, from 0, ascending.
            mode: "sum" or "mean".
            per_sample_weights: (n,) factors of the rows, for "sum" only.
            include_last_offset: True if ``offsets`` is (B + 1,) and ends with n.

        Returns:
            float32 (B, d).

        Raises:
            TypeError: if ids or offsets are not integers.
            IndexError: if an id is out of range.
            ValueError: if the offsets, the mode or the weights are invalid.
        """
        from slimtable.artifact import kernels

        if mode not in ("sum", "mean"):
            raise ValueError(f"`mode` must be 'sum' or 'mean', got {mode!r}.")
        checked = self._check_ids(ids)
        if checked.ndim != 1:
            raise ValueError(f"`ids` of bags must have one dimension, got shape {checked.shape}.")
        bounds = _check_offsets(offsets, checked.size, include_last_offset)
        weights = _check_weights(per_sample_weights, checked.size, mode)

        out = np.zeros((bounds.size - 1, self.embedding_dim), np.float32)
        rows = np.empty((min(checked.size, _ROWS_AT_ONCE), self.embedding_dim), np.float32)
        bag = 0
        for start in range(0, checked.size, _ROWS_AT_ONCE):
            some = checked[start : start + _ROWS_AT_ONCE]
            self._decode(some, rows[: some.size])
            bag = kernels.pool_rows(rows[: some.size], weights, start, bounds, bag, out)
        if mode == "mean":
            out /= np.maximum(self._bag_sizes(checked, bounds), 1).astype(np.float32)[:, None]
        return out

    def _bag_sizes(self, ids: np.ndarray, bounds: np.ndarray) -> np.ndarray:
        """Number of ids in each bag, without the padding: int64 (B,)."""
        sizes = np.diff(bounds)
        if self.padding_idx is not None:
            padding = np.concatenate(([0], np.cumsum(ids == self.padding_idx)))
            sizes -= padding[bounds[1:]] - padding[bounds[:-1]]
        return sizes

    def _decode(self, ids: np.ndarray, out: np.ndarray) -> None:
        """Decode checked ids (n,) into ``out`` (n, d)."""
        self._rows_into(ids, out)
        if self.padding_idx is not None:
            from slimtable.artifact import kernels

            kernels.clear_rows(ids, self.padding_idx, out)

    def _check_ids(self, ids: Any) -> np.ndarray:
        """The ids as contiguous int64, all in range."""
        from slimtable.artifact import kernels

        array = _integers("ids", ids)
        bad = int(kernels.first_outside(array.reshape(-1), self.num_embeddings))
        if bad >= 0:
            found = exact_array(ids).reshape(-1)[bad]
            raise IndexError(f"id {found} at position {bad} is out of range: ids are in 0..{self.num_embeddings - 1}.")
        return array


def _layout_of(packed: Packed) -> Layout:
    if packed.layout not in LAYOUTS:
        raise ArtifactFormatError(f"unknown layout {packed.layout!r}; known are {sorted(LAYOUTS)}.")
    return LAYOUTS[packed.layout]


def _integers(what: str, values: Any) -> np.ndarray:
    """The values as contiguous int64; one that int64 cannot hold becomes -1, which is always out of range."""
    array = exact_array(values)
    if array.size == 0 and array.dtype == np.float64 and not isinstance(values, np.ndarray):
        array = array.astype(np.int64)  # an empty list has no type
    if array.dtype == object and all(isinstance(value, int) for value in array.reshape(-1)):
        small = [value if abs(value) < 1 << 62 else -1 for value in array.reshape(-1)]
        array = np.array(small, np.int64).reshape(array.shape)
    if array.dtype.kind not in "iu":
        raise TypeError(f"`{what}` must be integers, got {array.dtype}.")
    if array.dtype == np.uint64:
        array = np.where(array > np.uint64(1 << 62), -1, array.astype(np.int64))
    return read_only(np.asarray(array, np.int64, order="C"))


def _check_offsets(offsets: Any, count: int, include_last: bool) -> np.ndarray:
    """Start of each bag and end of the last one: int64 (B + 1,)."""
    begins = _integers("offsets", offsets)
    if begins.ndim != 1:
        raise ValueError(f"`offsets` must have one dimension, got shape {begins.shape}.")
    bounds = begins if include_last else read_only(np.append(begins, count))
    if bounds.size == 0 or bounds[0] != 0:
        raise ValueError("`offsets` must begin with 0.")
    if bounds[-1] != count:
        raise ValueError(f"`offsets` must end with the number of ids, {count}, got {bounds[-1]}.")
    if (np.diff(bounds) < 0).any():
        bag = int((np.diff(bounds) < 0).argmax())
        raise ValueError(f"`offsets` must not fall, but {bounds[bag]} is followed by {bounds[bag + 1]}.")
    return bounds


def _check_weights(weights: Any, count: int, mode: str) -> np.ndarray:
    """The weights as float32 (n,), or (0,) without weights."""
    if weights is None:
        return read_only(np.empty(0, np.float32))
    if mode != "sum":
        raise ValueError(f"`per_sample_weights` works with mode 'sum' only, got {mode!r}.")
    array = np.ascontiguousarray(weights, np.float32)
    if array.shape != (count,):
        raise ValueError(f"`per_sample_weights` must have shape ({count},), got {array.shape}.")
    return read_only(array)
