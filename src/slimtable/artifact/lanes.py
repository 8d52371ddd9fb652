"""Short vector operations for kernels: what the compiler does not find by itself in loops.

Each is a function on float32 or unsigned arrays that compiled kernels call, written in LLVM's portable vector
instructions. None reads or writes outside the elements that it names, and all round as float32 loops do.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped, call-arg, assignment"
# numba compiles these functions from the types of their arguments, which mypy cannot follow.

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
TILE = 64  # values that one operation keeps in registers
_BYTE, _INT, _LONG, _FLOAT = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.FloatType()
_FLOATS = ir.VectorType(_FLOAT, LANES)
_INTS = ir.VectorType(_INT, LANES)
_HALF_SCALE = 2.0**112  # between the exponents of float16 and float32


def _address(context: Any, builder: Any, signature: Any, args: Any, position: int, shift: int = 0) -> Any:
    """Pointer to element ``args[position + 1] + shift`` of the array ``args[position]``."""
    data = context.make_array(signature.args[position])(context, builder, args[position]).data
    index = builder.add(args[position + 1], ir.Constant(args[position + 1].type, shift))
    return builder.gep(data, [index])


def _load(builder: Any, pointer: Any) -> Any:
    return builder.load(builder.bitcast(pointer, _FLOATS.as_pointer()), align=4)


def _store(builder: Any, value: Any, pointer: Any) -> None:
    builder.store(value, builder.bitcast(pointer, _FLOATS.as_pointer()), align=4)


def _splat(builder: Any, value: Any, vector: Any) -> Any:
    """A vector with the value in every lane."""
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(_INT, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_INT, vector.count), [0] * vector.count))


@intrinsic
def scale_at(_typing: Any, scales: Any, table: Any, index: Any) -> Any:
    """Scale ``index`` as float32.

    ``scales`` is float32; or uint16, which holds float16; or uint8, that is, indices of the float32 ``table``.
    Infinities and NaN of float16 become large numbers.
    """
    kind = scales.dtype

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data, values = (context.make_array(signature.args[k])(context, builder, args[k]).data for k in (0, 1))
        value = builder.load(builder.gep(data, [args[2]]))
        if kind == types.float32:
            return value
        if kind == types.uint8:
            return builder.load(builder.gep(values, [builder.zext(value, _LONG)]))
        wide = builder.zext(value, _INT)
        magnitude = builder.shl(builder.and_(wide, ir.Constant(_INT, 0x7FFF)), ir.Constant(_INT, 13))
        scaled = builder.fmul(builder.bitcast(magnitude, _FLOAT), ir.Constant(_FLOAT, _HALF_SCALE))
        sign = builder.shl(builder.and_(wide, ir.Constant(_INT, 0x8000)), ir.Constant(_INT, 16))
        return builder.bitcast(builder.or_(builder.bitcast(scaled, _INT), sign), _FLOAT)

    return types.float32(scales, table, index), emit


def _word(context: Any, builder: Any, pointer: Any, num_bytes: int) -> Any:
    """The next bytes as an i32, or an i64 if they are more than 4; reads exactly these."""
    kind = _INT if num_bytes <= 4 else _LONG
    word, at = ir.Constant(kind, 0), 0
    for size in (4, 2, 1):
        while num_bytes - at >= size:
            place = builder.bitcast(builder.gep(pointer, [ir.Constant(_LONG, at)]), ir.IntType(8 * size).as_pointer())
            part = builder.load(place, align=1)
            part = part if part.type == kind else builder.zext(part, kind)
            word = builder.or_(word, builder.shl(part, ir.Constant(kind, 8 * at)))
            at += size
    return word


def _codes_to_floats(width: int) -> Any:
    """An intrinsic ``(stream, byte, target, t)``: 16 codes from a byte on, as float32, to ``target[t : t + 16]``."""

    @intrinsic
    def convert(_typing: Any, stream: Any, byte: Any, target: Any, t: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            source = _address(context, builder, signature, args, 0)
            group = LANES if width <= 2 else 8  # codes from one word
            kind = _INT if width <= 4 else _LONG
            vector = ir.VectorType(kind, group)
            shifts = ir.Constant(vector, [width * lane for lane in range(group)])
            mask = ir.Constant(vector, [(1 << width) - 1] * group)
            for first in range(0, LANES, group):
                begin = builder.gep(source, [ir.Constant(_LONG, first * width // 8)])
                word = _splat(builder, _word(context, builder, begin, group * width // 8), vector)
                codes = builder.and_(builder.lshr(word, shifts), mask)
                if kind == _LONG:
                    codes = builder.trunc(codes, ir.VectorType(_INT, group))
                floats = builder.sitofp(codes, ir.VectorType(_FLOAT, group))
                place = _address(context, builder, signature, args, 2, first)
                builder.store(floats, builder.bitcast(place, floats.type.as_pointer()), align=4)
            return context.get_dummy_value()

        return types.void(stream, byte, target, t), emit

    return convert


codes_1, codes_2, codes_3, codes_4, codes_5, codes_6, codes_7 = map(_codes_to_floats, range(1, 8))


def _sum_of_rows(count: int) -> Any:
    """An intrinsic that adds ``count`` columns of several rows, in order, and multiplies the sum.

    ``(target, t, source, s, begins, number, gain)``: ``target[t : t + count] = gain · (source[s + begins[0] : …] +
    source[s + begins[1] : …] + …)`` of the first ``number`` >= 1 entries of ``begins``, int64.
    """
    vectors = range(0, count, LANES)

    @intrinsic
    def add(_typing: Any, target: Any, t: Any, source: Any, s: Any, begins: Any, number: Any, gain: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            starts = context.make_array(signature.args[4])(context, builder, args[4]).data
            data = _address(context, builder, signature, args, 2)
            sums = [cgutils.alloca_once(builder, _FLOATS) for _ in vectors]
            first = builder.gep(data, [builder.load(starts)])
            for place, lane in zip(sums, vectors, strict=True):
                builder.store(_load(builder, builder.gep(first, [ir.Constant(_LONG, lane)])), place)
            others = builder.sub(args[5], ir.Constant(args[5].type, 1))
            with cgutils.for_range(builder, others) as loop:
                which = builder.add(loop.index, ir.Constant(loop.index.type, 1))
                row = builder.gep(data, [builder.load(builder.gep(starts, [which]))])
                for place, lane in zip(sums, vectors, strict=True):
                    more = _load(builder, builder.gep(row, [ir.Constant(_LONG, lane)]))
                    builder.store(builder.fadd(builder.load(place), more), place)
            factor = _splat(builder, args[6], _FLOATS)
            for place, lane in zip(sums, vectors, strict=True):
                product = builder.fmul(factor, builder.load(place))
                _store(builder, product, _address(context, builder, signature, args, 0, lane))
            return context.get_dummy_value()

        return types.void(target, t, source, s, begins, number, gain), emit

    return add


sum_64, sum_16 = _sum_of_rows(TILE), _sum_of_rows(LANES)


def _transform_in_registers(count: int) -> Any:
    """An intrinsic that transforms ``count`` values in place; :func:`slimtable.artifact.rotation_kernels.transform`.

    ``(row, begin, signs, s)``: ``row[begin : begin + count]`` times ``signs[s : s + count]`` afterwards. Stages of at
    least 16 add and subtract whole vectors; in the others each lane adds its partner to itself, or, with its sign
    changed, subtracts itself from its partner.
    """
    vectors = range(0, count, LANES)

    @intrinsic
    def transform(_typing: Any, row: Any, begin: Any, signs: Any, s: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            found = [_load(builder, _address(context, builder, signature, args, 0, lane)) for lane in vectors]
            half = count // 2
            while half >= LANES:
                step = half // LANES
                for v in range(len(found)):
                    if not v & step:
                        a, b = found[v], found[v + step]
                        found[v], found[v + step] = builder.fadd(a, b), builder.fsub(a, b)
                half //= 2
            while half >= 1:
                order = ir.Constant(_INTS, [lane ^ half for lane in range(LANES)])
                minus = ir.Constant(_INTS, [1 << 31 if lane & half else 0 for lane in range(LANES)])
                for v, vector in enumerate(found):
                    partner = builder.shuffle_vector(vector, ir.Constant(_FLOATS, ir.Undefined), order)
                    signed = builder.bitcast(builder.xor(builder.bitcast(vector, _INTS), minus), _FLOATS)
                    found[v] = builder.fadd(partner, signed)
                half //= 2
            for vector, lane in zip(found, vectors, strict=True):
                factor = _load(builder, _address(context, builder, signature, args, 2, lane))
                _store(builder, builder.fmul(vector, factor), _address(context, builder, signature, args, 0, lane))
            return context.get_dummy_value()

        return types.void(row, begin, signs, s), emit

    return transform


transform_64, transform_16 = _transform_in_registers(TILE), _transform_in_registers(LANES)
