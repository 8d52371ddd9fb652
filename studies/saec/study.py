"""The experiments on Saec as a study."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from slimtable.bench.results import Record
from studies.saec import items
from studies.saec.cells import measure_cells, read_cells
from studies.saec.experiments import (
    FULL,
    FULL_PANELS,
    MOVING,
    NEW_VALUES,
    QUICK_PANELS,
    SAEC,
    SIZED,
    Cell,
    CellItem,
    Panel,
    cells_of,
)
from studies.study import Place, Study, by_name

_ALL = tuple(panel.name for panel in FULL_PANELS)
_WINDOWS = tuple(panel.name for panel in FULL_PANELS if panel.windows)
_SIZES = (FULL, *(entry for entries in SIZED.values() for entry in entries))


@dataclass(frozen=True)
class Saec(Study[Panel]):
    """Wu et al. 2020."""

    name = "saec"
    heading = "Similarity-aware embedding compression (Wu et al. 2020, arXiv 1903.00103), reconstructed"
    captions = items.CAPTIONS
    tells_missing = False  # the tables do
    scales = {"full": FULL_PANELS, "quick": QUICK_PANELS}  # noqa: RUF012
    items = by_name(
        CellItem("movietweetings", items.compared, _ALL[:2]),
        CellItem("criteo", items.compared, _ALL[2:4]),
        CellItem("ml-1m", items.compared, _ALL[4:]),
        CellItem("sizes", items.sizes, _ALL, entries=_SIZES),
        CellItem("new-values", items.new_values, _WINDOWS, entries=(NEW_VALUES,)),
        CellItem("hysteresis", items.hysteresis, _WINDOWS, entries=MOVING),
        CellItem("seconds", items.seconds, _WINDOWS, entries=(FULL, SAEC)),
    )

    def cells(self, chosen: Sequence[str]) -> list[Cell]:
        """All cells that some items need."""
        return cells_of([item for name in chosen if isinstance(item := self.items[name], CellItem)], self)

    def measure(self, chosen: Sequence[str], place: Place[Panel], *, workers: int | None, progress: bool) -> list[str]:
        workers = workers if workers is not None else os.cpu_count() or 1
        failures = measure_cells(self.cells(chosen), place.out, place.data_root, workers=workers, progress=progress)
        return [f"{each.job[0][0].panel.title}, seed {each.job[0][0].seed}: {each.reason}" for each in failures]

    def behind(self, place: Place[Panel]) -> list[Record]:
        return list(read_cells(place.out).values())

    def missing(self, item: str, place: Place[Panel]) -> int:
        known = read_cells(place.out)
        return sum(cell.key not in known for cell in self.cells([item]))
