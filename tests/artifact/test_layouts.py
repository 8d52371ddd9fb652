import dataclasses

import numpy as np
import pytest

from slimtable.artifact import LAYOUTS, Decoder, Packed, decode, exact_bits, validate
from slimtable.artifact.bits import pack_bits
from slimtable.errors import ArtifactFormatError, ArtifactValueError
from tests.artifact.artifact_samples import coded, dense, low_rank, plain_decode, samples, scaled

SAMPLES = samples()


def changed(packed, **changes):
    """A copy with other fields; ``arrays`` and ``layout_config`` are merged, None removes an array."""
    for key in ("arrays", "layout_config"):
        if key in changes:
            merged = {**getattr(packed, key), **changes[key]}
            changes[key] = {name: value for name, value in merged.items() if value is not None}
    return dataclasses.replace(packed, **changes)


def test_the_list_of_layouts_is_closed():
    assert sorted(LAYOUTS) == ["coded", "dense", "low_rank", "quantized", "scaled", "shared", "sparse", "tiered"]
    with pytest.raises(TypeError):
        LAYOUTS["mine"] = LAYOUTS["dense"]
    with pytest.raises(ArtifactFormatError, match=r"unknown layout 'mine'; known are \['coded'"):
        validate(changed(dense(), layout="mine"))


@pytest.mark.parametrize("name", SAMPLES)
def test_every_row_is_that_of_the_plain_decoder_bit_for_bit(name):
    packed = SAMPLES[name]
    validate(packed)
    expected = plain_decode(packed)
    rows = decode(packed, np.arange(packed.num_embeddings))
    assert rows.tobytes() == expected.tobytes()
    ids = np.random.default_rng(0).integers(0, packed.num_embeddings, (3, 50, 2))
    assert decode(packed, ids).tobytes() == expected[ids].tobytes()
    one = packed.num_embeddings // 2
    assert decode(packed, one).tobytes() == expected[one].tobytes()


@pytest.mark.parametrize("name", SAMPLES)
def test_exact_bits_are_the_bytes_up_to_the_padding_of_each_array(name):
    packed = SAMPLES[name]
    assert 0 <= 8 * packed.nbytes - exact_bits(packed) < 8 * len(packed.arrays)


@pytest.mark.parametrize(
    ("packed", "bits"),
    [
        (dense(7, 5), 7 * 5 * 32),
        (dense(7, 5, np.float16), 7 * 5 * 16),
        (low_rank(9, 5, 3), (9 + 5) * 3 * 32),
        (scaled(11, 5, 3), 11 * 5 * 3 + 2 * 5 * 32),
        (scaled(11, 5, 3, "row", np.float16), 11 * 5 * 3 + 2 * 11 * 16),
        (coded([(7, 3, 5, 0)]), 7 * 3 * 3 + 5 * 12 * 32),
        (coded([(7, 3, 5, 0)], share=True), 7 * 3 * 3 + 5 * 4 * 32),
        (coded([(7, 3, 5, 0), (6, 3, 4, 0)], flagged=True), 7 * 3 * 3 + 6 * 3 * 2 + 13 + 5 * 12 * 32),
    ],
)
def test_exact_bits_by_hand(packed, bits):
    assert exact_bits(packed) == bits


@pytest.mark.parametrize("batch", [0, 1, 15, 16, 17, 4096, 4097])
@pytest.mark.parametrize(
    "name", ["coded-8x8", "tiers-unsorted", "scaled-row-float16", "low-rank-float16", "shared-many-ids"]
)
def test_batches_of_any_size(name, batch):
    packed = SAMPLES[name]
    ids = np.random.default_rng(batch).integers(0, packed.num_embeddings, batch)
    assert decode(packed, ids).tobytes() == plain_decode(packed)[ids].tobytes()


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i4"])
def test_ids_of_any_width(dtype):
    ids = np.array([[3, 1], [0, 6]], dtype)
    assert decode(dense(), ids).tobytes() == plain_decode(dense())[ids.astype(int)].tobytes()


def test_ids_as_lists_views_and_nothing():
    expected = plain_decode(dense())
    assert decode(dense(), [3, 1]).tobytes() == expected[[3, 1]].tobytes()
    assert decode(dense(), np.arange(7)[::-2]).tobytes() == expected[::-2].tobytes()
    assert decode(dense(), []).shape == (0, 5)
    assert decode(dense(), [[], []]).shape == (2, 0, 5)
    assert decode(dense(), np.int64(2)).shape == (5,)


