"""The layout ``quantized``: what is refused, and what its arrays weigh."""

import dataclasses

import numpy as np
import pytest

from slimtable.artifact import decode, exact_bits, validate
from slimtable.artifact.bits import pack_bits
from slimtable.artifact.layouts import Decoder, format_version, roles_of
from slimtable.artifact.roles import Role
from slimtable.errors import ArtifactFormatError, ArtifactValueError
from tests.artifact.quantized_samples import quantized, quantized_samples

SAMPLES = quantized_samples()
PQ, RQ, TURNED = SAMPLES["joined-gain"], SAMPLES["summed-gain"], SAMPLES["joined-turned"]
SCALAR, COARSE = SAMPLES["scalar-2-bit"], SAMPLES["joined-coarse"]


def changed(packed, arrays=None, **config):
    """A copy with other arrays and config entries; None removes an array, "DELETE" an entry."""
    merged = {name: array for name, array in {**packed.arrays, **(arrays or {})}.items() if array is not None}
    entries = {**packed.layout_config, **config}
    entries = {key: value for key, value in entries.items() if not (isinstance(value, str) and value == "DELETE")}
    return dataclasses.replace(packed, arrays=merged, layout_config=entries)


@pytest.mark.parametrize(
    ("packed", "bits"),
    [
        (quantized(41, 12, 4, 16), 41 * 4 * 4 + 16 * 12 * 32),
        (quantized(41, 12, 4, 9, shared=True, bits=16), 41 * 4 * 4 + 9 * 3 * 16),
        (quantized(41, 12, 3, 300, "sum", bits=8), 41 * 3 * 9 + 3 * 300 * (12 * 8 + 32)),
        (quantized(41, 12, 4, 16, gain=8), 41 * (16 + 8) + 16 * 12 * 32 + 128),
        (quantized(41, 12, 2, 5, "sum", bits=4, gain=5), 41 * (2 * 3 + 5) + 2 * 5 * (12 * 4 + 16) + 128),
        (quantized(41, 15, 3, 11, bits=4, gain=7), 41 * (3 * 4 + 7) + 3 * 11 * (5 * 4 + 16) + 128),
        (quantized(41, 12, 3, 9, "sum", bits=8, scales=np.float16), 41 * 3 * 4 + 3 * 9 * (12 * 8 + 16)),
        (quantized(41, 12, 12, 4, shared=True, gain=16, rotation=(1, 1)), 41 * (24 + 16) + 4 * 32),
        (quantized(41, 12, 4, 16, rotation="stored", offset=True), 41 * 16 + 16 * 12 * 32 + 13 * 12 * 32),
    ],
)
def test_exact_bits(packed, bits):
    assert exact_bits(packed) == bits


def test_version_and_roles():
    assert format_version(PQ) == 4
    roles = roles_of(PQ)
    assert set(roles) == set(PQ.arrays)
    assert (roles["codes"].kind, roles["codes"].width, roles["codes"].per_row) == ("assignments", 4, 4)
    roles = roles_of(COARSE)
    assert roles["gain"] == Role("other", 5, 41, 1, stream=True)
    assert roles["codebook"] == Role("other", 4, 3 * 11 * 5, 5, stream=True)


def test_a_gain_of_code_zero_gives_zeros():
    assert not decode(RQ, 0).any()
    assert decode(RQ, 1).any()


def test_codes_out_of_range_are_refused_and_cannot_read_outside():
    packed = quantized(8, 6, 3, 5, "sum")
    bad = changed(packed, {"codes": np.full(9, 255, np.uint8)})
    with pytest.raises(ArtifactValueError, match="`codes` holds the code 7; codes must be below codebook_size=5"):
        validate(bad)
    assert not decode(bad, np.arange(8)).any()


