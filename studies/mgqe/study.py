"""The MGQE paper as a study."""

from __future__ import annotations

from dataclasses import dataclass

from studies.mgqe import experiments, items
from studies.mgqe.experiments import ON_PAIRS, RANKED, Panel, wants
from studies.study import Item, Study, by_name


@dataclass(frozen=True)
class MGQE(Study[Panel]):
    """Kang et al. 2020."""

    name = "mgqe"
    heading = "Multi-granular quantized embeddings (Kang et al. 2020, arXiv 2002.08530), reproduced"
    captions = items.CAPTIONS
    scales = {"full": experiments.FULL_PANELS, "quick": experiments.QUICK_PANELS}  # noqa: RUF012
    changeable = ("batch_size",)
    items = by_name(
        Item("table3", items.compared, ("gmf", "neumf"), wants(*experiments.COMPARED)),
        Item("table4", items.compared, ("sasrec",), wants(*experiments.COMPARED)),
        Item("table5", items.on_pairs, ON_PAIRS, wants(*experiments.COMPARED_ON_PAIRS)),
        Item("table6", items.compared, RANKED, wants(*experiments.VARIANTS)),
        Item("figure4", items.popularity, ("gmf",)),
        Item("figure6", items.sizes, (*RANKED, *ON_PAIRS), experiments.curve_wants),
        Item("figure7", items.losses, RANKED, wants(*experiments.LEADING)),
        Item("figure8", items.similarities, ("gmf",), wants(*experiments.VISUALIZED)),
        Item("compact", items.compact, RANKED, experiments.compact_wants),
    )

    def seeds(self) -> int | None:
        counts = {number for panel in self.panels for number in (panel.seeds, panel.other_seeds)}
        return counts.pop() if len(counts) == 1 else None
