"""Values that lie, with all checksums made right."""

from pathlib import Path

import numpy as np
import pytest

from slimtable.artifact import read_artifact, verify_artifact
from slimtable.errors import ArtifactError, ArtifactFormatError, ArtifactValueError
from tests.artifact.attacks.forgery import Forgery

GOLDEN = Path(__file__).parent.parent / "golden"


def floats(count, bad, dtype="f4", at=0):
    values = np.ones(count, dtype)
    values[at] = bad
    return values.tobytes()


NAN, INF = float("nan"), float("inf")
# file, array, its new bytes, error, message
VALUES = [
    ("dense", "t/table", floats(35, NAN), "table `t`: array `table` holds nan at"),
    ("dense", "t/table", floats(35, -INF, at=34), r"table `t`: array `table` holds -inf at \(6, 4\)"),
    ("dense-float16", "t/table", floats(35, INF, "f2"), "array `table` holds inf"),
    ("low_rank", "t/left", floats(27, NAN), "array `left` holds nan"),
    ("low_rank", "t/right", floats(15, NAN), "array `right` holds nan"),
    ("low_rank", "t/left", floats(27, 3e38, at=26), "row 8, the product of `left` and `right`, may overflow float32"),
    (
        "low_rank",
        "t/left",
        np.full(27, -2e38, "f4").tobytes(),
        "row 0, the product of `left` and `right`, may overflow",
    ),
    ("scaled-column", "t/offset", floats(5, NAN), "array `offset` holds nan"),
    ("scaled-column", "t/step", floats(5, INF), "array `step` holds inf"),
    ("scaled-column", "t/step", floats(5, -1e-30), "array `step` holds -1e-30 at 0; steps are >= 0"),
    ("scaled-column", "t/step", floats(5, 3e38), "overflows float32"),
    ("scaled-column", "t/codes", b"\xff" * 42, "must end with 6 zero bits"),
    ("scaled-row", "t/offset", floats(11, NAN, "f2"), "array `offset` holds nan"),
    ("scaled-row", "t/step", floats(11, -1, "f2", at=10), "array `step` holds -1 at 10"),
    ("coded", "t/codebook.0", floats(128, NAN, at=127), r"array `codebook.0` holds nan at \(3, 15, 1\)"),
    ("coded-shared", "t/codes.0", b"\xff" * 24, "holds the code 15; codes must be below codebook_size=11"),
    ("coded-unsorted", "t/tiers", bytes(10), r"gives the tiers \[80, 0\] ids, but `num_rows` says \[20, 60\]"),
    ("coded-unsorted", "t/tiers", b"\xff" * 10, r"gives the tiers \[0, 80\] ids"),
    ("everything", "model/output.weight", floats(6, NAN), "tensor `output.weight` holds a NaN"),
    ("everything", "item/vocabulary.offsets", np.arange(6).tobytes(), "must rise from 0 to 16"),
    ("everything", "item/vocabulary.offsets", np.array([0, 9, 3, 9, 9, 16]).tobytes(), "must rise from 0 to 16"),
    ("everything", "item/vocabulary.offsets", np.array([1, 2, 3, 9, 9, 16]).tobytes(), "must rise from 0 to 16"),
    ("everything", "item/vocabulary.offsets", np.array([0, -5, 3, 9, 9, 16]).tobytes(), "must rise from 0 to 16"),
]


@pytest.mark.parametrize("opener", [read_artifact, verify_artifact])
@pytest.mark.parametrize(("file", "array", "data", "message"), VALUES)
def test_a_value_that_lies(file, array, data, message, opener, tmp_path):
    forgery = Forgery((GOLDEN / f"v1-{file}.safetensors").read_bytes())
    assert len(data) == len(forgery.data[array])
    forgery.replace(array, data)
    (tmp_path / "attack").write_bytes(forgery.bytes())
    with pytest.raises(ArtifactValueError, match=message):
        opener(tmp_path / "attack")


STRUCTURE = [
    ("dense", "t/table", bytes(280), "F64", [7, 5], "must be float32 or float16, got float64"),
    ("dense", "t/table", bytes(35), "U8", [7, 5], "must be float32 or float16, got uint8"),
    ("dense", "t/table", bytes(140), "F32", [5, 7], r"must have shape \(7, 5\)"),
    ("dense", "t/table", bytes(140), "F32", [7, 5, 1], r"must have shape \(7, 5\)"),
    ("dense", "t/table", bytes(0), "F32", [0, 5], r"must have shape \(7, 5\)"),
    ("dense", "t/more", bytes(4), "F32", [1], "has no array `more`"),
    ("dense", "t/vocabulary", bytes(48), "I64", [6], r"must be int64 of shape \(7,\), got int64 \(6,\)"),
    ("dense", "t/vocabulary", bytes(28), "I32", [7], r"must be int64 of shape \(7,\), got int32"),
    ("dense", "t/vocabulary.bytes", bytes(5), "U8", [5], "a vocabulary is"),
    ("dense", "t/vocabulary.offsets", bytes(64), "I64", [8], "a vocabulary is"),
    ("everything", "item/vocabulary.offsets", bytes(40), "I64", [5], r"must be int64 of shape \(6,\)"),
    ("everything", "item/vocabulary.bytes", bytes(16), "U8", [4, 4], "must be uint8 of shape"),
    ("everything", "item/vocabulary", bytes(40), "I64", [5], "a vocabulary is"),
    ("coded-unsorted", "t/tiers", bytes(11), "U8", [11], r"must have shape \(10,\)"),
    ("coded-unsorted", "t/codebook.2", bytes(64), "F32", [2, 4, 2], "has no array `codebook.2`"),
    ("scaled-column", "t/offset", bytes(44), "F32", [11], r"must have shape \(5,\)"),
    ("scaled-column", "t/offset", bytes(10), "F16", [5], "must be float32, got float16"),
]


@pytest.mark.parametrize(("file", "array", "data", "dtype", "shape", "message"), STRUCTURE)
def test_an_array_that_is_another(file, array, data, dtype, shape, message, tmp_path):
    forgery = Forgery((GOLDEN / f"v1-{file}.safetensors").read_bytes())
    forgery.replace(array, data, dtype, shape)
    (tmp_path / "attack").write_bytes(forgery.bytes())
    with pytest.raises(ArtifactFormatError, match=message):
        read_artifact(tmp_path / "attack", values=False)


ARRAYS = [
    (file.stem, name)
    for file in sorted(GOLDEN.glob("*.safetensors"))
    for name in Forgery(file.read_bytes()).data
    if not name.startswith("model/") and name not in ("user/vocabulary", "t/tiers", "t/part.0.tiers")  # may be absent
]


@pytest.mark.parametrize(("file", "array"), ARRAYS)
def test_an_array_that_is_missing(file, array, tmp_path):
    forgery = Forgery((GOLDEN / f"{file}.safetensors").read_bytes())
    if len(forgery.data) == 1:
        forgery.replace("model/other", b"x", "U8", [1])
    forgery.drop(array)
    (tmp_path / "attack").write_bytes(forgery.bytes())
    with pytest.raises(ArtifactError, match=r"which is missing|a vocabulary is"):
        read_artifact(tmp_path / "attack")
