import multiprocessing
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from slimtable.artifact import Packed, exact_bits, write_artifact
from slimtable.artifact.bits import pack_bits, unpack_bits
from slimtable.errors import ArtifactChecksumError, ArtifactValueError
from slimtable.serve import Table, open_artifact
from tests.extras import modules_of_extras

USED_BY_NUMBA = {"scipy", "yaml"}  # where they are installed


def user_table():
    """100 ids, 8 codes of 256 centroids, 64 dimensions."""
    rng = np.random.default_rng(0)
    arrays = {
        "codes.0": rng.integers(0, 256, 800, dtype=np.uint8),
        "codebook.0": rng.normal(size=(8, 256, 8)).astype(np.float32),
    }
    tier = {"num_rows": 100, "num_codebooks": 8, "codebook_size": 256, "codebook": 0}
    config = {"tiers": [tier], "share_subspaces": False}
    return Packed("coded", 100, 64, arrays, config, None, "dpq", {"num_codebooks": 8})


def item_table():
    """11 ids of 5 dimensions in 6 bits; id 0 is padding."""
    rng = np.random.default_rng(1)
    arrays = {
        "codes": pack_bits(rng.integers(0, 64, 55), 6),
        "offset": rng.normal(size=5).astype(np.float32),
        "step": rng.random(5).astype(np.float32),
    }
    return Packed("scaled", 11, 5, arrays, {"bits": 6, "axis": "column"}, 0, "uniform")


def rows_of_users():
    packed = user_table()
    book, codes = packed.arrays["codebook.0"], packed.arrays["codes.0"].reshape(100, 8)
    return book[np.arange(8), codes].reshape(100, 64)


def rows_of_items():
    packed = item_table()
    codes = unpack_bits(packed.arrays["codes"], 6, 55).reshape(11, 5).astype(np.float32)
    rows = packed.arrays["offset"] + packed.arrays["step"] * codes
    rows[0] = 0
    return rows


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "model.safetensors"
    write_artifact(
        path,
        {"user": user_table(), "item": item_table()},
        tensors={"output.weight": np.arange(64, dtype=np.float32)},
        vocabularies={"user": np.arange(100)[::-1] * 3 - 50, "item": [f"film {i}" for i in range(11)]},
        model={"backbone": "gmf"},
    )
    return path


@pytest.fixture
def artifact(path):
    with open_artifact(path) as artifact:
        yield artifact


def test_an_artifact_is_a_mapping_of_tables(artifact, path):
    assert sorted(artifact) == ["item", "user"]
    assert len(artifact) == 2
    assert "user" in artifact
    assert artifact.get("movie") is None
    with pytest.raises(KeyError, match=r"has no table 'movie'; it has \['item', 'user'\]"):
        artifact["movie"]
    assert (artifact.path, artifact.file_size) == (path, path.stat().st_size)
    assert artifact.model == {"backbone": "gmf"}
    assert artifact.tensors["output.weight"].tolist() == list(range(64))


def test_a_table_says_what_it_is(artifact):
    user, item = artifact["user"], artifact["item"]
    assert (user.name, user.num_embeddings, user.embedding_dim, len(user)) == ("user", 100, 64, 100)
    assert (user.method, user.layout, user.method_config) == ("dpq", "coded", {"num_codebooks": 8})
    assert (user.padding_idx, item.padding_idx) == (None, 0)
    assert user.bits == exact_bits(user_table()) == 100 * 64 + 8 * 256 * 8 * 32
    assert user.nbytes == 800 + 65_536
    assert item.bits == 55 * 6 + 2 * 5 * 32
    assert item.compression_ratio == pytest.approx(32 * 55 / 650)
    assert repr(item) == "Table('item', 11 × 5, uniform, 82 bytes, 2.7× smaller)"
    assert repr(artifact).startswith("Artifact('")
    assert repr(user) in repr(artifact)


def test_lookup_and_weight(artifact):
    ids = np.array([[3, 99, 0], [7, 7, 50]])
    assert artifact["user"].lookup(ids).tobytes() == rows_of_users()[ids].tobytes()
    assert artifact["item"].lookup([[3, 0]]).tobytes() == rows_of_items()[[[3, 0]]].tobytes()
    assert artifact["item"].lookup(4).shape == (5,)
    assert artifact["item"].lookup(np.int8(4)).tobytes() == rows_of_items()[4].tobytes()
    assert artifact["user"].weight().tobytes() == rows_of_users().tobytes()
    assert artifact["item"].weight().tobytes() == rows_of_items().tobytes()
    out = np.empty((2, 5), np.float32)
    assert artifact["item"].lookup([1, 2], out=out) is out
    assert out.tobytes() == rows_of_items()[1:3].tobytes()


