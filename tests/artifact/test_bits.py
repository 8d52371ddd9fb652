import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slimtable.artifact.bits import code_bits, pack_bits, packed_size, unpack_bits
from tests.artifact.artifact_samples import plain_bits


@st.composite
def codes_and_width(draw):
    width = draw(st.integers(1, 32))
    return draw(st.lists(st.integers(0, (1 << width) - 1), max_size=70)), width


@settings(deadline=None)  # the first example compiles
@given(codes_and_width())
def test_round_trip(drawn):
    codes, width = drawn
    packed = pack_bits(np.array(codes, np.int64), width)
    assert packed.size == packed_size(len(codes), width) == -(-len(codes) * width // 8)
    assert unpack_bits(packed, width, len(codes)).tolist() == codes
    assert plain_bits(packed, width, len(codes)).tolist() == codes


@pytest.mark.parametrize("width", range(1, 33))
@pytest.mark.parametrize("count", [8, 9, 64, 1000])
def test_the_stream_is_little_endian_with_zeros_at_its_end(width, count):
    codes = np.random.default_rng(width).integers(0, 1 << width, count)
    bits = (codes[:, None] >> np.arange(width) & 1).astype(np.uint8).reshape(-1)
    packed = pack_bits(codes, width)
    assert packed.tolist() == np.packbits(bits, bitorder="little").tolist()
    assert unpack_bits(packed, width, count).tolist() == codes.tolist()
    assert unpack_bits(packed, width, count - 3).tolist() == codes[:-3].tolist()


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int32, np.int64, np.uint64])
def test_any_integers_of_any_shape(dtype):
    codes = np.arange(12, dtype=dtype).reshape(3, 4)[:, ::2]
    assert unpack_bits(pack_bits(codes, 5), 5, 6).tolist() == [0, 2, 4, 6, 8, 10]


def test_code_bits():
    assert [code_bits(size) for size in (1, 2, 3, 4, 5, 64, 65, 256, 65_536)] == [1, 1, 2, 2, 3, 6, 7, 8, 16]
    assert [code_bits(size) for size in (65_537, 1 << 31, 1 << 32)] == [17, 31, 32]
    assert unpack_bits(pack_bits(np.array([1]), 16), 16, 1).dtype == np.uint16
    assert unpack_bits(pack_bits(np.array([1]), 17), 17, 1).dtype == np.uint32


@pytest.mark.parametrize("size", [-1, 0, (1 << 32) + 1])
def test_code_bits_out_of_range(size):
    with pytest.raises(ValueError, match=r"`codebook_size` must be in 1\.\.4294967296"):
        code_bits(size)


@pytest.mark.parametrize(("codes", "width"), [([4], 2), ([-1], 8), ([65_536], 16), ([0, 256], 8), ([1 << 32], 32)])
def test_codes_that_do_not_fit(codes, width):
    with pytest.raises(ValueError, match=f"to fit {width} bits, got {max(codes, key=abs)}"):
        pack_bits(np.array(codes), width)


@pytest.mark.parametrize("width", [0, 33, -3])
def test_width_out_of_range(width):
    with pytest.raises(ValueError, match=r"`width` must be in 1\.\.32"):
        pack_bits(np.array([0]), width)
    with pytest.raises(ValueError, match=r"`width` must be in 1\.\.32"):
        unpack_bits(np.zeros(4, np.uint8), width, 1)


def test_wrong_types():
    with pytest.raises(TypeError, match="must be integers, got float64"):
        pack_bits(np.array([1.0]), 4)
    with pytest.raises(TypeError, match="must be uint8, got int64"):
        unpack_bits(np.array([1]), 4, 1)


@pytest.mark.parametrize("count", [-1, 6, 1 << 62])
def test_streams_too_short(count):
    with pytest.raises(ValueError, match="does not hold"):
        unpack_bits(np.zeros(2, np.uint8), 3, count)
