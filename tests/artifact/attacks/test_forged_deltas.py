"""Deltas by someone who knows the format: sizes and places that lie, with all checksums made right."""

import hashlib
import json
import shutil
import zlib
from pathlib import Path

import pytest

from slimtable.artifact import read_artifact
from slimtable.artifact.delta import apply_delta, write_delta
from slimtable.errors import ArtifactChecksumError, ArtifactError, ArtifactValueError, ArtifactVersionError
from tests.artifact.attacks.forgery import DELETE, HUGE, Forgery

GOLDEN = Path(__file__).parent.parent / "golden" / "deltas"
START = b'{"__metadata__":{"slimtable-delta":"{\\"digest\\":\\"'


class ForgedDelta:
    """A delta taken apart; change its parts, then put it together with :meth:`bytes`."""

    def __init__(self, original):
        length = int.from_bytes(original[:8], "little")
        header = json.loads(original[8 : 8 + length])
        self.manifest = json.loads(header["__metadata__"]["slimtable-delta"])
        del self.manifest["digest"]
        self.data = original[8 + length :]
        self.tensor = header["data"]

    def bytes(self):
        if isinstance(self.manifest.get("sha256"), str):
            self.manifest["sha256"] = hashlib.sha256(self.data).hexdigest()
        text = json.dumps({"digest": "0" * 64, **self.manifest}, separators=(",", ":"))
        tensors = {"__metadata__": {"slimtable-delta": text}, "data": self.tensor}
        header = json.dumps(tensors, separators=(",", ":")).encode()
        head = len(header).to_bytes(8, "little") + header
        assert head.startswith(START, 8)
        at = 8 + len(START)
        digest = hashlib.sha256(head[:at] + b"0" * 64 + head[at + 64 :]).hexdigest()
        return head[:at] + digest.encode() + head[at + 64 :] + self.data


@pytest.fixture
def files(tmp_path):
    """Paths of an old artifact, a delta and the artifact to make; the delta has gaps, marks, codes and rows."""
    for file, name in (("old.safetensors", "old"), ("v1.delta", "delta")):
        shutil.copy(GOLDEN / file, tmp_path / name)
    return tmp_path / "old", tmp_path / "delta", tmp_path / "made"


def refused(files, forged, error=ArtifactError, match=None):
    old, delta, made = files
    delta.write_bytes(forged.bytes())
    with pytest.raises(error, match=match) as raised:
        apply_delta(old, delta, made)
    assert sorted(old.parent.iterdir()) == sorted([old, delta])
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 1000
    return raised.value


def test_a_forgery_with_no_change_is_applied(files):
    forged = ForgedDelta(files[1].read_bytes())
    files[1].write_bytes(forged.bytes())
    assert apply_delta(*files) == files[2].stat().st_size
    edit = forged.manifest["edits"]["t/map.0"]
    assert (edit["unit"], edit["kept"], edit["added"]) == (4, 200, 3)
    assert edit["gap"] > 0 < edit["changed"]


