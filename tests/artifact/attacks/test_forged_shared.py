"""Forged files of layout ``shared``, with all checksums made right."""

from pathlib import Path

import numpy as np
import pytest

from slimtable.artifact import read_artifact, verify_artifact
from slimtable.errors import ArtifactChecksumError, ArtifactError, ArtifactFormatError, ArtifactValueError
from tests.artifact.attacks.forgery import DELETE, HUGE, Forgery, apply

GOLDEN = Path(__file__).parent.parent / "golden"


def forge(name):
    return Forgery((GOLDEN / f"v2-{name}.safetensors").read_bytes())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "attack.safetensors"


CONFIG = "manifest tables t layout_config"
TABLE, TERM = f"{CONFIG} tables 0", f"{CONFIG} terms 1"
# shared-hybrid-hash: one table of 11 × 6, two terms with a hash each; 30 ids
WRONG = {
    CONFIG: [DELETE, None, [], {}, {"tables": [], "terms": [], "activation": "none"}],
    f"{CONFIG} extra": [1],
    f"{CONFIG} activation": [DELETE, None, "", "relu", 0, [], {}, ["none"]],
    f"{CONFIG} tables": [DELETE, None, [], {}, [1], [[]], "xx", [None] * 300],
    TABLE: [DELETE, None, {}, []],
    f"{TABLE} extra": [1],
    f"{TABLE} num_rows": [DELETE, None, 0, -11, 10, 12, HUGE, 11.0, "11", True],
    f"{TABLE} width": [DELETE, None, 0, -6, 5, 7, HUGE, 6.0, "6", True],
    f"{TABLE} bits": [DELETE, None, 0, -32, 8, 4, 16, 31, 33, 64, HUGE, 32.0, "32", True],
    f"{CONFIG} terms": [DELETE, None, [], {}, [1], [[]], "xx", [None] * 300],
    TERM: [None, {}, []],
    f"{TERM} extra": [1],
    f"{TERM} table": [DELETE, None, 1, -1, HUGE, 0.0, "0", False],
    f"{TERM} column": [DELETE, None, 1, 6, -1, HUGE, 0.0, "0", False],
    f"{TERM} map": [DELETE, None, "stored", "hash", "", 5, [], {}, ["stored"]],
    f"{TERM} map extra": [1],
    f"{TERM} map a": [DELETE, None, 0, -1, (1 << 31) - 1, HUGE, 1 << 64, 1.0, "1", True],
    f"{TERM} map b": [DELETE, None, -1, (1 << 31) - 1, HUGE, 1 << 64, 1.0, "1", True],
    f"{TERM} map head": [DELETE, None, -1, 12, 31, HUGE, 4.0, "4", True],
    f"{TERM} map first": [DELETE, None, -1, 5, 11, HUGE, 4.0, "4"],
    f"{TERM} map count": [DELETE, None, 0, -7, 8, HUGE, 7.0, "7"],
    f"{TERM} weight": [DELETE, None, "stored", "1", 1e39, -1e39, 10**400, [], {}, True],
    "manifest tables t num_embeddings": [0, 3, HUGE],  # 3 ids have no head of 4
    "manifest tables t embedding_dim": [5, 7, 12, HUGE],
    "manifest format_version": [1],
    "manifest min_reader": [1],
}
CASES = [(where, value) for where, values in WRONG.items() for value in values]


@pytest.mark.parametrize(("where", "value"), CASES, ids=lambda case: "deleted" if case is DELETE else str(case)[:40])
def test_a_field_that_lies(where, value, path):
    forgery = forge("shared-hybrid-hash")
    apply(forgery, where, value)
    path.write_bytes(forgery.bytes())
    with pytest.raises(ArtifactError) as raised:
        read_artifact(path)
    assert not isinstance(raised.value, ArtifactChecksumError), "the digest of the forgery is right"
    assert len(str(raised.value)) < 6000
    assert "\n" not in str(raised.value)


def test_a_file_that_old_readers_could_not_serve_must_say_so(path):
    forgery = forge("shared-one-row")
    forgery.manifest["min_reader"] = 1
    path.write_bytes(forgery.bytes())
    with pytest.raises(
        ArtifactFormatError, match="layout `shared` needs a reader of format 2, but `min_reader` says 1"
    ):
        read_artifact(path)


