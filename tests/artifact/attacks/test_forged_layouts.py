"""Layouts of format version 4: configs, values and arrays that lie, and random bytes, with all checksums made right."""

from pathlib import Path

import numpy as np
import pytest

from slimtable.artifact import Decoder, read_artifact, verify_artifact
from slimtable.errors import ArtifactChecksumError, ArtifactError, ArtifactFormatError, ArtifactValueError
from tests.artifact.attacks.forgery import DELETE, HUGE, Forgery, apply

GOLDEN = Path(__file__).parent.parent / "golden"
FILES = sorted(file.stem for file in GOLDEN.glob("v4-*.safetensors"))
CONFIG = "manifest tables t layout_config"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "attack.safetensors"


def forge(name):
    return Forgery((GOLDEN / f"v4-{name}.safetensors").read_bytes())


COUNT = [DELETE, None, 0, -1, 3.0, "3", True, HUGE]
WRONG = {
    "quantized-scalar-2-bit": {
        "manifest tables t layout": ["coded", "scaled", "sparse", "tiered", "", None],
        CONFIG: [None, [], {}, {"bits": 2}],
        f"{CONFIG} extra": [1],
        f"{CONFIG} num_codebooks": [*COUNT, 8, 32],
        f"{CONFIG} codebook_size": [*COUNT, 3, 5, 65_537],
        f"{CONFIG} combine": [DELETE, None, "sum", "", 0, ["concat"]],
        f"{CONFIG} shared": [DELETE, None, False, 1, "true"],
        f"{CONFIG} codebook_bits": [*COUNT, 8, 16, 64],
        f"{CONFIG} gain_bits": [DELETE, None, 0, 16, 8.0, "8", HUGE],
        f"{CONFIG} rotation": [DELETE, "stored", "", 1, [], {}, True],
        f"{CONFIG} rotation seed": [DELETE, None, -1, 1 << 53, 1.5, "1", True],
        f"{CONFIG} rotation rounds": [DELETE, None, 0, 4, 1.0, "1", True],
        f"{CONFIG} rotation extra": [1],
        f"{CONFIG} offset": [DELETE, None, False, 1],
        "manifest tables t num_embeddings": [0, 40, 42, HUGE],
        "manifest tables t embedding_dim": [8, 15, 17, 32, HUGE],
        "manifest format_version": [1, 2, 3],
        "manifest min_reader": [1, 2, 3],
    },
    "quantized-joined-turned": {
        f"{CONFIG} rotation": [None, {"seed": 1, "rounds": 1}],
        f"{CONFIG} gain_bits": [0, 8],
        "manifest tables t embedding_dim": [4, 8, 16],
    },
    "quantized-summed-gain": {
        f"{CONFIG} combine": ["concat"],
        f"{CONFIG} shared": [True],
        f"{CONFIG} num_codebooks": [1, 2, 4, 257],
    },
    "quantized-joined-coarse": {
        f"{CONFIG} codebook_bits": [*COUNT, 1, 2, 5, 8, 16, 32, 4.0, "4"],
        f"{CONFIG} gain_bits": [DELETE, None, *range(5), *range(6, 9), 16, 5.0, "5", True, HUGE],
        f"{CONFIG} codebook_size": [8, 10, 12, 16, 17],
        f"{CONFIG} num_codebooks": [1, 5, 15],
        f"{CONFIG} combine": ["sum"],
        f"{CONFIG} shared": [True],
        "manifest tables t num_embeddings": [40, 42, HUGE],
        "manifest tables t embedding_dim": [3, 12, 18, HUGE],
        "manifest min_reader": [1, 2, 3],
    },
    "quantized-summed-coarse": {
        f"{CONFIG} codebook_bits": [8, 16, 32],
        f"{CONFIG} codebook_size": [4, 6],
        f"{CONFIG} combine": ["concat"],
        "manifest tables t embedding_dim": [14, 16, 30],
    },
    "quantized-summed-short": {
        f"{CONFIG} codebook_bits": [4, 16],
        f"{CONFIG} gain_bits": [4, 5, 6, 8],
    },
    "scaled-short": {
        f"{CONFIG} scale_bits": [DELETE, None, 0, 4, 16, 8.0, "8", True],
        f"{CONFIG} axis": [DELETE, "column", None],
        f"{CONFIG} bits": [2, 4, 9],
        "manifest min_reader": [1, 3],
    },
    "sparse": {
        CONFIG: [None, [], {"bits": 8}],
        "manifest tables t num_embeddings": [10, 12, HUGE],
        "manifest tables t embedding_dim": [4, 6, 1 << 16],
        "manifest min_reader": [3],
    },
    "tiered-four": {
        f"{CONFIG} parts": [DELETE, None, [], {}, [1, 2], "xx", [None] * 20],
        f"{CONFIG} extra": [1],
        f"{CONFIG} parts 0": [None, {}, []],
        f"{CONFIG} parts 0 num_rows": [*COUNT, 2, 4],
        f"{CONFIG} parts 0 layout": [DELETE, None, "tiered", "scaled", "", 1, ["dense"], {}],
        f"{CONFIG} parts 0 layout_config": [DELETE, None, [], {"parts": []}, "dense"],
        f"{CONFIG} parts 0 extra": [1],
        f"{CONFIG} parts 1 layout_config bits": [3, 5, 0],
        f"{CONFIG} parts 3 layout_config terms": [[], [{}]],
        "manifest tables t num_embeddings": [21, 23, HUGE],
        "manifest tables t embedding_dim": [3, 7],
        "manifest min_reader": [1, 2, 3],
    },
}
CASES = [(file, where, value) for file, wrong in WRONG.items() for where, values in wrong.items() for value in values]


