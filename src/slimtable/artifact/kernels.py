"""Compiled kernels for bit-packed codes and rows, the hot loops of packing and lookup.

All arrays are C-contiguous and flat unless stated otherwise, and :func:`first_outside` checks every id before a
kernel gathers rows. Lookups are random accesses, so each gathering loop prefetches the row that it needs ``AHEAD``
iterations later; that halves the time of a lookup in a table larger than the caches.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped, call-arg, assignment"
# numba compiles these functions from the types of their arguments, which mypy cannot follow.

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

AHEAD = 16
LINE = 64
BLOCK = 32  # rows that kernels decode step by step; they stay in the fastest cache


@intrinsic
def borrowed(_typing: Any, array: Any) -> Any:
    """The same array without an owner: passing it on counts no references.

    Counting is atomic, and an atomic operation waits for all writes before it, which costs more than decoding a row.
    Only for arrays that the caller of the kernel keeps alive, that is, for its arguments.
    """

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, args[0])
        view.meminfo = cgutils.get_null_value(view.meminfo.type)
        view.parent = cgutils.get_null_value(view.parent.type)
        return view._getvalue()

    return array(array), emit


@intrinsic
def prefetch(_typing: Any, array: Any, index: Any) -> Any:
    """Prefetch the cache line of ``array[index]``; reads nothing, so any index is safe."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        pointer = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(8).as_pointer())
        flag = ir.IntType(32)
        function = builder.module.declare_intrinsic(
            "llvm.prefetch",
            (pointer.type,),
            ir.FunctionType(ir.VoidType(), [pointer.type, flag, flag, flag]),
        )
        read, keep, data_cache = ir.Constant(flag, 0), ir.Constant(flag, 3), ir.Constant(flag, 1)
        builder.call(function, [pointer, read, keep, data_cache])
        return context.get_dummy_value()

    return types.void(array, index), emit


