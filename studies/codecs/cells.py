"""Measures codecs at rates, and keeps each cell as a line of JSON as soon as it is finished."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from slimtable.bench.machine import cpu_name, versions
from slimtable.bench.results import Record, canonical
from slimtable.errors import BudgetError
from slimtable.files import replace_file
from slimtable.pool import Failure
from studies.codecs import ours, with_faiss
from studies.codecs.evaluation import per_user, share_kept, share_of
from studies.codecs.experiments import CONSTANT_BITS, OF_FAISS, Cell, K, Panel, Side
from studies.codecs.ours import Coded
from studies.codecs.trained import PARTS, Part, Tables, lists_of, load_tables
from studies.finished import add_finished, measure_missing, read_finished
from studies.kept import keep, read_kept

CELLS, MARGINS, UNCOMPRESSED_FIGURES = "cells.jsonl", "margins.json", "uncompressed.json"
_KEYS = {"panel", "side", "entry", "rate", "why", "date", "versions", "cpu"}

Cells = dict[tuple[str, str, str, int], Record]
"""Finished cells by :attr:`studies.codecs.experiments.Cell.key`."""
Group = tuple[Sequence[Cell], Path, Path | None]
"""Cells of one panel, the folder, and that of datasets."""


@dataclass(frozen=True)
class Table:
    """A table that is compressed.

    Attributes:
        name: "items" or "users".
        rows: float32 (N, d).
        frequencies: int64 (N,).
        padding_idx: row that is served as zeros, or None.
    """

    name: str
    rows: np.ndarray
    frequencies: np.ndarray
    padding_idx: int | None = None


def read_cells(out: Path) -> Cells:
    """The finished cells of a folder; errors as :func:`studies.finished.read_finished`."""
    found = read_finished(out / CELLS, _KEYS)
    return {(each["panel"], each["side"], each["entry"], each["rate"]): each for each in found}


def measure_cells(
    cells: Sequence[Cell], out: Path, data_root: Path | None, *, workers: int = 1, progress: bool = True
) -> list[Failure[Group]]:
    """Measures what is not there yet, and keeps each cell as soon as it is finished.

    A panel is done by one process. Returned is what failed; the others are finished.
    """
    groups = [list(group) for _, group in groupby(cells, lambda cell: cell.panel.name)]
    return measure_missing(
        groups, lambda: read_cells(out), _measure_group, out, data_root, workers=workers, progress=progress
    )


def _measure_group(group: Group) -> None:
    cells, out, data_root = group
    for cell in cells:
        try:
            measured, why = measure_cell(cell, out, data_root), ""
        except (BudgetError, ValueError) as error:  # a finding too: there is no such size, or the codec refuses
            measured, why = {}, str(error)
        record = {
            **dict(zip(("panel", "side", "entry", "rate"), cell.key, strict=True)),
            **measured,
            "why": why,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": versions() | _other_versions(),
            "cpu": cpu_name(),
        }
        add_finished(out / CELLS, record)
    best_margins(cells[0].panel, out, data_root)


def measure_cell(cell: Cell, out: Path, data_root: Path | None) -> Record:
    """The figures of a cell.

    Returns:
        "bits" and "rows" of what is compressed, "settings" by table, "recall" and "ndcg", each the percent kept and its
        half-width, "validation" the percent of Recall kept there, and "seconds" of fitting and encoding.

    Raises:
        BudgetError: the codec has no size within the budget.
        ValueError: the codec refuses a table.
    """
    tables = load_tables(cell.panel, out, data_root)
    coded, seconds = {}, 0.0
    for table in _compressed_tables(cell, tables):
        judge = partial(_judge, cell.panel, table.name, out, data_root)
        coded[table.name], spent = _coded(cell, table, out, judge)
        seconds += spent
    settings = {name: each.setting for name, each in coded.items()}
    figures = _known(cell, settings, out) or _figures(cell, coded, tables, out, data_root)
    return figures | {
        "bits": sum(each.bits for each in coded.values()),
        "rows": sum(len(each.rows) for each in coded.values()),
        "settings": settings,
        "seconds": seconds,
    }


def _figures(cell: Cell, coded: Mapping[str, Coded], tables: Tables, out: Path, data_root: Path | None) -> Record:
    """What compressed tables keep; the figures of single users are written to a file."""
    users = coded["users"].rows if "users" in coded else tables.users
    figures: Record = {}
    for part in PARTS:
        full = _full(cell.panel, part, out, data_root)
        lists = lists_of(cell.panel, part, data_root)
        mine = per_user(tables.scorer(coded["items"].rows, users, part), lists, K)
        recall, ndcg = (share_kept(own, other) for own, other in zip(mine, full, strict=True))
        if part == "valid":
            figures["validation"] = recall[0]
            continue
        figures |= {"recall": recall, "ndcg": ndcg}
        with replace_file(_users_path(out, cell.key)) as file:
            np.save(file, np.stack(mine).astype(np.float32))
    return figures


def _known(cell: Cell, settings: Mapping[str, Any], out: Path) -> Record | None:
    """The figures of a cell at another rate where the codec makes the same of it; None where there is none."""
    for key, other in read_cells(out).items():
        same = key[:3] == cell.key[:3] and not other["why"] and canonical(other["settings"]) == canonical(settings)
        if same and _users_path(out, key).is_file():
            shutil.copyfile(_users_path(out, key), _users_path(out, cell.key))
            return {name: other[name] for name in ("validation", "recall", "ndcg")}
    return None


def best_margins(panel: Panel, out: Path, data_root: Path | None) -> None:
    """Compares, at every rate, the best of the library with the best of faiss, each chosen on the validation part."""
    for (side, rate), (mine, theirs) in best_pairs(panel, read_cells(out)).items():
        key = margin_key(panel, side, rate, mine, theirs)
        paths = [_users_path(out, (panel.name, side, each["entry"], each["rate"])) for each in (mine, theirs)]
        if key not in read_kept(out / MARGINS) and all(path.is_file() for path in paths):
            ours_, theirs_ = (np.load(path).astype(np.float64) for path in paths)
            full = _full(panel, "test", out, data_root)
            pairs = zip(("recall", "ndcg"), ours_, theirs_, full, strict=True)
            keep(out / MARGINS, key, {name: share_of(*values) for name, *values in pairs})


def best_pairs(panel: Panel, cells: Cells) -> dict[tuple[Side, int], tuple[Record, Record]]:
    """The best cell of the library and of faiss by side and rate; a smaller one counts where it is better."""
    found: dict[tuple[Side, int], tuple[Record, Record]] = {}
    for side in panel.sides:
        for rate in panel.rates:
            mine, theirs = (best_within(panel, cells, side, rate, of_library=is_ours) for is_ours in (True, False))
            if mine is not None and theirs is not None:
                found[side, rate] = mine, theirs
    return found


def best_within(panel: Panel, cells: Cells, side: Side, rate: int, *, of_library: bool) -> Record | None:
    """The best cell of the library, or of faiss, within a rate, chosen on the validation part; None without one."""
    found = [
        cell
        for (name, its_side, entry, its_rate), cell in cells.items()
        if (name, its_side) == (panel.name, side)
        and its_rate <= rate
        and not cell["why"]
        and entry.startswith(OF_FAISS) != of_library
    ]
    return max(found, key=lambda cell: cell["validation"], default=None)


def margin_key(panel: Panel, side: str, rate: int, mine: Record, theirs: Record) -> str:
    """What a margin is kept under."""
    pair = [[each["entry"], each["rate"], each["date"]] for each in (mine, theirs)]
    return canonical([panel.name, side, rate, *pair])


def _compressed_tables(cell: Cell, tables: Tables) -> list[Table]:
    found = [Table("items", tables.items, tables.item_counts, tables.padding_idx)]
    if cell.side == "both":
        assert tables.users is not None
        found.append(Table("users", tables.users, tables.user_counts))
    return found


def _judge(panel: Panel, name: str, out: Path, data_root: Path | None, rows: np.ndarray) -> float:
    """Validation Recall of rows in place of a table, the other one as trained."""
    tables = load_tables(panel, out, data_root)
    items, users = (rows, tables.users) if name == "items" else (tables.items, rows)
    return float(per_user(tables.scorer(items, users, "valid"), lists_of(panel, "valid", data_root), K)[0].mean())


def _coded(cell: Cell, table: Table, out: Path, judge: Callable[[np.ndarray], float]) -> tuple[Coded, float]:
    """A table compressed within a rate, and the seconds; read where the same was made for another cell."""
    entry = cell.entry
    budget = float(cell.rate * len(table.rows) + CONSTANT_BITS)
    options = dict(entry.options)
    found: Any = (
        ours.size_within(entry.kind, options, table.rows.shape, table.frequencies, budget)
        if entry.ours
        else with_faiss.settings_within(entry.kind, table.rows.shape, budget)
    )
    words = canonical([cell.panel.name, table.name, entry.name, found])
    path = out / "decoded" / f"{hashlib.sha256(words.encode()).hexdigest()[:24]}.npz"
    if not path.is_file():
        started = time.perf_counter()
        coded = (
            ours.compress(entry.kind, found, table.rows, table.frequencies, table.padding_idx)
            if entry.ours
            else with_faiss.compress_best(entry.kind, found, table.rows, judge)
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        if coded.bits > budget:
            raise AssertionError(f"{entry.name} takes {coded.bits:,} bits of a budget of {budget:,.0f}.")
        if not entry.ours and table.padding_idx is not None:
            coded.rows[table.padding_idx] = 0
        with replace_file(path) as file:
            about = {"bits": coded.bits, "setting": coded.setting, "seconds": time.perf_counter() - started}
            np.savez(file, rows=coded.rows, about=np.array(json.dumps(about)))
    with np.load(path) as kept_:
        rows, about = kept_["rows"], json.loads(str(kept_["about"]))
    return Coded(rows, about["bits"], about["setting"]), about["seconds"]


@lru_cache(maxsize=4)
def _full(panel: Panel, part: Part, out: Path, data_root: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Recall and NDCG of each user with the uncompressed tables; their means are kept for the page."""
    tables = load_tables(panel, out, data_root)
    found = per_user(tables.scorer(tables.items, tables.users, part), lists_of(panel, part, data_root), K)
    figures = {
        **{name: float(values.mean()) for name, values in zip(("recall", "ndcg"), found, strict=True)},
        "users": len(found[0]),
        "items": len(tables.items),
        "all users": 0 if tables.users is None else len(tables.users),
        "width": tables.items.shape[1],
        "training": ", ".join(f"{name} {value}" for name, value in tables.training.items()),
    }
    keep(out / UNCOMPRESSED_FIGURES, f"{panel.name} {part}", figures)
    return found


def _users_path(out: Path, key: Iterable[Any]) -> Path:
    path = out / "users" / f"{hashlib.sha256(canonical(list(key)).encode()).hexdigest()[:24]}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _other_versions() -> dict[str, str]:
    found = {}
    for name in ("faiss-cpu", "implicit"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
