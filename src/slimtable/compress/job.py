"""Compress tables that are larger than memory into a file, on all cores, and go on where a killed process stopped.

The first pass fits the codecs. The second encodes the tables a chunk at a time in worker processes, which write
straight to where the bytes belong in the file. The bytes are those that ``write_artifact`` writes for the same tables
compressed in memory, whatever the number of workers and interruptions.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from slimtable._version import __version__
from slimtable.artifact.file import read_artifact
from slimtable.artifact.file_plan import FilePlan, bytes_of, plan_file
from slimtable.artifact.layouts import validate
from slimtable.artifact.packed import Packed
from slimtable.codecs.base import Codec, FitContext, Fitted, Rows
from slimtable.codecs.blockwise import (
    CHUNK_ROWS,
    Chunk,
    Encoded,
    Place,
    Target,
    digest_of,
    encode_chunk,
    for_other_processes,
    read_pieces,
    write_at,
)
from slimtable.codecs.vectors import BLOCK_ROWS
from slimtable.compress.journal import Journal
from slimtable.errors import SlimtableError
from slimtable.pool import Failure, run_here, run_parallel
from slimtable.progress import progress_bar

_SAMPLED = 64  # rows that tell whether a table is still the same


@dataclass(frozen=True, eq=False)
class Source:
    """A table to compress.

    Attributes:
        table: float (N, d): an array, a :class:`numpy.memmap`, or another reader of ``table[start:stop]``.
        codec: what compresses it; one that streams.
        padding_idx: id that is served as zeros, or None.
        frequencies: (N,) how often each id occurs, or None.
        method: registry name of the method, stored in the file.
        method_config: options of the method, stored in the file.
    """

    table: Any
    codec: Codec
    padding_idx: int | None = None
    frequencies: np.ndarray | None = None
    method: str = ""
    method_config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Quality:
    """How close a compressed table is.

    Attributes:
        relative_error: mean squared error over the variance of all values.
        distortion: mean squared distance of a row, weighted by frequency if there are any.
    """

    relative_error: float
    distortion: float


@dataclass(frozen=True, eq=False)
class Written:
    """What :func:`compress_to_file` did.

    Attributes:
        file_size: bytes of the file.
        tables: the packed tables; the arrays that hold rows have their type and shape alone.
        quality: of each table that was compressed.
        resumed_rows: rows that an earlier process had finished.
        seconds: of this process to "fit", to "encode" and to "finish".
    """

    file_size: int
    tables: Mapping[str, Packed]
    quality: Mapping[str, Quality]
    resumed_rows: int
    seconds: Mapping[str, float]


def compress_to_file(
    sources: Mapping[str, Source | Packed],
    out: Path,
    *,
    vocabularies: Mapping[str, Any] | None = None,
    model: Mapping[str, Any] | None = None,
    workers: int = 1,
    progress: bool = False,
    chunk_rows: int = CHUNK_ROWS,
) -> Written:
    """Compresses tables into one file; after a kill, the same call goes on where the work stopped.

    Args:
        sources: tables by name; packed ones are written as they are.
        out: path of the file, replaced at the very end. Work in progress is in ``.OUT.job`` beside it.
        vocabularies: as for :func:`slimtable.artifact.file.write_artifact`.
        model: as for :func:`slimtable.artifact.file.write_artifact`.
        workers: processes that encode. Tables in the memory of this process, and not in a file, are encoded by it.
        progress: show a bar if standard error is a terminal.
        chunk_rows: rows that a process encodes before it reports, a multiple of 32,768.

    Returns:
        Sizes and errors.

    Raises:
        ValueError: a table cannot be compressed, for example because it holds a NaN; nothing is left behind.
        SlimtableError: another process writes this file, the disk is full, or a worker died.
    """
    if chunk_rows < 1 or chunk_rows % BLOCK_ROWS:
        raise ValueError(f"`chunk_rows` must be a multiple of {BLOCK_ROWS}, got {chunk_rows}.")
    if workers < 1:
        raise ValueError(f"`workers` must be 1 or more, got {workers}.")
    with Journal(Path(out)) as journal, progress_bar(progress) as bar:
        try:
            return _Job(sources, journal, bar, chunk_rows).run(workers, vocabularies, model)
        except (ValueError, TypeError):  # the same on any try
            journal.discard()
            raise


class _Job:
    """The steps of a job."""

    def __init__(
        self, sources: Mapping[str, Source | Packed], journal: Journal, bar: Progress, chunk_rows: int
    ) -> None:
        self._sources, self._journal, self._bar, self._chunk_rows = sources, journal, bar, chunk_rows
        self._compressed = {name: source for name, source in sources.items() if isinstance(source, Source)}
        self._fitted: dict[str, Fitted] = {}
        self._row_arrays: dict[str, list[str]] = {}

    def run(self, workers: int, vocabularies: Mapping[str, Any] | None, model: Mapping[str, Any] | None) -> Written:
        times = [time.perf_counter()]
        tables = {name: self._described(name, source) for name, source in self._sources.items()}
        times.append(time.perf_counter())
        plan = plan_file(tables, vocabularies=vocabularies, model=model)
        targets = self._targets(plan)
        finished = self._verified(self._journal.begin(self._identity(plan), plan.file_size), targets)
        self._write_others(plan, targets)
        resumed = sum(chunk.stop - chunk.first for chunk in self._chunks() if _key(chunk) in finished)
        self._encode(targets, finished, workers)
        times.append(time.perf_counter())
        self._write_header(plan)
        read_artifact(self._journal.output, values=False)  # its structure; values were checked block by block
        quality = {name: self._quality(name, finished) for name in self._compressed}
        self._journal.finish()
        times.append(time.perf_counter())
        seconds = dict(zip(("fit", "encode", "finish"), np.diff(times).tolist(), strict=True))
        return Written(plan.file_size, tables, quality, resumed, seconds)

    def _described(self, name: str, source: Source | Packed) -> Packed:
        """The packed table with the types and shapes of its arrays; fits the codec."""
        if isinstance(source, Packed):
            validate(source)
            return source
        if not source.codec.streams:
            raise ValueError(f"{type(source.codec).__name__} compresses tables in memory. Use compress_table.")
        rows = _WatchedRows(source.table, source.padding_idx)
        context = FitContext(None if source.frequencies is None else np.asanyarray(source.frequencies))
        with self._watching(f"fit {name}", rows):
            fitted = source.codec.fit(rows, context.checked(rows.num_embeddings))
            first = fitted.encode(rows.read(0, BLOCK_ROWS), 0)
        arrays = dict(fitted.shared_arrays())
        for array, part in first.arrays.items():
            # Zero strides: an array of any size that takes no memory.
            arrays[array] = np.broadcast_to(part.dtype.type(0), fitted.shape_of_all(part, first.num_rows))
        self._fitted[name], self._row_arrays[name] = fitted, list(first.arrays)
        return Packed(
            layout=fitted.layout,
            num_embeddings=fitted.num_embeddings,
            embedding_dim=fitted.embedding_dim,
            arrays=arrays,
            layout_config=fitted.layout_config(),
            padding_idx=fitted.padding_idx,
            method=source.method,
            method_config=source.method_config,
        )

    def _targets(self, plan: FilePlan) -> dict[str, Target]:
        targets = {}
        for name, source in self._compressed.items():
            places = {}
            for array in self._row_arrays[name]:
                extent = plan.extents[f"{name}/{array}"]
                length = extent.shape[0]
                places[array] = Place(plan.header_size + extent.begin, length, (extent.end - extent.begin) // length)
            reopen = for_other_processes(source.table) or _Here(source.table)
            targets[name] = Target(self._fitted[name], reopen, self._journal.output, places)
        return targets

    def _identity(self, plan: FilePlan) -> str:
        """All that the file depends on."""
        found: dict[str, Any] = {
            "version": __version__,
            "manifest": plan.manifest,
            "extents": {name: [extent.dtype, extent.shape] for name, extent in plan.extents.items()},
            "arrays": _digest(array for array in plan.arrays.values() if any(array.strides)),
            "chunk_rows": self._chunk_rows,
        }
        for name, source in self._compressed.items():
            rows = Rows(source.table)
            ids = np.linspace(0, rows.num_embeddings - 1, min(_SAMPLED, rows.num_embeddings)).astype(np.int64)
            counts = source.frequencies
            parts = () if counts is None else (counts[i : i + CHUNK_ROWS] for i in range(0, len(counts), CHUNK_ROWS))
            found[f"table {name}"] = [
                repr(source.codec),
                str(source.table.dtype),
                _digest(rows.read(i, i + 1) for i in ids.tolist()),
                _digest(parts),
                getattr(for_other_processes(source.table), "stamp", None),
            ]
        return json.dumps(found, sort_keys=True)

    def _chunks(self) -> Iterator[Chunk]:
        for name, source in self._compressed.items():
            total = self._fitted[name].num_embeddings
            for first in range(0, total, self._chunk_rows):
                stop = min(first + self._chunk_rows, total)
                yield Chunk(name, first, stop, None if source.frequencies is None else source.frequencies[first:stop])

    def _verified(self, entries: list[Any], targets: Mapping[str, Target]) -> dict[tuple[str, int], Encoded]:
        """The chunks of the journal whose bytes are still in the file."""
        known = {(entry["table"], entry["first"]): entry for entry in entries}
        found = {}
        if known:
            task = self._bar.add_task("check what is finished", total=len(known))
        for chunk in self._chunks() if known else ():
            entry = known.get(_key(chunk))
            if entry is not None:
                if digest_of(targets[chunk.table], chunk.first, chunk.stop) == entry["digest"]:
                    found[_key(chunk)] = Encoded(**{**entry, "sums": tuple(entry["sums"])})
                self._bar.advance(task)
        return found

    def _write_others(self, plan: FilePlan, targets: Mapping[str, Target]) -> None:
        """Writes the arrays that are in memory."""
        rows = {f"{name}/{array}" for name, target in targets.items() for array in target.places}
        with self._journal.output.open("r+b", buffering=0) as file:
            for name, array in plan.arrays.items():
                if name not in rows:
                    write_at(file.fileno(), bytes_of(array), plan.header_size + plan.extents[name].begin)

    def _encode(self, targets: Mapping[str, Target], finished: dict[tuple[str, int], Encoded], workers: int) -> None:
        chunks = [chunk for chunk in self._chunks() if _key(chunk) not in finished]
        rows = sum(fitted.num_embeddings for fitted in self._fitted.values())
        left = sum(chunk.stop - chunk.first for chunk in chunks)
        task = self._bar.add_task("encode", total=rows, completed=rows - left)
        in_files = {
            name for name, target in targets.items() if workers > 1 and not isinstance(target.open_table, _Here)
        }
        apart = [chunk for chunk in chunks if chunk.table in in_files]
        here = [chunk for chunk in chunks if chunk.table not in in_files]
        outcomes: list[Generator[Any, None, None]] = []
        if apart:
            sent = {name: targets[name] for name in in_files}
            outcomes.append(run_parallel(apart, partial(encode_chunk, sent), workers))
        if here:
            outcomes.append(run_here(here, partial(encode_chunk, targets)))
        for generator in outcomes:
            with closing(generator) as running:
                for outcome in running:
                    done = _checked(outcome)
                    finished[done.table, done.first] = done
                    self._journal.record(
                        {"table": done.table, "first": done.first, "digest": done.digest, "sums": done.sums}
                    )
                    total = self._fitted[done.table].num_embeddings
                    self._bar.advance(task, min(self._chunk_rows, total - done.first))

    def _write_header(self, plan: FilePlan) -> None:
        start, digests = plan.header_size, {}
        task = self._bar.add_task("checksums", total=len(plan.extents))
        with self._journal.output.open("r+b") as file:
            for name, extent in plan.extents.items():
                found = hashlib.sha256()
                for piece in read_pieces(file, start + extent.begin, start + extent.end):
                    found.update(piece)
                digests[name] = found.hexdigest()
                self._bar.advance(task)
            file.seek(0)
            file.write(plan.header(digests))

    def _quality(self, name: str, finished: Mapping[tuple[str, int], Encoded]) -> Quality:
        of_table = sorted((done.first, done.sums) for done in finished.values() if done.table == name)
        values, squares, errors, weighted, weights = (
            math.fsum(sums) for sums in zip(*(s for _, s in of_table), strict=True)
        )
        fitted = self._fitted[name]
        count = fitted.num_embeddings * fitted.embedding_dim
        spread = squares - values * (values / count)
        spread = spread if spread > 1e-14 * squares else 0.0  # what rounding leaves of equal values
        return Quality(errors / (spread or count), weighted / weights if weights else errors / fitted.num_embeddings)

    @contextmanager
    def _watching(self, what: str, rows: _WatchedRows) -> Iterator[None]:
        """Shows how far the pass over the rows is."""
        task = self._bar.add_task(what, total=rows.num_embeddings)
        rows.watch = lambda done: self._bar.update(task, completed=done)
        yield
        self._bar.remove_task(task)


class _WatchedRows(Rows):
    """Rows that tell how far they are read."""

    watch: Callable[[int], None] | None = None

    def read(self, start: int, stop: int) -> np.ndarray:
        if self.watch is not None:
            self.watch(min(stop, self.num_embeddings))
        return super().read(start, stop)


@dataclass(frozen=True, eq=False)
class _Here:
    """A table that lies in the memory of this process."""

    table: Any

    def __call__(self) -> Any:
        return self.table


def _key(chunk: Chunk) -> tuple[str, int]:
    return chunk.table, chunk.first


def _checked(outcome: Encoded | Exception | Failure[Chunk]) -> Encoded:
    if isinstance(outcome, Exception):
        raise outcome
    if isinstance(outcome, Failure):
        raise SlimtableError(
            f"Rows {outcome.job.first:,} … could not be encoded: {outcome.reason}. Run the same command again: what is "
            "finished is kept."
        )
    return outcome


def _digest(arrays: Any) -> str:
    found = hashlib.sha256()
    for array in arrays:
        found.update(bytes_of(np.asarray(array)))
    return found.hexdigest()
