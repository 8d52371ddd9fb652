"""Tables of the comparison of codecs, made from the finished cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slimtable.bench.results import Record
from slimtable.reporting.tables import ABSENT, Table
from studies.codecs.cells import MARGINS, Cells, best_pairs, best_within, margin_key
from studies.codecs.experiments import BELOW_FOUR, OF_FAISS, Entry, Panel, Side, entries
from studies.kept import read_kept
from studies.study import Line
from studies.tables import NOT_RUN

_CALLED: Mapping[str, str] = {"recall": "Recall@20", "ndcg": "NDCG@20"}
_SIDES: Mapping[Side, str] = {"items": "items alone", "both": "items and users at once"}

_NOT_ALL = "not all of faiss run"

TARGETS: Mapping[Side, Mapping[int, float]] = {
    "items": {544: 99.8, 288: 99.5, 136: 99.5, 72: 99.0, 40: 97.5, 24: 93.0, 16: 85.0},
    "both": {136: 99.0, 72: 97.5, 40: 94.0},
}
"""Percent of Recall@20 to be kept at some bits a row."""


def kept_text(figure: Sequence[float]) -> str:
    """A share that is kept with its half-width, both in percent.

    Example:
        >>> kept_text([98.24, 0.31])
        '98.2 ± 0.3'
    """
    return f"{figure[0]:.1f} ± {figure[1]:.1f}"


def same_as_smaller(cells: Cells, panel: Panel, side: Side, entry: Entry, rate: int) -> bool:
    """Whether a codec makes of a rate what it makes of a smaller one."""
    place = panel.rates.index(rate)
    own = cells.get((panel.name, side, entry.name, rate))
    before = cells.get((panel.name, side, entry.name, panel.rates[place - 1])) if place else None
    return bool(own and before and not own["why"] and not before["why"] and own["settings"] == before["settings"])


def kept_table(cells: Cells, panel: Panel, side: Side, metric: str) -> Table:
    """What every codec keeps of a metric at every rate."""
    lines = []
    for entry in entries():
        texts = []
        for rate in panel.rates:
            cell = cells.get((panel.name, side, entry.name, rate))
            if cell is None:
                texts.append(NOT_RUN)
            elif cell["why"] or same_as_smaller(cells, panel, side, entry, rate):
                texts.append(ABSENT)
            else:
                texts.append(kept_text(cell[metric]))
        lines.append((entry.name, *texts))
    title = f"Percent of {_CALLED[metric]} kept, {_SIDES[side]}, by budget in bits a row"
    return Table(title, ("codec", *(str(rate) for rate in panel.rates)), tuple(lines))


def margin_table(cells: Cells, panel: Panel, side: Side, out: Path) -> Table:
    """The best of the library against the best of faiss at every rate."""
    margins, lines = read_kept(out / MARGINS), []
    pairs = best_pairs(panel, cells)
    for rate in panel.rates:
        if (side, rate) not in pairs:
            continue
        mine, theirs = pairs[side, rate]
        margin = margins.get(margin_key(panel, side, rate, mine, theirs))
        lines.append(
            (
                str(rate),
                *(text for each in (mine, theirs) for text in _best_texts(each)),
                NOT_RUN if margin is None else f"{margin['recall'][0]:+.1f} ± {margin['recall'][1]:.1f}",
                _verdict(margin["recall"]) if margin and _all_of_faiss(cells, panel, side, rate) else _NOT_ALL,
            )
        )
    columns = (
        "budget",
        "ours",
        "bits a row",
        "Recall kept",
        "faiss",
        "bits a row",
        "Recall kept",
        "ours − faiss",
        "is",
    )
    return Table(f"The best of ours and of faiss within a budget, {_SIDES[side]}", columns, tuple(lines))


def targets_table(cells: Cells, panels: Sequence[Panel], side: Side) -> Table:
    """What the best codec within a budget keeps, beside what it should keep."""
    lines = []
    for rate, wanted in TARGETS[side].items():
        texts = []
        for panel in panels:
            best = best_within(panel, cells, side, rate, of_library=True)
            if best is None:
                texts += [NOT_RUN, NOT_RUN, NOT_RUN]
                continue
            share, half = best["recall"]
            met = "met" if share >= wanted else "within its interval" if share + half >= wanted else "missed"
            texts += [best["entry"], kept_text(best["recall"]), met]
        lines.append((str(rate), f"{wanted:g}", *texts))
    heads = (head for panel in panels for head in (f"{panel.title}: codec", "Recall kept", "is"))
    return Table(f"Targets, {_SIDES[side]}", ("bits a row", "target", *heads), tuple(lines))


def below_four_bits(cells: Cells, panel: Panel, out: Path) -> tuple[int, int, int]:
    """Budgets below four bits a dimension: how many were compared, won with an interval, and lost with one."""
    margins, found = read_kept(out / MARGINS), []
    for (side, rate), (mine, theirs) in best_pairs(panel, cells).items():
        margin = margins.get(margin_key(panel, side, rate, mine, theirs))
        if rate < BELOW_FOUR and margin is not None and _all_of_faiss(cells, panel, side, rate):
            found.append(_verdict(margin["recall"]))
    return len(found), found.count("better"), found.count("worse")


def numbers(cells: Cells, panel: Panel) -> list[Line]:
    """All finished cells of a panel as lines of numbers."""
    lines = []
    for (name, side, entry, rate), cell in cells.items():
        if name != panel.name:
            continue
        line: Line = {"panel": name, "side": side, "codec": entry, "budget bits a row": rate}
        if not cell["why"]:
            line |= {"bits a row": cell["bits"] / cell["rows"], "bits": cell["bits"]}
            for metric in _CALLED:
                line |= dict(zip((f"{metric} kept", f"{metric} half-width"), cell[metric], strict=True))
            line |= {"validation kept": cell["validation"], "seconds": cell["seconds"]}
        lines.append(line | {"why": cell["why"]})
    return lines


def _all_of_faiss(cells: Cells, panel: Panel, side: Side, rate: int) -> bool:
    return all(entry.ours or (panel.name, side, entry.name, rate) in cells for entry in entries())


def _best_texts(cell: Record) -> tuple[str, str, str]:
    return cell["entry"].removeprefix(OF_FAISS), f"{cell['bits'] / cell['rows']:.1f}", kept_text(cell["recall"])


def _verdict(margin: Sequence[Any]) -> str:
    share, half = margin
    return "better" if share > half else "worse" if share < -half else "undecided"
