import os
import stat

import numpy as np
import pytest
import safetensors.numpy

from slimtable.artifact import decode, read_artifact, verify_artifact, write_artifact
from slimtable.errors import ArtifactFormatError, ArtifactValueError
from tests.artifact.artifact_samples import coded, dense, plain_decode, samples, scaled

SAMPLES = samples()


def everything():
    """Arguments of ``write_artifact`` that use all it offers."""
    return {
        "tables": {"user": coded([(10, 4, 64, 0), (90, 4, 16, 0)], flagged=True), "item.id-2": scaled()},
        "tensors": {"mlp.0.weight": np.ones((3, 2), np.float32), "steps": np.array(7), "none": np.ones((0, 4))},
        "vocabularies": {"user": np.arange(100)[::-1] * 7, "item.id-2": [f"ä{i}\0" * i for i in range(11)]},
        "model": {"backbone": "gmf", "config": {"dim": 12, "layers": (1, 2)}, "ndcg": 0.1, "none": None},
    }


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.safetensors"


@pytest.mark.parametrize("name", SAMPLES)
def test_every_table_comes_back(name, path):
    packed = SAMPLES[name]
    size = write_artifact(path, {"t": packed})
    opened = verify_artifact(path)
    assert opened.file_size == size == path.stat().st_size == opened.header_size + packed.nbytes
    back = opened.tables["t"]
    assert {key: array.tobytes() for key, array in back.arrays.items()} == {
        key: array.tobytes() for key, array in packed.arrays.items()
    }
    assert back.layout_config == packed.layout_config
    assert (back.padding_idx, back.method) == (packed.padding_idx, packed.method)
    assert decode(back, np.arange(packed.num_embeddings)).tobytes() == plain_decode(packed).tobytes()


def test_everything_comes_back(path):
    write_artifact(path, **everything())
    opened = verify_artifact(path)
    assert sorted(opened.tables) == ["item.id-2", "user"]
    assert opened.tensors["mlp.0.weight"].tolist() == [[1, 1]] * 3
    assert opened.tensors["steps"].shape == ()
    assert opened.tensors["none"].shape == (0, 4)
    assert opened.vocabularies["user"].tolist() == [i * 7 for i in range(99, -1, -1)]
    assert list(opened.vocabularies["item.id-2"]) == [f"ä{i}\0" * i for i in range(11)]
    assert opened.vocabularies["item.id-2"][-1] == "ä10\0" * 10
    assert opened.vocabularies["item.id-2"][1:3] == ["ä1\0", "ä2\0ä2\0"]
    assert opened.model == {"backbone": "gmf", "config": {"dim": 12, "layers": [1, 2]}, "ndcg": 0.1, "none": None}


def test_a_file_may_hold_tensors_only(path):
    """Such as the row maps of a grouping."""
    user = np.array([[0, 1], [2, 2]], np.int32)
    write_artifact(path, {}, tensors={"user": user, "item": user[0]}, model={"grouping": "baco"})
    opened = verify_artifact(path)
    assert opened.tables == {}
    assert opened.tensors["user"].dtype == np.int32
    assert opened.tensors["user"].tolist() == [[0, 1], [2, 2]]
    assert opened.tensors["item"].tolist() == [0, 1]
    assert opened.model == {"grouping": "baco"}
    assert opened.manifest["min_reader"] == 1


def test_the_version_is_the_oldest_that_has_what_the_tables_use(path):
    newer = [(2, "one-row"), (2, "modulo"), (3, "quotient-summed"), (3, "product-of-stored")]
    newer = [(version, f"shared-{name}") for version, name in newer] + [(4, "quantized-joined")]
    uses = [(1, {"t": dense()}), *((version, {"t": dense(), "u": SAMPLES[name]}) for version, name in newer)]
    for version, tables in uses:
        write_artifact(path, tables)
        manifest = read_artifact(path).manifest
        assert (manifest["format_version"], manifest["min_reader"]) == (version, version)


