"""Each item of the experiments on Saec as text, numbers and picture, made from the finished cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from slimtable.reporting.tables import Table
from studies.captions import Captions
from studies.saec.cells import read_cells
from studies.saec.experiments import (
    AS_PUBLISHED,
    BOUND,
    FEWER,
    FULL,
    LEVELS,
    OTHER_RATES,
    RATIO,
    SAEC,
    SIZED,
    CellItem,
    Entry,
    Panel,
    describe_training,
)
from studies.saec.figures import draw_differences, draw_sizes, draw_windows
from studies.saec.tables import (
    LOG_LOSS,
    Panels,
    Rows,
    compared_table,
    moving_table,
    new_values_table,
    numbers,
    promises_table,
    runs_of,
    seconds_table,
    sizes_table,
    verdict,
)
from studies.series import Row, Series
from studies.study import Content, Item, Place

CAPTIONS = Captions.beside(__file__)
_RATIOS = {"ratio": RATIO, "fewer": FEWER}
_RATES = {"number": len(OTHER_RATES), "factors": ", ".join(f"{factor:g}" for factor in OTHER_RATES)}
NOTES = {name: text.format(**_RATIOS, **_RATES, bound=BOUND) for name, text in CAPTIONS.notes.items()}
_TOO_LITTLE = "does not fit into the budget"


def rows_of(item: Item[Panel], place: Place[Panel]) -> list[tuple[Panel, list[Row[Entry]]]]:
    """The rows of an item on each of its panels, with their finished cells."""
    assert isinstance(item, CellItem)
    cells, found = read_cells(place.out), []
    for panel in item.panels_of(place.study):
        rows = []
        for entry in item.entries_on(panel, place.study):
            of_seeds = {seed: cells.get((panel.name, seed, entry.name)) for seed in range(panel.seeds)}
            by_seed = {seed: cell for seed, cell in of_seeds.items() if cell and cell["windows"]}
            unfit = not by_seed and any(of_seeds.values())
            name = f"{entry.name} ({_TOO_LITTLE})" if unfit else entry.name
            rows.append(Row(entry, name, Series(by_seed) if by_seed else None))
        found.append((panel, rows))
    return found


def _content(
    panels: Panels, place: Place[Panel], notes: Sequence[str], tables: Sequence[Table], picture: bytes | None = None
) -> Content:
    """What an item is, with what all of them say."""
    quick = [NOTES["quick"]] if place.study.quick else []
    spelled = [describe_training(panel) for panel, _ in panels]
    return Content([*quick, *notes, *spelled, NOTES["chosen"], NOTES["source"]], tables, numbers(panels), picture)


def compared(item: Item[Panel], place: Place[Panel]) -> Content:
    """Everything on a log, with each model."""
    panels = rows_of(item, place)
    windows = any(panel.windows for panel, _ in panels)
    tables = [promises_table(panels, (AS_PUBLISHED, SAEC, LEVELS))]
    tables += [compared_table(panel, rows) for panel, rows in panels]
    notes = [verdict(panel, _best_of_ours(rows), rows) for panel, rows in panels]
    notes += [NOTES["windows"] if windows else NOTES["split"], NOTES["sizes_counted"], NOTES["rows"], NOTES["trained"]]
    picture = draw_windows(panels) if windows else draw_differences(panels)
    return _content(panels, place, [*notes, NOTES["primes"], NOTES["within"]], tables, picture)


def _best_of_ours(rows: Rows) -> Entry:
    """The row of ours that loses least log loss, among those that were run."""
    ours = [row for row in rows if row.name.startswith("Saec, ours") and row.series is not None]
    if runs_of(FULL, rows) is None or not ours:
        return SAEC
    return min(ours, key=lambda row: row.runs.estimate(LOG_LOSS).mean).of


def sizes(item: Item[Panel], place: Place[Panel]) -> Content:
    """Quality against size."""
    panels, tables, drawn = rows_of(item, place), [], []
    for panel, rows in panels:
        families = {
            family: [row for entry in entries for row in rows if row.of is entry] for family, entries in SIZED.items()
        }
        families = {family: members for family, members in families.items() if members}
        full = runs_of(FULL, rows)
        tables.append(sizes_table(panel, families, full))
        if full is not None:
            runs = {name: [row.series for row in family if row.series] for name, family in families.items()}
            drawn.append((panel, runs, full))
    return _content(panels, place, [NOTES["sizes_counted"], NOTES["rows"], NOTES["within"]], tables, draw_sizes(drawn))


def each_panel(
    table: Callable[[Panel, Any], Table], *notes: str, single: bool = False
) -> Callable[[Item[Panel], Place[Panel]], Content]:
    """An item with a table for each panel: of its rows, or of the runs of the only one."""

    def make(item: Item[Panel], place: Place[Panel]) -> Content:
        panels = rows_of(item, place)
        tables = [table(panel, rows[0].series if single else rows) for panel, rows in panels]
        return _content(panels, place, notes, tables)

    return make


new_values = each_panel(new_values_table, NOTES["new"], NOTES["windows"], single=True)
hysteresis = each_panel(moving_table, NOTES["moving"], NOTES["windows"])
seconds = each_panel(seconds_table, NOTES["seconds"])
