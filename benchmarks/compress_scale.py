"""Compresses a table that is larger than memory, kills it on the way, and compares with an undisturbed run.

    python benchmarks/compress_scale.py [--rows 100000000] [--dim 64] [--method uniform] [--set bits=4 ...]
                                        [--workers 2] [--kills 2] [--folder DIR] [--page FILE]

The table, 25.6 GB by default, is computed when it is read, by a function of the id, so that only the compressed file
needs disk. A kill is SIGKILL of the process when a part of the rows is encoded; the same command then continues. The
memory is that of the process and its workers together, as the kernel counts it ten times a second.
"""

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numba import njit

_CLUSTERS = 4096
_TARGET = 10**9  # rows that figures are extrapolated to


@njit(cache=True, nogil=True)
def _mixed(state):  # type: ignore[no-untyped-def]
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


@njit(cache=True, nogil=True)
def _bell(state):  # type: ignore[no-untyped-def]
    """The sum of four uniform variables, scaled to variance 1: nearly normal."""
    total = np.int64(0)
    for part in range(4):
        total += np.int64((state >> np.uint64(16 * part)) & np.uint64(0xFFFF))
    return np.float32(total - 2 * 65535) * np.float32(1.7320508 / 65536)


@njit(cache=True, nogil=True)
def _fill(first, rows, clusters):  # type: ignore[no-untyped-def]
    """Rows by id: that of one of 4,096 clusters, noise, and a length of their own."""
    dim = rows.shape[1]
    for i in range(rows.shape[0]):
        key = _mixed(np.uint64(first + i) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(1))
        cluster = np.uint64(key % np.uint64(clusters)) * np.uint64(dim) + np.uint64(0xABCDEF)
        gain = np.float32(0.05) + np.float32(key >> np.uint64(40)) * np.float32(0.1 / (1 << 24))
        for j in range(dim):
            shape = _bell(_mixed((cluster + np.uint64(j)) * np.uint64(0x9E3779B97F4A7C15)))
            noise = _bell(_mixed(key + np.uint64(j + 1) * np.uint64(0xD1B54A32D192ED03)))
            rows[i, j] = gain * (shape + np.float32(0.5) * noise)


@dataclass(frozen=True)
class Generated:
    """A table that is computed when it is read."""

    shape: tuple[int, int]
    dtype: np.dtype = field(default_factory=lambda: np.dtype(np.float32))
    ndim: int = 2

    @property
    def size(self) -> int:
        return self.shape[0] * self.shape[1]

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(self.shape[0])
        values = np.empty((stop - start, self.shape[1]), np.float32)
        _fill(start, values, _CLUSTERS)
        return values


def run_job(options: argparse.Namespace, out: Path) -> None:
    """What the killed process does: compresses the table, and prints how long it took."""
    # Not at the top: workers import this file, and need no PyTorch.
    from slimtable.compress.job import Source, compress_to_file
    from slimtable.embeddings.base import get_config, method_of

    settings = {name: json.loads(value) if value[:1] in "0123456789tf[" else value
                for name, _, value in (word.partition("=") for word in options.set)}  # fmt: skip
    config = get_config(options.method, settings)
    shape = (options.rows, options.dim)
    codec = config.codec(*shape)
    assert codec is not None
    source = Source(Generated(shape), codec, method=method_of(config).method, method_config=config.to_dict())
    found = compress_to_file({"table": source}, out, workers=options.workers, progress=True)
    quality = found.quality["table"]
    print(json.dumps({"seconds": found.seconds, "resumed": found.resumed_rows, "error": quality.relative_error,
                      "bytes": found.file_size}))  # fmt: skip


class Watched:
    """A process that compresses, and the memory of it and its workers."""

    def __init__(self, options: argparse.Namespace, out: Path) -> None:
        words = ["--rows", options.rows, "--dim", options.dim, "--method", options.method, "--workers", options.workers,
                 "--set", *options.set, "--job", out]  # fmt: skip
        self._process = subprocess.Popen([sys.executable, __file__, *map(str, words)], stdout=subprocess.PIPE)
        self._journal = out.with_name(f".{out.name}.job") / "journal"
        self.peak = self.peak_of_one = 0

    def until(self, chunks: float) -> dict[str, object] | None:
        """Waits until so many chunks are encoded, and kills the process; returns what it says if it ends before."""
        while self._process.poll() is None:
            sizes = [_memory(pid) for pid in (self._process.pid, *_children(self._process.pid))]
            self.peak, self.peak_of_one = max(self.peak, sum(sizes)), max(self.peak_of_one, *sizes)
            if self._encoded() >= chunks:
                self._process.send_signal(signal.SIGKILL)
                self._process.wait()
                return None
            time.sleep(0.1)
        assert self._process.returncode == 0, f"the job ended with {self._process.returncode}"
        assert self._process.stdout is not None
        found: dict[str, object] = json.loads(self._process.stdout.read())
        return found

    def _encoded(self) -> int:
        try:
            return self._journal.read_bytes().count(b"\n") - 1
        except FileNotFoundError:
            return 0