def test_equal_input_gives_equal_bytes(path, tmp_path):
    write_artifact(path, **everything())
    backwards = {key: dict(reversed(value.items())) for key, value in everything().items()}
    write_artifact(tmp_path / "b", **backwards)
    assert path.read_bytes() == (tmp_path / "b").read_bytes()
    opened = read_artifact(path)
    write_artifact(
        tmp_path / "c",
        opened.tables,
        tensors=opened.tensors,
        vocabularies=opened.vocabularies,
        model=opened.model,
    )
    assert path.read_bytes() == (tmp_path / "c").read_bytes()


def test_the_safetensors_library_reads_it(path):
    write_artifact(path, **everything())
    arrays = safetensors.numpy.load_file(path)
    opened = read_artifact(path)
    assert sorted(arrays) == sorted(opened.arrays)
    assert all(arrays[name].tobytes() == array.tobytes() for name, array in opened.arrays.items())


def test_arrays_are_mapped_aligned_and_cannot_be_written(path):
    write_artifact(path, **everything())
    opened = read_artifact(path)
    assert opened.header_size % 64 == 0
    for name, array in opened.arrays.items():
        assert array.flags.aligned, name
        assert not array.flags.writeable, name
        assert not array.flags.owndata, name
    codes = read_artifact_codes(path.with_name("b"))
    assert codes.ctypes.data % 64 == 0  # rows of 64 bytes do not lie across cache lines


def read_artifact_codes(path):
    write_artifact(path, {"a": coded([(3, 64, 256, 0)], dim=64), "b": coded([(5, 3, 4, 0)])})
    return read_artifact(path).arrays["a/codes.0"]


def test_arrays_of_other_writers_may_be_unaligned(path):
    """The order of the arrays is ours, but readers accept any."""
    from slimtable.artifact.header import Extent, encode_header

    table = np.arange(6, dtype=np.float32).reshape(3, 2)
    write_artifact(path, {"t": dense(3, 2)}, tensors={"odd": np.zeros(3, np.uint8)})
    manifest = dict(read_artifact(path).manifest)
    del manifest["digest"]
    extents = {
        "model/odd": Extent("U8", (3,), 0, 3),
        "t/table": Extent("F32", (3, 2), 3, 27),
    }
    path.write_bytes(encode_header(manifest, extents) + bytes(3) + table.tobytes())
    opened = read_artifact(path)
    assert opened.tables["t"].arrays["table"].flags.aligned
    assert decode(opened.tables["t"], [2, 1]).tolist() == [[4, 5], [2, 3]]


@pytest.mark.parametrize("name", ["", "a/b", "/etc", "..", ".a", "-a", "a b", "ä", "a\n", "model", "x" * 129, 3, None])
def test_names_that_cannot_be_used(name, path):
    with pytest.raises(ValueError, match="cannot be the name of a table"):
        write_artifact(path, {name: dense()})
    if name != "model":
        with pytest.raises(ValueError, match="cannot be the name of a tensor"):
            write_artifact(path, {"t": dense()}, tensors={name: np.ones(1)})
    assert not path.exists()