def test_lookup_of_wrong_ids(artifact):
    with pytest.raises(IndexError, match=r"id 11 at position 1 is out of range: ids are in 0..10"):
        artifact["item"].lookup([10, 11])
    with pytest.raises(IndexError, match=r"id -1 at position 0"):
        artifact["item"].lookup(-1)
    with pytest.raises(TypeError, match="`ids` must be integers, got float64"):
        artifact["item"].lookup([1.0])
    with pytest.raises(ValueError, match="`out` must be a writable contiguous array"):
        artifact["item"].lookup([1], out=np.empty((2, 5), np.float32))


def test_lookup_of_ids_that_no_integer_type_holds(artifact):
    for ids in ([10**20], [2**63, -1], [0, 10**20, 2**63]):
        wrong = max(id_ for id_ in ids[:2])
        with pytest.raises(IndexError, match=rf"id {wrong} at position {ids.index(wrong)} is out of range"):
            artifact["item"].lookup(ids)


def test_bags(artifact):
    ids, offsets = [3, 0, 4, 4, 5], [0, 2, 2, 4]
    rows = rows_of_items()
    sums = [rows[3] + rows[0], np.zeros(5), rows[4] + rows[4], rows[5]]
    np.testing.assert_array_equal(artifact["item"].bag(ids, offsets), np.array(sums, np.float32))
    means = [rows[3], np.zeros(5), rows[4], rows[5]]  # id 0 is padding and is not counted
    np.testing.assert_array_equal(artifact["item"].bag(ids, offsets, "mean"), np.array(means, np.float32))
    doubled = artifact["item"].bag(ids, offsets, per_sample_weights=[2, 2, 2, 2, 2])
    np.testing.assert_array_equal(doubled, 2 * np.array(sums, np.float32))


def test_raw_ids(artifact):
    assert artifact["user"].ids_of([-50, 247]).tolist() == [99, 0]
    assert artifact["user"].ids_of(np.array([[-47], [-44]], np.int16)).tolist() == [[98], [97]]
    assert artifact["user"].ids_of([]).shape == (0,)
    assert artifact["item"].ids_of(["film 10", "film 0"]).tolist() == [10, 0]
    assert artifact["item"].ids_of(np.array("film 3")).tolist() == 3
    assert artifact["user"].vocabulary[99] == -50
    assert artifact["item"].vocabulary[10] == "film 10"
    rows = artifact["item"].lookup(artifact["item"].ids_of(artifact["item"].vocabulary))
    assert rows.tobytes() == rows_of_items().tobytes()


@pytest.mark.parametrize("raw", [-51, -49, 248, 1 << 62, -(1 << 63), (1 << 64) - 50])
def test_unknown_integers(artifact, raw):
    with pytest.raises(ValueError, match=rf"the vocabulary of table `user` has no raw id {raw}\."):
        artifact["user"].ids_of([-50, raw] if raw < 1 << 63 else np.array([1, raw], np.uint64)[1:])


def test_unknown_integers_that_no_integer_type_holds(artifact):
    for raw in ([-50, 10**20], [-50, 2**63]):
        with pytest.raises(ValueError, match=rf"has no raw id {raw[1]}\."):
            artifact["user"].ids_of(raw)


def test_unknown_strings_and_wrong_types(artifact, tmp_path):
    with pytest.raises(ValueError, match="the vocabulary of table `item` has no raw id 'film 11'"):
        artifact["item"].ids_of(["film 1", "film 11"])
    with pytest.raises(ValueError, match="has no raw id 3"):
        artifact["item"].ids_of([3])
    with pytest.raises(TypeError, match="raw ids of this vocabulary are integers, got float64"):
        artifact["user"].ids_of([-50.0])
    write_artifact(tmp_path / "bare", {"t": item_table()})
    bare = open_artifact(tmp_path / "bare")["t"]
    assert bare.vocabulary is None
    with pytest.raises(ValueError, match="table `t` has no vocabulary"):
        bare.ids_of([1])


