"""The report card of an artifact: what it costs, what it keeps, and how its codes are used; JSON and one HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slimtable.artifact.code_health import code_health, no_collision_rate, warnings_of
from slimtable.artifact.codes import codes_of
from slimtable.artifact.file import ArtifactFile, read_artifact
from slimtable.artifact.layouts import exact_bits
from slimtable.artifact.ledger import ledger
from slimtable.artifact.packed import Packed
from slimtable.codecs.base import FitContext, Rows
from slimtable.codecs.vectors import Vectors
from slimtable.compress.guard import Decoded, Guard, TaskGuard
from slimtable.compress.maps import MAP_ROWS, draw_maps
from slimtable.compress.plans import Input
from slimtable.compress.quality import held_out_quality, list_quality, neighbours_kept, relative_error
from slimtable.compress.result import Compressed
from slimtable.reporting.figures import to_png

CARD_VERSION = 1


@dataclass(frozen=True, eq=False)
class ReportCard:
    """The report card of an artifact.

    Attributes:
        facts: all figures as JSON values; docs/report.md says what each means.
        maps: PNG picture of the rows of each table before and after compression, by its name.
    """

    facts: dict[str, Any]
    maps: Mapping[str, bytes]


def report_card(
    file: str | Path,
    originals: Mapping[str, Any],
    *,
    frequencies: Mapping[str, np.ndarray] | None = None,
    asking: Mapping[str, str] | None = None,
    result: Compressed | None = None,
    guard: Guard | None = None,
    maps: bool = True,
    seed: int = 0,
) -> ReportCard:
    """Measures an artifact against the tables that it was made from.

    Args:
        file: the artifact.
        originals: the uncompressed table of some of its tables, float (N, d) each, by name; read block by block. A
            table that the artifact does not hold may be among them, if it only asks.
        frequencies: (N,) how often the ids of a table occur, by its name.
        asking: name of the table whose rows ask for those of another, such as ``{"item": "user"}``. Rows of tables
            without one ask for rows of their own table, unless the table asks for another.
        result: how the tables were compressed, with the candidates.
        guard: what judged the candidates; if it knows held-out interactions, their ranks are compared, too.
        maps: draw maps of the rows, which takes most of the time.
        seed: seed of all samples.

    Returns:
        The card.

    Raises:
        ValueError: no original belongs to a table of the artifact, a shape differs, or a name is unknown.
        ArtifactError: the file is no artifact.
    """
    opened = read_artifact(file)
    _check(opened, originals, frequencies or {}, asking or {})
    entries = ledger(opened)
    before: dict[str, Vectors] = {
        name: Rows(table, opened.tables[name].padding_idx if name in opened.tables else None).for_repeated_reads()
        for name, table in originals.items()
    }
    after: dict[str, Vectors] = {name: Decoded(packed) for name, packed in opened.tables.items()}
    tables, pictures = {}, {}
    for name, packed in opened.tables.items():
        tables[name] = _table_facts(packed)
        if name not in before:
            continue
        asks = (asking or {}).get(name)
        pair = None if asks is None else (before[asks], after.get(asks, before[asks]))
        counts = None if frequencies is None else frequencies.get(name)
        only_asks = name in (asking or {}).values() and asks is None
        lists = None if only_asks else list_quality((before[name], after[name]), pair, asks or name, counts, seed)
        tables[name] |= {
            "relative_error": relative_error(before[name], after[name]),
            "lists": None if lists is None else lists.to_dict(),
            "neighbours_kept": neighbours_kept(before[name], after[name], seed),
        }
        if maps and packed.num_embeddings > 1:
            ids = _map_ids(packed.num_embeddings, seed)
            pictures[name] = to_png(draw_maps(before[name].take(ids), after[name].take(ids), seed))
    dense = sum(4 * packed.num_embeddings * packed.embedding_dim for packed in opened.tables.values())
    facts = {
        "card_version": CARD_VERSION,
        "file": Path(file).name,
        "digest": opened.manifest["digest"],
        "file_bytes": opened.file_size,
        "float32_bytes": dense,
        "compression_ratio": dense / opened.file_size,
        "ledger": [entry.to_dict() for entry in entries],
        "tables": tables,
        "held_out": _held_out(guard, after, frequencies or {}),
        "result": None if result is None else result.to_dict(),
    }
    return ReportCard(facts, pictures)


def card_of_inputs(
    file: str | Path,
    tables: Sequence[Input],
    kept: Sequence[Input] = (),
    result: Compressed | None = None,
    guard: Guard | None = None,
    seed: int = 0,
) -> ReportCard:
    """The card of an artifact from what was compressed together: the users' table, if there is one, asks for the items.

    Args:
        file: the artifact.
        tables: the uncompressed tables.
        kept: tables that stayed as they are but take part in the scores.
        result: how the tables were compressed.
        guard: what judged the candidates.
        seed: seed of all samples.
    """
    every = [*tables, *kept]
    users = [one for one in every if one.side == "user"]
    asking = {}
    if len(users) == 1:
        width = users[0].rows.embedding_dim
        for one in tables:
            if one.side == "item" and one.rows.embedding_dim == width:
                asking[one.name] = users[0].name
    return report_card(
        file,
        {one.name: one.table for one in every},
        frequencies={one.name: one.frequencies for one in every if one.frequencies is not None},
        asking=asking,
        result=result,
        guard=guard,
        seed=seed,
    )


def _check(
    opened: ArtifactFile,
    originals: Mapping[str, Any],
    frequencies: Mapping[str, np.ndarray],
    asking: Mapping[str, str],
) -> None:
    known = ", ".join(opened.tables)
    if not set(originals) & set(opened.tables):
        raise ValueError(f"None of the tables {', '.join(originals) or 'given'} is in {opened.path}. It has: {known}.")
    for name, table in originals.items():
        packed = opened.tables.get(name)
        shape = None if packed is None else (packed.num_embeddings, packed.embedding_dim)
        if shape is not None and tuple(table.shape) != shape:
            raise ValueError(f"Table {name} has shape {tuple(table.shape)}, but {opened.path} holds {shape}.")
    for name, counts in frequencies.items():
        if name not in originals:
            raise ValueError(f"frequencies names {name}, but the tables are {', '.join(originals)}.")
        FitContext(counts).checked(originals[name].shape[0])
    for name, other in asking.items():
        if name not in opened.tables or other not in originals:
            raise ValueError(f"Rows of {other} cannot ask for rows of {name}: both tables are needed. Tables: {known}.")
        if originals[other].shape[1] != opened.tables[name].embedding_dim:
            raise ValueError(f"Rows of {other} and {name} differ in width, so they have no scores.")


def _table_facts(packed: Packed) -> dict[str, Any]:
    """Size, method and code health of a table."""
    bits, values = exact_bits(packed), packed.num_embeddings * packed.embedding_dim
    groups = [code_health(codes) for codes in codes_of(packed)]
    return {
        "num_embeddings": packed.num_embeddings,
        "embedding_dim": packed.embedding_dim,
        "method": packed.method,
        "method_config": dict(packed.method_config),
        "layout": packed.layout,
        "bytes": packed.nbytes,
        "bits_per_dimension": bits / values,
        "compression_ratio": 32 * values / bits,
        "code_health": {
            "no_collision_rate": no_collision_rate(groups) if groups else None,
            "groups": [group.to_dict() for group in groups],
            "warnings": warnings_of(groups),
        },
    }


def _held_out(
    guard: Guard | None, after: Mapping[str, Vectors], frequencies: Mapping[str, np.ndarray]
) -> dict[str, Any] | None:
    """Ranks of held-out items before and after compression; None without interactions."""
    if not isinstance(guard, TaskGuard):
        return None
    return held_out_quality(guard, after, frequencies.get(guard.ranked_name)).to_dict()


def _map_ids(num_embeddings: int, seed: int) -> np.ndarray:
    count = min(MAP_ROWS, num_embeddings)
    return np.sort(np.random.default_rng([seed, 40]).choice(num_embeddings, count, replace=False))
