"""Jobs on tables in files: the bytes of compression in memory, whatever the workers, kills and damage."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from slimtable.artifact.file import verify_artifact, write_artifact
from slimtable.artifact.layouts import decode
from slimtable.codecs.base import Codec, FitContext, Fitted, Rows
from slimtable.codecs.blockwise import MappedPart, for_other_processes
from slimtable.codecs.dense import Dense
from slimtable.codecs.low_rank import LowRank
from slimtable.codecs.saec import Saec
from slimtable.codecs.uniform import Uniform
from slimtable.codecs.vectors import BLOCK_ROWS
from slimtable.compress.job import Source, Written, compress_to_file
from slimtable.compress.journal import Journal
from slimtable.embeddings.base import get_config
from slimtable.errors import SlimtableError
from tests.contract.cases import CASES, case_id

SHAPE = (3 * BLOCK_ROWS + 1003, 4)
PADDING = BLOCK_ROWS + 5
CODECS = {
    "columns": Uniform(bits=5),
    "rows": Uniform(bits=4, axis="row", scale_bits=16),
    "dense": Dense(),
    "low rank": LowRank(rank=2),
}


@pytest.fixture(scope="module")
def table_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("table") / "table.npy"
    table = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    table[PADDING] = 0
    np.save(path, table)
    return path


COUNTS = np.random.default_rng(1).integers(1, 99, SHAPE[0])


def expected(table_file: Path, codec: Codec, out: Path, padding: int | None = PADDING) -> bytes:
    """The file of the same table, compressed in memory."""
    packed = codec.compress(Rows(np.load(table_file), padding), FitContext(COUNTS), "it", {"a": 1})
    write_artifact(out, {"table": packed}, model={"b": 2})
    return out.read_bytes()


def job(table_file: Path, codec: Codec, out: Path, workers: int = 1, padding: int | None = PADDING) -> Written:
    mapped = np.load(table_file, mmap_mode="r")
    source = Source(mapped, codec, padding, COUNTS, "it", {"a": 1})
    return compress_to_file({"table": source}, out, model={"b": 2}, workers=workers, chunk_rows=BLOCK_ROWS)


@pytest.mark.parametrize("name", CODECS)
def test_the_file_is_that_of_the_table_in_memory(table_file, tmp_path, name) -> None:
    codec, out = CODECS[name], tmp_path / "out.safetensors"
    found = job(table_file, codec, out)
    assert out.read_bytes() == expected(table_file, codec, tmp_path / "whole")
    assert found.file_size == out.stat().st_size
    assert found.resumed_rows == 0
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    dense = np.load(table_file).astype(np.float64)
    errors = ((decode(verify_artifact(out).tables["table"], np.arange(len(dense))) - dense) ** 2).sum(axis=1)
    assert found.quality["table"].relative_error == pytest.approx(errors.sum() / ((dense - dense.mean()) ** 2).sum())
    assert found.quality["table"].distortion == pytest.approx(np.average(errors, weights=COUNTS))


def test_any_number_of_workers_gives_the_same_bytes(table_file, tmp_path) -> None:
    codec = CODECS["rows"]
    one, two = (job(table_file, codec, tmp_path / str(workers), workers) for workers in (1, 2))
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    assert one.quality == two.quality


@pytest.mark.parametrize("case", [c for c in CASES if get_config(*c).codec(1003, 8)], ids=case_id)
def test_every_codec_streams_or_says_that_it_does_not(tmp_path, case) -> None:
    config, table = get_config(*case), np.random.default_rng(3).random((1003, 8), np.float32)  # nmf takes no negatives
    codec = config.codec(*table.shape)
    if not codec.streams:
        with pytest.raises(ValueError, match="compresses tables in memory"):
            compress_to_file({"t": Source(table, codec)}, tmp_path / "out")
        assert list(tmp_path.iterdir()) == []
        return
    fitted = codec.fit(Rows(table))
    assert type(fitted)._place is Fitted._place
    assert type(fitted).finished is Fitted.finished
    compress_to_file({"t": Source(table, codec)}, tmp_path / "out")
    write_artifact(tmp_path / "whole", {"t": codec.compress(Rows(table))})
    assert (tmp_path / "out").read_bytes() == (tmp_path / "whole").read_bytes()


def test_several_tables_packed_ones_and_raw_ids(table_file, tmp_path) -> None:
    small = np.arange(40, dtype=np.float32).reshape(10, 4)
    packed, codec = Uniform(bits=3).compress(Rows(small)), CODECS["columns"]
    mapped, raw = np.load(table_file, mmap_mode="r"), {"small": np.arange(10) * 7}
    sources = {"b": Source(mapped, codec), "small": packed, "a": Source(mapped[8:], codec)}
    compress_to_file(sources, tmp_path / "out", vocabularies=raw)
    dense = np.load(table_file)
    tables = {"b": codec.compress(Rows(dense)), "small": packed, "a": codec.compress(Rows(dense[8:]))}
    write_artifact(tmp_path / "whole", tables, vocabularies=raw)
    assert (tmp_path / "out").read_bytes() == (tmp_path / "whole").read_bytes()


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from slimtable.codecs.vectors import BLOCK_ROWS
from slimtable.compress import job
from slimtable.compress.journal import Journal
from tests.compress.test_job import CODECS, job as run

def killed_at(owner, name, times):
    real, left = getattr(owner, name), [times]
    def replaced(*arguments):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments)
    setattr(owner, name, replaced)

owner, name, times, table, codec, out = sys.argv[1:]
killed_at({"journal": Journal, "job": job, "_Job": job._Job}[owner], name, int(times))
run(Path(table), CODECS[codec], Path(out))
"""


