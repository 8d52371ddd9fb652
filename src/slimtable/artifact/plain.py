"""The layouts ``dense`` and ``low_rank``: rows stored per id as values or factors."""

from __future__ import annotations

import numpy as np

from slimtable.artifact.layout import (
    FLOATS,
    LARGEST,
    MAX_DIM,
    Layout,
    RowsInto,
    check_array,
    check_arrays,
    check_config,
    check_finite,
    read_only,
)
from slimtable.artifact.packed import Packed
from slimtable.errors import ArtifactFormatError, ArtifactValueError

_IDS_AT_ONCE = 4096


class DenseLayout(Layout):
    """The table itself: ``table`` (N, d) float32 or float16."""

    row_arrays = ("table",)

    def check(self, packed: Packed) -> None:
        check_config(packed.layout_config, "layout_config", ())
        check_arrays(packed, ("table",))
        check_array(packed, "table", FLOATS, (packed.num_embeddings, packed.embedding_dim))

    def check_values(self, packed: Packed) -> None:
        check_finite(packed, "table")

    def exact_bits(self, packed: Packed) -> int:
        return 8 * packed.nbytes

    def open(self, packed: Packed) -> RowsInto:
        table = read_only(packed.arrays["table"])

        def rows_into(ids: np.ndarray, out: np.ndarray) -> None:
            _gather(table, ids, out)

        return rows_into


class LowRankLayout(Layout):
    """The product of ``left`` (N, r) and ``right`` (r, d), float32 or float16, summed in float32."""

    row_arrays = ("left",)

    def check(self, packed: Packed) -> None:
        check_config(packed.layout_config, "layout_config", ())
        check_arrays(packed, ("left", "right"))
        shape = packed.arrays["right"].shape
        rank = shape[0] if shape else 0
        if not 1 <= rank <= MAX_DIM:
            raise ArtifactFormatError(f"array `right` must have 1 to {MAX_DIM} rows, got shape {shape}.")
        check_array(packed, "left", FLOATS, (packed.num_embeddings, rank))
        check_array(packed, "right", FLOATS, (rank, packed.embedding_dim))

    def check_values(self, packed: Packed) -> None:
        rank = packed.arrays["right"].shape[0]
        allowed = LARGEST / (1 + rank * 2.0**-23)  # sums of `rank` products are rounded at every step
        if rank * check_finite(packed, "left") * check_finite(packed, "right") <= allowed:
            return
        largest = np.abs(packed.arrays["right"].astype(np.float64)).max(axis=1)
        for start in range(0, packed.num_embeddings, _IDS_AT_ONCE):
            rows = np.abs(packed.arrays["left"][start : start + _IDS_AT_ONCE].astype(np.float64)) @ largest
            if rows.max() > allowed:
                row = start + int(rows.argmax())
                raise ArtifactValueError(f"row {row}, the product of `left` and `right`, may overflow float32.")

    def exact_bits(self, packed: Packed) -> int:
        return 8 * packed.nbytes

    def open(self, packed: Packed) -> RowsInto:
        from slimtable.artifact import kernels

        left = read_only(packed.arrays["left"])
        right = read_only(packed.arrays["right"].astype(np.float32))

        def rows_into(ids: np.ndarray, out: np.ndarray) -> None:
            factors = np.empty((min(ids.size, _IDS_AT_ONCE), right.shape[0]), np.float32)
            for start in range(0, ids.size, _IDS_AT_ONCE):
                some = ids[start : start + _IDS_AT_ONCE]
                _gather(left, some, factors[: some.size])
                kernels.low_rank_rows(factors[: some.size], right, out[start : start + some.size])

        return rows_into


def _gather(table: np.ndarray, ids: np.ndarray, out: np.ndarray) -> None:
    """``out = table[ids]`` as float32; the ids are in range."""
    if table.dtype == np.float32:
        np.take(table, ids, axis=0, out=out, mode="clip")  # any other mode buffers the output
        return
    for start in range(0, ids.size, _IDS_AT_ONCE):
        some = ids[start : start + _IDS_AT_ONCE]
        out[start : start + some.size] = np.take(table, some, axis=0, mode="clip")
