"""The MGQE paper as a study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slimtable.bench.grids import Grid
from studies.mgqe import items
from studies.mgqe.experiments import (
    COMPARED,
    COMPARED_ON_PAIRS,
    FULL_PANELS,
    LEADING,
    ON_PAIRS,
    QUICK_PANELS,
    RANKED,
    VARIANTS,
    VISUALIZED,
    Panel,
    compact_wants,
    curve_wants,
    grids,
    wants,
)
from studies.study import Item, Place, Study, by_name


@dataclass(frozen=True)
class MGQE(Study[Panel]):
    """Kang et al. 2020."""

    name = "mgqe"
    heading = "Multi-granular quantized embeddings (Kang et al. 2020, arXiv 2002.08530), reproduced"
    panels = {"full": FULL_PANELS, "quick": QUICK_PANELS}  # noqa: RUF012
    changeable = ("batch_size",)
    called_by = "model_name"
    items = by_name(
        Item(
            "table3",
            "Table 3: personalized item recommendation on MovieLens",
            "Paper: the low-rank table drops clearly, the quantized ones mostly improve on full, and MGQE is best with "
            "about 20 % of the size.",
            items.compared,
            ("gmf", "neumf"),
            wants(*COMPARED),
        ),
        Item(
            "table4",
            "Table 4: sequential recommendation on MovieLens",
            "Paper: MGQE keeps the quality at 27.5 % of the size, while the others generally drop.",
            items.compared,
            ("sasrec",),
            wants(*COMPARED),
        ),
        Item(
            "table5",
            "Table 5: item-to-item recommendation, on data that stands in",
            "Paper: SQ (our uniform) drops, DPQ and MGQE improve clearly.",
            items.on_pairs,
            ON_PAIRS,
            wants(*COMPARED_ON_PAIRS),
        ),
        Item(
            "table6",
            "Table 6: variants of MGQE on MovieLens",
            "Paper: the shared variant reaches or betters full on all models; unshared K is the runner-up, and best on "
            "NeuMF.",
            items.compared,
            RANKED,
            wants(*VARIANTS),
        ),
        Item(
            "figure4",
            "Figure 4: distribution of the data",
            "Paper: few popular items dominate the training data, while most are rarely seen: a power law.",
            items.popularity,
            ("gmf",),
        ),
        Item(
            "figure6",
            "Figure 6: quality against size",
            "Paper: full tables drop clearly as they get narrower; at equal size MGQE is best, and at equal quality "
            "smallest. It prints no numbers for it.",
            items.sizes,
            (*RANKED, *ON_PAIRS),
            curve_wants,
        ),
        Item(
            "figure7",
            "Figure 7: training loss of MGQE and of full tables",
            "Paper: training of MGQE is stable and closely follows that of full tables. It prints no numbers for it.",
            items.losses,
            RANKED,
            wants(*LEADING),
        ),
        Item(
            "figure8",
            "Figure 8: similarity of codes within and between genres",
            "Paper: both give films of one genre similar codes; SQ (our uniform) does not tell dissimilar films apart "
            "well, while MGQE gives them much lower similarity. It prints no numbers for it.",
            items.similarities,
            ("gmf",),
            wants(*VISUALIZED),
        ),
        Item(
            "compact",
            "Beyond the paper: tables of at most a tenth of the size",
            "Paper: no such table; with one scalar per subspace, its sizes are 20 to 30 % of the whole model.",
            items.compact,
            RANKED,
            compact_wants,
        ),
    )

    def seeds(self) -> int | None:
        counts = {number for panel in self.profile.panels for number in (panel.seeds, panel.other_seeds)}
        return counts.pop() if len(counts) == 1 else None

    def grids(self, chosen: Sequence[str], place: Place[Panel]) -> list[Grid]:
        return grids([self.items[item] for item in chosen], place)
