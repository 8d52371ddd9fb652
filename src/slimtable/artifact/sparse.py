"""The layout ``sparse``: most values are zero, the others have 8 bits."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from slimtable.artifact.layout import (
    Layout,
    RowsInto,
    check_array,
    check_arrays,
    check_config,
    check_steps,
    check_stream,
    check_stream_end,
    read_only,
)
from slimtable.artifact.packed import Packed
from slimtable.artifact.roles import Role
from slimtable.errors import ArtifactFormatError, ArtifactValueError

_IDS_AT_ONCE = 1024


class SparseLayout(Layout):
    """``bitmap`` is a bit stream of N·d bits: 1 if a value is stored. ``values`` (nnz,) uint8 are these, in order.

    A stored value is ``step · (code - 128)`` with the ``step`` of its row, float16 (N,); the others are zero.
    """

    format_version: ClassVar[int] = 4

    def check(self, packed: Packed) -> None:
        check_config(packed.layout_config, "layout_config", ())
        check_arrays(packed, ("bitmap", "values", "step"))
        size = packed.num_embeddings * packed.embedding_dim
        check_stream(packed, "bitmap", size, 1)
        shape = packed.arrays["values"].shape
        if len(shape) != 1 or shape[0] > size:
            raise ArtifactFormatError(f"array `values` must have one dimension and at most {size} values, got {shape}.")
        check_array(packed, "values", ("uint8",), shape)
        check_array(packed, "step", ("float16",), (packed.num_embeddings,))

    def check_values(self, packed: Packed) -> None:
        check_stream_end(packed, "bitmap", packed.num_embeddings * packed.embedding_dim, 1)
        check_steps(packed, "step")
        _directory(packed)

    def exact_bits(self, packed: Packed) -> int:
        plain = packed.arrays["values"].nbytes + packed.arrays["step"].nbytes
        return packed.num_embeddings * packed.embedding_dim + 8 * plain

    def streams(self, packed: Packed) -> dict[str, Role]:
        count, dim = packed.num_embeddings, packed.embedding_dim
        return {"bitmap": Role("rows", 1, count * dim, dim, stream=True)}

    def open(self, packed: Packed) -> RowsInto:
        from slimtable.artifact import sparse_kernels

        bitmap, values = (read_only(packed.arrays[name]) for name in ("bitmap", "values"))
        step = packed.arrays["step"]
        directory, dim = _directory(packed), packed.embedding_dim

        def rows_into(ids: np.ndarray, out: np.ndarray) -> None:
            firsts = np.empty(min(ids.size, _IDS_AT_ONCE), np.int64)
            for start in range(0, ids.size, _IDS_AT_ONCE):
                some = ids[start : start + _IDS_AT_ONCE]
                steps = read_only(step[some].astype(np.float32))
                sparse_kernels.first_values(bitmap, directory, dim, some, firsts)
                place = out[start : start + some.size]
                if not sparse_kernels.sparse_rows(bitmap, values, steps, some, firsts, place):
                    raise ArtifactValueError("array `bitmap` changed after it was opened; open the artifact again.")

        return rows_into


def _directory(packed: Packed) -> np.ndarray:
    """Number of ones before each block of the bitmap; also checks the number of values.

    Raises:
        ArtifactValueError: if the bitmap does not have as many ones as there are values.
    """
    from slimtable.artifact import sparse_kernels

    bitmap, count = read_only(packed.arrays["bitmap"]), packed.arrays["values"].size
    dtype = np.int32 if 8 * bitmap.size < 1 << 31 else np.int64
    directory = np.empty(-(-bitmap.size // sparse_kernels.BLOCK_BYTES), dtype)
    ones = int(sparse_kernels.count_ones(bitmap, directory))
    if ones != count:
        raise ArtifactValueError(f"array `bitmap` has {ones} ones, but there are {count} values.")
    return read_only(directory)
