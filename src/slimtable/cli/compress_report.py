"""What ``compress`` prints: the tables written, the candidates, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slimtable.cli.output import show, show_json, size, table
from slimtable.cli.tables import facts_of
from slimtable.codecs.base import Rows
from slimtable.serve.reader import Table, open_artifact

if TYPE_CHECKING:
    from slimtable.compress import Candidate, Compressed, Kept
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
            _show_table(artifact[one.name], one, found[one.name], len(tables) > 1)
    dense = sum(one.dense_bits for one in tables) / 8
    ratio = "" if len(tables) == 1 else f", {dense / file_size:.2f}× smaller than {size(dense)} in float32"
    show(f"{out}: {file_size:,} bytes{ratio}")


def _show_table(served: Table, one: Input, found: dict[str, Any], named: bool) -> None:
    shape = f"{served.num_embeddings:,} × {served.embedding_dim}"
    show(f"{one.name + ': ' if named else ''}{shape} by {served.method}: {served.compression_ratio:.2f}× smaller")
    show(f"size: {size(one.dense_bits / 8)} in float32, {size(served.bits / 8)} served")
    if found["vectors"] < served.num_embeddings:
        show(f"vectors: {found['vectors']:,} for {served.num_embeddings:,} ids")
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


def _distortion(dense: np.ndarray, served: Table, counts: np.ndarray | None) -> float:
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


def _relative_error(dense: np.ndarray, served: Table) -> float:
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
