"""The layout ``scaled``: rows stored per id as codes of 1 to 8 bits with a scale per row or column."""

from __future__ import annotations

import numpy as np

from slimtable.artifact.layout import (
    FLOATS,
    LARGEST,
    Layout,
    RowsInto,
    check_array,
    check_arrays,
    check_config,
    check_config_integer,
    check_scale_range,
    check_scales,
    check_stream,
    check_stream_end,
    read_only,
)
from slimtable.artifact.log_scales import scale_table
from slimtable.artifact.packed import Packed
from slimtable.artifact.roles import Role
from slimtable.errors import ArtifactFormatError, ArtifactValueError

ZEROS = 255  # the largest zero point


class ScaledLayout(Layout):
    """Scalar quantization: ``bits``-bit codes, a bit stream of N·d, scaled per column or per row.

    A value is ``offset + step · code``. ``offset`` and ``step`` are float32 (d,) for ``axis: "column"``, float32 or
    float16 (N,) for ``axis: "row"``. Since version 4, rows may have ``scale_bits: 8``: a value is then ``step · (code -
    zero · (2**bits - 1) / 255)``, where ``step`` is uint8 (N,) codes of the geometric series ``step_range``, and
    ``zero`` is uint8 (N,). All steps of the arithmetic are rounded to float32, none are fused.
    """

    def version_of(self, packed: Packed) -> int:
        return 4 if _short_scales(packed) else self.format_version

    def check(self, packed: Packed) -> None:
        config, short = packed.layout_config, _short_scales(packed)
        check_config(config, "layout_config", ("bits", "axis", *(("scale_bits",) if short else ())))
        bits = check_config_integer(config, "layout_config", "bits", 1, 8)
        axis = config["axis"]
        if axis not in ("column", "row"):
            raise ArtifactFormatError(f"`layout_config.axis` must be 'column' or 'row', got {axis!r}.")
        if short:
            check_config_integer(config, "layout_config", "scale_bits", 8, 8)
            if axis != "row":
                raise ArtifactFormatError("`layout_config.scale_bits` needs `axis` 'row'.")
        scales = ("step", "step_range", "zero") if short else ("offset", "step")
        check_arrays(packed, ("codes", *scales))
        num, dim = packed.num_embeddings, packed.embedding_dim
        check_stream(packed, "codes", num * dim, bits)
        for name in scales:
            if name == "step_range":
                check_array(packed, name, ("float64",), (2,))
            elif short:
                check_array(packed, name, ("uint8",), (num,))
            elif axis == "column":
                check_array(packed, name, ("float32",), (dim,))
            else:
                check_array(packed, name, FLOATS, (num,))

    def check_values(self, packed: Packed) -> None:
        bits = packed.layout_config["bits"]
        check_stream_end(packed, "codes", packed.num_embeddings * packed.embedding_dim, bits)
        if not _short_scales(packed):
            check_scales(packed, "offset", "step", bits)
        elif check_scale_range(packed, "step_range") * ((1 << bits) - 1) > LARGEST:
            raise ArtifactValueError("`step_range` must not lead to values that overflow float32.")

    def exact_bits(self, packed: Packed) -> int:
        plain = sum(array.nbytes for name, array in packed.arrays.items() if name != "codes")
        return packed.num_embeddings * packed.embedding_dim * packed.layout_config["bits"] + 8 * plain

    def streams(self, packed: Packed) -> dict[str, Role]:
        dim = packed.embedding_dim
        return {"codes": Role("rows", packed.layout_config["bits"], packed.num_embeddings * dim, dim, stream=True)}

    def open(self, packed: Packed) -> RowsInto:
        from slimtable.artifact import kernels, scaled_kernels

        codes = read_only(packed.arrays["codes"])
        bits = packed.layout_config["bits"]
        if _short_scales(packed):
            steps, zeros = read_only(packed.arrays["step"]), read_only(packed.arrays["zero"])
            table = read_only(scale_table(*packed.arrays["step_range"].tolist()))
            points = read_only(zero_points(bits))

            def short_rows_into(ids: np.ndarray, out: np.ndarray) -> None:
                scratch = np.empty((kernels.BLOCK, out.shape[1]), np.uint16)
                scaled_kernels.rows_scaled_shortly(codes, bits, steps, table, zeros, points, ids, scratch, out)

            return short_rows_into
        offset, step = scale_bits(packed.arrays["offset"]), scale_bits(packed.arrays["step"])
        by_column = packed.layout_config["axis"] == "column"
        decode = scaled_kernels.rows_scaled_by_column if by_column else scaled_kernels.rows_scaled_by_row

        def rows_into(ids: np.ndarray, out: np.ndarray) -> None:
            scratch = np.empty((kernels.BLOCK, out.shape[1]), np.uint16)
            decode(codes, bits, offset, step, ids, scratch, out)

        return rows_into


def scale_bits(scales: np.ndarray) -> np.ndarray:
    """Scales as kernels take them: float32, or float16 as uint16."""
    return read_only(scales.view(np.uint16) if scales.dtype == np.float16 else scales)


def zero_points(bits: int) -> np.ndarray:
    """The code that each zero point stands for: float32 (256,), ``zero · ((2**bits - 1) / 255)``, both rounded."""
    return np.arange(ZEROS + 1, dtype=np.float32) * np.float32(((1 << bits) - 1) / ZEROS)


def _short_scales(packed: Packed) -> bool:
    """True if the config has ``scale_bits``, a key that older readers reject."""
    return hasattr(packed.layout_config, "keys") and "scale_bits" in packed.layout_config
