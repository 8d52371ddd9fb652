"""Damaged and forged files: each is one line of 300 characters at most, before memory is taken for what they claim."""

from __future__ import annotations

import json
import resource
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from slimtable.tables import open_tables
from tests.tables.test_formats import TABLE, WRITERS, write_word2vec

FORMATS = [name for name in WRITERS if name not in ("shards", "parquet-parts", "safetensors-index")]


def refusal(path: Path) -> str:
    """The message with which a file is refused when all its rows are read; "" if it is not."""
    try:
        for table in open_tables(path).values():
            for first in range(0, len(table), 4096):
                table[first : first + 4096]
            _ = table.ids and len(table.ids)
    except ValueError as error:
        return str(error)
    return ""


def check(message: str) -> None:
    assert len(message) <= 300
    assert "\n" not in message


def npy(shape: str, descr: str = "'<f4'", values: int = 64) -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (63 - (len(text) + 10) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + bytes(values)


def safetensors(header: object, values: int = 64) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(values)


def entry(shape: list, begin: int, end: int, dtype: str = "F32") -> dict:
    return {"t": {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}}


def npz(member: bytes, name: str = "a.npy") -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, member)

    return write


def bomb(path: Path) -> None:
    """A few bytes that say, and would decompress to, more than they are; the directory claims 2 TB."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", npy("(8589934592, 64)", values=1 << 20))
    data = bytearray(path.read_bytes())
    place = data.rindex(b"PK\x01\x02")
    data[place + 24 : place + 28] = struct.pack("<I", 0xFFFFFFF0)
    path.write_bytes(bytes(data))


def overlapping(path: Path) -> None:
    """Members that share the bytes of one."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", npy("(4, 4)"))
    data = path.read_bytes()
    start = data.index(b"PK\x01\x02")
    directory = data[start : data.index(b"PK\x05\x06")]
    others = b"".join(directory.replace(b"a.npy", b"%c.npy" % letter) for letter in b"bcdefghi")
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 9, 9, len(directory + others), start, 0)
    path.write_bytes(data[:start] + directory + others + end)


def torch_file(shape: tuple[int, ...], offset: int = 0) -> Callable[[Path], None]:
    """A file whose description says another shape than its storage has."""

    def write(path: Path) -> None:
        torch.save({"w": torch.ones(2, 3)[:, :]}, path)
        with zipfile.ZipFile(path) as archive:
            parts = {info.filename: archive.read(info) for info in archive.infolist()}
        name = next(name for name in parts if name.endswith("data.pkl"))
        old = b"K\x00K\x02K\x03\x86q"
        assert old in parts[name]
        new = b"".join(b"J" + struct.pack("<i", each) for each in (offset, *shape)) + b"\x86q"
        parts[name] = parts[name].replace(old, new)
        with zipfile.ZipFile(path, "w") as archive:
            for each, data in parts.items():
                archive.writestr(each, data)

    return write


def index(places: object) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.mkdir()
        save_file({"a": torch.ones(2, 2)}, path / "m.safetensors")
        (path / "m.safetensors.index.json").write_text(json.dumps(places))

    return write


def gensim(path: Path) -> None:
    import pickle

    path.write_bytes(pickle.dumps({"__numpys": ["../../etc/passwd"], "a": 1}))