@pytest.mark.parametrize(
    "name", ["dense", "low-rank", "scaled-8-bit", "coded-8x8", "tiers-unsorted", "shared-many-ids"]
)
@pytest.mark.parametrize("bad", [-1, None, 1 << 40, 1 << 63, 1 << 70, -(1 << 63), -(1 << 70)])
def test_ids_out_of_range(name, bad):
    packed = SAMPLES[name]
    bad = packed.num_embeddings if bad is None else bad
    out = np.full((3, packed.embedding_dim), 7, np.float32)
    with pytest.raises(IndexError, match=f"id {bad} at position 1 is out of range"):
        decode(packed, np.array([0, bad, -5 if bad < 1 << 63 else 0], object), out)
    assert (out == 7).all()


def test_uint64_ids_do_not_wrap():
    with pytest.raises(IndexError, match=f"id {(1 << 64) - 1} at position 0"):
        decode(dense(), np.array([(1 << 64) - 1], np.uint64))


@pytest.mark.parametrize("ids", [[1.0], 1.5, np.array([], np.float32), [True], ["1"], [None], [1, 1 << 63, 2.0]])
def test_ids_that_are_not_integers(ids):
    with pytest.raises(TypeError, match="`ids` must be integers"):
        decode(dense(), ids)


def test_out_is_filled_and_returned():
    out = np.empty((2, 3, 5), np.float32)
    assert decode(dense(), np.arange(6).reshape(2, 3), out) is out
    assert out.tobytes() == plain_decode(dense())[:6].tobytes()


def test_out_that_does_not_fit():
    read_only = np.empty((2, 5), np.float32)
    read_only.flags.writeable = False
    for out in (np.empty((2, 4), np.float32), np.empty((5, 2), np.float32).T, read_only):
        with pytest.raises(ValueError, match=r"`out` must be a writable contiguous array of shape \(2, 5\)"):
            decode(dense(), [0, 1], out)
    with pytest.raises(TypeError, match="`out` must be a float32 array, got float64"):
        decode(dense(), [0, 1], np.empty((2, 5)))


def test_scaled_is_not_fused():
    """A fused multiply-add keeps bits that float32 arithmetic drops; eager torch does not keep them."""
    rng = np.random.default_rng(0)
    packed = scaled(5000, 16, 8)
    packed = changed(packed, arrays={"step": rng.random(16).astype(np.float32) * np.float32(1 / 3)})
    codes = packed.arrays["codes"].reshape(5000, 16)
    offset, step = packed.arrays["offset"], packed.arrays["step"]
    fused = (offset.astype(np.float64) + step.astype(np.float64) * codes).astype(np.float32)
    rows = decode(packed, np.arange(5000))
    assert rows.tobytes() == (offset + step * codes.astype(np.float32)).tobytes()
    assert (rows != fused).any()


def test_a_row_does_not_depend_on_its_batch():
    decoder = Decoder(low_rank(4100, 6, 4))
    table = decoder(np.arange(4100))
    assert all(decoder(i).tobytes() == table[i].tobytes() for i in range(0, 4100, 99))


def test_codes_out_of_range_are_refused_and_cannot_read_outside():
    packed = coded([(41, 4, 5, 0)])
    bad = pack_bits(np.array([0] * 163 + [7]), 3)
    packed = changed(packed, arrays={"codes.0": bad})
    with pytest.raises(ArtifactValueError, match=r"`codes.0` holds the code 7; codes must be below codebook_size=5"):
        validate(packed)
    validate(packed, values=False)
    assert decode(packed, 40)[9:].tolist() == [0, 0, 0]  # beyond the codebook there is a fill of zeros