NAN, INF = np.float32("nan"), np.float32("inf")
WRONG_VALUES = {
    "codebook holds a NaN": (TURNED, {"codebook": np.full((4, 16, 3), NAN)}, r"`codebook` holds nan at \(0, 0, 0\)"),
    "scale is infinite": (RQ, {"codebook_scale": np.full((3, 16), INF)}, "`codebook_scale` holds inf"),
    "gain is a NaN": (TURNED, {"gain": np.full(41, NAN, np.float16)}, "`gain` holds nan"),
    "gain is negative": (TURNED, {"gain": np.full(41, -1, np.float16)}, "`gain` holds -1 at 0; gains are >= 0"),
    "no smallest gain": (PQ, {"gain_range": np.array([0.0, 2.0])}, "must be a positive float32 and a ratio >= 1"),
    "smallest gain too small": (PQ, {"gain_range": np.array([1e-60, 2.0])}, "a positive float32"),
    "negative gains": (PQ, {"gain_range": np.array([-1.0, 2.0])}, "a positive float32"),
    "gains fall": (PQ, {"gain_range": np.array([1.0, 0.5])}, "a ratio >= 1, got 1.0, 0.5"),
    "gains are NaN": (PQ, {"gain_range": np.array([1.0, np.nan])}, "`gain_range` holds nan"),
    "gains overflow": (PQ, {"gain_range": np.array([1.0, 2.0])}, "overflow float32"),
    "coarse gains overflow": (COARSE, {"gain_range": np.array([1.0, 2.0**5])}, "scales that overflow float32"),
    "gains end with ones": (COARSE, {"gain": np.full(26, 255, np.uint8)}, "`gain` must end with 3 zero bits"),
    "centroids end with ones": (COARSE, {"codebook": np.full(83, 255, np.uint8)}, "`codebook` must end with 4 zero"),
    "float16 scale is a NaN": (COARSE, {"codebook_scale": np.full((3, 11), NAN, np.float16)}, "`codebook_scale` holds"),
    "coarse centroids overflow, but not times their gains": (
        SAMPLES["summed-coarse"],
        {"codebook_scale": np.full((3, 5), np.float32(1e38)), "gain_range": np.array([1e-30, 1.0])},
        "may overflow",
    ),
    "sums overflow, but all gains are zero": (
        quantized(41, 12, 3, 16, "sum", gain=16),
        {"codebook": np.full((3, 16, 12), np.float32(3e38)), "gain": np.zeros(41, np.float16)},
        "may overflow",
    ),
    "gains overflow, but not the rotation": (
        TURNED,
        {"codebook": np.full((4, 16, 3), np.float32(1e38)), "gain": np.full(41, 9, np.float16)}
        | {"rotation": np.zeros((12, 12), np.float32)},
        "may overflow",
    ),
    "gains overflow float64": (PQ, {"gain_range": np.array([1.0, 1e300])}, "overflow float32"),
    "smallest overflows": (PQ, {"gain_range": np.array([1e39, 1.0])}, "a positive float32"),
    "rotation holds a NaN": (TURNED, {"rotation": np.full((12, 12), NAN)}, "`rotation` holds nan"),
    "rotation is too large": (TURNED, {"rotation": np.full((12, 12), np.float32(3e38))}, "may overflow"),
    "offset is a NaN": (TURNED, {"offset": np.full(12, NAN)}, "`offset` holds nan"),
    "offset is too large": (TURNED, {"offset": np.full(12, np.float32(3.402e38))}, "may overflow"),
    "sums overflow": (SAMPLES["summed"], {"codebook": np.full((3, 16, 12), np.float32(1.2e38))}, "may overflow"),
    "sums overflow before small gains": (
        quantized(41, 12, 3, 16, "sum", gain=16),
        {"codebook": np.full((3, 16, 12), np.float32(1.7e38)), "gain": np.full(41, 1e-3, np.float16)},
        "may overflow",
    ),
    "scales overflow before small gains": (
        RQ,
        {"codebook_scale": np.full((3, 16), np.float32(2.6e36)), "gain_range": np.array([1e-30, 1.0])},
        "may overflow",
    ),
    "rotations overflow": (SCALAR, {"codebook": np.full((1, 4, 1), np.float32(1e38))}, "may overflow"),
    "stream ends with ones": (quantized(7, 4, 1, 8), {"codes": np.full(3, 255, np.uint8)}, "3 zero bits"),
}