def words(text: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(text)


CASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "npy: negative": (words(npy("(-5, 4)")), "its header says shape (-5, 4)"),
    "npy: overflow": (words(npy("(4611686018427387904, 8)")), "which its 64 bytes do not hold"),
    "npy: too long": (words(npy("(99999999, 64)")), "which its 64 bytes do not hold"),
    "npy: fortran too long": (words(npy("(9999, 64)").replace(b"False", b"True ")), "which its 64 bytes do not hold"),
    "npy: objects": (words(npy("(4,)", "'|O'")), "Python objects, which are never opened"),
    "npy: objects in a record": (words(npy("(4,)", "[('a', '|O')]")), "Python objects, which are never opened"),
    "npy: code": (words(npy("__import__('os')")), "is not a readable .npy table"),
    "npy: brackets": (words(npy("(" * 3000)), "is not a readable .npy table"),
    "npy: no header": (words(b"\x93NUMPY\x01\x00"), "is not a readable .npy table"),
    "npy: a vector": (words(npy("(4,)")), "A table is a floating-point matrix; found: table float32 (4,)"),
    "npz: bomb": (bomb, "which its 4,294,967"),
    "npz: overlapping": (overlapping, "its members are larger than the file"),
    "npz: too long": (npz(npy("(99999999, 64)")), "which its 64 bytes do not hold"),
    "npz: too short": (npz(npy("(2, 2)")), "which its 64 bytes do not hold"),
    "npz: only objects": (npz(npy("(4, 4)", "'|O'")), "holds no table"),
    "npz: text": (npz(b"hello", "a.npy"), "is not a readable .npy table"),
    "zip: no arrays": (npz(b"hello", "a.txt"), "an archive, but neither .npz nor a PyTorch file"),
    "safetensors: header too long": (words((99_000_000).to_bytes(8, "little") + b'{"a":1}'), "its header is cut off"),
    "safetensors: no JSON": (words(safetensors(b"{]")), "its header is not JSON"),
    "safetensors: deep": (words(safetensors(b'{"a":' + b"[" * 100_000)), "its header is not JSON"),
    "safetensors: shape": (words(safetensors(entry([4, 4, 4], 0, 64))), "which its bytes do not hold"),
    "safetensors: negative": (words(safetensors(entry([-4, -4], 0, 64))), "is malformed"),
    "safetensors: huge": (words(safetensors(entry([2**40, 4], 0, 2**44))), "which its bytes do not hold"),
    "safetensors: beyond": (words(safetensors(entry([4, 4], 64, 128))), "which its bytes do not hold"),
    "safetensors: fractions": (words(safetensors(entry([4.0, 4], 0, 64))), "is malformed"),
    "safetensors: no entry": (words(safetensors({"a": 3})), "is malformed"),
    "index: elsewhere": (index({"weight_map": {"a": "../m.safetensors"}}), "not a file in its folder"),
    "index: missing": (index({"weight_map": {"a": "x.safetensors"}}), "which is not in its folder"),
    "index: a name too many": (index({"weight_map": {"b": "m.safetensors"}}), "holds 'b', but it does not"),
    "index: no map": (index([1]), "is not a JSON object"),
    "torch: beyond its values": (torch_file((200, 3)), "beyond its values"),
    "torch: huge": (torch_file((2**31 - 1, 2**31 - 1)), "beyond its values"),
    "torch: offset": (torch_file((2, 3), 5), "beyond its values"),
    "torch: negative": (torch_file((-2, 3)), "a tensor says shape (-2, 3)"),
    "word2vec: too many rows": (words(b"99999999999 100\na 1 2\n"), "which its 6 bytes do not hold"),
    "word2vec: too few rows": (words(b"3 2\na 1.000 2\nb 3.000 4\n"), "it says 3 rows, but has 2"),
    "word2vec: short row": (words(b"2 2\na 1 2\nb 3\n"), "is not readable from row 0 on"),
    "word2vec: no number": (words(b"2 2\na 1 2\nb 3 x\n"), "is not readable from row 0 on"),
    "word2vec: a space in a word": (words(b"2 2\na 1 2\nb c 3 4\n"), "is not readable from row 0 on"),
    "word2vec: neither": (words(b"2 2\n" + b"x" * 20_000), "row 0 is cut off or has no word"),
    "gensim: a name elsewhere": (gensim, "which cannot be a file beside it"),
    "parquet: cut": (words(b"PAR1" + bytes(50)), "is not a readable table"),
    "arrow: cut": (words(b"ARROW1\0\0" + bytes(50)), "is not a readable table"),
    "empty": (words(b""), "is neither .npy"),
    "text": (words(b"hello\n"), "is neither .npy"),
    "empty folder": (lambda path: path.mkdir(), "holds no tables: neither numbered .npy files"),
}


