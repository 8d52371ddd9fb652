"""The layouts ``tiered`` and ``sparse``, and ``scaled`` with scales in 8 bits: what is refused, what arrays weigh."""

import dataclasses

import numpy as np
import pytest

from slimtable.artifact import decode, exact_bits, validate
from slimtable.artifact.bits import pack_bits
from slimtable.artifact.layouts import Decoder, format_version, num_vectors, roles_of
from slimtable.errors import ArtifactFormatError, ArtifactValueError
from tests.artifact.artifact_samples import dense, scaled, tiered_samples
from tests.artifact.quantized_samples import quantized
from tests.artifact.tiered_samples import short_scales, sparse, tiered

SAMPLES = tiered_samples()
SORTED, UNSORTED, FOUR = (SAMPLES[f"tiered-{name}"] for name in ("sorted", "unsorted", "four"))
SPARSE, SHORT = SAMPLES["sparse"], SAMPLES["scaled-short"]


def changed(packed, arrays=None, **config):
    """A copy with other arrays and config entries; None removes an array, "DELETE" an entry."""
    merged = {name: array for name, array in {**packed.arrays, **(arrays or {})}.items() if array is not None}
    entries = {**packed.layout_config, **config}
    entries = {key: value for key, value in entries.items() if not (isinstance(value, str) and value == "DELETE")}
    return dataclasses.replace(packed, arrays=merged, layout_config=entries)


def with_part(packed, number, **entries):
    """A copy with other entries in the config of a part."""
    parts = [dict(part) for part in packed.layout_config["parts"]]
    parts[number] |= entries
    return changed(packed, parts=[{k: v for k, v in part.items() if v != "DELETE"} for part in parts])


@pytest.mark.parametrize(
    ("packed", "bits"),
    [
        (sparse(), 55 + 8 * SPARSE.arrays["values"].size + 11 * 16),
        (sparse(9, 4, 0), 36 + 9 * 16),
        (short_scales(11, 5, 3), 11 * (15 + 16) + 128),
        (tiered([dense(4, 12), quantized(30, 12, 2, 16)]), 4 * 12 * 32 + 30 * 8 + 16 * 12 * 32),
        (tiered([dense(4, 12), quantized(30, 12, 2, 16)], flagged=True), 4 * 12 * 32 + 34 + 30 * 8 + 16 * 12 * 32),
    ],
)
def test_exact_bits(packed, bits):
    assert exact_bits(packed) == bits


@pytest.mark.parametrize("name", SAMPLES)
def test_version_and_roles(name):
    packed = SAMPLES[name]
    assert format_version(packed) == 4
    assert set(roles_of(packed)) == set(packed.arrays)


def test_the_version_of_scaled_tables_without_short_scales_stays():
    assert format_version(scaled(axis="row")) == 1


def test_roles_and_rows_of_parts():
    roles = roles_of(UNSORTED)
    assert (roles["tiers"].kind, roles["tiers"].width, roles["tiers"].count) == ("assignments", 1, 39)
    assert roles["part.0.codes"].per_row == 3
    assert num_vectors(SAMPLES["tiered-four"]) == 3 + 5 + 7 + 7


def test_a_part_is_served_as_if_alone():
    head, tail = dense(4, 12), quantized(30, 12, 2, 16, gain=8)
    rows = decode(tiered([head, tail]), np.arange(34))
    assert rows.tobytes() == np.concatenate([decode(head, np.arange(4)), decode(tail, np.arange(30))]).tobytes()


@pytest.mark.parametrize("name", SAMPLES)
def test_a_row_does_not_depend_on_its_batch(name):
    decoder = Decoder(SAMPLES[name])
    table = decoder(np.arange(SAMPLES[name].num_embeddings))
    assert all(decoder(i).tobytes() == row.tobytes() for i, row in enumerate(table))


NAN, INF = np.float16("nan"), np.float16("inf")
WRONG_VALUES = {
    "step is a NaN": (SPARSE, {"step": np.full(11, NAN)}, r"`step` holds nan at \(0,\)"),
    "step is infinite": (SPARSE, {"step": np.full(11, INF)}, "`step` holds inf"),
    "step is negative": (SPARSE, {"step": np.full(11, -1, "f2")}, "`step` holds -1 at 0; steps are >= 0"),
    "bitmap too full": (SPARSE, {"bitmap": np.full(7, 127, "u1")}, "`bitmap` has 49 ones, but there are"),
    "bitmap is empty": (SPARSE, {"bitmap": np.zeros(7, "u1")}, "`bitmap` has 0 ones, but there are"),
    "bitmap ends with ones": (SPARSE, {"bitmap": np.full(7, 255, "u1")}, "must end with 1 zero bits"),
    "a value is missing": (SPARSE, {"values": SPARSE.arrays["values"][1:]}, "ones, but there are"),
    "steps fall": (SHORT, {"step_range": np.array([1, 0.5])}, "`step_range` must be a positive float32 and a ratio"),
    "steps overflow": (SHORT, {"step_range": np.array([1, 2.0])}, "`step_range` must not lead to scales"),
    "values overflow": (SHORT, {"step_range": np.array([1e38, 1.0])}, "must not lead to values that overflow"),
    "codes end with ones": (SHORT, {"codes": np.full(21, 255, "u1")}, "`codes` must end with 3 zero bits"),
    "part holds a NaN": (SORTED, {"part.0.table": np.full((4, 12), np.nan, "f4")}, "part 0: array `table` holds nan"),
    "flags do not add up": (UNSORTED, {"tiers": np.zeros(5, "u1")}, r"\[39, 0\] ids, but `num_rows` says \[9, 30\]"),
    "flags end with ones": (UNSORTED, {"tiers": np.full(5, 255, "u1")}, "`tiers` must end with 1 zero bits"),
    "flag of no part": (
        tiered([dense(5, 3)] * 3, flagged=True),
        {"tiers": pack_bits(np.array([0, 3, 1] * 5), 2)},
        "names a tier that does not exist for id 1; there are 3",
    ),
}


