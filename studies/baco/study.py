"""The BACO paper as a study: its profile with what the runner asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from slimtable.bench.grids import Grid
from studies.baco.experiments import ITEMS, PANEL_OF, UNTRAINED, Profile, grids, grouping_of, make_profile, timed
from studies.baco.items import Workplace, missing_of, render_item
from studies.baco.size import Size, known_sizes, matched_size
from studies.baco.timing import keep_timing, known_timings, time_grouping, timing_key
from studies.run import Reproduction, reproduce
from studies.series import Runs
from studies.study import Place, Rendered, Study

_FIELDS = ("batch_size", "learning_rate", "epochs", "patience", "evaluate_every", "device")
"""Settings that a command may change, by panel."""


_BOTH = ("beauty", "gowalla")
_PANELS = {"timing": _BOTH, "clusters": _BOTH, "ablations": _BOTH}
"""Data that items look at, where it is not that of their panel alone."""


def _whole() -> Profile:
    return make_profile(quick=False)


@dataclass(frozen=True)
class BACO(Study):
    """Jiang, Yang and Wu 2026.

    Attributes:
        profile: how much of it is done.
    """

    profile: Profile = field(default_factory=_whole)

    name: ClassVar[str] = "baco"
    heading: ClassVar[str] = "Balanced co-clustering (Jiang et al. 2026, arXiv 2604.18351), reproduced"
    items: ClassVar[tuple[str, ...]] = ITEMS
    untrained: ClassVar[frozenset[str]] = UNTRAINED

    @classmethod
    def usual(cls) -> Self:
        return cls()

    @classmethod
    def begun(cls, settings: dict[str, Any]) -> Self:
        changes = {
            panel: {name: value for name, value in train.items() if name in _FIELDS}
            for panel, train in settings["train"].items()
        }
        return cls(make_profile(settings["profile"] == "quick", settings.get("seeds"), changes))

    @property
    def scale(self) -> str:
        return self.profile.name

    def training(self) -> dict[str, dict[str, Any]]:
        return {panel.name: panel.train.to_dict() for panel in self.profile.panels}

    def panels_of(self, items: Sequence[str]) -> set[str]:
        return {PANEL_OF[item] for item in items if item not in UNTRAINED}

    def seeds(self) -> int | None:
        return self.profile.asked_seeds

    def options(self) -> list[str]:
        words, usual = ["--quick"] if self.profile.quick else [], make_profile(self.profile.quick)
        for panel, other in zip(self.profile.panels, usual.panels, strict=True):
            for name in _FIELDS:
                value = getattr(panel.train, name)
                if value != getattr(other.train, name):
                    words += [f"--{name.replace('_', '-')}", f"{panel.name}={value}"]
        return words

    def grids(self, items: Sequence[str], out: Path, data_root: Path | None) -> list[Grid]:
        return grids(items, self.profile, self._sizes(items, out, data_root), data_root)

    def missing(self, item: str, place: Place) -> int:
        return missing_of(item, self._workplace(place))

    def render(self, item: str, place: Place) -> Rendered:
        self._sizes([item], place.out, place.data_root)
        return render_item(item, self._workplace(place))

    def measure(
        self, items: Sequence[str], out: Path, data_root: Path | None, *, workers: int | None, progress: bool
    ) -> None:
        if "timing" not in items:
            return
        sizes, limit = self._sizes(["timing"], out, data_root), self.profile.time_limit
        for panel in self.profile.datasets:
            for entry in timed(self.profile):
                grouping, rows = grouping_of(entry, sizes[panel.name])
                key = timing_key(panel.name, grouping, rows, limit)
                if key not in known_timings(out):
                    keep_timing(out, key, time_grouping(panel.source(data_root), grouping, rows, limit))

    def _sizes(self, items: Sequence[str], out: Path, data_root: Path | None) -> dict[str, Size]:
        """The sizes of the panels of some items; found now where they are not known."""
        for name in dict.fromkeys(panel for item in items for panel in _PANELS.get(item) or (PANEL_OF[item],)):
            panel = self.profile.panel(name)
            matched_size(name, panel.source(data_root), panel.train.embedding_dim, out)
        return known_sizes(out)

    def _workplace(self, place: Place) -> Workplace:
        return Workplace(place.out, self.profile, Runs(place.records), known_sizes(place.out), place.data_root)


def reproduce_baco(
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
    """Reproduces tables and figures of the BACO paper.

    Args:
        out: folder of the results.
        profile: how much to do; None for what the folder was begun with, else all of it.
        only: names of :data:`studies.baco.experiments.ITEMS`; empty for all.
        render: train nothing, and draw from the runs that are there.
        data_root: folder of datasets; None for the usual one.
        workers: processes, one thread each; 1 for this process alone, None for one per core.
        progress: show a progress bar on a terminal.
        on_item: called with each table and figure as soon as it is written.

    Returns:
        The folder's tables and figures; errors are those of :func:`studies.run.reproduce`.
    """
    study = None if profile is None else BACO(profile)
    return reproduce(
        BACO,
        out,
        study,
        only=only,
        render=render,
        data_root=data_root,
        workers=workers,
        progress=progress,
        on_item=on_item,
    )