def killed(table_file: Path, out: Path, where: str, codec: str = "rows") -> None:
    """Starts the job in another process, which is killed at its (times + 1)th call of a function."""
    words = [*where.split(), str(table_file), codec, str(out)]
    path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    done = subprocess.run([sys.executable, "-c", KILLED, *words], env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == -signal.SIGKILL
    assert not out.exists()


@pytest.mark.slow
def test_killed_again_and_again_it_goes_on_to_the_same_file(table_file, tmp_path) -> None:
    out = tmp_path / "out"
    for where in (
        "_Job _targets 0",
        "journal record 1",
        "journal record 1",
        "_Job _write_header 0",
        "journal finish 0",
    ):
        killed(table_file, out, where)
    found = job(table_file, CODECS["rows"], out)
    assert found.resumed_rows == SHAPE[0]
    assert out.read_bytes() == expected(table_file, CODECS["rows"], tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "whole"]


def test_damage_of_the_journal_and_of_the_output_is_noticed(table_file, tmp_path) -> None:
    out, codec = tmp_path / "out", CODECS["rows"]
    killed(table_file, out, "journal record 3")
    folder = tmp_path / ".out.job"
    lines = (folder / "journal").read_bytes().split(b"\n")
    assert len(lines) == 5  # the job, three chunks, nothing
    lines[2] = lines[2].replace(b"first", b"fisrt")
    (folder / "journal").write_bytes(b"\n".join(lines[:3]) + b"\n" + lines[3][:40])
    with (folder / "output").open("r+b") as file:
        file.seek(-30, os.SEEK_END)
        file.write(b"!" * 30)
    found = job(table_file, codec, out)
    assert found.resumed_rows == BLOCK_ROWS
    assert out.read_bytes() == expected(table_file, codec, tmp_path / "whole")


@pytest.mark.parametrize("what", ["lost", "cut", "first line", "other codec", "other table", "not a journal"])
def test_what_does_not_belong_to_the_job_is_done_again(table_file, tmp_path, what) -> None:
    out, codec, folder = tmp_path / "out", CODECS["rows"], tmp_path / ".out.job"
    table = tmp_path / "table.npy"
    table.write_bytes(table_file.read_bytes())
    killed(table, out, "journal record 2")
    journal = folder / "journal"
    if what == "lost":
        (folder / "output").unlink()
    elif what == "cut":
        (folder / "output").write_bytes(b"short")
    elif what == "first line":
        journal.write_bytes(b"0" + journal.read_bytes()[1:])
    elif what == "not a journal":
        journal.write_bytes(bytes(range(256)))
    elif what == "other codec":
        codec = Uniform(bits=3, axis="row")
    else:
        changed = np.load(table)
        changed[0] += 1
        np.save(table, changed)
    assert job(table, codec, out).resumed_rows == 0
    assert out.read_bytes() == expected(table, codec, tmp_path / "whole")


def test_bytes_that_were_lost_are_written_again(table_file, tmp_path) -> None:
    out, codec = tmp_path / "out", CODECS["dense"]
    killed(table_file, out, "journal record 3", "dense")
    with (tmp_path / ".out.job" / "output").open("r+b") as file:
        file.seek(100_000)  # in the first chunk
        file.write(b"lost")
    assert job(table_file, codec, out).resumed_rows == 2 * BLOCK_ROWS
    assert out.read_bytes() == expected(table_file, codec, tmp_path / "whole")


def test_bad_tables_are_refused_and_leave_nothing(table_file, tmp_path) -> None:
    table = np.load(table_file)
    table[2 * BLOCK_ROWS + 7, 1] = np.nan
    np.save(tmp_path / "bad.npy", table)
    mapped = np.load(tmp_path / "bad.npy", mmap_mode="r")
    for workers in (1, 2):
        with pytest.raises(ValueError, match=f"NaN or infinite values, first in row {2 * BLOCK_ROWS + 7}"):
            compress_to_file(
                {"t": Source(mapped, Uniform(axis="row"))}, tmp_path / "out", workers=workers, chunk_rows=BLOCK_ROWS
            )
    with pytest.raises(ValueError, match="frequencies must have shape"):
        compress_to_file({"t": Source(mapped, Dense(), None, COUNTS[1:])}, tmp_path / "out")
    with pytest.raises(ValueError, match="multiple of 32768"):
        compress_to_file({"t": Source(mapped, Dense())}, tmp_path / "out", chunk_rows=1000)
    with pytest.raises(ValueError, match="compresses tables in memory"):
        compress_to_file({"t": Source(mapped, Saec(num_rows=4))}, tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="the folder does not exist"):
        compress_to_file({"t": Source(mapped, Dense())}, tmp_path / "no" / "out")
    with pytest.raises(IsADirectoryError):
        compress_to_file({"t": Source(mapped, Dense())}, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.npy"]


def test_two_processes_never_write_the_same_file(table_file, tmp_path) -> None:
    with Journal(tmp_path / "out"), pytest.raises(SlimtableError, match="Another process is writing"):
        job(table_file, Dense(), tmp_path / "out")


def test_a_full_disk_is_one_line(table_file, tmp_path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(SlimtableError, match=r"disk of .* is full: out takes 0.0 GB"):
        job(table_file, Dense(), tmp_path / "out")


def test_parts_of_maps_are_opened_by_other_processes(table_file, tmp_path) -> None:
    mapped = np.load(table_file, mmap_mode="r")
    for part in (mapped, mapped[7:90], mapped[:, ::-1][3:]):
        reopen = for_other_processes(part)
        assert isinstance(reopen, MappedPart)
        assert np.array_equal(reopen(), part)
    assert for_other_processes(np.load(table_file)) is None
    assert for_other_processes(np.load(table_file, mmap_mode="c")) is None
    copy = tmp_path / "copy.npy"
    copy.write_bytes(table_file.read_bytes())
    reopen = for_other_processes(np.load(copy, mmap_mode="r"))
    copy.write_bytes(b"other")
    assert reopen is not None
    with pytest.raises(SlimtableError, match="changed while it was compressed"):
        reopen()


class OnTheFly:
    """A table that is computed when it is read; other processes get a copy."""

    shape, dtype, ndim, size = SHAPE, np.dtype(np.float32), 2, SHAPE[0] * SHAPE[1]

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(SHAPE[0])
        ids = np.arange(start * SHAPE[1], stop * SHAPE[1], dtype=np.float64)
        return np.sin(ids).astype(np.float32).reshape(-1, SHAPE[1])


def test_readers_of_files_are_sent_to_other_processes(tmp_path) -> None:
    table, codec = OnTheFly(), CODECS["rows"]
    for workers in (1, 2):
        compress_to_file({"t": Source(table, codec)}, tmp_path / str(workers), workers=workers, chunk_rows=BLOCK_ROWS)
    write_artifact(tmp_path / "whole", {"t": codec.compress(Rows(table[:]))})
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes() == (tmp_path / "whole").read_bytes()
    table.rows = np.zeros(1 << 20)  # too much to be sent with every chunk
    assert for_other_processes(table) is None


def test_equal_values_have_no_error(tmp_path) -> None:
    table = np.full((100, 3), 0.1, np.float32)
    found = compress_to_file({"t": Source(table, Uniform())}, tmp_path / "out").quality["t"]
    assert json.dumps([found.relative_error, found.distortion]) == "[0.0, 0.0]"