def test_verify(path):
    open_artifact(path, verify=True).verify()
    content = bytearray(path.read_bytes())
    at = content.find(b"film 7")
    content[at + 5] = ord("8")
    path.write_bytes(content)
    artifact = open_artifact(path)
    with pytest.raises(ArtifactChecksumError, match=r"array `item/vocabulary.bytes` is not the one"):
        artifact.verify()
    with pytest.raises(ArtifactChecksumError, match=r"array `item/vocabulary.bytes` is not the one"):
        open_artifact(path, verify=True)
    with pytest.raises(ArtifactValueError, match="table `item`: raw ids must be different, but 'film 8' occurs twice"):
        artifact["item"].ids_of(["film 1"])
    content[at] = 0xFF
    path.write_bytes(content)
    with pytest.raises(ArtifactValueError, match="string 7 of a vocabulary is not valid UTF-8"):
        open_artifact(path)["item"].ids_of(["film 1"])


def test_values_are_checked_on_opening(tmp_path):
    table = Packed("dense", 3, 2, {"table": np.ones((3, 2), np.float32)})
    write_artifact(tmp_path / "a", {"t": table})
    content = bytearray((tmp_path / "a").read_bytes())
    content[-4:] = np.float32("nan").tobytes()
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ArtifactValueError, match=r"table `t`: array `table` holds nan at \(2, 1\)"):
        open_artifact(tmp_path / "a")


def test_closing(path):
    with open_artifact(path) as artifact:
        user = artifact["user"]
    with pytest.raises(ValueError, match="was closed; open it again with open_artifact"):
        artifact["user"]
    with pytest.raises(ValueError, match="was closed"):
        artifact.verify()
    assert user.lookup([1]).tobytes() == rows_of_users()[1].tobytes()


def test_tables_and_artifacts_are_pickled_by_path_and_digest(artifact, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    link = tmp_path / "current"
    link.symlink_to(path.name)
    pickled = pickle.dumps(open_artifact(Path("current"))["item"])
    assert len(pickled) < 500
    link.unlink()
    monkeypatch.chdir("/")
    again = pickle.loads(pickled)  # noqa: S301
    assert again.weight().tobytes() == rows_of_items().tobytes()
    assert again.ids_of(["film 3"]).tolist() == [3]
    both = pickle.loads(pickle.dumps(artifact))  # noqa: S301
    assert sorted(both) == ["item", "user"]
    assert both.path == path
    with pytest.raises(TypeError, match="was not opened from a file"):
        pickle.dumps(Table("t", item_table()))
    artifact.close()
    with pytest.raises(ValueError, match="was closed"):
        pickle.dumps(artifact)


def test_a_pickled_table_refuses_another_file(artifact, path):
    pickled = pickle.dumps(artifact["user"])
    write_artifact(path, {"user": user_table(), "item": item_table()})
    with pytest.raises(ArtifactChecksumError, match="is not the file that was pickled"):
        pickle.loads(pickled)  # noqa: S301
    path.unlink()
    with pytest.raises(FileNotFoundError, match="there is no such artifact"):
        pickle.loads(pickled)  # noqa: S301


def test_spawned_workers_look_rows_up(artifact):
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(artifact["item"].lookup, [3, 0]).result().tobytes() == rows_of_items()[[3, 0]].tobytes()


def test_many_threads_get_the_same_rows(artifact):
    ids = np.random.default_rng(2).integers(0, 100, 20_000)
    expected = rows_of_users()[ids].tobytes()
    with ThreadPoolExecutor(4) as pool:
        assert all(rows.tobytes() == expected for rows in pool.map(artifact["user"].lookup, [ids] * 16))


def test_a_table_needs_no_file():
    assert Table("t", item_table()).lookup(1).tobytes() == rows_of_items()[1].tobytes()


def test_serving_loads_no_torch(path):
    program = (
        "import sys; from slimtable.serve import open_artifact; light = set(sys.modules);"
        f"open_artifact({str(path)!r}, verify=True)['user'].bag([1, 2], [0]);"
        f"heavy = {{'typer', 'pandas', *{sorted(modules_of_extras() - USED_BY_NUMBA)}}};"
        "print(sorted(heavy & set(sys.modules)), sorted({'numba', 'rich'} & light))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[] []\n"
