"""Deltas: the new artifact byte for byte or nothing, and few bytes for few changes."""

import copy
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from slimtable.artifact import Packed, write_artifact
from slimtable.artifact.bits import pack_bits, packed_size
from slimtable.artifact.delta import apply_delta, write_delta
from slimtable.artifact.edits import Candidate, apply_edit, encode_edit, plan_edit, read_edit
from slimtable.embeddings.base import method_names
from slimtable.errors import ArtifactChecksumError, ArtifactError, ArtifactFormatError
from tests.artifact.artifact_samples import dense, samples, shared
from tests.artifact.delta_samples import follower, kinds
from tests.contract.cases import create, without_graph

ONE = (0, 0, "stored", 1.0)


class Pair:
    """Two artifacts and the delta between them."""

    def __init__(self, folder, old, new):
        self.old, self.new = folder / "old.safetensors", folder / "new.safetensors"
        self.delta, self.made = folder / "delta", folder / "made.safetensors"
        write_artifact(self.old, **old)
        write_artifact(self.new, **new)
        self.size = write_delta(self.old, self.new, self.delta)

    def check(self):
        """Apply the delta; gives how much changed."""
        assert apply_delta(self.old, self.delta, self.made) == self.new.stat().st_size
        assert self.made.read_bytes() == self.new.read_bytes()
        assert self.size.bytes == self.delta.stat().st_size
        return self.size


@pytest.fixture
def small(tmp_path):
    table = shared([(9, 4, 32)], [ONE], num=20, dim=4)
    return Pair(
        tmp_path, {"tables": {"t": table}}, {"tables": {"t": follower(table, np.random.default_rng(0), 0.2, 3)}}
    )


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    kind=st.sampled_from(sorted(kinds())),
    num=st.integers(8, 200),
    share=st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]),
    grown=st.integers(0, 40),
)
def test_round_trip_of_random_edits(tmp_path_factory, seed, kind, num, share, grown):
    table = kinds(num)[kind]
    changed = follower(table, np.random.default_rng(seed), share, grown)
    ids = {"t": np.arange(changed.num_embeddings) * 7}
    old = {"tables": {"t": table}, "vocabularies": {"t": ids["t"][:num]}, "model": {"window": 1}}
    new = {"tables": {"t": changed}, "vocabularies": ids, "model": {"window": 2, "auc": 0.7}}
    pair = Pair(tmp_path_factory.mktemp("delta"), old, new)
    size = pair.check()
    again = pair.delta.read_bytes()
    write_delta(pair.old, pair.new, pair.delta)
    assert pair.delta.read_bytes() == again
    if changed.num_embeddings > num:
        assert size.arrays["t/vocabulary"] == 8 * (changed.num_embeddings - num)


