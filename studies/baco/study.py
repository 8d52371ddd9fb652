"""The BACO paper as a study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slimtable.bench.grids import Grid
from studies.baco import experiments, items
from studies.baco.experiments import FULL, SIZED, Panel, at_equal_bytes, wants
from studies.baco.timing import timings
from studies.study import Item, Place, Study, by_name

_SMALL = ("small_start",)


@dataclass(frozen=True)
class BACO(Study[Panel]):
    """Jiang, Yang and Wu 2026."""

    name = "baco"
    heading = "Balanced co-clustering (Jiang et al. 2026, arXiv 2604.18351), reproduced"
    captions = items.CAPTIONS
    scales = {"full": experiments.FULL_PANELS, "quick": experiments.QUICK_PANELS}  # noqa: RUF012
    changeable = ("batch_size", "learning_rate", "epochs", "patience", "evaluate_every", "device")
    items = by_name(
        Item("beauty", items.compared, ("beauty",), wants(experiments.COMPARED)),
        Item("small_start", items.compared, _SMALL, wants(experiments.BY_START)),
        Item("gowalla", items.compared, ("gowalla",), wants(experiments.FEW)),
        Item(
            "equal_bytes",
            items.equal_bytes,
            _SMALL,
            wants(lambda panel, place: at_equal_bytes(panel.size(place), panel.train.embedding_dim)),
        ),
        Item("quartiles", items.quartiles, _SMALL, wants(experiments.BY_ACTIVITY)),
        Item("sizes", items.sizes, _SMALL, wants([FULL, *(each for pair in SIZED.values() for each in pair.values())])),
        Item("clusters", items.clusters),
        Item("ablations", items.ablations, _SMALL, wants(experiments.ABLATED)),
        Item("timing", items.timing),
    )

    def grids(self, chosen: Sequence[str], place: Place[Panel]) -> list[Grid]:
        return experiments.grids([self.items[item] for item in chosen], place)

    def measure(self, chosen: Sequence[str], place: Place[Panel], *, workers: int | None, progress: bool) -> list[str]:
        if "timing" in chosen:
            list(timings(place, measure=True))
        return []  # a grouping that fails is shown so

    def missing(self, item: str, place: Place[Panel]) -> int:
        if item == "timing":
            return sum(timing is None for *_, timing in timings(place))
        return super().missing(item, place)