def test_a_table_that_is_not_valid_is_refused_by_name(path):
    packed = dense()
    packed.arrays["table"][2, 3] = np.nan
    with pytest.raises(ArtifactValueError, match=r"table `bad`: array `table` holds nan at \(2, 3\)"):
        write_artifact(path, {"good": dense(), "bad": packed})
    packed = scaled()
    packed.arrays["codes"] = packed.arrays["codes"][:-1]
    with pytest.raises(ArtifactFormatError, match="table `bad`: array `codes` must have shape"):
        write_artifact(path, {"bad": packed})
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"tables": {}}, ValueError, "at least one table, or `tensors` one tensor"),
        ({"tensors": {"w": [1.0]}}, TypeError, "tensor `w` must be a NumPy array of .*, got list"),
        ({"tensors": {"w": np.array(["a"])}}, TypeError, "tensor `w` must be a NumPy array"),
        ({"tensors": {"w": np.array([None])}}, TypeError, "tensor `w` must be a NumPy array of .*, got object"),
        ({"tensors": {"w": np.array([np.inf])}}, ArtifactValueError, "tensor `w` holds a NaN or an infinity"),
        ({"model": {"a": np.float32(1)}}, TypeError, r"`model.a` must be made of JSON types, got float32"),
        ({"model": {"a": [1, float("nan")]}}, ValueError, r"`model.a\[1\]` must be finite"),
        ({"model": {1: 2}}, TypeError, "the keys of `model` must be strings, got 1"),
        ({"model": {"a": "x" * (9 << 20)}}, ValueError, "the header would take .* bytes"),
        ({"vocabularies": {"x": [1]}}, ValueError, r"names a table `x` that is not written; there are \['t'\]"),
        ({"vocabularies": {"t": [1, 2]}}, ValueError, r"for each of the 7 rows, got shape \(2,\)"),
        ({"vocabularies": {"t": [1, 2, 3, 4, 5, 6, 1]}}, ValueError, "must be different, but 1 occurs twice"),
        ({"vocabularies": {"t": list("abcdefa")}}, ValueError, "must be different, but 'a' occurs twice"),
        ({"vocabularies": {"t": np.arange(7.0)}}, TypeError, "all integers or all strings, got 0.0"),
        ({"vocabularies": {"t": [b"a", *"bcdefg"]}}, TypeError, "all integers or all strings, got b'a'"),
        ({"vocabularies": {"t": [1, *"bcdefg"]}}, TypeError, "all integers or all strings, got 1"),
        ({"vocabularies": {"t": [True, *range(2, 8)]}}, TypeError, "all integers or all strings, got True"),
        ({"vocabularies": {"t": [1 << 63, *range(6)]}}, ValueError, "must fit in int64"),
        ({"vocabularies": {"t": np.arange(7, dtype="u8") << 61}}, ValueError, "must fit in int64"),
    ],
)
def test_arguments_that_cannot_be_written(arguments, error, message, path):
    with pytest.raises(error, match=message):
        write_artifact(path, **{"tables": {"t": dense()}, **arguments})
    assert list(path.parent.iterdir()) == []


def test_reading_what_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no such artifact: '.*nothing'"):
        read_artifact(tmp_path / "nothing")
    with pytest.raises(ArtifactFormatError, match=f"`{tmp_path}`: it is a folder, not a file"):
        read_artifact(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ArtifactFormatError, match="it is not a regular file"):
        read_artifact(tmp_path / "pipe")


def test_links_are_followed(path, tmp_path):
    write_artifact(path, {"t": dense()})
    link = tmp_path / "current"
    link.symlink_to(path)
    assert read_artifact(link).tables["t"].num_embeddings == 7
    write_artifact(link, {"t": dense(8, 2)})
    assert link.is_symlink()
    assert read_artifact(path).tables["t"].num_embeddings == 8


def test_writing_where_it_cannot_be(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"the folder does not exist: '.*/no'"):
        write_artifact(tmp_path / "no" / "a", {"t": dense()})
    with pytest.raises(IsADirectoryError, match="over a folder"):
        write_artifact(tmp_path, {"t": dense()})
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(path, monkeypatch):
    write_artifact(path, {"t": dense()})
    before = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_artifact(path, {"t": scaled()})
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_files_get_the_usual_permissions(path):
    write_artifact(path, {"t": dense()})
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


def test_an_open_file_survives_its_replacement(path):
    write_artifact(path, {"t": dense()})
    opened = read_artifact(path)
    write_artifact(path, {"t": scaled()})
    assert decode(opened.tables["t"], [1]).tobytes() == plain_decode(dense())[1].tobytes()