@intrinsic
def copy_floats(_typing: Any, target: Any, t: Any, source: Any, s: Any, count: Any) -> Any:
    """Copy float32 ``source[s : s + count]`` to ``target[t:]``; inlined as wide moves if ``count`` is constant."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def address(position: int) -> Any:
            data = context.make_array(signature.args[position])(context, builder, args[position]).data
            return builder.gep(data, [args[position + 1]])

        cgutils.raw_memcpy(builder, address(0), address(2), args[4], itemsize=4, align=4)
        return context.get_dummy_value()

    return types.void(target, t, source, s, count), emit


@njit(cache=True, nogil=True)
def prefetch_bytes(data, begin, end):
    """Prefetch every cache line of ``data[begin:end]``, of any type."""
    step = max(1, LINE // data.itemsize)
    for index in range(begin, end, step):
        prefetch(data, index)
    prefetch(data, end - 1)


@njit(cache=True, nogil=True)
def first_outside(ids, limit):
    """Position of the first id that is not in [0, limit), or -1."""
    for i in range(ids.size):
        if ids[i] < 0 or ids[i] >= limit:
            return i
    return -1


@njit(cache=True, nogil=True)
def pack(values, width, packed):
    """Write ``values`` (n,) as a little-endian stream of ``width``-bit codes into ``packed`` uint8.

    Widths that divide a byte have a loop that can be vectorised.
    """
    pending = 0
    filled = 0
    byte = 0
    if width == 4:
        byte = values.size >> 1
        for i in range(byte):
            packed[i] = values[2 * i] | values[2 * i + 1] << 4
    elif width == 2:
        byte = values.size >> 2
        for i in range(byte):
            low = values[4 * i] | values[4 * i + 1] << 2
            packed[i] = low | values[4 * i + 2] << 4 | values[4 * i + 3] << 6
    elif width == 1:
        byte = values.size >> 3
        for i in range(byte):
            low = values[8 * i] | values[8 * i + 1] << 1 | values[8 * i + 2] << 2 | values[8 * i + 3] << 3
            high = values[8 * i + 4] | values[8 * i + 5] << 1 | values[8 * i + 6] << 2 | values[8 * i + 7] << 3
            packed[i] = low | high << 4
    for i in range(byte * 8 // width, values.size):
        pending |= np.int64(values[i]) << filled
        filled += width
        while filled >= 8:
            packed[byte] = pending & 255
            byte += 1
            pending >>= 8
            filled -= 8
    if filled > 0:
        packed[byte] = pending


@njit(cache=True, nogil=True)
def unpack(packed, bit, width, count, codes):
    """Write the ``count`` codes that begin at ``bit`` of the stream to ``codes[:count]``.

    Never reads a byte that holds no bit of these codes. Common widths have a loop that can be vectorised.
    """
    aligned = bit & 7 == 0
    source = packed[bit >> 3 : (bit + count * width + 7) >> 3]
    if width == 8 and aligned:
        for i in range(count):
            codes[i] = source[i]
    elif width == 4 and aligned and count & 1 == 0:
        for i in range(count >> 1):
            codes[2 * i] = source[i] & 15
            codes[2 * i + 1] = source[i] >> 4
    elif width == 6 and aligned and count & 3 == 0:
        for i in range(count >> 2):
            word = np.int64(source[3 * i]) | np.int64(source[3 * i + 1]) << 8 | np.int64(source[3 * i + 2]) << 16
            codes[4 * i] = word & 63
            codes[4 * i + 1] = word >> 6 & 63
            codes[4 * i + 2] = word >> 12 & 63
            codes[4 * i + 3] = word >> 18
    elif width < 8 and aligned and count & 7 == 0:
        for i in range(count >> 3):  # eight codes fill ``width`` bytes
            word = np.int64(0)
            for k in range(width):
                word |= np.int64(source[i * width + k]) << 8 * k
            for k in range(8):
                codes[8 * i + k] = word >> width * k & (1 << width) - 1
    elif count > 0:
        mask = (1 << width) - 1
        pending = np.int64(source[0]) >> (bit & 7)
        filled = 8 - (bit & 7)
        byte = 1
        for i in range(count):
            while filled < width:
                pending |= np.int64(source[byte]) << filled
                byte += 1
                filled += 8
            codes[i] = pending & mask
            pending >>= width
            filled -= width


@njit(cache=True, nogil=True)
def three_bytes(packed, byte):
    """The three bytes from ``byte``, a uint64, on as one number."""
    one, two = np.uint64(1), np.uint64(2)
    return np.int64(packed[byte]) | np.int64(packed[byte + one]) << 8 | np.int64(packed[byte + two]) << 16


@njit(cache=True, nogil=True)
def unpack_rows(packed, width, count, rows, start, stop, codes, flat, dim):
    """Write the ``count`` codes of each of the rows ``rows[start:stop]`` of a stream to ``codes[: stop - start]``.

    As :func:`unpack` row by row, but kernels that call it once for many rows lose no time with counting references.

    Args:
        packed: uint8 stream of ``count`` codes of ``width`` bits per row.
        width: bits of a code.
        count: codes per row.
        rows: int64 (n,) rows of the stream.
        start: the first position of ``rows``.
        stop: one after the last.
        codes: unsigned (at least stop - start, count).
        flat: float32 rows of width ``dim``, flat; the lines of ``start`` to ``stop`` are prefetched, to be written.
        dim: width of these rows.
    """
    row_bits = count * width
    mask = (1 << width) - 1
    for i in range(start, stop):
        if i + AHEAD < rows.size:
            bit = rows[i + AHEAD] * row_bits
            prefetch_bytes(packed, bit >> 3, (bit + row_bits + 7) >> 3)
        prefetch_bytes(flat, i * dim, (i + 1) * dim)
        line = i - start
        byte = rows[i] * row_bits >> 3
        if width == 8:
            for k in range(count):
                codes[line, k] = packed[np.uint64(byte + k)]  # unsigned: no test for an index from the end
        elif row_bits & 7 == 0 and width == 4:
            for k in range(count >> 1):
                pair = packed[np.uint64(byte + k)]
                codes[line, 2 * k] = pair & 15
                codes[line, 2 * k + 1] = pair >> 4
        elif row_bits & 7 == 0 and width == 2:
            for k in range(count >> 2):
                four = packed[np.uint64(byte + k)]
                codes[line, 4 * k] = four & 3
                codes[line, 4 * k + 1] = four >> 2 & 3
                codes[line, 4 * k + 2] = four >> 4 & 3
                codes[line, 4 * k + 3] = four >> 6
        elif width == 3 and count & 7 == 0:
            for k in range(count >> 3):
                word = three_bytes(packed, np.uint64(byte + 3 * k))
                for c in range(8):
                    codes[line, 8 * k + c] = word >> 3 * c & 7
        elif width == 6 and count & 3 == 0:
            for k in range(count >> 2):
                word = three_bytes(packed, np.uint64(byte + 3 * k))
                for c in range(4):
                    codes[line, 4 * k + c] = word >> 6 * c & 63
        else:
            shift = rows[i] * row_bits & 7
            pending = np.int64(packed[byte]) >> shift
            filled = 8 - shift
            for k in range(count):
                while filled < width:
                    byte += 1
                    pending |= np.int64(packed[byte]) << filled
                    filled += 8
                codes[line, k] = pending & mask
                pending >>= width
                filled -= width


@njit(cache=True, nogil=True)
def max_code(packed, width, count):
    """The largest of the first ``count`` codes, or -1 if there are none."""
    largest = -1
    codes = np.empty(1024, np.uint32)  # as wide as any code
    for start in range(0, count, codes.size):
        size = min(codes.size, count - start)
        unpack(packed, start * width, width, size, codes)
        for i in range(size):
            largest = max(largest, np.int64(codes[i]))
    return largest


@njit(cache=True, nogil=True)
def low_rank_rows(left, right, out):
    """``out = left @ right`` in float32, summed in rank order, so that no row depends on its batch."""
    for i in range(left.shape[0]):
        row = out[i]
        row[:] = np.float32(0)
        for r in range(left.shape[1]):
            scale = left[i, r]
            for j in range(right.shape[1]):
                row[j] += scale * right[r, j]


@njit(cache=True, nogil=True)
def clear_rows(ids, padding_idx, out):
    """Set the rows of ``out`` (n, d) whose id is ``padding_idx`` to exact zeros."""
    for i in range(ids.size):
        if ids[i] == padding_idx:
            out[i, :] = np.float32(0)


@njit(cache=True, nogil=True)
def pool_rows(rows, weights, start, offsets, bag, out):
    """Add rows (n, d), which are positions start..start+n-1 of the ids, to their bags in ``out``.

    ``bag`` is the first bag that position ``start`` may belong to; empty ``weights`` mean ones. Positions are
    added in order, so sums do not depend on where the chunks are cut. Returns the bag to continue with.
    """
    for i in range(rows.shape[0]):
        while offsets[bag + 1] <= start + i:
            bag += 1
        if weights.size > 0:
            weight = weights[start + i]
            for j in range(rows.shape[1]):
                out[bag, j] += weight * rows[i, j]
        else:
            for j in range(rows.shape[1]):
                out[bag, j] += rows[i, j]
    return bag