NAN, INF = np.float32("nan"), np.float32("inf")
TWO = coded([(10, 4, 256, 0), (90, 4, 64, 0)], flagged=True)
WRONG_VALUES = {
    "table holds a NaN": (dense(), {"table": np.full((7, 5), NAN)}, r"`table` holds nan at \(0, 0\)"),
    "table holds an infinity": (dense(), {"table": np.full((7, 5), -INF)}, "`table` holds -inf"),
    "left holds a NaN": (low_rank(), {"left": np.full((9, 3), NAN)}, "`left` holds nan"),
    "right holds a NaN": (low_rank(), {"right": np.full((3, 5), NAN)}, "`right` holds nan"),
    "offset is infinite": (scaled(), {"offset": np.full(5, INF)}, r"`offset` holds inf at \(0,\)"),
    "step is a NaN": (scaled(), {"step": np.full(5, NAN)}, "`step` holds nan"),
    "step is negative": (scaled(), {"step": np.array([1, 0, -1, 1, 1], "f4")}, r"`step` holds -1 at 2"),
    "values overflow": (scaled(), {"step": np.full(5, 3e38, "f4")}, "overflows float32 at 0"),
    "codebook holds a NaN": (TWO, {"codebook.0": np.full((4, 256, 3), NAN)}, "`codebook.0` holds nan"),
    "stream ends with ones": (scaled(11, 5, 3), {"codes": np.full(21, 255, "u1")}, "must end with 3 zero bits"),
    "flags end with ones": (TWO, {"tiers": np.full(13, 255, "u1")}, "`tiers` must end with 4 zero bits"),
    "flags do not add up": (TWO, {"tiers": pack_bits(np.zeros(100, int), 1)}, r"\[100, 0\] ids, but .* \[10, 90\]"),
    "flag of no tier": (
        coded([(30, 4, 4, 0)] * 3, flagged=True),
        {"tiers": pack_bits(np.array([0, 3] * 45), 2)},
        "names a tier that does not exist for id 1; there are 3",
    ),
}


@pytest.mark.parametrize("what", WRONG_VALUES)
def test_wrong_values(what):
    packed, arrays, message = WRONG_VALUES[what]
    with pytest.raises(ArtifactValueError, match=message):
        validate(changed(packed, arrays=arrays))


def tier(**changes):
    return {"num_rows": 70, "num_codebooks": 4, "codebook_size": 16, "codebook": 0, **changes}