@pytest.mark.parametrize(
    ("file", "where", "value"), CASES, ids=lambda case: "deleted" if case is DELETE else str(case)[:40]
)
def test_a_field_that_lies(file, where, value, path):
    forgery = forge(file)
    apply(forgery, where, value)
    path.write_bytes(forgery.bytes())
    with pytest.raises(ArtifactError) as raised:
        read_artifact(path)
    assert not isinstance(raised.value, ArtifactChecksumError), "the digest of the forgery is right"
    assert len(str(raised.value)) < 6000
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("file", ["quantized-joined", "scaled-short", "sparse", "tiered-sorted"])
def test_a_file_that_old_readers_could_not_serve_must_say_so(file, path):
    forgery = forge(file)
    forgery.manifest["min_reader"] = 3
    path.write_bytes(forgery.bytes())
    with pytest.raises(ArtifactFormatError, match="needs a reader of format 4, but `min_reader` says 3"):
        read_artifact(path)


NAN, INF = float("nan"), float("inf")
VALUES = [
    ("quantized-joined", "t/codebook", np.full(192, NAN, "f4"), "array `codebook` holds nan"),
    ("quantized-joined-gain", "t/codebook", np.full(192, INF, "f2"), "array `codebook` holds inf"),
    ("quantized-joined-gain", "t/gain_range", np.array([1, 1e9]), "overflow float32"),
    ("quantized-joined-gain", "t/gain_range", np.array([NAN, 1]), "array `gain_range` holds nan"),
    ("quantized-joined-turned", "t/gain", np.full(41, -1, "f2"), "gains are >= 0"),
    ("quantized-joined-turned", "t/rotation", np.full(144, 1e38, "f4"), "rows may overflow float32"),
    ("quantized-joined-turned", "t/offset", np.full(12, -INF, "f4"), "array `offset` holds -inf"),
    ("quantized-summed", "t/codebook", np.full(576, 2e38, "f4"), "rows may overflow float32"),
    ("quantized-summed-gain", "t/codebook_scale", np.full(48, 3e38, "f4"), "rows may overflow float32"),
    ("quantized-joined-coarse", "t/codes", np.full(62, 255, "u1"), "array `codes` must end with 4 zero bits"),
    ("quantized-joined-coarse", "t/gain", np.full(26, 255, "u1"), "array `gain` must end with 3 zero bits"),
    ("quantized-joined-coarse", "t/codebook", np.full(83, 255, "u1"), "array `codebook` must end with 4 zero bits"),
    ("quantized-joined-coarse", "t/codebook_scale", np.full(33, NAN, "f2"), "array `codebook_scale` holds nan"),
    ("quantized-joined-coarse", "t/gain_range", np.array([1.0, 32.0]), "scales that overflow float32"),
    ("quantized-joined-coarse", "t/gain_range", np.array([1.0, 1e300]), "scales that overflow float32"),
    ("quantized-joined-coarse", "t/gain_range", np.array([1.0, 0.5]), "a ratio >= 1"),
    ("quantized-joined-coarse", "t/gain_range", np.array([1e38, 1.0]), "rows may overflow float32"),
    ("quantized-summed-coarse", "t/codebook_scale", np.full(15, -INF, "f4"), "array `codebook_scale` holds -inf"),
    ("quantized-summed-coarse", "t/codebook_scale", np.full(15, 2e37, "f4"), "rows may overflow float32"),
    ("quantized-summed-coarse", "t/codebook", np.full(113, 16, "u1"), "array `codebook` must end with 4 zero bits"),
    ("quantized-summed-short", "t/codebook_scale", np.full(27, INF, "f2"), "array `codebook_scale` holds inf"),
    ("quantized-summed-short", "t/gain", np.full(36, 128, "u1"), "array `gain` must end with 1 zero bit"),
    ("quantized-scalar-3-bit", "t/codes", np.full(185, 255, "u1"), "must end with 4 zero bits"),
    ("quantized-scalar-1-bit", "t/codes", np.full(62, 255, "u1"), "must end with 4 zero bits"),
    ("scaled-short", "t/step_range", np.array([1e38, 1]), "values that overflow float32"),
    ("sparse", "t/bitmap", np.zeros(7, "u1"), "array `bitmap` has 0 ones, but there are"),
    ("sparse", "t/step", np.full(11, INF, "f2"), "array `step` holds inf"),
    ("quantized-scalar-3-bit", "t/codes", np.append(np.full(184, 255, "u1"), 15).astype("u1"), "holds the code 7"),
    ("tiered-sorted", "t/part.0.table", np.full(48, NAN, "f4"), "table `t`: part 0: array `table` holds nan"),
    ("tiered-unsorted", "t/tiers", np.zeros(5, "u1"), "gives the tiers"),
    ("tiered-four", "t/tiers", np.zeros(12, "u1"), "gives the tiers"),
]


