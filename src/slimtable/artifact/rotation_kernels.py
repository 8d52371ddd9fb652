"""Compiled Walsh-Hadamard transforms of rows."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped, call-arg, assignment"
# numba compiles these functions from the types of their arguments, which mypy cannot follow.

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

_LANES = 16
BLOCK = 64  # values that one transform keeps in registers


def _transform_in_registers(count: int) -> Any:
    """An intrinsic ``(array, begin)`` that transforms float32 ``array[begin : begin + count]`` in place.

    The stages are those of :func:`_stages`, ``count / 2`` to 1. Stages of at least 16 add and subtract whole vectors;
    in the others each lane adds its partner to itself, or, with its sign changed, subtracts itself from its partner.
    """

    @intrinsic
    def transform(_typing: Any, array: Any, begin: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            floats, bits = ir.VectorType(ir.FloatType(), _LANES), ir.VectorType(ir.IntType(32), _LANES)
            data = context.make_array(signature.args[0])(context, builder, args[0]).data
            places = []
            for lane in range(0, count, _LANES):
                index = builder.add(args[1], ir.Constant(args[1].type, lane))
                places.append(builder.bitcast(builder.gep(data, [index]), floats.as_pointer()))
            vectors = [builder.load(place, align=4) for place in places]
            half = count // 2
            while half >= _LANES:
                step = half // _LANES
                for v in range(len(vectors)):
                    if not v & step:
                        a, b = vectors[v], vectors[v + step]
                        vectors[v], vectors[v + step] = builder.fadd(a, b), builder.fsub(a, b)
                half //= 2
            while half >= 1:
                order = ir.Constant(bits, [lane ^ half for lane in range(_LANES)])
                minus = ir.Constant(bits, [1 << 31 if lane & half else 0 for lane in range(_LANES)])
                for v, vector in enumerate(vectors):
                    partner = builder.shuffle_vector(vector, ir.Constant(floats, ir.Undefined), order)
                    signed = builder.bitcast(builder.xor(builder.bitcast(vector, bits), minus), floats)
                    vectors[v] = builder.fadd(partner, signed)
                half //= 2
            for place, vector in zip(places, vectors, strict=True):
                builder.store(vector, place, align=4)
            return context.get_dummy_value()

        return types.void(array, begin), emit

    return transform


transform_64 = _transform_in_registers(BLOCK)
transform_16 = _transform_in_registers(_LANES)


@njit(cache=True, nogil=True)
def transform(row, begin, size):
    """The Walsh-Hadamard transform of ``row[begin : begin + size]``, not scaled; ``size`` is a power of two.

    Stages ``half = size / 2, …, 2, 1`` replace each pair ``a, b`` that is ``half`` apart by ``a + b, a - b``.
    """
    if size >= BLOCK:
        _stages(row, begin, size, BLOCK)
        for first in range(begin, begin + size, BLOCK):
            transform_64(row, first)
    elif size >= 16:
        _stages(row, begin, size, 16)
        for first in range(begin, begin + size, 16):
            transform_16(row, first)
    else:
        _stages(row, begin, size, 1)


@njit(cache=True, nogil=True)
def _stages(row, begin, size, last):
    """The stages ``size / 2`` to ``last``."""
    half = size >> 1
    while half >= last:
        for first in range(begin, begin + size, 2 * half):
            left, right = row[first : first + half], row[first + half : first + 2 * half]
            for j in range(half):
                a, b = left[j], right[j]
                left[j] = a + b
                right[j] = a - b
        half >>= 1


@njit(cache=True, nogil=True)
def rotate_rows(signs, rows):
    """Rotate rows (n, d) in place: for each transform, multiply by ``signs`` (transforms, p), then transform."""
    size = signs.shape[1]
    last = rows.shape[1] - size
    for i in range(rows.shape[0]):
        row = rows[i]
        for t in range(signs.shape[0]):
            begin = last if t & 1 else 0  # both are 0 if the transforms cover the row
            for j in range(size):
                row[begin + j] *= signs[t, j]
            transform(row, begin, size)


@njit(cache=True, nogil=True)
def unrotate_row(signs, row):
    """Undo :func:`rotate_rows` for one row (d,): the transforms in reverse order, each followed by its signs."""
    size = signs.shape[1]
    last = row.size - size
    for t in range(signs.shape[0] - 1, -1, -1):
        begin = last if t & 1 else 0
        transform(row, begin, size)
        for j in range(size):
            row[begin + j] *= signs[t, j]


@njit(cache=True, nogil=True)
def unrotate_rows(signs, rows):
    """Undo :func:`rotate_rows` in place for rows (n, d)."""
    for i in range(rows.shape[0]):
        unrotate_row(signs, rows[i])