@pytest.mark.parametrize("what", WRONG_VALUES)
def test_wrong_values(what):
    packed, arrays, message = WRONG_VALUES[what]
    validate(packed)
    with pytest.raises(ArtifactValueError, match=message):
        validate(changed(packed, arrays))


@pytest.mark.parametrize(("packed", "codes"), [(COARSE, 32), (SAMPLES["summed-short"], 128)])
def test_gains_beyond_the_last_code_do_not_count(packed, codes):
    """Gain 2**100 is the last that a code can have; the table of 256 gains goes on, for 5 bits to infinity."""
    ratio = 2.0 ** (100 / (codes - 2))
    last = pack_bits(np.full(41, codes - 1), packed.layout_config["gain_bits"])
    high = changed(packed, {"gain": last, "gain_range": np.array([1.0, ratio])})
    validate(high)
    rows = decode(high, np.arange(41))
    assert np.isfinite(rows).all()
    assert np.abs(rows).max() > 1e30


@pytest.mark.parametrize("packed", [COARSE, SAMPLES["summed-coarse"]])
def test_codes_of_a_coarse_table_cannot_read_outside(packed):
    """Centroids that do not exist are zeros; all 4-bit values and 5-bit gains exist."""
    ones = {name: np.full_like(packed.arrays[name], 255) for name in ("codes", "codebook", "gain")}
    assert not decode(changed(packed, ones), np.arange(41)).any()


def test_sums_whose_largest_codebook_alone_would_forbid_them():
    books = np.full((3, 16, 12), np.float32(1e30))
    books[0] = 2e38
    validate(changed(SAMPLES["summed"], {"codebook": books}))


@pytest.mark.parametrize(
    ("packed", "config", "message"),
    [
        (PQ, {"combine": "product"}, "`layout_config.combine` must be one of"),
        (PQ, {"combine": "DELETE"}, "must have exactly the keys"),
        (PQ, {"extra": 1}, "must have exactly the keys"),
        (PQ, {"num_codebooks": 5}, "`num_codebooks` must divide embedding_dim=12, got 5"),
        (PQ, {"num_codebooks": 0}, "`layout_config.num_codebooks` must be an integer from 1"),
        (PQ, {"num_codebooks": True}, "`layout_config.num_codebooks` must be an integer"),
        (RQ, {"num_codebooks": 257}, "an integer from 1 to 256"),
        (RQ, {"shared": True}, "must be false if `combine` is 'sum'"),
        (PQ, {"shared": 1}, "`layout_config.shared` must be one of"),
        (PQ, {"shared": True}, r"`codebook` must have shape \(1, 16, 3\)"),
        (PQ, {"codebook_size": 0}, "`layout_config.codebook_size` must be"),
        (PQ, {"codebook_size": 65537}, "`layout_config.codebook_size` must be"),
        (PQ, {"codebook_size": 17}, "`codes` must have shape"),
        (PQ, {"codebook_size": 15}, r"`codebook` must have shape \(4, 15, 3\)"),
        (PQ, {"codebook_bits": 32}, "`codebook` must be float32, got float16"),
        (PQ, {"codebook_bits": 5}, "`layout_config.codebook_bits` must be one of"),
        (PQ, {"codebook_bits": 4}, "needs an array `codebook_scale`"),
        (PQ, {"codebook_bits": 16.0}, "`layout_config.codebook_bits` must be one of"),
        (PQ, {"codebook_bits": 8}, "needs an array `codebook_scale`"),
        (PQ, {"gain_bits": 0}, "has no array `gain`"),
        (PQ, {"gain_bits": 16}, "has no array `gain_range`"),
        (PQ, {"gain_bits": 3}, "`layout_config.gain_bits` must be one of"),
        (PQ, {"gain_bits": 4}, r"`gain` must have shape \(21,\)"),
        (PQ, {"gain_bits": False}, "`layout_config.gain_bits` must be one of"),
        (PQ, {"rotation": "stored"}, "needs an array `rotation`"),
        (PQ, {"rotation": "random"}, "must be null, 'stored' or an object"),
        (PQ, {"rotation": 1}, "must be null, 'stored' or an object"),
        (PQ, {"rotation": {"seed": 1}}, "`layout_config.rotation` must have exactly the keys"),
        (PQ, {"rotation": {"seed": -1, "rounds": 1}}, "`layout_config.rotation.seed` must be"),
        (PQ, {"rotation": {"seed": 1 << 53, "rounds": 1}}, "`layout_config.rotation.seed` must be"),
        (PQ, {"rotation": {"seed": 1, "rounds": 4}}, "`layout_config.rotation.rounds` must be an integer from 1 to 3"),
        (PQ, {"offset": True}, "needs an array `offset`"),
        (COARSE, {"gain_bits": 6}, r"`gain` must have shape \(31,\)"),
        (COARSE, {"gain_bits": 16}, "has no array `gain_range`"),
        (COARSE, {"codebook_bits": 8}, r"`codebook` must have shape \(3, 11, 5\)"),
        (COARSE, {"codebook_bits": 16}, "has no array `codebook_scale`"),
        (COARSE, {"combine": "sum"}, r"`codebook` must have shape \(248,\)"),
        (COARSE, {"shared": True}, r"`codebook` must have shape \(28,\)"),
        (PQ, {"offset": None}, "`layout_config.offset` must be one of"),
    ],
)
def test_wrong_config(packed, config, message):
    wrong = changed(packed, **config)
    with pytest.raises(ArtifactFormatError, match=message):
        validate(wrong, values=False)
    with pytest.raises(ArtifactFormatError, match=message):
        Decoder(wrong)


