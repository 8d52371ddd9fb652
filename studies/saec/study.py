"""The experiments on Saec as a study: their profile with what the runner asks for."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from slimtable.bench.grids import Grid
from slimtable.bench.results import Record
from studies.run import Reproduction, reproduce
from studies.saec.cells import measure_cells
from studies.saec.experiments import ITEMS, Profile, make_profile
from studies.saec.items import render_item
from studies.saec.store import read_cells
from studies.study import Place, Rendered, Study


@dataclass(frozen=True)
class Saec(Study):
    """Wu et al. 2020.

    Attributes:
        profile: how much of it is done.
    """

    profile: Profile = field(default_factory=Profile)

    name: ClassVar[str] = "saec"
    heading: ClassVar[str] = "Similarity-aware embedding compression (Wu et al. 2020, arXiv 1903.00103), reconstructed"
    items: ClassVar[tuple[str, ...]] = ITEMS
    untrained: ClassVar[frozenset[str]] = frozenset(ITEMS)  # none trains a recommender; cells are kept elsewhere

    @classmethod
    def usual(cls) -> Self:
        return cls()

    @classmethod
    def begun(cls, settings: dict[str, Any]) -> Self:
        return cls(make_profile(settings["profile"] == "quick", settings.get("seeds")))

    @property
    def scale(self) -> str:
        return self.profile.name

    def training(self) -> dict[str, dict[str, Any]]:
        return {panel.name: panel.settings() for panel in self.profile.panels}

    def panels_of(self, items: Sequence[str]) -> set[str]:
        return {panel.name for item in items for panel in self.profile.panels_of(item)}

    def seeds(self) -> int | None:
        return self.profile.asked_seeds

    def options(self) -> list[str]:
        return ["--quick"] if self.profile.quick else []

    def grids(self, items: Sequence[str], out: Path, data_root: Path | None) -> list[Grid]:
        return []

    def measure(
        self, items: Sequence[str], out: Path, data_root: Path | None, *, workers: int | None, progress: bool
    ) -> None:
        workers = workers if workers is not None else os.cpu_count() or 1
        measure_cells(self.profile.cells(items), out, data_root, workers=workers, progress=progress)

    def missing(self, item: str, place: Place) -> int:
        known = read_cells(place.out)
        return sum(cell.key not in known for cell in self.profile.cells([item]))

    def render(self, item: str, place: Place) -> Rendered:
        return render_item(item, self.profile, read_cells(place.out))

    def runs(self, place: Place) -> Sequence[Record]:
        return list(read_cells(place.out).values())


def reproduce_saec(
    out: str | Path,
    profile: Profile | None = None,
    *,
    only: Sequence[str] = (),
    render: bool = False,
    data_root: str | Path | None = None,
    workers: int | None = None,
    progress: bool = True,
    on_item: Callable[[Rendered], None] | None = None,
) -> Reproduction:
    """Makes the tables and figures on Saec.

    Args:
        out: folder of the results.
        profile: how much to do; None for what the folder was begun with, else all of it.
        only: names of :data:`studies.saec.experiments.ITEMS`; empty for all.
        render: train nothing, and draw from the cells that are there.
        data_root: folder of datasets; None for the usual one.
        workers: processes, one thread each; 1 for this process alone, None for one per core.
        progress: show a progress bar on a terminal.
        on_item: called with each table and figure as soon as it is written.

    Returns:
        The folder's tables and figures; errors are those of :func:`studies.run.reproduce`.
    """
    study = None if profile is None else Saec(profile)
    return reproduce(
        Saec,
        out,
        study,
        only=only,
        render=render,
        data_root=data_root,
        workers=workers,
        progress=progress,
        on_item=on_item,
    )
