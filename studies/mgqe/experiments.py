"""The experiments of the MGQE paper as data: what is trained for each of its tables and figures, and how.

Kang et al. 2020, "Learning Multi-granular Quantized Embeddings for Large-Vocab Categorical Features in Recommender
Systems" (arXiv 2002.08530), §5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

from slimtable.bench.labels import label_of, parse_methods
from slimtable.embeddings.base import method_of
from slimtable.training.trainer import TrainConfig
from studies.series import Want
from studies.study import Panel as BasePanel
from studies.study import Place, describe_settings

UNSHARED_K = "mgqe[share_codebook=false]"
UNSHARED_D = "mgqe[codebook_sizes=[256,256];num_codebooks=[64,32];share_codebook=false]"

COMPARED = ("full", "low_rank", "uniform", "dpq", "mgqe")
"""Methods of Tables 3 and 4."""
COMPARED_ON_PAIRS = ("full", "uniform", "dpq", "mgqe")
"""Methods of Table 5."""
VARIANTS = ("full", UNSHARED_K, UNSHARED_D, "mgqe")
"""Methods of Table 6."""
LEADING = ("full", "mgqe")
"""What Figure 7 compares; where seeds are few, these get the most."""
VISUALIZED = ("uniform", "mgqe")
"""Methods of Figure 8."""

RANKED, ON_PAIRS = ("gmf", "neumf", "sasrec"), ("npmi", "cosine")
"""Names of the panels that rank, and of those that predict scores."""


@dataclass(frozen=True)
class Points:
    """What Figure 6 varies, besides the configurations of the tables.

    Attributes:
        dims: widths of the uncompressed tables, d.
        bits: bits of uniform quantization, b.
        ranks: of the low-rank tables, r.
        codebooks: subspaces of DPQ and MGQE, D.
    """

    dims: tuple[int, ...] = (8, 16, 32)
    bits: tuple[int, ...] = (7, 6, 5, 4, 3, 2, 1)
    ranks: tuple[int, ...] = (8, 16, 32)
    codebooks: tuple[int, ...] = (8, 16, 32)


@dataclass(frozen=True)
class Panel(BasePanel):
    """One recommender on one dataset; its leading rows are :data:`LEADING`, and what is compressed after training.

    Attributes:
        other_seeds: seeds of the other rows of the tables; the trained points that Figure 6 adds have one.
        points: what Figure 6 varies on it.
        compact: the small tables that go beyond the paper, fitted to what a whole training gives.
        trained_compact: the same, trained as small tables too.
        trained_epochs: epochs that the latter take in all, the dense ones included; None for as many as others.
    """

    train: TrainConfig
    other_seeds: int = 3
    points: Points = Points()
    compact: str = "mgqe[preset=compact]"
    trained_compact: str = "mgqe[preset=compact]"
    trained_epochs: int | None = None

    @property
    def word(self) -> str:
        return self.model_name

    def seeded(self, seeds: int) -> Self:
        return replace(self, seeds=seeds, other_seeds=seeds)


def want(panel: Panel, label: str, **train: int) -> Want:
    """A method on a panel, by its label; other tables than those of the paper's size have one seed where trained."""
    (config,) = parse_methods(label)
    seeds = 1
    if label in (panel.compact, panel.trained_compact) or method_of(config).post_training:
        seeds = panel.seeds
    elif "embedding_dim" not in train and label in {*COMPARED, *VARIANTS}:
        seeds = panel.seeds if label in LEADING else panel.other_seeds
    return Want(panel, label_of(config), dict.fromkeys(range(seeds), config), panel.trained(**train).train)


def wants(*labels: str) -> Callable[[Panel, Place[Panel]], list[Want]]:
    """Methods that are wanted of a panel."""
    return lambda panel, place: [want(panel, label) for label in labels]


def compact_wants(panel: Panel, place: Place[Panel]) -> list[Want]:
    """The small tables, and the uncompressed ones of as many epochs where these are not the usual ones."""
    found = [want(panel, label) for label in (*LEADING, panel.compact)]
    if panel.trained_epochs is None:
        return [*found, want(panel, panel.trained_compact)]
    return found + [want(panel, label, epochs=panel.trained_epochs) for label in ("full", panel.trained_compact)]