def floats(count, bad, dtype="f4", at=0):
    values = np.ones(count, dtype)
    values[at] = bad
    return values.tobytes()


NAN, INF = float("nan"), float("inf")
VALUES = [
    ("one-row", "t/rows.0", floats(42, NAN, at=41), r"table `t`: array `rows.0` holds nan at \(6, 5\)"),
    ("views-side-by-side", "t/rows.1", floats(20, INF, "f2"), "array `rows.1` holds inf"),
    ("one-row", "t/map.0", b"\xff" * 11 + b"\x03", "array `map.0` names the row 7, but its table has 7 rows"),
    ("one-row", "t/map.0", bytes(11) + b"\x04", "array `map.0` must end with 6 zero bits"),
    ("mean-of-two", "t/map.1", b"\xff" * 11 + b"\x03", "array `map.1` names the row 7"),
    ("weighted-tanh", "t/weights.1", floats(30, -INF, at=29), r"array `weights.1` holds -inf at \(29,\)"),
    ("weighted-tanh", "t/weights.0", floats(30, 3.4e38), "the sum of rows up to term 0 may overflow"),
    ("rows-8-bit", "t/offset.0", floats(7, NAN, "f2"), "array `offset.0` holds nan"),
    ("rows-8-bit", "t/step.0", floats(7, -1, "f2", at=6), "array `step.0` holds -1 at 6; steps are >= 0"),
    ("rows-4-bit", "t/step.0", floats(7, 3e38), r"`offset.0 \+ step.0 · code` overflows float32 at 0"),
    ("double-hash", "t/rows.0", floats(42, 2e38), "the sum of rows up to term 1 may overflow"),
]


@pytest.mark.parametrize("opener", [read_artifact, verify_artifact])
@pytest.mark.parametrize(("file", "array", "data", "message"), VALUES)
def test_a_value_that_lies(file, array, data, message, opener, path):
    forgery = forge(f"shared-{file}")
    assert len(data) == len(forgery.data[array])
    forgery.replace(array, data)
    path.write_bytes(forgery.bytes())
    with pytest.raises(ArtifactValueError, match=message):
        opener(path)


STRUCTURE = [
    ("one-row", "t/rows.0", bytes(168), "F32", [6, 7], r"`rows.0` must have shape \(7, 6\)"),
    ("one-row", "t/rows.0", bytes(84), "F16", [7, 6], "`rows.0` must be float32, got float16"),
    ("one-row", "t/rows.0", bytes(0), "F32", [0, 6], r"`rows.0` must have shape \(7, 6\)"),
    ("one-row", "t/rows.1", bytes(168), "F32", [7, 6], "has no array `rows.1`"),
    ("one-row", "t/map.0", bytes(11), "U8", [11], r"`map.0` must have shape \(12,\)"),
    ("one-row", "t/map.0", bytes(120), "I32", [30], "`map.0` must be uint8, got int32"),
    ("one-row", "t/weights.0", bytes(120), "F32", [30], "has no array `weights.0`"),
    ("weighted-tanh", "t/weights.0", bytes(240), "F64", [30], "must be float32 or float16, got float64"),
    ("weighted-tanh", "t/weights.0", bytes(28), "F32", [7], r"`weights.0` must have shape \(30,\)"),
    ("rows-4-bit", "t/rows.0", bytes(42), "U8", [42], r"`rows.0` must have shape \(21,\)"),
    ("rows-4-bit", "t/offset.0", bytes(24), "F32", [6], r"`offset.0` must have shape \(7,\)"),
    ("double-hash", "t/map.0", bytes(12), "U8", [12], "has no array `map.0`"),
]


@pytest.mark.parametrize(("file", "array", "data", "dtype", "shape", "message"), STRUCTURE)
def test_an_array_that_is_another(file, array, data, dtype, shape, message, path):
    forgery = forge(f"shared-{file}")
    forgery.replace(array, data, dtype, shape)
    path.write_bytes(forgery.bytes())
    with pytest.raises(ArtifactFormatError, match=message):
        read_artifact(path, values=False)