def _memory(pid: int) -> int:
    """Resident bytes of a process; 0 if it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def measure(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """The undisturbed run, then the killed one."""
    out, chunks = folder / "out.safetensors", -(-options.rows // (1 << 18))
    whole = Watched(options, out)
    found = whole.until(float("inf"))
    assert found is not None
    digest = _sha256(out)
    out.unlink()
    print(f"undisturbed: {found}, peak {whole.peak / 1e9:.2f} GB, {digest}", flush=True)
    peaks, last = [(whole.peak, whole.peak_of_one)], None
    for kill in range(1, options.kills + 1):
        run = Watched(options, out)
        assert run.until(chunks * kill / (options.kills + 1)) is None, "it ended before it was killed"
        peaks.append((run.peak, run.peak_of_one))
        print(f"kill {kill}: peak {run.peak / 1e9:.2f} GB", flush=True)
    if options.kills:
        run = Watched(options, out)
        last = run.until(float("inf"))
        peaks.append((run.peak, run.peak_of_one))
    same = not options.kills or _sha256(out) == digest
    left = sorted(path.name for path in folder.iterdir())
    print(f"after {options.kills} kills: {last}, same bytes: {same}, files: {left}", flush=True)
    return {**found, "peak": max(a for a, _ in peaks), "peak_of_one": max(b for _, b in peaks), "same": same,
            "digest": digest, "resumed": 0 if last is None else last["resumed"]}  # fmt: skip


def page(options: argparse.Namespace, found: dict) -> str:
    """The page of the measurement, in Markdown."""
    from slimtable.bench.machine import cpu_name

    fit, encode, finish = (found["seconds"][name] for name in ("fit", "encode", "finish"))
    total, scale = fit + encode + finish, _TARGET / options.rows
    # A codec without statistics of the whole table is fitted in no time.
    passed = f", {options.rows / fit:,.0f} rows/s" if fit > 10 else ", no pass over the table is needed"
    fit_scaled = f"{fit * scale / 3600:.1f} h" if fit > 10 else "the same"
    total_scaled = (encode + finish + (fit if fit > 10 else 0)) * scale / 3600
    dense = 4 * options.rows * options.dim
    words = " ".join(["--rows", str(options.rows), "--dim", str(options.dim), "--method", options.method, "--set",
                      *options.set, "--workers", str(options.workers), "--kills", str(options.kills)])  # fmt: skip
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"""# Compressing a table that is larger than memory

    python benchmarks/compress_scale.py {words} --page docs/benchmarks/compress-scale.md

{options.rows:,} × {options.dim} float32 ({dense / 1e9:,.1f} GB) by `{options.method}` with {", ".join(options.set)}, \
{options.workers} workers; {cpu_name()}, which other programs used as well (load {load} at the end).
The table is computed when it is read, since it does not fit on the disk; that time is included.

| | measured | {_TARGET:,} rows, extrapolated |
|---|---|---|
| file | {found["bytes"] / 1e9:,.2f} GB, {dense / found["bytes"]:.1f}× smaller | {found["bytes"] * scale / 1e9:,.0f} GB |
| pass 1: fit | {fit:,.0f} s{passed} | {fit_scaled} |
| pass 2: encode, check, decode, measure errors | {encode:,.0f} s, {options.rows / encode:,.0f} rows/s | {encode * scale / 3600:.1f} h |
| SHA-256 of every array, flush, rename | {finish:,.0f} s | {finish * scale / 3600:.1f} h |
| together | {total:,.0f} s, {options.rows / total:,.0f} rows/s | {total_scaled:.1f} h |
| peak memory, all processes together | {found["peak"] / 1e9:.2f} GB | the same: blocks of 32,768 rows |
| peak memory of the largest process | {found["peak_of_one"] / 1e9:.2f} GB | the same |
| relative error | {found["error"]:.4f} | |

Killed {options.kills} times with SIGKILL while it encoded, and started again: {"the same" if found["same"] else "OTHER"} \
bytes (SHA-256 `{found["digest"][:16]}…`); the last start found {found["resumed"]:,} rows encoded.

The passes are linear in the number of rows; the extrapolation multiplies by {scale:g}. Rows in
files are read once in each pass: 4·N·d bytes.
"""  # noqa: E501


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--method", default="uniform")
    parser.add_argument("--set", nargs="*", default=["bits=4", "axis=row"])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where the compressed file is written")
    parser.add_argument("--page", type=Path, help="write the result as a page")
    parser.add_argument("--job", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job is not None:
        run_job(options, options.job)
        return 0
    folder = Path(tempfile.mkdtemp(prefix="compress-scale-", dir=options.folder))
    try:
        found = measure(options, folder)
    finally:
        shutil.rmtree(folder)
    text = page(options, found)
    print(text)
    if options.page is not None:
        options.page.write_text(text)
    return 0 if found["same"] else 1


if __name__ == "__main__":
    sys.exit(main())
