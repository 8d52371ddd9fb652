"""Files that were damaged: cut, flipped, replaced by something else."""

import gzip
import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from slimtable.artifact import read_artifact, verify_artifact
from slimtable.errors import ArtifactChecksumError, ArtifactError, ArtifactFormatError

GOLDEN = Path(__file__).parent.parent / "golden"
FILES = sorted(GOLDEN.glob("*.safetensors"))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "attack.safetensors"


@pytest.mark.parametrize("golden", FILES, ids=lambda file: file.stem)
def test_cut_at_every_byte(golden, path):
    path.write_bytes(golden.read_bytes())
    for size in reversed(range(golden.stat().st_size)):
        os.truncate(path, size)
        with pytest.raises(ArtifactFormatError):
            read_artifact(path)


@pytest.mark.parametrize("extra", [b"\0", b"x" * 64, b"PK\3\4"])
def test_bytes_at_the_end(extra, path):
    path.write_bytes(FILES[0].read_bytes() + extra)
    with pytest.raises(ArtifactFormatError, match="it is too long"):
        read_artifact(path)


@pytest.mark.parametrize(
    "golden",
    [
        "v1-dense",
        "v1-scaled-row",
        "v1-coded-shared",
        "v1-coded",
        "v2-shared-one-row",
        "v3-quotient-joined",
        "v4-quantized-scalar-1-bit",
        "v4-sparse",
    ],
)
def test_every_flipped_bit_is_found(golden, path):
    whole = (GOLDEN / f"{golden}.safetensors").read_bytes()
    header_size = 8 + int.from_bytes(whole[:8], "little")
    path.write_bytes(whole)
    with path.open("r+b", buffering=0) as file:
        for position, byte in enumerate(whole):
            # A flip in the header is found on opening already.
            opener = read_artifact if position < header_size else verify_artifact
            for bit in range(8):
                os.pwrite(file.fileno(), bytes([byte ^ 1 << bit]), position)
                with pytest.raises(ArtifactError):
                    opener(path)
            os.pwrite(file.fileno(), bytes([byte]), position)
    verify_artifact(path)


def test_checksum_errors_name_the_array(path):
    whole = bytearray((GOLDEN / "v1-everything.safetensors").read_bytes())
    whole[-1] ^= 1
    path.write_bytes(whole)
    with pytest.raises(ArtifactChecksumError, match=r"`.*attack.safetensors`: array `.*` is not the one that was"):
        verify_artifact(path)


def pickled():
    return pickle.dumps({"weight": [1.0, 2.0]})


def zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickled())
    return buffer.getvalue()


def npy():
    buffer = io.BytesIO()
    np.save(buffer, np.ones((3, 2)))
    return buffer.getvalue()


def torch_file():
    torch = pytest.importorskip("torch")
    buffer = io.BytesIO()
    torch.save({"weight": torch.ones(3)}, buffer)
    return buffer.getvalue()


OTHER_FILES = {
    "empty": (lambda: b"", "it is empty"),
    "pickle": (pickled, "looks like a pickle or an old PyTorch file; pack it with `slimtable compress`"),
    "old pickle": (lambda: pickle.dumps([1], protocol=0), "does not begin with a safetensors header"),
    "zip": (zipped, "looks like a PyTorch or zip file; pack it with `slimtable compress`"),
    "torch": (torch_file, "looks like a PyTorch or zip file; pack it with `slimtable compress`"),
    "npy": (npy, r"looks like a NumPy .npy file"),
    "gzip": (lambda: gzip.compress(b"x" * 100), "looks like a gzip file"),
    "parquet": (lambda: b"PAR1" + bytes(100) + b"PAR1", "looks like a Parquet file"),
    "hdf5": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(100), "looks like an HDF5 file"),
    "text": (lambda: b"user item rating\n1 2 3\n", "does not begin with a safetensors header"),
    "json": (lambda: b'{"weight": [1.0, 2.0, 3.0]}', "does not begin with a safetensors header"),
    "zeros": (lambda: bytes(1000), "does not begin with a safetensors header"),
    "one byte": (lambda: b"\0", "does not begin with a safetensors header"),
    "8 bytes": (lambda: bytes(8), "does not begin with a safetensors header"),
    "huge header": (lambda: b"\xff" * 7 + b"\x7f{}", r"its header claims \d{19} bytes"),
    "endless header": (lambda: b"\xff" * 8 + b"{}", r"its header claims \d{20} bytes"),
    "header over the cap": (lambda: (9 << 20).to_bytes(8, "little") + b"{" + bytes(9 << 20), "header claims 9437184"),
    "safetensors": (lambda: safetensors.numpy.save({"w": np.ones(3)}), "has no slimtable manifest"),
    "safetensors with metadata": (
        lambda: safetensors.numpy.save({"w": np.ones(3)}, {"slimtable": "{}"}),
        "has no slimtable manifest",
    ),
}


@pytest.mark.parametrize("what", OTHER_FILES)
def test_other_files_get_one_clear_line(what, path):
    content, message = OTHER_FILES[what]
    path.write_bytes(content())
    with pytest.raises(ArtifactFormatError, match=message) as raised:
        read_artifact(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_random_bytes(path):
    rng = np.random.default_rng(0)
    for size in range(0, 2000, 7):
        path.write_bytes(rng.bytes(size))
        with pytest.raises(ArtifactFormatError):
            read_artifact(path)


def test_a_pickle_is_never_run(path, tmp_path):
    class Bomb:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ArtifactFormatError):
        read_artifact(path)
    assert not (tmp_path / "ran").exists()
