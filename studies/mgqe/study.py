"""The MGQE paper as a study: its profile with what the runner asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from slimtable.bench.grids import Grid
from studies.mgqe.experiments import ITEMS, Profile, grids, make_profile, wanted
from studies.mgqe.items import Workplace, render_item
from studies.mgqe.store import Store
from studies.run import Reproduction, reproduce
from studies.study import Place, Rendered, Study


def _whole() -> Profile:
    return make_profile(quick=False)


@dataclass(frozen=True)
class MGQE(Study):
    """Kang et al. 2020.

    Attributes:
        profile: how much of it is done.
    """

    profile: Profile = field(default_factory=_whole)

    name: ClassVar[str] = "mgqe"
    heading: ClassVar[str] = "Multi-granular quantized embeddings (Kang et al. 2020, arXiv 2002.08530), reproduced"
    items: ClassVar[tuple[str, ...]] = ITEMS
    untrained: ClassVar[frozenset[str]] = frozenset({"figure4"})

    @classmethod
    def usual(cls) -> Self:
        return cls()

    @classmethod
    def begun(cls, settings: dict[str, Any]) -> Self:
        quick = settings["profile"] == "quick"
        sizes = {p.model_name: settings["train"][p.name]["batch_size"] for p in make_profile(quick).panels}
        return cls(make_profile(quick, settings.get("seeds"), sizes))

    @property
    def scale(self) -> str:
        return self.profile.name

    def training(self) -> dict[str, dict[str, Any]]:
        return {panel.name: panel.train.to_dict() for panel in self.profile.panels}

    def seeds(self) -> int | None:
        return self.profile.seeds()

    def options(self) -> list[str]:
        words, usual = ["--quick"] if self.scale == "quick" else [], make_profile(self.scale == "quick")
        sizes = {}
        for panel, other in zip(self.profile.panels, usual.panels, strict=False):
            if panel.train.batch_size != other.train.batch_size:
                sizes[panel.model_name] = panel.train.batch_size
        for model_name, size in sizes.items():
            words += ["--batch-size", f"{model_name}={size}"]
        return words

    def grids(self, items: Sequence[str], out: Path, data_root: Path | None) -> list[Grid]:
        return grids(items, self.profile, data_root)

    def missing(self, item: str, place: Place) -> int:
        return Store(place.records, self.profile).missing(wanted(item, self.profile))

    def render(self, item: str, place: Place) -> Rendered:
        store = Store(place.records, self.profile)
        return render_item(item, Workplace(place.out, self.profile, store, place.data_root))


def reproduce_mgqe(
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
    """Reproduces tables and figures of the MGQE paper.

    Args:
        out: folder of the results.
        profile: how much to do; None for what the folder was begun with, else all of it.
        only: names of :data:`studies.mgqe.experiments.ITEMS`; empty for all.
        render: train nothing, and draw from the runs that are there.
        data_root: folder of datasets; None for the usual one.
        workers: processes, one thread each; 1 for this process alone, None for one per core.
        progress: show a progress bar on a terminal.
        on_item: called with each table and figure as soon as its runs are finished and it is written.

    Returns:
        The folder's tables and figures; errors are those of :func:`studies.run.reproduce`.
    """
    study = None if profile is None else MGQE(profile)
    return reproduce(
        MGQE,
        out,
        study,
        only=only,
        render=render,
        data_root=data_root,
        workers=workers,
        progress=progress,
        on_item=on_item,
    )