def curves(panel: Panel) -> dict[tuple[str, str], list[Want]]:
    """The lines of a panel of Figure 6 by method and what is varied, each from its smallest to its largest point."""
    points, width = panel.points, panel.train.embedding_dim
    ranks = dict(
        sorted({**{rank: f"low_rank[rank={rank}]" for rank in points.ranks}, 3 * width // 4: "low_rank"}.items())
    )
    labels = {
        ("low_rank", "r varied"): list(ranks.values()),
        ("uniform", "bits varied"): [*(f"uniform[bits={bits}]" for bits in sorted(points.bits)), "uniform"],
    }
    for name in ("dpq", "mgqe"):
        labels[name, "D varied"] = [*(f"{name}[num_codebooks={number}]" for number in sorted(points.codebooks)), name]
    narrow = [want(panel, "full", embedding_dim=dim) for dim in sorted({*points.dims, width} - {width})]
    of_labels = {line: [want(panel, label) for label in each] for line, each in labels.items()}
    return {("full", "d varied"): [*narrow, want(panel, "full")], **of_labels}


def curve_wants(panel: Panel, place: Place[Panel]) -> list[Want]:
    """What Figure 6 needs of a panel, each once, rows of the tables first."""
    found = [want(panel, label) for label in COMPARED]
    for each in (point for line in curves(panel).values() for point in line):
        if each not in found:
            found.append(each)
    return found


_SPELLED = {"epochs": "{} epochs", "batch_size": "batch size {}", "learning_rate": "learning rate {}"}


def describe_training(panel: Panel) -> str:
    """How a panel is trained, and where that differs from the paper.

    Example:
        >>> describe_training(FULL_PANELS[0].trained(epochs=3))
        'GMF on MovieLens-1M: 3 epochs (paper: 20), batch size 256, learning rate 0.001.'
    """
    # On the pairs that stand in for its data, the paper's settings are not stated: ours are those of the full version.
    source = "full version" if panel.name in ON_PAIRS else "paper"
    paper = next(each for each in FULL_PANELS if each.name == panel.name)
    return f"{panel.title}: {describe_settings(panel.train, paper.train, _SPELLED, source)}."


_ML = "MovieLens-1M"
FULL_PANELS = (
    Panel("gmf", f"GMF on {_ML}", "ml-1m", "gmf", TrainConfig(epochs=20, evaluate_every=1), trained_epochs=23),
    Panel("neumf", f"NeuMF on {_ML}", "ml-1m", "neumf", TrainConfig(epochs=20, evaluate_every=5), trained_epochs=23),
    Panel(
        "sasrec",
        f"SASRec on {_ML}",
        "ml-1m",
        "sasrec",
        TrainConfig(epochs=200, batch_size=128, negatives=1, evaluate_every=20),
        compact="mgqe[preset=compact;dense_epochs=200]",
    ),
    Panel("npmi", f"GMF on pairs of {_ML} films (NPMI)", "ml-1m-npmi", "item_gmf", TrainConfig(epochs=20)),
    Panel(
        "cosine",
        "GMF on pairs of MovieTweetings films (adjusted cosine)",
        "movietweetings-cosine",
        "item_gmf",
        TrainConfig(epochs=20),
    ),
)
"""The paper's settings (§5.2, §5.4); the last two stand in for its private app-to-app relevance data."""


def _quick(panel: Panel, seeds: int, points: Points, **changes: Any) -> Panel:
    return replace(
        panel.trained(evaluate_every=0, **changes),
        points=points,
        seeds=seeds,
        other_seeds=1,
        compact=f"mgqe[preset=compact;dense_epochs={changes['epochs']}]",
        trained_compact="mgqe[preset=compact;dense_epochs=1]",
        trained_epochs=None,
    )


_FEW = Points(dims=(16,), bits=(6, 4, 3, 2, 1), ranks=(16,), codebooks=(16,))
_SOME = Points(dims=(8, 16, 32), bits=(6, 4, 3, 2, 1), ranks=(8, 24), codebooks=(16,))
_PAIRS = {"epochs": 10, "batch_size": 1024, "learning_rate": 2e-3}

QUICK_PANELS = (
    _quick(FULL_PANELS[0], 2, _SOME, epochs=3, batch_size=8192, learning_rate=8e-3),
    _quick(FULL_PANELS[1], 1, _FEW, epochs=2, batch_size=8192, learning_rate=4e-3),
    _quick(FULL_PANELS[2], 2, _FEW, epochs=8),
    _quick(FULL_PANELS[3], 2, _SOME, **_PAIRS),
    _quick(FULL_PANELS[4], 2, _SOME, **_PAIRS),
)
"""Fewer epochs in larger steps: shows that everything works, not what training on would give."""
