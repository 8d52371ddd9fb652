"""Codes of 1 to 32 bits as one bit stream, padded only at its end.

Code ``i`` of width ``w`` occupies bits ``i·w .. i·w + w - 1`` of the stream, lowest first; bit ``b`` of the
stream is bit ``b % 8`` of byte ``b // 8``. Rows are not aligned to bytes: the size of an array is its exact number of
bits, rounded up to a byte once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

MAX_WIDTH = 32


def code_bits(codebook_size: int) -> int:
    """Bits of one code of a codebook: ``max(1, ceil(log2(codebook_size)))``.

    Args:
        codebook_size: number of centroids, K, from 1 to 2**32.

    Returns:
        The width in bits, 1 to 32.

    Raises:
        ValueError: if ``codebook_size`` is out of range.

    Example:
        >>> [code_bits(size) for size in (1, 2, 3, 256, 257)]
        [1, 1, 2, 8, 9]
    """
    if not 1 <= codebook_size <= 1 << MAX_WIDTH:
        raise ValueError(f"`codebook_size` must be in 1..{1 << MAX_WIDTH}, got {codebook_size}.")
    return max(1, (codebook_size - 1).bit_length())


def packed_size(count: int, width: int) -> int:
    """Bytes of ``count`` packed codes of ``width`` bits.

    Example:
        >>> packed_size(count=3, width=6)
        3
    """
    return (count * width + 7) // 8


def pack_bits(values: np.ndarray, width: int) -> np.ndarray:
    """Pack integers into one stream of bits.

    Args:
        values: integers of any shape, each in [0, 2**width); read in C order.
        width: bits of a code, 1 to 32.

    Returns:
        uint8 (ceil(values.size · width / 8),); the unused bits of the last byte are zero.

    Raises:
        TypeError: if ``values`` are not integers.
        ValueError: if the width is not 1..32 or a value does not fit in it.

    Example:
        >>> pack_bits(np.array([1, 2, 3]), width=4).tolist()
        [33, 3]
    """
    from slimtable.artifact import kernels  # numba is imported on first use

    _check_width(width)
    values = np.ascontiguousarray(values).reshape(-1)
    if values.dtype.kind not in "iu":
        raise TypeError(f"`values` must be integers, got {values.dtype}.")
    if width == 8 and values.dtype == np.uint8:
        return values.copy()
    if values.size and (int(values.min()) < 0 or int(values.max()) >> width):
        worst = max(int(values.max()), -int(values.min()), key=abs)
        raise ValueError(f"`values` must be in 0..{(1 << width) - 1} to fit {width} bits, got {worst}.")
    packed = np.empty(packed_size(values.size, width), np.uint8)
    kernels.pack(values, width, packed)
    return packed


def unpack_bits(packed: np.ndarray, width: int, count: int) -> np.ndarray:
    """Read back the first ``count`` codes of a stream made by :func:`pack_bits`.

    Args:
        packed: uint8 (bytes,), one-dimensional and contiguous.
        width: bits of a code, 1 to 32.
        count: number of codes to read.

    Returns:
        uint16 (count,), or uint32 if the width is above 16.

    Raises:
        TypeError: if ``packed`` is not uint8.
        ValueError: if the width is not 1..32, or the stream does not hold ``count`` codes.

    Example:
        >>> unpack_bits(pack_bits(np.array([1, 2, 3]), width=4), width=4, count=3).tolist()
        [1, 2, 3]
    """
    from slimtable.artifact import kernels

    _check_width(width)
    if packed.dtype != np.uint8:
        raise TypeError(f"`packed` must be uint8, got {packed.dtype}.")
    if count < 0 or packed.ndim != 1 or packed.size < packed_size(count, width):
        raise ValueError(
            f"`packed` of shape {packed.shape} does not hold {count} codes of {width} bits: "
            f"that takes {packed_size(max(count, 0), width)} bytes in one dimension."
        )
    codes = np.empty(count, np.uint16 if width <= 16 else np.uint32)
    kernels.unpack(np.ascontiguousarray(packed), 0, width, count, codes)
    return codes


def _check_width(width: int) -> None:
    if not 1 <= width <= MAX_WIDTH:
        raise ValueError(f"`width` must be in 1..{MAX_WIDTH} bits, got {width}.")


def exact_array(values: Any) -> np.ndarray:
    """The values as an array; integers too large for any NumPy type stay Python integers."""
    array = np.asarray(values)
    if array.dtype == np.float64 and not isinstance(values, np.ndarray) and array.size:
        objects = np.asarray(values, dtype=object)
        if all(type(value) is int for value in objects.reshape(-1)):
            return objects
    return array