@pytest.mark.parametrize("what", WRONG_VALUES)
def test_wrong_values(what):
    packed, arrays, message = WRONG_VALUES[what]
    validate(packed)
    with pytest.raises(ArtifactValueError, match=message):
        validate(changed(packed, arrays))


WRONG_STRUCTURE = {
    "one part": (changed(SORTED, parts=SORTED.layout_config["parts"][:1]), "a list of 2 to 16 parts"),
    "17 parts": (changed(SORTED, parts=SORTED.layout_config["parts"][:1] * 17), "a list of 2 to 16 parts"),
    "parts no list": (changed(SORTED, parts={}), "a list of 2 to 16 parts"),
    "parts missing": (changed(SORTED, parts="DELETE"), "must have exactly the keys"),
    "part no object": (changed(SORTED, parts=[1, 2]), r"`layout_config.parts\[0\]` must have exactly the keys"),
    "part lacks a key": (with_part(SORTED, 1, layout="DELETE"), r"parts\[1\]` must have exactly the keys"),
    "no rows": (with_part(SORTED, 0, num_rows=0), r"`layout_config.parts\[0\].num_rows` must be an integer from 1"),
    "rows are a float": (with_part(SORTED, 0, num_rows=4.0), r"parts\[0\].num_rows` must be an integer"),
    "rows do not add up": (with_part(SORTED, 0, num_rows=5), r"`num_rows` \[5, 30\] must add up to 34"),
    "parts in parts": (with_part(SORTED, 0, layout="tiered"), r"parts\[0\].layout` must be one of .*, got 'tiered'"),
    "unknown layout": (with_part(SORTED, 0, layout="mine"), "must be one of .*, got 'mine'"),
    "layout no word": (with_part(SORTED, 0, layout=["dense"]), "must be one of"),
    "config no object": (with_part(SORTED, 0, layout_config=[]), r"`layout_config.parts\[0\].layout_config` must be"),
    "config of a part": (with_part(SORTED, 0, layout_config={"x": 1}), "part 0: `layout_config` must have exactly"),
    "array of no part": (changed(SORTED, {"part.2.table": np.zeros((1, 12), "f4")}), "has no array `part.2.table`"),
    "array without part": (changed(SORTED, {"table": np.zeros((1, 12), "f4")}), "has no array `table`"),
    "array of a part is missing": (changed(SORTED, {"part.1.gain": None}), "part 1: layout .* needs an array `gain`"),
    "array of a part is cut": (changed(SORTED, {"part.0.table": np.zeros((3, 12), "f4")}), r"part 0: .* \(4, 12\)"),
    "flags too long": (changed(UNSORTED, {"tiers": np.zeros(6, "u1")}), r"`tiers` must have shape \(5,\)"),
    "too many values": (changed(SPARSE, {"values": np.zeros(56, "u1")}), "one dimension and at most 55 values"),
    "values in rows": (changed(SPARSE, {"values": np.zeros((2, 2), "u1")}), "one dimension and at most 55 values"),
    "values are floats": (changed(SPARSE, {"values": np.zeros(5, "f4")}), "`values` must be uint8, got float32"),
    "bitmap too short": (changed(SPARSE, {"bitmap": np.zeros(6, "u1")}), r"`bitmap` must have shape \(7,\)"),
    "wide steps": (changed(SPARSE, {"step": np.zeros(11, "f4")}), "`step` must be float16, got float32"),
    "config of no use": (changed(SPARSE, x=1), r"must have exactly the keys \[\]"),
    "scales of 4 bits": (changed(SHORT, scale_bits=4), "`layout_config.scale_bits` must be an integer from 8 to 8"),
    "scales per column": (changed(SHORT, axis="column"), "`layout_config.scale_bits` needs `axis` 'row'"),
    "no short scales": (changed(SHORT, scale_bits="DELETE"), "has no array|needs an array `offset`"),
    "zeros are missing": (changed(SHORT, {"zero": None}), "needs an array `zero`"),
    "steps are floats": (changed(SHORT, {"step": np.zeros(11, "f2")}), "`step` must be uint8"),
    "range is short": (changed(SHORT, {"step_range": np.ones(1)}), r"`step_range` must have shape \(2,\)"),
    "range is float32": (changed(SHORT, {"step_range": np.ones(2, "f4")}), "`step_range` must be float64"),
}


@pytest.mark.parametrize("what", WRONG_STRUCTURE)
def test_wrong_structure(what):
    wrong, message = WRONG_STRUCTURE[what]
    with pytest.raises(ArtifactFormatError, match=message):
        validate(wrong, values=False)
    with pytest.raises(ArtifactFormatError, match=message):
        Decoder(wrong)


def test_flags_that_change_after_opening_are_noticed():
    packed = tiered([dense(64, 4), dense(64, 4)], flagged=True)
    decoder = Decoder(packed)
    packed.arrays["tiers"][:] = 0
    with pytest.raises(ArtifactValueError, match="changed after it was opened"):
        decoder(np.arange(128))


def test_a_bitmap_that_changes_after_opening_is_noticed():
    packed = sparse(64, 4)
    decoder = Decoder(packed)
    packed.arrays["bitmap"][:] = 255
    with pytest.raises(ArtifactValueError, match="changed after it was opened"):
        decoder(np.arange(64))
