"""Each item of the experiments on Saec as text, numbers and picture, made from the finished cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from slimtable.bench.results import Record
from slimtable.reporting.tables import Table
from studies.saec.experiments import AS_PUBLISHED, FAMILIES, FULL, LEVELS, RATIOS, SAEC, Entry, Panel, Profile, sized
from studies.saec.figures import draw_differences, draw_sizes, draw_windows
from studies.saec.tables import (
    Rows,
    Runs,
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
from studies.saec.texts import (
    CHOSEN,
    MOVING,
    NEW,
    PRIMES,
    QUICK,
    ROWS,
    SECONDS,
    SIZES_COUNTED,
    SOURCE,
    SPLIT,
    STATEMENTS,
    TITLES,
    TRAINED,
    WINDOWS,
    WITHIN,
    spell_training,
)
from studies.study import Line, Rendered, to_csv

_TOO_LITTLE = "does not fit into the budget"

Cells = Mapping[tuple[str, int, str], Record]


@dataclass(frozen=True)
class Content:
    """What an item holds: see :class:`studies.study.Rendered`."""

    notes: list[str]
    tables: list[Table]
    lines: list[Line]
    picture: bytes | None = None


def rows_of(item: str, panel: Panel, profile: Profile, cells: Cells) -> Rows:
    """The rows of an item on a panel, each with its finished cells."""
    found = []
    for entry in profile.entries_of(item, panel):
        keys = [(panel.name, seed, entry.name) for seed in range(profile.seeds)]
        by_seed = {key[1]: cells[key] for key in keys if key in cells and cells[key]["windows"]}
        if not by_seed and any(key in cells for key in keys):
            entry = replace(entry, name=f"{entry.name} ({_TOO_LITTLE})")
        found.append((entry, Runs(by_seed) if by_seed else None))
    return found


def render_item(item: str, profile: Profile, cells: Cells) -> Rendered:
    """Makes an item from the cells that are there."""
    panels = [(panel, rows_of(item, panel, profile, cells)) for panel in profile.panels_of(item)]
    content = _MAKERS.get(item, _compared)(panels)
    notes = [*([QUICK] if profile.quick else []), *content.notes, *(spell_training(panel) for panel, _ in panels)]
    return Rendered(
        item=item,
        title=TITLES[item],
        statement=STATEMENTS[item],
        notes=(*notes, CHOSEN, SOURCE),
        tables=tuple(content.tables),
        csv=to_csv(content.lines),
        picture=content.picture,
        missing=sum(cell.key not in cells for cell in profile.cells([item])),
    )


Panels = list[tuple[Panel, Rows]]


def _compared(panels: Panels) -> Content:
    windows = any(panel.windows for panel, _ in panels)
    shown = [
        entry
        for entry in (AS_PUBLISHED, SAEC, LEVELS)
        if any(entry is other for _, rows in panels for other, _ in rows)
    ]
    tables = [promises_table(panels, shown), *(compared_table(panel, rows) for panel, rows in panels)]
    best = [_best_of_ours(rows) for _, rows in panels]
    notes = [verdict(panel, entry, rows) for (panel, rows), entry in zip(panels, best, strict=True)]
    notes += [WINDOWS if windows else SPLIT, SIZES_COUNTED, ROWS, TRAINED, PRIMES, WITHIN]
    picture = draw_windows(panels) if windows else draw_differences(panels)
    return Content(notes, tables, _lines(panels), picture)


def _best_of_ours(rows: Rows) -> Entry:
    """The row of ours that loses least log loss, among those that were run."""
    full = runs_of(FULL, rows)
    ours = [(entry, runs) for entry, runs in rows if entry.name.startswith("Saec, ours") and runs is not None]
    if full is None or not ours:
        return SAEC
    return min(ours, key=lambda row: row[1].estimate("log_loss").mean)[0]


def _sizes(panels: Panels) -> Content:
    tables, drawn = [], []
    for panel, rows in panels:
        families = {
            family: [
                (entry, runs)
                for ratio in RATIOS
                for entry, runs in rows
                if entry.name.partition(" (")[0] == sized(family, ratio).name
            ]
            for family in FAMILIES
        }
        families = {family: members for family, members in families.items() if members}
        full = runs_of(FULL, rows)
        tables.append(sizes_table(panel, families, full))
        if full is not None:
            runs = {name: [each for _, each in family if each is not None] for name, family in families.items()}
            drawn.append((panel, runs, full))
    return Content([SIZES_COUNTED, ROWS, WITHIN], tables, _lines(panels), draw_sizes(drawn))


def _new_values(panels: Panels) -> Content:
    tables = [new_values_table(panel, runs) for panel, rows in panels for _, runs in rows]
    return Content([NEW, WINDOWS], tables, _lines(panels))


def _hysteresis(panels: Panels) -> Content:
    return Content([MOVING, WINDOWS], [moving_table(panel, rows) for panel, rows in panels], _lines(panels))


def _seconds(panels: Panels) -> Content:
    return Content([SECONDS], [seconds_table(panel, rows) for panel, rows in panels], _lines(panels))


def _lines(panels: Panels) -> list[Line]:
    return [line for panel, rows in panels for entry, runs in rows for line in numbers(panel, entry, runs)]


_MAKERS: dict[str, Callable[[Panels], Content]] = {
    "sizes": _sizes,
    "new-values": _new_values,
    "hysteresis": _hysteresis,
    "seconds": _seconds,
}