@pytest.mark.parametrize("opener", [read_artifact, verify_artifact])
@pytest.mark.parametrize(("file", "array", "data", "message"), VALUES)
def test_a_value_that_lies(file, array, data, message, opener, path):
    forgery = forge(file)
    assert data.nbytes == len(forgery.data[array])
    forgery.replace(array, data.tobytes())
    path.write_bytes(forgery.bytes())
    with pytest.raises(ArtifactValueError, match=message):
        opener(path)


@pytest.mark.parametrize("file", FILES)
def test_arrays_that_are_cut_or_of_another_type(file, path):
    original = Forgery((GOLDEN / f"{file}.safetensors").read_bytes())
    for name, data in original.data.items():
        for wrong in ((data[:-8], "U8", [max(0, len(data) - 8)]), (data, "I32", [len(data) // 4])):
            forgery = Forgery((GOLDEN / f"{file}.safetensors").read_bytes())
            cut = wrong[0][: 4 * wrong[2][0]] if wrong[1] == "I32" else wrong[0]
            forgery.replace(name, cut, wrong[1], wrong[2])
            path.write_bytes(forgery.bytes())
            with pytest.raises(ArtifactError):
                read_artifact(path)


@pytest.mark.parametrize("file", FILES)
def test_random_bytes_are_refused_or_decoded(file, path):
    """With any bytes in its arrays, a table is refused or gives finite rows; without checks it decodes to anything."""
    rng = np.random.default_rng(0)
    names = [name for name in Forgery((GOLDEN / f"{file}.safetensors").read_bytes()).data if "vocabulary" not in name]
    for turn in range(40):
        forgery = Forgery((GOLDEN / f"{file}.safetensors").read_bytes())
        for name in rng.choice(names, 1 + turn % len(names), replace=False):
            data = bytearray(forgery.data[name])
            places = rng.integers(0, max(1, len(data)), 1 + turn % 7 * len(data))
            for place in places[: len(data)]:
                data[place] = rng.integers(0, 256)
            forgery.replace(name, bytes(data))
        path.write_bytes(forgery.bytes())
        try:
            tables = read_artifact(path).tables
        except ArtifactValueError:
            tables = {}
        for packed in tables.values():
            assert np.isfinite(Decoder(packed)(np.arange(packed.num_embeddings))).all()
        for packed in read_artifact(path, values=False).tables.values():
            try:
                rows = Decoder(packed)(np.arange(packed.num_embeddings))
            except ArtifactValueError:
                continue  # directories of flags and bitmaps are checked at any rate
            assert rows.shape == (packed.num_embeddings, packed.embedding_dim)