PQ = coded([(70, 4, 16, 0)])
WRONG_STRUCTURE = {
    "no rows": (dense(), {"num_embeddings": 0}, "`num_embeddings` must be an integer from 1"),
    "too many rows": (dense(), {"num_embeddings": 1 << 62}, "`num_embeddings` must be an integer from 1"),
    "rows are a float": (dense(), {"num_embeddings": 7.0}, "must be an integer from 1 to .*, got 7.0"),
    "rows are a truth": (dense(), {"num_embeddings": True}, "must be an integer from 1 to .*, got True"),
    "no columns": (dense(), {"embedding_dim": 0}, "`embedding_dim` must be an integer"),
    "padding is negative": (dense(), {"padding_idx": -1}, "`padding_idx` must be an integer from 0 to 6"),
    "padding is too large": (dense(), {"padding_idx": 7}, "`padding_idx` must be an integer from 0 to 6"),
    "an array is missing": (dense(), {"arrays": {"table": None}}, "needs an array `table`, which is missing"),
    "an array too many": (dense(), {"arrays": {"x": np.ones(1)}}, r"has no array `x`; it has \['table'\]"),
    "another shape": (dense(), {"arrays": {"table": np.ones((7, 4), "f4")}}, r"must have shape \(7, 5\)"),
    "another dtype": (dense(), {"arrays": {"table": np.ones((7, 5))}}, "must be float32 or float16, got float64"),
    "big-endian": (dense(), {"arrays": {"table": np.ones((7, 5), ">f4")}}, "must be float32 or float16, got >f4"),
    "a list": (dense(), {"arrays": {"table": [[1]]}}, "must be float32 or float16, got list"),
    "not contiguous": (dense(), {"arrays": {"table": np.ones((5, 7), "f4").T}}, "must be contiguous"),
    "config of no use": (dense(), {"layout_config": {"x": 1}}, r"must have exactly the keys \[\], got \['x'\]"),
    "ranks differ": (low_rank(), {"arrays": {"right": np.ones((4, 5), "f4")}}, r"`left` must have shape \(9, 4\)"),
    "no rank": (low_rank(), {"arrays": {"right": np.ones((0, 5), "f4")}}, "`right` must have 1 to"),
    "right is a number": (low_rank(), {"arrays": {"right": np.ones((), "f4")}}, "`right` must have 1 to"),
    "no bits": (scaled(), {"layout_config": {"bits": 0}}, "`layout_config.bits` must be an integer from 1 to 8"),
    "nine bits": (scaled(), {"layout_config": {"bits": 9}}, "`layout_config.bits` must be an integer from 1 to 8"),
    "bits missing": (scaled(), {"layout_config": {"bits": None}}, "must have exactly the keys"),
    "unknown axis": (scaled(), {"layout_config": {"axis": "depth"}}, "must be 'column' or 'row', got 'depth'"),
    "other axis": (scaled(), {"layout_config": {"axis": "row"}}, r"`offset` must have shape \(11,\)"),
    "codes cut": (scaled(), {"arrays": {"codes": np.zeros(54, "u1")}}, r"`codes` must have shape \(55,\)"),
    "no tiers": (PQ, {"layout_config": {"tiers": []}}, "a list of 1 to 256 tiers"),
    "tiers no list": (PQ, {"layout_config": {"tiers": {}}}, "a list of 1 to 256 tiers"),
    "257 tiers": (PQ, {"layout_config": {"tiers": [tier()] * 257}}, "a list of 1 to 256 tiers"),
    "tier no mapping": (PQ, {"layout_config": {"tiers": [5]}}, "must have exactly the keys"),
    "tier lacks a key": (PQ, {"layout_config": {"tiers": [{"num_rows": 70}]}}, "must have exactly the keys"),
    "share no truth": (PQ, {"layout_config": {"share_subspaces": 1}}, "`share_subspaces` must be true or false"),
    "rows do not add up": (PQ, {"layout_config": {"tiers": [tier(num_rows=69)]}}, r"\[69\] must add up to 70"),
    "negative rows": (PQ, {"layout_config": {"tiers": [tier(num_rows=-1)]}}, r"tiers\[0\].num_rows"),
    "no codebooks": (PQ, {"layout_config": {"tiers": [tier(num_codebooks=0)]}}, r"tiers\[0\].num_codebooks"),
    "not dividing": (PQ, {"layout_config": {"tiers": [tier(num_codebooks=5)]}}, "`codes.0` must have shape"),
    "no centroid": (PQ, {"layout_config": {"tiers": [tier(codebook_size=0)]}}, r"tiers\[0\].codebook_size"),
    "too many centroids": (PQ, {"layout_config": {"tiers": [tier(codebook_size=65_537)]}}, "codebook_size"),
    "codebook missing": (PQ, {"layout_config": {"tiers": [tier(codebook=1)]}}, r"tiers\[0\].codebook"),
    "codebook too small": (PQ, {"arrays": {"codebook.0": np.ones((4, 15, 3), "f4")}}, "at least 16 centroids"),
    "codebook is flat": (PQ, {"arrays": {"codebook.0": np.ones(192, "f4")}}, "at least 16 centroids, got shape"),
    "codebook too narrow": (PQ, {"arrays": {"codebook.0": np.ones((4, 16, 2), "f4")}}, r"shape \(4, 16, 3\)"),
    "codebook for all": (PQ, {"layout_config": {"share_subspaces": True}}, r"shape \(1, 16, 3\)"),
    "flags too long": (PQ, {"arrays": {"tiers": np.zeros(10, "u1")}}, r"`tiers` must have shape \(9,\)"),
    "codes of 16 bits": (PQ, {"arrays": {"codes.0": np.zeros(140, "u2")}}, "`codes.0` must be uint8"),
    "codebook unused": (
        coded([(10, 4, 4, 0), (10, 4, 4, 1)]),
        {"layout_config": {"tiers": [tier(num_rows=10, codebook_size=4, codebook=1)] * 2}},
        "`codebook.0` is used by no tier",
    ),
    "sizes of a shared codebook": (
        coded([(10, 4, 4, 0), (10, 4, 4, 0)]),
        {
            "layout_config": {
                "tiers": [tier(num_rows=10, codebook_size=4), tier(num_rows=5, num_codebooks=8, codebook_size=4)]
            },
            "num_embeddings": 15,
        },
        "must agree on `num_codebooks`",
    ),
}


@pytest.mark.parametrize("what", WRONG_STRUCTURE)
def test_wrong_structure(what):
    packed, changes, message = WRONG_STRUCTURE[what]
    wrong = changed(packed, **changes)
    with pytest.raises(ArtifactFormatError, match=message):
        validate(wrong, values=False)
    with pytest.raises(ArtifactFormatError, match=message):
        Decoder(wrong)


def test_codebooks_must_divide_the_dimension():
    packed = coded([(5, 5, 4, 0)], dim=10)
    packed = Packed("coded", 5, 12, packed.arrays, packed.layout_config)
    with pytest.raises(ArtifactFormatError, match="`num_codebooks` must divide embedding_dim=12, got 5"):
        validate(packed)


def test_flags_that_change_after_opening_are_noticed():
    packed = coded([(64, 4, 4, 0), (64, 4, 4, 0)], flagged=True)
    decoder = Decoder(packed)
    packed.arrays["tiers"][:] = 0
    with pytest.raises(ArtifactValueError, match="changed after it was opened"):
        decoder(np.arange(128))
