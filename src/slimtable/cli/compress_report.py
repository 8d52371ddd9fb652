"""What ``compress`` prints: the tables written, the candidates, and why."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slimtable.artifact.layouts import exact_bits, num_vectors
from slimtable.cli.output import show, show_json, size, table
from slimtable.cli.tables import facts_of
from slimtable.codecs.base import Rows
from slimtable.codecs.vectors import TableLike
from slimtable.serve.reader import Table, open_artifact

if TYPE_CHECKING:
    from slimtable.compress import Candidate, Compressed, Kept
    from slimtable.compress.job import Written
    from slimtable.compress.plans import Input

_ROWS_AT_A_TIME = 65_536


def report(
    out: Path,
    file_size: int,
    tables: list[Input],
    vectors: dict[str, int],
    result: Compressed | None,
    as_json: bool,
) -> None:
    """Prints what was written, and why."""
    found: dict[str, dict[str, Any]] = {}
    with open_artifact(out) as artifact:
        for one in tables:
            served = artifact[one.name]
            found[one.name] = {
                **facts_of(served),
                "vectors": vectors[one.name],
                "relative_error": _relative_error(one.table, served),
                "distortion": _distortion(one.table, served, one.frequencies),
            }
        if as_json:
            alone = next(iter(found.values())) if len(found) == 1 else {}
            chosen = {} if result is None else result.to_dict()
            show_json({"path": str(out), "file_bytes": file_size, **alone, "tables": found, **chosen})
            return
        if result is not None:
            _show_candidates(result, sum(one.dense_bits for one in tables))
        for one in tables:
            _show_table(one, found[one.name], len(tables) > 1)
    _show_file(out, file_size, tables, [name for name, facts in found.items() if facts["has_vocabulary"]])


def report_job(
    out: Path, written: Written, tables: list[Input], reasons: list[str], with_ids: Container[str], as_json: bool
) -> None:
    """Prints what a job has written, and why; the file, which may be larger than memory, is not read."""
    found: dict[str, dict[str, Any]] = {}
    for one in tables:
        packed, quality = written.tables[one.name], written.quality.get(one.name)  # None if compressed in memory
        bits = exact_bits(packed)
        found[one.name] = {
            "num_embeddings": packed.num_embeddings,
            "embedding_dim": packed.embedding_dim,
            "padding_idx": packed.padding_idx,
            "method": packed.method,
            "method_config": dict(packed.method_config),
            "layout": packed.layout,
            "bits": bits,
            "bytes": packed.nbytes,
            "compression_ratio": one.dense_bits / bits,
            "size_percent": 100 * bits / one.dense_bits,
            "has_vocabulary": one.name in with_ids,
            "vectors": num_vectors(packed),
            "relative_error": None if quality is None else quality.relative_error,
            "distortion": None if quality is None else quality.distortion,
        }
    if as_json:
        alone = next(iter(found.values())) if len(found) == 1 else {}
        about = {"reasons": reasons, "resumed_rows": written.resumed_rows}
        show_json({"path": str(out), "file_bytes": written.file_size, **alone, "tables": found, **about})
        return
    if written.resumed_rows:
        show(f"resumed: {written.resumed_rows:,} rows were encoded before")
    for reason in reasons:
        show(f"why: {reason}")
    for one in tables:
        _show_table(one, found[one.name], len(tables) > 1)
    _show_file(out, written.file_size, tables, with_ids)


def _show_file(out: Path, file_size: int, tables: list[Input], with_ids: Container[str]) -> None:
    dense = sum(one.dense_bits for one in tables) / 8
    ratio = "" if len(tables) == 1 else f", {dense / file_size:.2f}× smaller than {size(dense)} in float32"
    names = [one.name for one in tables if one.name in with_ids]
    also = f", with the raw ids of {', '.join(names)}, which no budget counts" if names else ""
    show(f"{out}: {file_size:,} bytes{ratio}{also}")


def _show_table(one: Input, found: dict[str, Any], named: bool) -> None:
    num_embeddings = found["num_embeddings"]
    shape = f"{num_embeddings:,} × {found['embedding_dim']}"
    show(f"{one.name + ': ' if named else ''}{shape} by {found['method']}: {found['compression_ratio']:.2f}× smaller")
    show(f"size: {size(one.dense_bits / 8)} in float32, {size(found['bits'] / 8)} served")
    if found["vectors"] < num_embeddings:
        show(f"vectors: {found['vectors']:,} for {num_embeddings:,} ids")
    if found["relative_error"] is None:
        return
    show(f"relative error: {found['relative_error']:.3g} (mean squared error over variance)")
    weighted = ", weighted by frequency" if one.frequencies is not None and one.frequencies.any() else ""
    show(f"distortion: {found['distortion']:.4g} (mean squared distance of a row{weighted})")


def _show_candidates(result: Compressed, dense_bits: int) -> None:
    """The candidates as a table, and the reasons."""
    measures = result.guard.measures
    rows = [
        [
            "→" if candidate.chosen else "",
            f"{candidate.bytes:,}",
            f"{dense_bits / 8 / max(candidate.bytes, 1):.1f}×",
            *(_percent(candidate.kept[name]) for name in measures),
            _described(candidate),
            candidate.reason,
        ]
        for candidate in result.candidates
    ]
    columns = ["", "bytes", "smaller", *(f"{name} kept" for name in measures), "tables", "why"]
    show(table(columns, rows, texts=("tables", "why")))
    show(f"guard: {result.guard.description}")
    for reason in result.reasons:
        show(f"why: {reason}")
    for name, kept in result.report.items():
        show(f"{name} on queries that the guard did not see: {_percent(kept)} kept")


def _percent(kept: Kept) -> str:
    return f"{100 * kept.share:.2f}% ({100 * kept.low:.2f}–{100 * kept.high:.2f})"


def _described(candidate: Candidate) -> str:
    if len(candidate.tables) == 1:
        return str(next(iter(candidate.tables.values())))
    return "; ".join(f"{name}: {choice}" for name, choice in candidate.tables.items())


def _distortion(dense: TableLike, served: Table, counts: np.ndarray | None) -> float:
    """Mean squared distance between rows and served rows, weighted by counts if there are any above 0."""
    if counts is not None and not counts.any():
        counts = None
    total = weight = 0.0
    for first, block in Rows(dense).blocks(size=_ROWS_AT_A_TIME):
        squares = ((served.lookup(np.arange(first, first + len(block))) - block.astype(np.float64)) ** 2).sum(axis=1)
        weights = np.ones(len(block)) if counts is None else counts[first : first + len(block)].astype(np.float64)
        total += float(squares @ weights)
        weight += float(weights.sum())
    return total / weight


def _relative_error(dense: TableLike, served: Table) -> float:
    """Mean squared error over the variance of all values (or over 1 if all are equal)."""
    rows, total = Rows(dense), 0.0
    for _, block in rows.blocks(size=_ROWS_AT_A_TIME):
        total += float(block.sum(dtype=np.float64))
    mean, squared, spread = total / dense.size, 0.0, 0.0
    for first, block in rows.blocks(size=_ROWS_AT_A_TIME):
        wide = block.astype(np.float64)
        squared += float(((served.lookup(np.arange(first, first + len(block))) - wide) ** 2).sum())
        spread += float(((wide - mean) ** 2).sum())
    return squared / (spread or dense.size)