@pytest.mark.parametrize(
    ("packed", "arrays", "message"),
    [
        (PQ, {"gain": np.zeros(40, "u1")}, r"`gain` must have shape \(41,\)"),
        (PQ, {"gain": np.zeros(41, "f2")}, "`gain` must be uint8, got float16"),
        (PQ, {"gain_range": np.ones(2, "f4")}, "`gain_range` must be float64"),
        (PQ, {"gain_range": np.ones(3)}, r"`gain_range` must have shape \(2,\)"),
        (RQ, {"codebook": np.zeros((3, 16, 12), "f4")}, "`codebook` must be uint8"),
        (RQ, {"codebook_scale": np.zeros((1, 16), "f4")}, r"`codebook_scale` must have shape \(3, 16\)"),
        (RQ, {"codebook_scale": np.zeros((3, 16), "f8")}, "`codebook_scale` must be float32 or float16, got float64"),
        (COARSE, {"codebook": np.zeros(82, "u1")}, r"`codebook` must have shape \(83,\)"),
        (COARSE, {"codebook": np.zeros((3, 11, 5), "u1")}, r"`codebook` must have shape \(83,\)"),
        (COARSE, {"codebook": np.zeros(83, "i1")}, "`codebook` must be uint8, got int8"),
        (COARSE, {"codebook_scale": np.zeros((3, 10), "f2")}, r"`codebook_scale` must have shape \(3, 11\)"),
        (COARSE, {"gain": np.zeros(25, "u1")}, r"`gain` must have shape \(26,\)"),
        (COARSE, {"gain": np.zeros(41, "u1")}, r"`gain` must have shape \(26,\)"),
        (COARSE, {"gain_range": np.ones(2, "f4")}, "`gain_range` must be float64"),
        (TURNED, {"rotation": np.zeros((11, 12), "f4")}, r"`rotation` must have shape \(12, 12\)"),
        (TURNED, {"offset": np.zeros(12, "f2")}, "`offset` must be float32"),
        (TURNED, {"more": np.zeros(1, "f4")}, "has no array `more`"),
    ],
)
def test_wrong_arrays(packed, arrays, message):
    with pytest.raises(ArtifactFormatError, match=message):
        validate(changed(packed, arrays), values=False)


def test_a_row_does_not_depend_on_its_batch():
    for packed in SAMPLES.values():
        decoder = Decoder(packed)
        table = decoder(np.arange(41))
        assert all(decoder(i).tobytes() == table[i].tobytes() for i in range(41))
