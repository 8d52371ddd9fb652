"""Pickles are read without running them."""

from __future__ import annotations

import collections
import os
import pickle
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slimtable.tables import open_tables
from slimtable.tables.pickles import Name, Placeholder, array_of, read_pickle

TABLE = np.arange(12, dtype=np.float32).reshape(4, 3)


class Evil:
    """An object whose pickle calls a function."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


def attacks(target: Path) -> dict[str, Evil]:
    return {
        "system": Evil(os.system, f"touch {target}"),
        "eval": Evil(eval, f"open({str(target)!r}, 'w')"),
        "open": Evil(open, str(target), "w"),
        "mkdir": Evil(os.mkdir, str(target)),
        "exec": Evil(exec, f"import os; os.mkdir({str(target)!r})"),
        "attribute": Evil(getattr, "text", "upper"),
    }


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", list(attacks(Path())))
def test_nothing_is_run(tmp_path: Path, kind: str, protocol: int) -> None:
    evil, target = attacks(tmp_path / "hacked")[kind], tmp_path / "hacked"
    data = pickle.dumps({"a": evil, "b": [evil, {"c": (evil,)}]}, protocol)
    found = read_pickle(data, "it")["a"]
    assert isinstance(found, Placeholder)
    assert not target.exists()


@pytest.mark.parametrize("kind", list(attacks(Path())))
def test_a_checkpoint_with_an_attack_gives_its_tables_and_runs_nothing(tmp_path: Path, kind: str) -> None:
    state = {"config": attacks(tmp_path / "hacked")[kind], "state_dict": {"item.weight": torch.from_numpy(TABLE)}}
    torch.save(state, tmp_path / "c.pth")
    assert list(open_tables(tmp_path / "c.pth")) == ["item.weight"]
    np.testing.assert_array_equal(open_tables(tmp_path / "c.pth")["item.weight"][:], TABLE)
    torch.save(attacks(tmp_path / "hacked")[kind], tmp_path / "d.pth")
    with pytest.raises(ValueError, match="whose code is never run, not a tensor"):
        open_tables(tmp_path / "d.pth")
    (tmp_path / "e.pkl").write_bytes(pickle.dumps(attacks(tmp_path / "hacked")[kind]))
    with pytest.raises(ValueError, match="no code of it is run"):
        open_tables(tmp_path / "e.pkl")
    assert not (tmp_path / "hacked").exists()


def test_no_module_is_imported() -> None:
    import sys

    assert read_pickle(b"\x80\x02cthis\nanything\n.", "it") == Name("this.anything")
    assert "this" not in sys.modules


class Thing:
    def __init__(self) -> None:
        self.number, self.words = 3, ["a"]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_data_is_read_as_it_is(protocol: int) -> None:
    data = {
        "numbers": [0, 1, -1, 255, 256, 65535, 65536, -(2**31), 2**31, 2**63, -(2**80), 1.5, -0.0, True, False, None],
        "texts": ["", "ä", "x" * 300, "line\nbreak"],
        "bytes": [b"", b"\x00\xff", b"y" * 300],
        "nested": {"a": (1,), "b": (1, 2), "c": (1, 2, 3), "d": (1, 2, 3, 4), "e": [], "f": {}, ("t", 1): "key"},
        "again": [],
    }
    data["again"] = data["texts"]
    if protocol < 3:  # these write bytes as a call
        del data["bytes"]
    if protocol == 0:
        data["texts"][1:] = ["x" * 300]  # texts are escaped there
    read = read_pickle(pickle.dumps(data, protocol), "it")
    assert read == data
    assert read["again"] is read["texts"]
    thing = read_pickle(pickle.dumps(Thing(), protocol), "it")
    assert thing.state == {"number": 3, "words": ["a"]}
    ordered = read_pickle(pickle.dumps(collections.OrderedDict(a=1), protocol), "it")
    assert ordered == {"a": 1}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2", "<i8", "u1"])
def test_arrays_are_recognised(dtype: str, protocol: int) -> None:
    for array in (TABLE.astype(dtype), np.asfortranarray(TABLE.astype(dtype)), np.zeros((0, 3), dtype)):
        np.testing.assert_array_equal(array_of(read_pickle(pickle.dumps(array, protocol), "it")), array)
    objects = read_pickle(pickle.dumps(np.array([None, "a"]), protocol), "it")
    assert array_of(objects) is None


def refusal(read: Callable[[], object]) -> str:
    """The message of the error that reading raises; "" if it raises none."""
    try:
        read()
    except ValueError as error:
        return str(error)
    return ""


BOMBS = {
    "a memo of 2 GB": b"\x80\x02}r\xff\xff\xff\x7f.",
    "a text of 4 GB": b"\x80\x02X\xff\xff\xff\xff.",
    "bytes of 2 to the 60": b"\x80\x05\x96" + (2**60).to_bytes(8, "little") + b".",
    "a key that is costly to compare": b"\x80\x02)" + b"2\x86" * 60 + b"}" + b"\x86" + b"}(" + b"N" * 1 + b"d.",
    "deep": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "deep tuples as a key": b"\x80\x02}(" + b")" + b"\x85" * 100_000 + b"Nu.",
    "a doubling tuple as a key": b"\x80\x02}(" + b")" + b"2\x86" * 60 + b"Nu.",
    "an extension": b"\x80\x02\x82\x01.",
    "long digits": b"\x80\x02L" + b"9" * 100_000 + b"L\n.",
    "no end": b"\x80\x02}",
    "empty stack": b"\x80\x02.",
    "below the mark": b"\x80\x02N(0000.",
    "a newer protocol": b"\x80\x09N.",
}


@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_do_not_go_off(kind: str) -> None:
    start = time.perf_counter()
    assert len(refusal(lambda: read_pickle(BOMBS[kind], "it"))) <= 300
    assert time.perf_counter() - start < 5


@given(data=st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    assert "\n" not in refusal(lambda: read_pickle(b"\x80\x04" + data, "it"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(place=st.integers(0, 10_000), value=st.integers(0, 255))
def test_a_changed_byte_of_a_description_is_refused_or_harmless(tmp_path: Path, place: int, value: int) -> None:
    source, target = tmp_path / "a.pt", tmp_path / "b.pt"
    if not source.is_file():
        torch.save({"w": torch.from_numpy(TABLE), "n": {"b": torch.ones(2)}}, source)
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, "w") as changed:
        for info in archive.infolist():
            data = bytearray(archive.read(info))
            if info.filename.endswith("data.pkl"):
                data[place % len(data)] = value
            changed.writestr(info.filename, bytes(data))
    told = refusal(lambda: [table[:] for table in open_tables(target).values()])
    assert len(told) <= 300
    assert "\n" not in told
