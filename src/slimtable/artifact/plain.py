"""The layouts ``dense``, ``low_rank`` and ``scaled``: rows stored per id as values, factors or codes."""

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
    check_config_integer,
    check_finite,
    check_scales,
    check_stream,
    check_stream_end,
    read_only,
)
from slimtable.artifact.packed import Packed
from slimtable.artifact.roles import Role
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


class ScaledLayout(Layout):
    """Scalar quantization: ``offset + step · code`` with ``bits``-bit codes, scaled per column or per row.

    ``codes`` is a bit stream of N·d codes. ``offset`` and ``step`` are float32 (d,) for ``axis: "column"``,
    float32 or float16 (N,) for ``axis: "row"``. A value is a float32 product, then a float32 sum, not fused.
    """

    def check(self, packed: Packed) -> None:
        check_config(packed.layout_config, "layout_config", ("bits", "axis"))
        bits = check_config_integer(packed.layout_config, "layout_config", "bits", 1, 8)
        axis = packed.layout_config["axis"]
        if axis not in ("column", "row"):
            raise ArtifactFormatError(f"`layout_config.axis` must be 'column' or 'row', got {axis!r}.")
        check_arrays(packed, ("codes", "offset", "step"))
        check_stream(packed, "codes", packed.num_embeddings * packed.embedding_dim, bits)
        for name in ("offset", "step"):
            if axis == "column":
                check_array(packed, name, ("float32",), (packed.embedding_dim,))
            else:
                check_array(packed, name, FLOATS, (packed.num_embeddings,))

    def check_values(self, packed: Packed) -> None:
        bits = packed.layout_config["bits"]
        check_stream_end(packed, "codes", packed.num_embeddings * packed.embedding_dim, bits)
        check_scales(packed, "offset", "step", bits)

    def exact_bits(self, packed: Packed) -> int:
        scales = packed.arrays["offset"].nbytes + packed.arrays["step"].nbytes
        return packed.num_embeddings * packed.embedding_dim * packed.layout_config["bits"] + 8 * scales

    def streams(self, packed: Packed) -> dict[str, Role]:
        dim = packed.embedding_dim
        return {"codes": Role("rows", packed.layout_config["bits"], packed.num_embeddings * dim, dim, stream=True)}

    def open(self, packed: Packed) -> RowsInto:
        from slimtable.artifact import kernels

        codes, offset, step = (read_only(packed.arrays[name]) for name in ("codes", "offset", "step"))
        bits = packed.layout_config["bits"]
        if packed.layout_config["axis"] == "column":

            def rows_into(ids: np.ndarray, out: np.ndarray) -> None:
                kernels.scaled_rows(codes, bits, offset, step, False, ids, out)

        else:

            def rows_into(ids: np.ndarray, out: np.ndarray) -> None:
                for start in range(0, ids.size, _IDS_AT_ONCE):
                    some = ids[start : start + _IDS_AT_ONCE]
                    offsets, steps = (read_only(scale[some].astype(np.float32)) for scale in (offset, step))
                    kernels.scaled_rows(codes, bits, offsets, steps, True, some, out[start : start + some.size])

        return rows_into


def _gather(table: np.ndarray, ids: np.ndarray, out: np.ndarray) -> None:
    """``out = table[ids]`` as float32; the ids are in range."""
    if table.dtype == np.float32:
        np.take(table, ids, axis=0, out=out, mode="clip")  # any other mode buffers the output
        return
    for start in range(0, ids.size, _IDS_AT_ONCE):
        some = ids[start : start + _IDS_AT_ONCE]
        out[start : start + some.size] = np.take(table, some, axis=0, mode="clip")