@pytest.mark.parametrize("kind", CASES)
def test_forged_files_are_one_line(tmp_path: Path, kind: str) -> None:
    write, said = CASES[kind]
    write(tmp_path / "file")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    message = refusal(tmp_path / "file")
    assert said in message
    check(message)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


@pytest.mark.parametrize("kind", FORMATS)
def test_files_that_are_cut_off(tmp_path: Path, kind: str) -> None:
    WRITERS[kind](tmp_path / "whole")
    data = (tmp_path / "whole").read_bytes()
    for length in (0, 1, 7, 9, 20, 60, 200, len(data) // 2, len(data) - 99):
        (tmp_path / "cut").write_bytes(data[:length])
        message = refusal(tmp_path / "cut")
        assert message, length
        check(message)


def test_a_word2vec_text_may_lack_its_last_line_break(tmp_path: Path) -> None:
    write_word2vec(tmp_path / "a", binary=False)
    (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes()[:-1])
    np.testing.assert_array_equal(open_tables(tmp_path / "a")["table"][:], TABLE)


@pytest.mark.parametrize("kind", ["npz", "npz-compressed", "npz-fortran", "torch", "torch-state"])
def test_values_that_changed_are_found_by_their_checksum(tmp_path: Path, kind: str) -> None:
    WRITERS[kind](tmp_path / "file")
    data = bytearray((tmp_path / "file").read_bytes())
    place = len(data) // 2 if "compressed" in kind or "fortran" in kind else data.index(TABLE[500].tobytes())
    data[place] ^= 1
    (tmp_path / "file").write_bytes(bytes(data))
    message = refusal(tmp_path / "file")
    assert "is damaged" in message
    check(message)


@pytest.mark.parametrize("kind", FORMATS)
@settings(suppress_health_check=list(HealthCheck), max_examples=25, deadline=None)
@given(places=st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), min_size=1, max_size=3))
def test_changed_bytes_are_refused_or_harmless(tmp_path: Path, kind: str, places: list[tuple[int, int]]) -> None:
    """Half of the changes hit the first or last bytes, where headers and directories are."""
    whole = tmp_path / "whole"
    if not whole.is_file():
        WRITERS[kind](whole)
    data = bytearray(whole.read_bytes())
    for place, value in places:
        near = place % 400
        data[[place % len(data), near, len(data) - 1 - near, near // 4][place % 4]] = value
    (tmp_path / "changed").write_bytes(bytes(data))
    check(refusal(tmp_path / "changed"))


@pytest.mark.parametrize("offset", [1 << 30, -1, 3])
def test_lists_with_damaged_offsets_are_refused_and_do_not_end_the_process(tmp_path: Path, offset: int) -> None:
    lists = pa.table({"table": pa.array([[1.0, 2.0]] * 50, pa.list_(pa.float32()))})
    with pa.OSFile(str(tmp_path / "file"), "wb") as file, pa.ipc.new_file(file, lists.schema) as writer:
        writer.write_table(lists)
    data = (tmp_path / "file").read_bytes()
    offsets = np.arange(0, 101, 2, dtype=np.int32)
    forged = offsets.copy()
    forged[1] = offset
    assert data.count(offsets.tobytes()) == 1
    (tmp_path / "file").write_bytes(data.replace(offsets.tobytes(), forged.tobytes()))
    message = refusal(tmp_path / "file")
    assert message
    check(message)


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    for kind in ("npy", "word2vec-binary"):
        WRITERS[kind](tmp_path / kind)
        table = open_tables(tmp_path / kind)["table"]
        (tmp_path / kind).write_bytes((tmp_path / kind).read_bytes()[:3000])
        with pytest.raises(ValueError, match="became shorter while it was read"):
            table[900:1000]


def test_a_missing_file() -> None:
    with pytest.raises(FileNotFoundError, match=r"There is no file /dev/absent\."):
        open_tables("/dev/absent")