@pytest.mark.parametrize("name", method_names())
def test_what_training_changes_of_every_method(name, tmp_path):
    torch.manual_seed(0)
    table = create(without_graph(name), 300, 8)
    old = copy.deepcopy(table.eval().pack())  # whose arrays may be those of the parameters
    with torch.no_grad():
        for parameter in table.parameters():
            parameter[: max(1, len(parameter) // 50)] += 0.01
    new = table.train().eval().pack()
    size = Pair(tmp_path, {"tables": {"t": old}}, {"tables": {"t": new}}).check()
    assert size.arrays
    # A fitted basis turns with every change, and so do fitted codebooks; the one of a grid is the same for all tables.
    fitted = new.layout == "low_rank" or (new.layout == "quantized" and not new.layout_config["shared"])
    most = new.nbytes if fitted and table.post_training else 0.9 * new.nbytes
    assert sum(size.arrays.values()) <= most
    assert size.changed_rows + size.changed_assignments > 0 or new.layout in ("coded", "low_rank", "scaled")


def test_any_artifact_leads_to_any_other(tmp_path):
    """Other layouts, types and shapes under the same names are replaced."""
    tables = [table for table in samples().values() if table.nbytes < 1000]
    for first, second in zip(tables, [*tables[1:], tables[0]], strict=True):
        Pair(tmp_path, {"tables": {"t": first}}, {"tables": {"t": second}}).check()


def test_tables_and_tensors_come_and_go(tmp_path):
    one, two = dense(5, 3), shared([(7, 6, 32)], [ONE])
    old = {"tables": {"a": one, "b": two}, "tensors": {"w": np.arange(6), "gone": np.ones(3)}}
    new = {"tables": {"b": two, "c": one}, "tensors": {"w": np.arange(7), "s": np.array(2.5), "e": np.ones((0, 2))}}
    new["vocabularies"] = {"c": ["one", "two", "drei", "четыре", ""]}
    size = Pair(tmp_path, old, new).check()
    assert "b/rows.0" not in size.arrays
    assert size.arrays["model/w"] == 8
    assert (size.changed_rows, size.added_rows, size.changed_assignments) == (0, 5, 0)


def test_what_changed_is_counted_and_costs_what_it_takes(tmp_path):
    num, rows = 5000, 600
    rng = np.random.default_rng(1)
    codes, table = rng.integers(0, rows, num), rng.normal(size=(rows, 8)).astype(np.float32)

    def packed(codes, table):
        arrays = {"rows.0": table, "map.0": pack_bits(codes, 10)}
        config = {
            "tables": [{"num_rows": len(table), "width": 8, "bits": 32}],
            "terms": [{"table": 0, "column": 0, "map": "stored", "weight": 1.0}],
            "activation": "none",
        }
        return {"tables": {"t": Packed("shared", len(codes), 8, arrays, config)}}

    moved, trained = codes.copy(), table.copy()
    moved[[3, 700, 4999]] = (moved[[3, 700, 4999]] + 1) % rows
    trained[[0, 599]] += 1
    moved, trained = np.append(moved, [1, 2]), np.concatenate([trained, table[:5]])
    size = Pair(tmp_path, packed(codes, table), packed(moved, trained)).check()
    assert (size.changed_rows, size.added_rows) == (2, 5)
    assert (size.changed_assignments, size.added_assignments) == (3, 2)
    assert size.arrays == {
        "t/map.0": packed_size(3, 13) + packed_size(5, 10),  # the largest gap is 4298
        "t/rows.0": packed_size(2, 10) + 7 * 32,
    }
    assert size.bytes < 0.1 * size.new_bytes


def test_a_map_whose_codes_grew_wider_is_still_edited(tmp_path):
    old = shared([(16, 2, 32)], [ONE], num=3000, dim=2)
    codes = np.random.default_rng(6)
    codes = np.concatenate([np.arange(16), codes.integers(0, 16, 2984)])
    old.arrays["map.0"] = pack_bits(codes, 4)
    new = shared([(17, 2, 32)], [ONE], num=3000, dim=2)
    codes[100] = 16
    new.arrays["map.0"] = pack_bits(codes, 5)
    size = Pair(tmp_path, {"tables": {"t": old}}, {"tables": {"t": new}}).check()
    assert size.changed_assignments == 1
    assert size.arrays["t/map.0"] == 1 + 1


def test_equal_artifacts_need_a_header_alone(tmp_path):
    table = dense(1000, 8)
    size = Pair(tmp_path, {"tables": {"t": table}}, {"tables": {"t": table}}).check()
    assert size.arrays == {}
    assert size.bytes < 1000


@settings(max_examples=200, deadline=None)
@given(
    unit=st.sampled_from([1, 3, 8, 13, 16, 24, 32, 40, 128]),
    kept=st.integers(0, 60),
    added=st.integers(0, 20),
    shrunk=st.integers(0, 5),
    changes=st.lists(st.integers(0, 59), max_size=60),
    seed=st.integers(0, 1000),
)
def test_edits_make_the_array_and_are_never_larger_than_it(unit, kept, added, shrunk, changes, seed):
    rng = np.random.default_rng(seed)
    shrunk = 0 if added else shrunk
    wide = unit > 32
    units = rng.integers(0, 256 if wide else 1 << unit, (kept + shrunk, unit // 8 if wide else 1), dtype=np.int64)
    made = units[:kept].copy()
    for place in {place for place in changes if place < kept}:
        made[place, 0] ^= 1
    made = np.concatenate([made, made[:1].repeat(added, axis=0) if kept else made[:0]])
    old, new = (pack_bits(values, 8 if wide else unit) for values in (units, made))
    plan = plan_edit(old, new, [Candidate(unit, unit, len(made), len(units))])
    data = np.concatenate(encode_edit(plan, new))
    assert data.size == plan.edit.size <= new.size
    edit = read_edit(plan.edit.to_dict(), "it", new.size, old.size)
    assert np.array_equal(apply_edit(edit, old, data), new)


GOLDEN = Path(__file__).parent / "golden" / "deltas"


@pytest.mark.parametrize("delta", sorted(GOLDEN.glob("*.delta")), ids=lambda file: file.stem)
def test_deltas_of_each_version_are_applied_for_ever(delta, tmp_path):
    assert apply_delta(GOLDEN / "old.safetensors", delta, tmp_path / "made") > 0
    assert (tmp_path / "made").read_bytes() == (GOLDEN / "new.safetensors").read_bytes()


# What must not happen.


def refused(pair, error=ArtifactError, match=None):
    before = sorted(pair.delta.parent.iterdir())
    with pytest.raises(error, match=match) as raised:
        apply_delta(pair.old, pair.delta, pair.made)
    assert sorted(pair.delta.parent.iterdir()) == before
    assert "\n" not in str(raised.value)


def test_another_old_file_is_refused(small):
    whole = small.old.read_bytes()
    small.old.write_bytes(small.new.read_bytes())
    refused(small, ArtifactChecksumError, "was made from another file than `.*old.safetensors`: an artifact of")
    small.old.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))  # of the same size and header
    refused(small, ArtifactChecksumError, "was made from another file")
    small.old.write_bytes(whole[:-1])
    refused(small, ArtifactFormatError, "cut short")
    small.old.write_bytes(whole)
    small.check()


def test_what_is_no_delta_is_refused(small):
    delta = small.delta.read_bytes()
    for content, message in [
        (small.new.read_bytes(), "it is not a delta; make one with `slimtable delta`"),
        (b"", "it is empty"),
        (b"PK\3\4" + bytes(100), "looks like a PyTorch or zip file"),
        (delta + b"\0", "disagree on array `data`"),
    ]:
        small.delta.write_bytes(content)
        refused(small, ArtifactFormatError, message)
    small.delta.write_bytes(delta)
    with pytest.raises(ArtifactFormatError, match="has no slimtable manifest"):
        write_delta(small.delta, small.new, small.made)
    small.delta.unlink()
    with pytest.raises(FileNotFoundError, match="there is no such delta"):
        apply_delta(small.old, small.delta, small.made)


def test_damaged_artifacts_have_no_delta(small):
    whole = small.new.read_bytes()
    small.new.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ArtifactChecksumError, match="is not the one that was written"):
        write_delta(small.old, small.new, small.delta)


def test_every_flipped_bit_is_found(small):
    whole = small.delta.read_bytes()
    assert len(whole) < 1500
    with small.delta.open("r+b", buffering=0) as file:
        for position, byte in enumerate(whole):
            for bit in range(8):
                os.pwrite(file.fileno(), bytes([byte ^ 1 << bit]), position)
                with pytest.raises(ArtifactError):
                    apply_delta(small.old, small.delta, small.made)
            os.pwrite(file.fileno(), bytes([byte]), position)
    small.check()


def test_cut_at_every_byte(small):
    for size in reversed(range(small.delta.stat().st_size)):
        os.truncate(small.delta, size)
        with pytest.raises(ArtifactFormatError):
            apply_delta(small.old, small.delta, small.made)
    assert not small.made.exists()


def test_a_full_disk_leaves_the_old_file(small, monkeypatch):
    small.made.write_bytes(b"before")

    def full(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    refused(small, OSError, "No space left")
    with pytest.raises(OSError, match="No space left"):
        write_delta(small.old, small.new, small.delta)
    assert small.made.read_bytes() == b"before"


def test_it_may_take_the_place_of_the_old_one(small):
    wanted = small.new.read_bytes()
    apply_delta(small.old, small.delta, small.old)
    assert small.old.read_bytes() == wanted


WRITER = """
import sys
from slimtable.artifact.delta import apply_delta, write_delta
old, new, delta, made = sys.argv[1:]
print("ready", flush=True)
while True:
    apply_delta(old, delta, made)
    write_delta(old, new, delta)
"""


def test_a_killed_patch_leaves_whole_files(tmp_path):
    pair = Pair(tmp_path, {"tables": {"t": dense(50_000, 8)}}, {"tables": {"t": dense(50_500, 8)}})
    wanted, delta, whole = pair.new.read_bytes(), pair.delta.read_bytes(), 0
    files = {pair.old, pair.new, pair.delta, pair.made}
    for attempt in range(4):
        command = [sys.executable, "-c", WRITER, *map(str, (pair.old, pair.new, pair.delta, pair.made))]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path.cwd())
        assert writer.stdout.readline() == "ready\n"
        time.sleep(0.005 * attempt**2)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        assert all(file in files or file.name.endswith(".partial") for file in tmp_path.iterdir())
        assert pair.delta.read_bytes() == delta
        if pair.made.exists():
            assert pair.made.read_bytes() == wanted
            whole += 1
    pair.check()
    assert pair.made.read_bytes() == wanted
