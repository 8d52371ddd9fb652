"""The comparison of codecs as a study."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from slimtable.bench.results import Record
from studies.codecs import items
from studies.codecs.cells import measure_cells, read_cells
from studies.codecs.experiments import FULL_PANELS, QUICK_PANELS, Cell, CellItem, Panel, cells_of
from studies.study import Place, Study, by_name


@dataclass(frozen=True)
class Codecs(Study[Panel]):
    """Every codec at twelve rates on trained tables, beside faiss."""

    name = "codecs"
    heading = "Codecs of trained tables at equal bytes"
    captions = items.CAPTIONS
    tells_missing = False  # the notes do
    scales = {"full": FULL_PANELS, "quick": QUICK_PANELS}  # noqa: RUF012
    items = by_name(
        CellItem("targets", items.targets, ("ials-gowalla", "ials-ml-1m")),
        *(CellItem(panel.name, items.compared, (panel.name,)) for panel in FULL_PANELS),
    )

    def cells(self, chosen: Sequence[str]) -> list[Cell]:
        """All cells that some items need."""
        return cells_of([item for name in chosen if isinstance(item := self.items[name], CellItem)], self)

    def measure(self, chosen: Sequence[str], place: Place[Panel], *, workers: int | None, progress: bool) -> list[str]:
        workers = workers if workers is not None else os.cpu_count() or 1
        failures = measure_cells(self.cells(chosen), place.out, place.data_root, workers=workers, progress=progress)
        return [f"{each.job[0][0].panel.title}: {each.reason}" for each in failures]

    def behind(self, place: Place[Panel]) -> list[Record]:
        return list(read_cells(place.out).values())

    def missing(self, item: str, place: Place[Panel]) -> int:
        known = read_cells(place.out)
        return sum(cell.key not in known for cell in self.cells([item]))
