"""The layout ``shared``: exact arithmetic, exact sizes, and everything that is refused."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from slimtable.artifact import Decoder, decode, exact_bits, validate
from slimtable.artifact.bits import pack_bits, unpack_bits
from slimtable.embeddings.frozen import FrozenEmbedding
from slimtable.errors import ArtifactFormatError, ArtifactValueError
from tests.artifact.artifact_samples import plain_decode, samples, shared, shared_samples
from tests.artifact.test_layouts import changed

STORED = "stored"
ONE = (0, 0, STORED, 1.0)
HASH = {"a": 1, "b": 0, "head": 0, "first": 0, "count": 7}
SAMPLES = shared_samples()


def test_one_row_is_an_exact_copy():
    packed = shared([(7, 6, 32)], [ONE])
    packed.arrays["rows.0"][3] = [-0.0, 1e-45, -1e-40, 3.3e38, 1 / 3, -7]
    row_map = unpack_bits(packed.arrays["map.0"], 3, 30)
    assert decode(packed, np.arange(30)).tobytes() == packed.arrays["rows.0"][row_map].tobytes()


def test_sums_are_those_of_torch():
    """What training computes with tensors is what serving gives, bit for bit."""
    packed = shared([(50, 64, 32)], [(0, 0, STORED, 0.3), (0, 0, STORED, STORED), (0, 0, STORED, 1.0)], 3000, 64)
    rows, weights = torch.from_numpy(packed.arrays["rows.0"]), torch.from_numpy(packed.arrays["weights.1"])
    maps = [torch.from_numpy(unpack_bits(packed.arrays[f"map.{t}"], 6, 3000).astype(np.int64)) for t in range(3)]
    expected = 0.3 * rows[maps[0]]
    expected = expected + weights[:, None] * rows[maps[1]]
    expected = expected + rows[maps[2]]
    assert decode(packed, np.arange(3000)).tobytes() == expected.numpy().tobytes()


@pytest.mark.parametrize("name", [name for name in samples() if name.startswith("shared-")])
def test_frozen_tables_give_the_same_rows_through_torch(name):
    """What a GPU does, on the CPU."""
    packed = samples()[name]
    frozen = FrozenEmbedding(packed)
    ids = torch.arange(packed.num_embeddings)
    rows = frozen._rows_by_torch(ids).numpy()
    served = decode(packed, ids.numpy())
    kept = np.delete(ids.numpy(), [] if packed.padding_idx is None else packed.padding_idx)
    assert rows[kept].tobytes() == served[kept].tobytes()
    assert frozen(ids).numpy().tobytes() == served.tobytes()


def test_the_mean_of_a_row_with_itself_is_that_row():
    packed = shared([(7, 6, 32)], [(0, 0, STORED, 0.5)] * 2)
    packed.arrays["map.1"] = packed.arrays["map.0"]
    assert decode(packed, np.arange(30)).tobytes() == decode(shared([(7, 6, 32)], [ONE]), np.arange(30)).tobytes()


@pytest.mark.parametrize("start", [0, (1 << 31) - 20, (1 << 33) - 20, (1 << 40) - 20])
def test_hashes_do_not_overflow_for_large_ids(start):
    from slimtable.artifact.shared_kernels import hashed_rows

    ids, rows = np.arange(start, start + 20), np.empty(20, np.int64)
    for a, b in ((1, 0), (2**31 - 2, 2**31 - 2), (1_234_567_890, 7)):
        hashed_rows(a, b, 3, 5, 999_983, ids, rows)
        expected = [i if i < 3 else 5 + (a * i + b) % (2**31 - 1) % 999_983 for i in ids.tolist()]
        assert rows.tolist() == expected


def test_head_ids_have_rows_of_their_own():
    packed = shared([(11, 6, 32)], [(0, 0, (77, 5, 4, 4, 7), 1.0)])
    rows = decode(packed, np.arange(30))
    assert rows[:4].tobytes() == packed.arrays["rows.0"][:4].tobytes()
    tail = {row.tobytes() for row in packed.arrays["rows.0"][4:]}
    assert {row.tobytes() for row in rows[4:]} <= tail


@pytest.mark.parametrize(
    ("name", "bits"),
    [
        ("one-row", 7 * 6 * 32 + 30 * 3),
        ("mean-of-two", 7 * 6 * 32 + 2 * 30 * 3),
        ("views-side-by-side", 7 * 2 * 32 + 5 * 4 * 16 + 2 * 30 * 3),
        ("double-hash", 7 * 6 * 32),
        ("hybrid-hash", 11 * 6 * 32),
        ("weighted-tanh", 7 * 6 * 32 + 2 * 30 * (3 + 32)),
        ("rows-8-bit", 7 * 6 * 8 + 2 * 7 * 16 + 30 * 3),
        ("rows-4-bit", 7 * 6 * 4 + 2 * 7 * 32 + 2 * 30 * 3),
    ],
)
def test_exact_bits_by_hand(name, bits):
    assert exact_bits(SAMPLES[name]) == bits


def test_maps_of_more_than_65_536_rows():
    num_rows = 1 << 20
    rows = np.arange(num_rows, dtype=np.float32)[:, None]
    row_map = np.random.default_rng(0).integers(0, num_rows, 999)
    packed = changed(
        shared([(num_rows, 1, 32)], [ONE], num=999, dim=1),
        arrays={"rows.0": rows, "map.0": pack_bits(row_map, 20)},
    )
    validate(packed)
    assert decode(packed, np.arange(999))[:, 0].tolist() == row_map.tolist()


@st.composite
def tables_of_shared_rows(draw):
    """Any table: some tables, and terms of which each begins new columns or adds to reached ones."""
    widths = draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))
    dim, num = sum(widths), draw(st.integers(1, 40))
    bits = st.sampled_from([32, 16, 8, 7, 4, 3, 1])
    tables = [(draw(st.integers(1, 70)), width, draw(bits)) for width in [*widths, dim]]
    places = [(r, sum(widths[:r])) for r in range(len(widths))]
    places = [*draw(st.permutations(places)), (len(widths), 0)]
    terms = []
    for r, column in places + draw(st.lists(st.sampled_from(places), max_size=3)):
        count = tables[r][0]
        first = draw(st.integers(0, count - 1))
        prime = 2**31 - 1
        mix = (
            draw(st.integers(1, prime - 1)),
            draw(st.integers(0, prime - 1)),
            draw(st.integers(0, min(count, num))),
            first,
            draw(st.integers(1, count - first)),
        )
        weight = draw(st.sampled_from([1.0, 0.5, -0.1, 3, STORED]))
        terms.append((r, column, draw(st.sampled_from([STORED, mix])), weight))
    activation = draw(st.sampled_from(["none", "tanh"]))
    dtype = draw(st.sampled_from([np.float32, np.float16]))
    return shared(tables, terms, num, dim, activation, dtype, draw(st.sampled_from([None, 0])))


@settings(deadline=None, max_examples=60)  # the first example compiles
@given(tables_of_shared_rows())
def test_any_table_is_that_of_the_plain_decoder_bit_for_bit(packed):
    validate(packed)
    ids = np.random.default_rng(0).integers(0, packed.num_embeddings, 50)
    assert decode(packed, ids).tobytes() == plain_decode(packed)[ids].tobytes()
    assert 0 <= 8 * packed.nbytes - exact_bits(packed) < 8 * len(packed.arrays)


@settings(deadline=None, max_examples=40)
@given(tables_of_shared_rows(), st.integers(0, 255), st.integers(0, 2**32))
def test_no_bytes_lead_outside(packed, byte, seed):
    """A file that is changed under its reader gives wrong rows, never those of another place in memory."""
    decoder = Decoder(packed)
    for name, array in packed.arrays.items():
        if array.dtype == np.uint8:
            random = np.random.default_rng(seed).integers(0, 256, array.size, np.uint8)
            array[:] = byte if name.startswith("map.") else random
    rows = decoder(np.arange(packed.num_embeddings))
    assert np.isfinite(rows).all()  # scales stay as they are, and every sum of rows in range is finite


def test_a_map_that_changed_leads_to_the_last_row():
    packed = shared([(5, 6, 32)], [ONE])
    decoder = Decoder(packed)
    packed.arrays["map.0"][:] = 255
    assert (decoder(np.arange(30)) == packed.arrays["rows.0"][4]).all()


NAN, INF = np.float32("nan"), np.float32("inf")
MEAN, INT4, LEGCF = SAMPLES["mean-of-two"], SAMPLES["rows-4-bit"], SAMPLES["weighted-tanh"]
WRONG_VALUES = {
    "a row holds a NaN": (MEAN, {"rows.0": np.full((7, 6), NAN)}, r"`rows.0` holds nan at \(0, 0\)"),
    "a map leaves its table": (
        MEAN,
        {"map.1": pack_bits(np.array([0] * 29 + [7]), 3)},
        "`map.1` names the row 7, but its table has 7 rows",
    ),
    "a map ends with ones": (MEAN, {"map.0": np.full(12, 0xDB, "u1")}, "`map.0` must end with 6 zero bits"),
    "a weight is infinite": (LEGCF, {"weights.1": np.full(30, INF)}, "`weights.1` holds inf"),
    "a step is negative": (INT4, {"step.0": np.full(7, -1, "f4")}, "`step.0` holds -1 at 0"),
    "a step is a NaN": (INT4, {"step.0": np.full(7, NAN)}, "`step.0` holds nan"),
    "an offset is infinite": (INT4, {"offset.0": np.full(7, -INF)}, "`offset.0` holds -inf"),
    "codes overflow": (INT4, {"step.0": np.full(7, 1e38, "f4")}, "`offset.0 . step.0 · code` overflows float32 at 0"),
    "codes end with ones": (
        shared([(7, 3, 3)], [ONE], dim=3),
        {"rows.0": np.full(8, 255, "u1")},
        "`rows.0` must end with 1 zero bits",
    ),
    "sums overflow": (
        shared([(7, 6, 32)], [ONE, ONE]),
        {"rows.0": np.full((7, 6), 2e38, "f4")},
        "the sum of rows up to term 1 may overflow float32",
    ),
    "a product overflows": (
        LEGCF,
        {"rows.0": np.full((7, 6), 2e38, "f4"), "weights.0": np.full(30, -2, "f4")},
        "the sum of rows up to term 0 may overflow",
    ),
}


@pytest.mark.parametrize("what", WRONG_VALUES)
def test_wrong_values(what):
    packed, arrays, message = WRONG_VALUES[what]
    wrong = changed(packed, arrays=arrays)
    validate(wrong, values=False)
    with pytest.raises(ArtifactValueError, match=message):
        validate(wrong)


def config(**changes):
    return {"layout_config": changes}


def table(**changes):
    return config(tables=[{"num_rows": 7, "width": 6, "bits": 32, **changes}])


def term(**changes):
    return config(terms=[{"table": 0, "column": 0, "map": STORED, "weight": 1.0, **changes}])


def mix(**changes):
    return term(map={**HASH, **changes})


ROW = SAMPLES["one-row"]
WRONG_STRUCTURE = {
    "no tables": (config(tables=[]), "`layout_config.tables` must be a list of 1 to 256 tables"),
    "257 terms": (config(terms=[{}] * 257), "`layout_config.terms` must be a list of 1 to 256 terms"),
    "unknown activation": (config(activation="relu"), r"activation` must be one of \('none', 'tanh'\)"),
    "activation missing": (config(activation=None), "must have exactly the keys"),
    "a key too many": (config(more=1), "must have exactly the keys"),
    "table no object": (config(tables=[7]), r"`layout_config.tables\[0\]` must have exactly the keys"),
    "no rows": (table(num_rows=0), r"tables\[0\].num_rows` must be an integer from 1"),
    "endless rows": (table(num_rows=1 << 40), r"tables\[0\].num_rows` must be an integer from 1 to 2147483648"),
    "rows a float": (table(num_rows=7.0), r"num_rows` must be an integer from 1 to .*, got 7.0"),
    "other rows": (table(num_rows=8), r"`rows.0` must have shape \(8, 6\)"),
    "more rows, wider map": (table(num_rows=9), r"`rows.0` must have shape \(9, 6\)"),
    "no width": (table(width=0), r"tables\[0\].width` must be an integer from 1 to 6"),
    "too wide": (table(width=7), r"tables\[0\].width` must be an integer from 1 to 6"),
    "too narrow": (table(width=5), "no term reaches column 5 of 6"),
    "9 bits": (table(bits=9), r"tables\[0\].bits` must be 32, 16, or 1 to 8, got 9"),
    "33 bits": (table(bits=33), r"tables\[0\].bits` must be an integer from 1 to 32"),
    "half the bits": (table(bits=16), "`rows.0` must be float16, got float32"),
    "codes without scales": (table(bits=8), "needs an array `offset.0`, which is missing"),
    "term no object": (config(terms=[None]), r"`layout_config.terms\[0\]` must have exactly the keys"),
    "no such table": (term(table=1), r"terms\[0\].table` must be an integer from 0 to 0"),
    "a negative column": (term(column=-1), r"terms\[0\].column` must be an integer from 0 to 0"),
    "columns outside": (term(column=1), r"terms\[0\].column` must be an integer from 0 to 0"),
    "an unknown map": (term(map="random"), r"terms\[0\].map` must be 'stored' or an object with the keys"),
    "a map missing": (term(map=HASH), "has no array `map.0`"),
    "a map of nothing": (term(map=None), r"terms\[0\].map` must be 'stored' or an object"),
    "a is 0": (mix(a=0), r"map.a` must be an integer from 1 to 2147483646"),
    "a is the prime": (mix(a=2**31 - 1), r"map.a` must be an integer from 1 to 2147483646"),
    "b is negative": (mix(b=-1), r"map.b` must be an integer from 0"),
    "head beyond the rows": (mix(head=8), r"map.head` must be an integer from 0 to 7"),
    "first beyond the rows": (mix(first=7), r"map.first` must be an integer from 0 to 6"),
    "no count": (mix(count=0), r"map.count` must be an integer from 1 to 7"),
    "last beyond the rows": (mix(first=1), "leads to the rows 1 to 7, its table has 7"),
    "a hash with a key too many": (mix(seed=1), r"map` must have exactly the keys"),
    "an unknown weight": (term(weight="mean"), r"terms\[0\].weight` must be 'stored' or a number that fits"),
    "a weight is true": (term(weight=True), "must be 'stored' or a number"),
    "a weight is a NaN": (term(weight=float("nan")), "must be 'stored' or a number"),
    "a weight too large": (term(weight=10**400), "must be 'stored' or a number"),
    "weights missing": (term(weight=STORED), "needs an array `weights.0`, which is missing"),
    "a map cut": ({"arrays": {"map.0": np.zeros(11, "u1")}}, r"`map.0` must have shape \(12,\)"),
    "a map of integers": ({"arrays": {"map.0": np.zeros(30, "i4")}}, "`map.0` must be uint8"),
    "an array too many": ({"arrays": {"map.1": np.zeros(12, "u1")}}, "has no array `map.1`"),
    "fewer ids": ({"num_embeddings": 20}, r"`map.0` must have shape \(8,\)"),
    "more columns": ({"embedding_dim": 7}, "no term reaches column 6 of 7"),
}


@pytest.mark.parametrize("what", WRONG_STRUCTURE)
def test_wrong_structure(what):
    changes, message = WRONG_STRUCTURE[what]
    wrong = changed(ROW, **changes)
    with pytest.raises(ArtifactFormatError, match=message):
        validate(wrong, values=False)
    with pytest.raises(ArtifactFormatError, match=message):
        Decoder(wrong)


def test_a_head_has_no_more_ids_than_the_table():
    packed = shared([(50, 6, 32)], [(0, 0, (1, 0, 30, 30, 20), 1.0)])
    validate(packed)
    packed.layout_config["terms"][0]["map"]["head"] = 31
    with pytest.raises(ArtifactFormatError, match=r"map.head` must be an integer from 0 to 30"):
        validate(packed)


def test_a_table_that_nobody_uses():
    with pytest.raises(ArtifactFormatError, match=r"the tables \[1\] are used by no term"):
        validate(shared([(7, 6, 32), (7, 6, 32)], [ONE]))


def test_a_term_that_adds_to_half_of_its_columns():
    narrow, wide = (0, 0, STORED, 1.0), (1, 0, STORED, 1.0)
    validate(shared([(7, 3, 32), (7, 6, 32)], [wide, narrow]))
    with pytest.raises(ArtifactFormatError, match=r"earlier terms cover only in part; put the widest terms first"):
        validate(shared([(7, 3, 32), (7, 6, 32)], [narrow, wide]))
