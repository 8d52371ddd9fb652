"""The BACO paper as a study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slimtable.bench.grids import Grid
from studies.baco import items
from studies.baco.experiments import (
    ABLATED,
    BY_ACTIVITY,
    BY_START,
    COMPARED,
    FEW,
    FULL,
    FULL_PANELS,
    QUICK_PANELS,
    SIZED,
    Panel,
    at_equal_bytes,
    grids,
    wants,
)
from studies.baco.timing import timings
from studies.study import Item, Place, Study, by_name


@dataclass(frozen=True)
class BACO(Study[Panel]):
    """Jiang, Yang and Wu 2026."""

    name = "baco"
    heading = "Balanced co-clustering (Jiang et al. 2026, arXiv 2604.18351), reproduced"
    panels = {"full": FULL_PANELS, "quick": QUICK_PANELS}  # noqa: RUF012
    changeable = ("batch_size", "learning_rate", "epochs", "patience", "evaluate_every", "device")
    items = by_name(
        Item(
            "beauty",
            "Ways to share rows, compared on Amazon Beauty",
            "Paper: at less than a quarter of the rows, BACO loses 1.3 points of R@10 (17 % of it), GraphHash 1.8 and "
            "random hashing 4.6; SCC comes next to BACO.",
            items.compared,
            ("beauty",),
            wants(COMPARED),
        ),
        Item(
            "small_start",
            "The same from a small start",
            "Paper: its rows are drawn from N(0, 1); it does not look at other starts.",
            items.compared,
            ("small_start",),
            wants(BY_START),
        ),
        Item(
            "gowalla",
            "Ways to share rows, compared on Gowalla",
            "Paper: BACO loses 1.2 points of R@10 (9 % of it), GraphHash 2.2, Leiden 2.2 and random hashing 6.5.",
            items.compared,
            ("gowalla",),
            wants(FEW),
        ),
        Item(
            "equal_bytes",
            "Sharing rows against quantizing them, at equal bytes served",
            "Paper: no such table; quantization is not compared.",
            items.equal_bytes,
            ("small_start",),
            wants(lambda panel, place: at_equal_bytes(panel.size(place), panel.train.embedding_dim)),
        ),
        Item(
            "quartiles",
            "Recall by how active users are in training",
            "Paper: BACO is above GraphHash and Leiden for users of every activity, and below full.",
            items.quartiles,
            ("small_start",),
            wants(BY_ACTIVITY),
        ),
        Item(
            "sizes",
            "Quality against the number of rows",
            "Paper: BACO is above GraphHash at every size, and gains with more rows.",
            items.sizes,
            ("small_start",),
            wants([FULL, *(entry for entries in SIZED.values() for entry in entries.values())]),
        ),
        Item(
            "clusters",
            "Sizes of clusters",
            "Paper: BACO's clusters differ more in size than those of GraphHash and Leiden: nodes of low degree stand "
            "in large clusters, those of high degree in tiny ones.",
            items.clusters,
        ),
        Item(
            "ablations",
            "What each part of BACO gives",
            "Paper: second clusters bring the users' rows nearer to those of full tables; it prints distances of "
            "embeddings, no recall.",
            items.ablations,
            ("small_start",),
            wants(ABLATED),
        ),
        Item(
            "timing",
            "Seconds of all groupings",
            "Paper: BACO is up to 346 times as fast as the strongest baselines; its table of seconds was not to be "
            "had, and the baseline that is meant is most likely SCC.",
            items.timing,
        ),
    )

    def grids(self, chosen: Sequence[str], place: Place[Panel]) -> list[Grid]:
        return grids([self.items[item] for item in chosen], place)

    def measure(self, chosen: Sequence[str], place: Place[Panel], *, workers: int | None, progress: bool) -> list[str]:
        if "timing" in chosen:
            list(timings(place, measure=True))
        return []  # a grouping that fails is shown so

    def missing(self, item: str, place: Place[Panel]) -> int:
        if item == "timing":
            return sum(timing is None for *_, timing in timings(place))
        return super().missing(item, place)
