"""The layout ``quantized``: rows coded by shape, which is joined or summed centroids, and by gain, perhaps rotated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from slimtable.artifact.bits import code_bits, unpack_bits
from slimtable.artifact.layout import (
    FLOATS,
    LARGEST,
    MAX_DIM,
    Layout,
    RowsInto,
    aligned_zeros,
    check_array,
    check_arrays,
    check_codes,
    check_config,
    check_config_integer,
    check_finite,
    check_scale_range,
    check_stream,
    check_stream_end,
    read_only,
)
from slimtable.artifact.log_scales import NUM_CODES, scale_table
from slimtable.artifact.packed import Packed
from slimtable.artifact.roles import Role
from slimtable.artifact.rotation import MAX_ROUNDS, MAX_SEED, scaled_signs, transform_size
from slimtable.artifact.scaled import scale_bits
from slimtable.errors import ArtifactFormatError, ArtifactValueError

MAX_CODEBOOK_SIZE = 1 << 16
MAX_STAGES = 256  # codebooks whose centroids are summed
STORED = "stored"
_ROUNDING = 1.01  # allows for rounding in sums
_IDS_AT_ONCE = 1024
_CODES_AT_ONCE = {1: 8, 2: 4, 3: 2, 4: 2}  # by width: scalar codes that are looked up together
_KEYS = (
    "num_codebooks",
    "codebook_size",
    "combine",
    "shared",
    "codebook_bits",
    "gain_bits",
    "rotation",
    "offset",
)


@dataclass(frozen=True)
class PackedQuantized:
    """The config of a table of the layout ``quantized``.

    Attributes:
        num_codebooks: codes per id, M.
        codebook_size: centroids that a code can point to, K.
        summed: True if the centroids are added; False if they are joined.
        shared: True if all codes use one codebook.
        codebook_bits: bits of a value of a centroid: 32, 16, or 8 or 4 with a scale per centroid.
        gain_bits: bits of the gain of an id: 4 to 8 on a logarithmic scale, 16, or 0 for a gain of 1.
        seed: seed of the rotation, or None.
        rounds: rounds of a rotation with a seed, or 0.
        stored_rotation: True if array ``rotation`` holds the rotation.
        has_offset: True if array ``offset`` is added.
    """

    num_codebooks: int
    codebook_size: int
    summed: bool
    shared: bool
    codebook_bits: int
    gain_bits: int
    seed: int | None
    rounds: int
    stored_rotation: bool
    has_offset: bool

    @property
    def width(self) -> int:
        """Bits of one code."""
        return code_bits(self.codebook_size)

    @property
    def coded_gain(self) -> bool:
        """True if gains are codes of a logarithmic scale."""
        return 0 < self.gain_bits <= 8

    def codebook_shape(self, dim: int) -> tuple[int, int, int]:
        """Shape of the codebook for rows of width ``dim``."""
        books = 1 if self.shared else self.num_codebooks
        return books, self.codebook_size, dim if self.summed else dim // self.num_codebooks

    def array_names(self) -> list[str]:
        """Names of all arrays."""
        names = ["codes", "codebook"]
        names += ["codebook_scale"] if self.codebook_bits <= 8 else []
        names += ["gain"] if self.gain_bits else []
        names += ["gain_range"] if self.coded_gain else []
        names += ["rotation"] if self.stored_rotation else []
        return names + (["offset"] if self.has_offset else [])


class QuantizedLayout(Layout):
    """``Rᵀ · (gain · shape) + offset``, where the shape is the centroids of M codes, joined or summed.

    ``codes`` is a bit stream of N·M codes. ``codebook`` is float32 or float16, or, with ``codebook_scale``, uint8 or a
    bit stream of 4-bit values. ``gain`` holds one per id: float16, or a bit stream of codes of the geometric series
    ``gain_range``. The rotation is a seed, or the array ``rotation``. Everything but codes and codebook is optional.
    """

    format_version: ClassVar[int] = 4

    def check(self, packed: Packed) -> None:
        config = read_quantized(packed)
        num, dim = packed.num_embeddings, packed.embedding_dim
        check_arrays(packed, config.array_names())
        check_stream(packed, "codes", num * config.num_codebooks, config.width)
        shape = config.codebook_shape(dim)
        if config.codebook_bits == 4:
            check_stream(packed, "codebook", math.prod(shape), 4)
        else:
            dtype = "uint8" if config.codebook_bits == 8 else f"float{config.codebook_bits}"
            check_array(packed, "codebook", (dtype,), shape)
        if config.codebook_bits <= 8:
            check_array(packed, "codebook_scale", FLOATS, shape[:2])
        if config.coded_gain:
            check_stream(packed, "gain", num, config.gain_bits)
            check_array(packed, "gain_range", ("float64",), (2,))
        elif config.gain_bits:
            check_array(packed, "gain", ("float16",), (num,))
        if config.stored_rotation:
            check_array(packed, "rotation", FLOATS, (dim, dim))
        if config.has_offset:
            check_array(packed, "offset", ("float32",), (dim,))

    def check_values(self, packed: Packed) -> None:
        config = read_quantized(packed)
        check_codes(packed, "codes", packed.num_embeddings * config.num_codebooks, config.codebook_size)
        largest = _below_overflow(_check_codebook(packed, config))
        largest = _below_overflow(largest * _check_gains(packed, config))
        if config.stored_rotation:
            check_finite(packed, "rotation")
            largest *= _rotation_bound(packed.arrays["rotation"])
        elif config.rounds:
            # Rotations keep the norm of a row; sums inside a transform of p values are at most √p times larger.
            dim = packed.embedding_dim
            largest *= _ROUNDING * np.sqrt(dim * transform_size(dim))
        if config.has_offset:
            largest += check_finite(packed, "offset")
        _below_overflow(largest)

    def exact_bits(self, packed: Packed) -> int:
        streams = self.streams(packed)
        plain = sum(array.nbytes for name, array in packed.arrays.items() if name not in streams)
        return sum(role.width * role.count for role in streams.values()) + 8 * plain

    def streams(self, packed: Packed) -> dict[str, Role]:
        config = read_quantized(packed)
        num, number = packed.num_embeddings, config.num_codebooks
        roles = {"codes": Role("assignments", config.width, num * number, number, stream=True)}
        if config.coded_gain and config.gain_bits < 8:
            roles["gain"] = Role("other", config.gain_bits, num, 1, stream=True)
        if config.codebook_bits == 4:
            books, size, values = config.codebook_shape(packed.embedding_dim)
            roles["codebook"] = Role("other", 4, books * size * values, values, stream=True)
        return roles

    def open(self, packed: Packed) -> RowsInto:
        from slimtable.artifact import kernels

        config = read_quantized(packed)
        nothing = read_only(np.empty(0, np.float32))
        offset = read_only(packed.arrays["offset"]) if config.has_offset else nothing
        if not config.stored_rotation:
            return _open_rows(packed, config, offset)
        rows_into = _open_rows(packed, config, nothing)
        rotation = read_only(packed.arrays["rotation"].astype(np.float32))

        def rotated_into(ids: np.ndarray, out: np.ndarray) -> None:
            rows = np.empty((min(ids.size, _IDS_AT_ONCE), out.shape[1]), np.float32)
            for start in range(0, ids.size, _IDS_AT_ONCE):
                some, place = ids[start : start + _IDS_AT_ONCE], out[start : start + _IDS_AT_ONCE]
                rows_into(some, rows[: some.size])
                kernels.low_rank_rows(rows[: some.size], rotation, place)
                if config.has_offset:
                    with np.errstate(all="ignore"):  # values may not have been checked
                        place += offset

        return rotated_into


def read_quantized(packed: Packed) -> PackedQuantized:
    """Read and check ``layout_config``.

    Raises:
        ArtifactFormatError: if the config is not valid for this layout.
    """
    config, what = packed.layout_config, "layout_config"
    check_config(config, what, _KEYS)
    _check_choice(config, "combine", ("concat", "sum"))
    _check_choice(config, "codebook_bits", (32, 16, 8, 4))
    _check_choice(config, "gain_bits", (0, 4, 5, 6, 7, 8, 16))
    for key in ("shared", "offset"):
        _check_choice(config, key, (False, True))
    summed = config["combine"] == "sum"
    number = check_config_integer(config, what, "num_codebooks", 1, MAX_STAGES if summed else MAX_DIM)
    if summed and config["shared"]:
        raise ArtifactFormatError("`layout_config.shared` must be false if `combine` is 'sum'.")
    if not summed and packed.embedding_dim % number:
        raise ArtifactFormatError(f"`num_codebooks` must divide embedding_dim={packed.embedding_dim}, got {number}.")
    seed, rounds = _read_rotation(config["rotation"])
    return PackedQuantized(
        num_codebooks=number,
        codebook_size=check_config_integer(config, what, "codebook_size", 1, MAX_CODEBOOK_SIZE),
        summed=summed,
        shared=config["shared"],
        codebook_bits=config["codebook_bits"],
        gain_bits=config["gain_bits"],
        seed=seed,
        rounds=rounds,
        stored_rotation=config["rotation"] == STORED,
        has_offset=config["offset"],
    )


def padded_codebook(packed: Packed, config: PackedQuantized) -> np.ndarray:
    """The centroids as float32 (books, 2**width, values), zeros after the last: no code points outside."""
    shape = config.codebook_shape(packed.embedding_dim)
    book = packed.arrays["codebook"]
    if config.codebook_bits == 4:
        book = unpack_bits(np.array(book), 4, math.prod(shape)).reshape(shape)
    padded = aligned_zeros((shape[0], 1 << config.width, shape[2]))
    used = padded[:, : shape[1]]
    used[:] = book
    if config.codebook_bits <= 8:
        with np.errstate(all="ignore"):  # values may not have been checked
            used -= np.float32(1 << config.codebook_bits - 1)
            used *= packed.arrays["codebook_scale"][:, :, None].astype(np.float32)
    return padded


def _check_choice(config: Any, key: str, choices: tuple[Any, ...]) -> None:
    """Raise :class:`ArtifactFormatError` unless the value is one of ``choices``, of the same type."""
    value = config[key]
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise ArtifactFormatError(f"`layout_config.{key}` must be one of {choices}, got {value!r:.40}.")


def _read_rotation(value: Any) -> tuple[int | None, int]:
    """Seed and rounds, or (None, 0)."""
    if value is None or (isinstance(value, str) and value == STORED):
        return None, 0
    what = "layout_config.rotation"
    if not hasattr(value, "keys"):
        raise ArtifactFormatError(f"`{what}` must be null, '{STORED}' or an object with the keys 'seed' and 'rounds'.")
    check_config(value, what, ("seed", "rounds"))
    seed = check_config_integer(value, what, "seed", 0, MAX_SEED)
    return seed, check_config_integer(value, what, "rounds", 1, MAX_ROUNDS)


def _below_overflow(largest: float) -> float:
    """The bound of the values after a step; raise :class:`ArtifactValueError` if they may overflow float32.

    Later steps cannot mend an overflow: infinity times a gain of zero is a NaN.
    """
    if not largest <= LARGEST:
        raise ArtifactValueError("rows may overflow float32: codebook, gains, rotation and offset are too large.")
    return largest


def _check_codebook(packed: Packed, config: PackedQuantized) -> float:
    """Check the values of the codebook; returns a bound of the values of a shape."""
    name, factor = "codebook", 1
    if config.codebook_bits <= 8:
        name, factor = "codebook_scale", 1 << config.codebook_bits - 1
    if config.codebook_bits == 4:
        check_stream_end(packed, "codebook", math.prod(config.codebook_shape(packed.embedding_dim)), 4)
    magnitude = factor * check_finite(packed, name)
    if not config.summed:
        return magnitude
    books = (float(np.abs(book.astype(np.float64)).max()) for book in packed.arrays[name])
    return _ROUNDING * factor * sum(books)


def _check_gains(packed: Packed, config: PackedQuantized) -> float:
    """Check the values of the gains; returns the largest possible one."""
    if config.gain_bits == 0:
        return 1.0
    if config.coded_gain:
        check_stream_end(packed, "gain", packed.num_embeddings, config.gain_bits)
        return check_scale_range(packed, "gain_range", 1 << config.gain_bits)
    largest = check_finite(packed, "gain")
    negative = packed.arrays["gain"] < 0
    if negative.any():
        place = int(negative.argmax())
        raise ArtifactValueError(f"array `gain` holds {packed.arrays['gain'][place]:g} at {place}; gains are >= 0.")
    return largest


def _rotation_bound(rotation: np.ndarray) -> float:
    """How many times larger a rotation can make the largest value of a row: the largest sum of a column."""
    sums = np.zeros(rotation.shape[1])
    for line in rotation:
        sums += np.abs(line.astype(np.float64))
    return _ROUNDING * float(sums.max())


def _open_rows(packed: Packed, config: PackedQuantized, offset: np.ndarray) -> RowsInto:
    """The function that decodes rows, without a stored rotation; ``offset`` is (d,), or empty for none."""
    from slimtable.artifact import kernels, quantized_kernels

    codes, width, number = read_only(packed.arrays["codes"]), config.width, config.num_codebooks
    book = padded_codebook(packed, config)
    gains, table = _open_gains(packed, config)
    signs = np.empty((0, 1), np.float32)
    if config.seed is not None:
        signs = scaled_signs(packed.embedding_dim, config.seed, config.rounds)
    end = (gains, table, read_only(signs.reshape(-1)), signs.shape[1], offset)
    group = _CODES_AT_ONCE.get(width, 0)
    if config.shared and number == packed.embedding_dim and group and number % 8 == 0:
        values = read_only(_values_of_groups(book.reshape(-1), width, group))

        def scalar_into(ids: np.ndarray, out: np.ndarray) -> None:
            quantized_kernels.scalar_rows(codes, width, group, values, *end, ids, out)

        return scalar_into
    decode = quantized_kernels.summed_rows if config.summed else quantized_kernels.joined_rows
    stride = 0 if config.shared else book[0].size
    flat = read_only(book.reshape(-1))

    def rows_into(ids: np.ndarray, out: np.ndarray) -> None:
        block = np.empty((kernels.BLOCK, number), np.uint16)
        begins = np.empty(number if config.summed else 0, np.int64)
        decode(codes, width, block, begins, flat, stride, *end, ids, out)

    return rows_into


def _values_of_groups(values: np.ndarray, width: int, group: int) -> np.ndarray:
    """The values (2**width,) of every possible group of codes, flat: (2**(width · group) · group,)."""
    codes = np.arange(1 << width * group)[:, None] >> width * np.arange(group) & (1 << width) - 1
    return values[codes].reshape(-1)


def _open_gains(packed: Packed, config: PackedQuantized) -> tuple[np.ndarray, np.ndarray]:
    """The gains as kernels take them (N,), or empty, and the float32 gain of each code (256,)."""
    if config.gain_bits == 0:
        return read_only(np.empty(0, np.uint8)), read_only(np.ones(NUM_CODES, np.float32))
    if config.gain_bits == 16:
        return scale_bits(packed.arrays["gain"]), read_only(np.ones(NUM_CODES, np.float32))
    gains = packed.arrays["gain"]
    if config.gain_bits < 8:
        gains = unpack_bits(np.array(gains), config.gain_bits, packed.num_embeddings).astype(np.uint8)
    return read_only(gains), read_only(scale_table(*packed.arrays["gain_range"].tolist()))
