"""Headers that lie, with length and digest made right: each field wrong in each way that came to mind."""

from pathlib import Path

import pytest

from slimtable.artifact import read_artifact
from slimtable.errors import ArtifactChecksumError, ArtifactError, ArtifactFormatError, ArtifactVersionError
from tests.artifact.attacks.forgery import DELETE, HUGE, PREFIX, Forgery, apply

GOLDEN = Path(__file__).parent.parent / "golden"
TIERS = (GOLDEN / "v1-coded-tiers.safetensors").read_bytes()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "attack.safetensors"


def test_a_forgery_with_no_change_opens(path):
    path.write_bytes(Forgery(TIERS).bytes())
    assert read_artifact(path).tables["t"].num_embeddings == 20


TABLE, ARRAY, TENSOR = "manifest tables t", "manifest arrays t/codes.0", "tensors t/codes.0"
CONFIG, TIER = f"{TABLE} layout_config", f"{TABLE} layout_config tiers 0"
WRONG = {
    "manifest format_version": [DELETE, 0, -1, "1", 1.0, True, None, [1]],
    "manifest min_reader": [DELETE, 0, -1, "1", 1.0, None],
    "manifest tables": [DELETE, [], None, 5, {}, {"t": None}, {"model": {}}],
    "manifest arrays": [DELETE, [], None, {}, {"t/codes.0": None}],
    "manifest model": [DELETE, [], None, "x"],
    "manifest extra": [1, None, {}],
    TABLE: [DELETE, None, [], {}, "t"],
    "manifest tables a/b": [{}],
    "manifest tables ../x": [{}],
    f"{TABLE} extra": [1],
    f"{TABLE} layout": [DELETE, None, "", "Coded", "os.system", "dense", "low_rank", "scaled", 3, ["coded"]],
    f"{TABLE} num_embeddings": [DELETE, None, 0, -20, 19, 21, 1 << 40, HUGE, 1 << 64, 10**4000, 20.0, "20", True],
    f"{TABLE} embedding_dim": [DELETE, None, 0, -8, 7, 9, 16, 1 << 16, HUGE, 8.0, "8"],
    f"{TABLE} padding_idx": [DELETE, -1, 20, HUGE, 1.0, "1", True, [1]],
    f"{TABLE} method": [DELETE, None, 3, ["mgqe"]],
    f"{TABLE} method_config": [DELETE, None, 3, []],
    CONFIG: [DELETE, None, [], {}, {"tiers": []}],
    f"{CONFIG} extra": [1],
    f"{CONFIG} share_subspaces": [DELETE, None, 0, 1, "false", True],
    f"{CONFIG} tiers": [DELETE, None, [], {}, [1], [[]], "xx", [None] * 300],
    TIER: [DELETE, None, {}, []],
    f"{TIER} extra": [1],
    f"{TIER} num_rows": [DELETE, None, 4, 6, 0, -5, HUGE, 5.0, "5", True],
    f"{TIER} num_codebooks": [DELETE, None, 0, 1, 2, 3, 8, -4, HUGE, 4.0, "4"],
    f"{TIER} codebook_size": [DELETE, None, 0, 8, 17, 256, -16, 65_537, HUGE, 16.0],
    f"{TIER} codebook": [DELETE, None, 1, 2, -1, HUGE, 0.0, "0", True],
    ARRAY: [DELETE, None, []],
    f"{ARRAY} extra": [1],
    f"{ARRAY} dtype": [DELETE, None, "I8", "F32", "u8", "O", 8],
    f"{ARRAY} shape": [DELETE, None, [], [9], [11], [10, 1], [10.0], ["10"], 10],
    f"{ARRAY} sha256": [DELETE, None, "", "0" * 63, "G" * 64, "A" * 64, 5],
    "manifest arrays t/other": [{"dtype": "U8", "shape": [0], "sha256": "0" * 64}],
    "manifest arrays x/codes": [{"dtype": "U8", "shape": [0], "sha256": "0" * 64}],
    TENSOR: [DELETE, None, [], {}],
    f"{TENSOR} extra": [1],
    f"{TENSOR} dtype": [DELETE, None, "I8", "F32", "BOOL", "bf16", 8, ["U8"]],
    f"{TENSOR} shape": [DELETE, None, [], [9], [11], [-10], [10, 1], [10.0], [True], ["10"], [HUGE, HUGE], 10],
    f"{TENSOR} data_offsets": [
        *(DELETE, None, [], [0], [0, 10, 20], [10, 0], [-1, 9], [0, HUGE], [HUGE, HUGE + 10], 5),
        *([0, 10], [512, 521], [512, 523], [511, 521], [513, 523], [512.0, 522.0], ["512", "522"], [True, 11]),
    ],
    "tensors t/other": [{"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}, {}, None],
}
CASES = [(where, value) for where, values in WRONG.items() for value in values]


def test_there_are_many_cases():
    assert len(CASES) >= 150


@pytest.mark.parametrize(("where", "value"), CASES, ids=lambda case: "deleted" if case is DELETE else str(case)[:40])
def test_a_field_that_lies(where, value, path):
    forgery = Forgery(TIERS)
    apply(forgery, where, value)
    path.write_bytes(forgery.bytes())
    with pytest.raises(ArtifactError) as raised:
        read_artifact(path)
    assert not isinstance(raised.value, ArtifactChecksumError), "the digest of the forgery is right"
    assert len(str(raised.value)) < 6000
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("version", [5, 6, HUGE])
def test_a_newer_format_is_refused_before_anything_else(version, path):
    forgery = Forgery(TIERS)
    forgery.manifest |= {"format_version": version, "min_reader": version, "news": 1}
    del forgery.manifest["tables"]
    path.write_bytes(forgery.bytes())
    with pytest.raises(ArtifactVersionError, match=f"needs a reader of format {version}, .*: upgrade slimtable"):
        read_artifact(path)


def test_a_newer_format_that_old_readers_may_read(path):
    forgery = Forgery(TIERS)
    forgery.manifest |= {"format_version": 5, "news": 1}
    path.write_bytes(forgery.bytes())
    assert read_artifact(path).manifest["news"] == 1


def same(text):
    return text


HEADERS = {
    "a key twice": lambda text: text[:-1] + ',"t/codes.0":{}}',
    "metadata twice": lambda text: text[:-1] + ',"__metadata__":{}}',
    "a key twice in a tensor": lambda text: text.replace('"dtype":', '"dtype":"F64","dtype":', 1),
    "a key twice in the manifest": lambda text: text.replace('\\"min_reader\\":', '\\"model\\":{},\\"min_reader\\":'),
    "a key twice in a table": lambda text: text.replace('\\"layout\\":', '\\"method\\":\\"\\",\\"layout\\":'),
    "two metadata entries": lambda text: text.replace('}"},"', '}","more":"x"},"', 1),
    "text after the header": lambda text: text + "x",
    "another object after": lambda text: text + "{}",
    "a comma too many": lambda text: text[:-1] + ",}",
    "cut": lambda text: text[:-1],
    "a NaN": lambda text: text.replace("[10]", "[NaN]"),
    "an infinity": lambda text: text.replace("[10]", "[-Infinity]"),
    "an endless number": lambda text: text.replace("[10]", "[1e999]"),
    "a number of 5000 digits": lambda text: text.replace("[10]", f"[{'9' * 5000}]"),
    "a lone surrogate": lambda text: text.replace('\\"mgqe\\"', '\\"\\\\ud800\\"'),
    "a bare surrogate": lambda text: text.replace("mgqe", "\ud800"),
    "a raw control character": lambda text: text.replace("mgqe", "m\x01gqe"),
    "deep lists": lambda text: text[:-1] + ',"x":' + "[" * 100_000 + "]" * 100_000 + "}",
    "deep objects": lambda text: text[:-1] + ',"x":' + '{"a":' * 100_000 + "1" + "}" * 100_000 + "}",
    "deep in the manifest": lambda text: text.replace(
        '\\"model\\":{}', '\\"model\\":{\\"x\\":' + "[" * 100_000 + "]" * 100_000 + "}"
    ),
    "unclosed lists": lambda text: text[:-1] + ',"x":' + "[" * 1_000_000,
    "spaces at the beginning": lambda text: " " + text,
    "a byte order mark": lambda text: "\ufeff" + text,
    "other order in the manifest": lambda text: text.replace('{\\"digest\\":', '{\\"a\\":1,\\"digest\\":'),
    "manifest no object": lambda text: '{"__metadata__":{"slimtable":"[1]"}}',
    "manifest no string": lambda text: '{"__metadata__":{"slimtable":{"digest":1}}}',
    "no metadata": lambda text: "{}",
    "prefix and nothing": lambda text: PREFIX.decode(),
    "prefix and quotes": lambda text: PREFIX.decode() + "0" * 64 + '\\"}"}}',
}


@pytest.mark.parametrize("what", HEADERS)
def test_a_header_that_is_not_strict_json(what, path):
    forgery = Forgery(TIERS)
    header = HEADERS[what](forgery.header())
    assert header != forgery.header()
    path.write_bytes(forgery.sealed(header))
    with pytest.raises(ArtifactFormatError) as raised:
        read_artifact(path)
    assert "\n" not in str(raised.value)


def test_a_wrong_digest(path):
    path.write_bytes(TIERS.replace(b"mgqe", b"MGQE"))
    with pytest.raises(ArtifactChecksumError, match="its header is not the one that was written"):
        read_artifact(path)


EMPTY = [
    [0, 1 << 63],
    [1 << 63, 0],
    [0, HUGE],
    [HUGE, HUGE, 0],
    [0, 1 << 32, 1 << 32],
    [1 << 31] * 7 + [0],
    [0, 10**4000],
]


@pytest.mark.parametrize("shape", EMPTY, ids=lambda shape: str(shape)[:40])
@pytest.mark.parametrize("name", ["model/x", "t/codes.0"])
def test_an_empty_array_of_a_shape_that_numpy_refuses(shape, name, path):
    forgery = Forgery(TIERS)
    forgery.replace(name, b"", "F64", shape)
    path.write_bytes(forgery.bytes())
    with pytest.raises(ArtifactFormatError, match=f"array `{name}` has an impossible shape") as raised:
        read_artifact(path)
    assert len(str(raised.value)) < 300


def test_an_empty_tensor_opens(path):
    forgery = Forgery(TIERS)
    forgery.replace("model/x", b"", "F32", [3, 0, 5])
    path.write_bytes(forgery.bytes())
    assert read_artifact(path).tensors["x"].shape == (3, 0, 5)


def test_an_unaligned_tensor_cannot_be_written_to(path):
    forgery = Forgery(TIERS)
    forgery.replace("model/odd", b"x", "U8", [1])
    forgery.replace("model/x", bytes(8), "F32", [2])
    path.write_bytes(forgery.bytes())
    opened = read_artifact(path)
    assert opened.tensors["x"].flags.aligned
    assert not any(array.flags.writeable for array in opened.arrays.values())


def test_arrays_may_not_overlap_or_leave_gaps(path):
    forgery = Forgery(TIERS)
    names = sorted(forgery.tensors, key=lambda name: forgery.tensors[name]["data_offsets"])
    first, second = (forgery.tensors[name]["data_offsets"] for name in names[:2])
    second[:] = [value - 1 for value in second]
    path.write_bytes(forgery.bytes())
    with pytest.raises(ArtifactFormatError, match=rf"begins at byte {first[1] - 1}, but must begin at {first[1]}"):
        read_artifact(path)
