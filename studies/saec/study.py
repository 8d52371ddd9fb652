"""The experiments on Saec as a study."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from slimtable.bench.grids import Grid
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

_POSTER = (
    "The poster: 27 times less memory of embeddings (4.46 GB → 161 MB) and two orders of magnitude fewer vectors, "
    "with the same AUC and log loss."
)
_ALL = tuple(panel.name for panel in FULL_PANELS)
_WINDOWS = tuple(panel.name for panel in FULL_PANELS if panel.windows)


@dataclass(frozen=True)
class Saec(Study[Panel]):
    """Wu et al. 2020."""

    name = "saec"
    heading = "Similarity-aware embedding compression (Wu et al. 2020, arXiv 1903.00103), reconstructed"
    panels = {"full": FULL_PANELS, "quick": QUICK_PANELS}  # noqa: RUF012
    items = by_name(
        CellItem("movietweetings", "MovieTweetings in eight windows of time", _POSTER, items.compared, _ALL[:2]),
        CellItem("criteo", "Criteo in eight windows of time", _POSTER, items.compared, _ALL[2:4]),
        CellItem("ml-1m", "MovieLens-1M on a seeded split", _POSTER, items.compared, _ALL[4:]),
        CellItem(
            "sizes",
            "Quality against size",
            "The poster has one size; how far tables can shrink before AUC or log loss suffer is asked here.",
            items.sizes,
            _ALL,
            entries=[FULL, *(entry for entries in SIZED.values() for entry in entries)],
        ),
        CellItem(
            "new-values",
            "New values in their first window",
            "New features arrive all the time. A value can be served by its field's default row, by the mean vector of "
            "what it occurs with, or by the shared row that is nearest to its freshly trained vector.",
            items.new_values,
            _WINDOWS,
            entries=[NEW_VALUES],
        ),
        CellItem(
            "hysteresis",
            "Assignments that move, and deltas",
            "Vectors also travel over the network. A value that leaves its shared row only for one that is nearer by "
            "some margin keeps what has to be published small.",
            items.hysteresis,
            _WINDOWS,
            entries=MOVING,
        ),
        CellItem(
            "seconds",
            "Seconds of each stage",
            "The poster: clustering is 32 times faster than k-means, so all of it fits into the hour.",
            items.seconds,
            _WINDOWS,
            entries=[FULL, SAEC],
        ),
    )

    def cells(self, chosen: Sequence[str]) -> list[Cell]:
        """All cells that some items need."""
        return cells_of([item for name in chosen if isinstance(item := self.items[name], CellItem)], self.profile)

    def trained_panels(self, chosen: Sequence[str]) -> set[str]:
        return {panel for item in chosen for panel in self.items[item].panels}

    def grids(self, chosen: Sequence[str], place: Place[Panel]) -> list[Grid]:
        return []

    def measure(self, chosen: Sequence[str], place: Place[Panel], *, workers: int | None, progress: bool) -> list[str]:
        workers = workers if workers is not None else os.cpu_count() or 1
        failures = measure_cells(self.cells(chosen), place.out, place.data_root, workers=workers, progress=progress)
        return [f"{each.job[0][0].panel.title}, seed {each.job[0][0].seed}: {each.reason}" for each in failures]

    def behind(self, place: Place[Panel]) -> list[Record]:
        return list(read_cells(place.out).values())

    def missing(self, item: str, place: Place[Panel]) -> int:
        known = read_cells(place.out)
        return sum(cell.key not in known for cell in self.cells([item]))

    def notes_on_missing(self, missing: int) -> list[str]:
        return []  # the tables say it