WRONG = {
    "format_version": [DELETE, 0, -1, "1", 1.0, True, None],
    "min_reader": [DELETE, 0, -1, "1", None],
    "old": [DELETE, None, [], {}],
    "old sha256": [DELETE, None, "", "0" * 64, "G" * 64],
    "old size": [DELETE, 0, -1, 5, HUGE, 1 << 64, 1.0, "1"],
    "new size": [DELETE, 0, -1, 5, HUGE, 1 << 64, 1.0, "1"],
    "new sha256": [DELETE, None, "", "0" * 64],
    "new extra": [1],
    "header": [DELETE, None, [], {}],
    "header size": [DELETE, 0, -1, 8, 9, 600, HUGE, 9 << 20],
    "header packed": [DELETE, 0, -1, 5, HUGE],
    "edits": [DELETE, None, [], {}, {"t/map.0": None}],
    "edits t/other": [{"unit": 8, "old_unit": 8, "kept": 0, "changed": 0, "gap": 0, "added": 0}],
    "edits t/map.0": [DELETE, None, [], {}, 5],
    "edits t/map.0 extra": [1],
    "edits t/map.0 unit": [DELETE, 0, -4, 3, 5, 8, 33, HUGE, 1 << 64, 4.0, "4", True],
    "edits t/map.0 old_unit": [DELETE, 0, -4, 3, 5, 8, 33, 40, HUGE, 4.0],
    "edits t/map.0 kept": [DELETE, 0, -1, 199, 201, HUGE, 1 << 64, 200.0],
    "edits t/map.0 changed": [DELETE, 0, -1, 1, 201, HUGE, 1.0, True],
    "edits t/map.0 gap": [DELETE, 0, -1, 1, 33, 64, HUGE, 1.0],
    "edits t/map.0 added": [DELETE, 0, -1, 1, 4, HUGE, 3.0],
    "edits model/v unit": [0, 8, 12, 56, 128, HUGE],
    "edits model/v old_unit": [0, 8, 32, 128],
    "edits model/v kept": [0, 5, 7, 9, HUGE],
    "edits model/v added": [0, 2, 4, HUGE],
    "edits model/v gap": [1, 8],
    "sha256": [DELETE, None, 5],
    "extra": [1],
}
CASES = [(where, value) for where, values in WRONG.items() for value in values]


@pytest.mark.parametrize(("where", "value"), CASES, ids=lambda case: "deleted" if case is DELETE else str(case)[:40])
def test_a_field_that_lies(where, value, files):
    forged = ForgedDelta(files[1].read_bytes())
    *keys, last = where.split()
    target = forged.manifest
    for key in keys:
        target = target[key]
    if value is DELETE:
        del target[last]
    else:
        target[last] = value
    refused(files, forged)


def test_a_newer_delta_is_refused(files):
    forged = ForgedDelta(files[1].read_bytes())
    forged.manifest |= {"format_version": 2, "min_reader": 2}
    refused(files, forged, ArtifactVersionError, "needs a reader of format 2, this one reads 1: upgrade slimtable")


@pytest.mark.parametrize("tensor", [{"dtype": "I8"}, {"shape": [5]}, {"shape": [HUGE]}, {"data_offsets": [0, HUGE]}])
def test_a_header_that_lies(tensor, files):
    forged = ForgedDelta(files[1].read_bytes())
    forged.tensor |= tensor
    refused(files, forged)


def test_places_beyond_the_array_are_refused(files):
    forged = ForgedDelta(files[1].read_bytes())
    at = forged.manifest["header"]["packed"]  # the edits follow in the order of the new arrays
    for size in range(1, len(forged.data) - at):
        forged.data = forged.data[:at] + b"\xff" * size + forged.data[at + size :]
        error = refused(files, forged)
        assert isinstance(error, ArtifactChecksumError | ArtifactValueError)
    assert isinstance(error, ArtifactValueError)


def test_a_header_that_blows_up_is_not_unpacked(files):
    forged = ForgedDelta(files[1].read_bytes())
    bomb = zlib.compress(bytes(1 << 24), 9)
    rest = forged.data[forged.manifest["header"]["packed"] :]
    forged.data = bomb + rest
    forged.manifest["header"]["packed"] = len(bomb)
    forged.tensor |= {"shape": [len(forged.data)], "data_offsets": [0, len(forged.data)]}
    refused(files, forged, match="the header that it holds")


def test_what_it_makes_must_be_an_artifact_that_can_be_served(files, monkeypatch):
    """All checksums of such a delta are right, but the new file holds a row number that its table does not have."""
    old, delta, made = files
    apply_delta(old, delta, made)
    forgery = Forgery(made.read_bytes())
    forgery.replace("t/map.0", b"\xff" * 101 + b"\x0f")
    made.write_bytes(forgery.bytes())
    monkeypatch.setattr("slimtable.artifact.delta.verify_artifact", lambda path: read_artifact(path, values=False))
    write_delta(old, made, delta)
    made.unlink()
    refused(
        files, ForgedDelta(delta.read_bytes()), ArtifactValueError, "the result is not an artifact: .* names the row"
    )
