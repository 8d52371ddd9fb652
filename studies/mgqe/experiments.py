"""The experiments of the MGQE paper as data: what is trained for each of its tables and figures, and how.

Kang et al. 2020, "Learning Multi-granular Quantized Embeddings for Large-Vocab Categorical Features in Recommender
Systems" (arXiv 2002.08530), §5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slimtable.bench.grids import Grid
from slimtable.bench.jobs import Source
from slimtable.bench.labels import parse_methods
from slimtable.embeddings.base import MethodConfig, method_of
from slimtable.training.trainer import TrainConfig
from studies.mgqe.published import UNSHARED_D, UNSHARED_K

ITEMS = ("table3", "table4", "table5", "table6", "figure4", "figure6", "figure7", "figure8", "compact")
"""What can be reproduced, by the names of the paper's tables and figures, and what goes beyond it."""

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

_TABLE_PANELS = {"table3": ("gmf", "neumf"), "table4": ("sasrec",), "table5": ON_PAIRS, "table6": RANKED}
_TABLE_METHODS = {"table3": COMPARED, "table4": COMPARED, "table5": COMPARED_ON_PAIRS, "table6": VARIANTS}


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
class Panel:
    """One recommender on one dataset.

    Attributes:
        name: what the experiments call it.
        title: what captions call it.
        data: name of the dataset.
        model_name: registry name of the recommender.
        train: training settings.
        points: what Figure 6 varies on it.
        leading_seeds: seeds of :data:`LEADING`, and of what is compressed after the training of ``full``.
        seeds: of the other rows of the tables; the trained points that Figure 6 adds have one.
        compact: the small tables that go beyond the paper, fitted to what a whole training gives.
        trained_compact: the same, trained as small tables too.
        trained_epochs: epochs that the latter take in all, the dense ones included; None for as many as others.
    """

    name: str
    title: str
    data: str
    model_name: str
    train: TrainConfig
    points: Points = Points()
    leading_seeds: int = 3
    seeds: int = 3
    compact: str = "mgqe[preset=compact]"
    trained_compact: str = "mgqe[preset=compact]"
    trained_epochs: int | None = None

    def trained_at(self, embedding_dim: int | None = None, epochs: int | None = None) -> TrainConfig:
        """The training settings for tables of another width, or for other epochs; None for the usual ones."""
        return replace(
            self.train,
            embedding_dim=self.train.embedding_dim if embedding_dim is None else embedding_dim,
            epochs=self.train.epochs if epochs is None else epochs,
        )

    def compact_wants(self) -> list[Want]:
        """The small tables, and the uncompressed ones of as many epochs where these are not the usual ones."""
        seeds = tuple(range(self.leading_seeds))
        labels = [self.trained_compact] if self.trained_epochs is None else ["full", self.trained_compact]
        longer = [Want(self.name, None, _method(label), seeds, self.trained_epochs) for label in labels]
        return [Want(self.name, None, _method(self.compact), seeds), *longer]


@dataclass(frozen=True)
class Curve:
    """A line of Figure 6: a method at several sizes.

    Attributes:
        method: its registry name.
        varied: what changes along it.
        points: (embedding_dim, configuration), None for the usual width.
    """

    method: str
    varied: str
    points: tuple[tuple[int | None, MethodConfig], ...]


@dataclass(frozen=True)
class Profile:
    """How much of the paper is done.

    Attributes:
        name: "full" or "quick".
        panels: the recommenders and their training.
    """

    name: str
    panels: tuple[Panel, ...]

    def panel(self, name: str) -> Panel:
        """A panel by its name."""
        return next(panel for panel in self.panels if panel.name == name)

    def seeds(self) -> int | None:
        """How many seeds each row of the tables has; None where they differ."""
        counts = {number for panel in self.panels for number in (panel.leading_seeds, panel.seeds)}
        return counts.pop() if len(counts) == 1 else None

    def settings(self) -> dict[str, Any]:
        """What tells folders of results apart, as JSON values."""
        return {"profile": self.name, "train": {panel.name: panel.train.to_dict() for panel in self.panels}}


@dataclass(frozen=True)
class Want:
    """A configuration that an item needs.

    Attributes:
        panel: name of the panel.
        embedding_dim: width of the tables; None for the usual one.
        config: the method.
        seeds: seeds to run.
        epochs: epochs to train for; None for the usual ones.
    """

    panel: str
    embedding_dim: int | None
    config: MethodConfig
    seeds: tuple[int, ...]
    epochs: int | None = None


def make_profile(quick: bool, seeds: int | None = None, batch_sizes: Mapping[str, int] | None = None) -> Profile:
    """The profile that a user asks for.

    Args:
        quick: fewer epochs, larger batches and fewer points.
        seeds: seeds of each row of the tables, counted from 0; None for 3, or for what a quick run has.
        batch_sizes: samples per step of some models, instead of those of the profile.

    Returns:
        The profile.

    Raises:
        ValueError: a number is not positive, or there is no such model.
    """
    if seeds is not None and seeds < 1:
        raise ValueError(f"`seeds` must be at least 1, got {seeds}.")
    panels = QUICK_PANELS if quick else PAPER_PANELS
    models = list(dict.fromkeys(panel.model_name for panel in panels))
    for model_name in batch_sizes or {}:
        if model_name not in models:
            raise ValueError(f"No experiment trains a model {model_name!r}. They train {', '.join(models)}.")
    changed = []
    for panel in panels:
        size = (batch_sizes or {}).get(panel.model_name, panel.train.batch_size)
        panel = replace(panel, train=replace(panel.train, batch_size=size))
        changed.append(panel if seeds is None else replace(panel, leading_seeds=seeds, seeds=seeds))
    return Profile("quick" if quick else "full", tuple(changed))


def wanted(item: str, profile: Profile) -> list[Want]:
    """The configurations that a table or figure needs.

    Args:
        item: one of :data:`ITEMS`.
        profile: how much is done.

    Returns:
        None for Figure 4, which only looks at the data.
    """
    if item in _TABLE_PANELS:
        labels, names = _TABLE_METHODS[item], _TABLE_PANELS[item]
        return [want for name in names for want in _rows(name, labels, profile)]
    if item == "figure7":
        return [want for name in RANKED for want in _rows(name, LEADING, profile)]
    if item == "figure8":
        return _rows("gmf", VISUALIZED, profile)
    if item == "compact":
        return [
            want for name in RANKED for want in (*_rows(name, LEADING, profile), *profile.panel(name).compact_wants())
        ]
    if item == "figure6":
        return list(_figure6(profile))
    return []


def table_rows(item: str) -> list[tuple[str, tuple[MethodConfig, ...]]]:
    """Name of each panel of a table and the configurations that are its rows."""
    return [(name, tuple(map(_method, _TABLE_METHODS[item]))) for name in _TABLE_PANELS[item]]


def curves(panel: Panel) -> list[Curve]:
    """The lines of a panel of Figure 6, each from its smallest to its largest configuration."""
    points, width = panel.points, panel.train.embedding_dim
    usual_rank = 3 * width // 4
    ranks = [(rank, _method(f"low_rank[rank={rank}]")) for rank in points.ranks] + [(usual_rank, _method("low_rank"))]
    lines = [
        Curve(
            "full",
            "d varied",
            tuple((None if dim == width else dim, _method("full")) for dim in sorted({*points.dims, width})),
        ),
        Curve("low_rank", "r varied", tuple((None, config) for _, config in sorted(ranks, key=lambda pair: pair[0]))),
        Curve(
            "uniform",
            "bits varied",
            (*((None, _method(f"uniform[bits={bits}]")) for bits in sorted(points.bits)), (None, _method("uniform"))),
        ),
    ]
    for name in ("dpq", "mgqe"):
        smaller = [_method(f"{name}[num_codebooks={number}]") for number in sorted(points.codebooks)]
        lines.append(Curve(name, "D varied", tuple((None, config) for config in (*smaller, _method(name)))))
    return lines


def grids(items: Sequence[str], profile: Profile, data_root: Path | None) -> list[Grid]:
    """What has to be trained for some tables and figures."""
    methods: dict[tuple[str, int | None, int | None, tuple[int, ...]], list[MethodConfig]] = {}
    for want in (want for item in items for want in wanted(item, profile)):
        methods.setdefault((want.panel, want.embedding_dim, want.epochs, want.seeds), []).append(want.config)
    return [
        Grid(
            Source(panel.data, data_root),
            panel.model_name,
            panel.trained_at(embedding_dim, epochs),
            tuple(dict.fromkeys(configs)),
            seeds,
        )
        for (name, embedding_dim, epochs, seeds), configs in methods.items()
        for panel in [profile.panel(name)]
    ]


def spell_training(panel: Panel) -> str:
    """How a panel is trained, and where that differs from the paper.

    Example:
        >>> spell_training(replace(PAPER_PANELS[0], train=replace(PAPER_PANELS[0].train, epochs=3)))
        'GMF on MovieLens-1M: 3 epochs (paper: 20), batch size 256, learning rate 0.001.'
    """
    # On the pairs that stand in for its data, the paper's settings are not stated: ours are those of the full version.
    source = "full version" if panel.name in ON_PAIRS else "paper"
    paper = {each.name: each.train for each in PAPER_PANELS}.get(panel.name)
    parts = []
    for field, text in (
        ("epochs", "{} epochs"),
        ("batch_size", "batch size {}"),
        ("learning_rate", "learning rate {}"),
    ):
        value = getattr(panel.train, field)
        usual = value if paper is None else getattr(paper, field)
        parts.append(text.format(value) + ("" if value == usual else f" ({source}: {usual})"))
    return f"{panel.title}: {', '.join(parts)}."


def _rows(panel: str, labels: Sequence[str], profile: Profile) -> list[Want]:
    leading = (*LEADING, "uniform")  # the latter costs nothing once full is trained
    about = profile.panel(panel)
    return [
        Want(panel, None, _method(label), tuple(range(about.leading_seeds if label in leading else about.seeds)))
        for label in labels
    ]


def _figure6(profile: Profile) -> Iterator[Want]:
    for panel in profile.panels:
        yield from _rows(panel.name, COMPARED, profile)
        usual = {want.config for want in _rows(panel.name, COMPARED, profile)}
        for curve in curves(panel):
            for embedding_dim, config in curve.points:
                if embedding_dim is not None or config not in usual:
                    seeds = panel.leading_seeds if method_of(config).post_training else 1  # those cost no training
                    yield Want(panel.name, embedding_dim, config, tuple(range(seeds)))


def _method(label: str) -> MethodConfig:
    (config,) = parse_methods(label)
    return config


_MOVIELENS = "MovieLens-1M"
_NPMI = "GMF on pairs of MovieLens-1M films (NPMI)"
_COSINE = "GMF on pairs of MovieTweetings films (adjusted cosine)"

PAPER_PANELS: tuple[Panel, ...] = (
    Panel(
        "gmf",
        f"GMF on {_MOVIELENS}",
        "ml-1m",
        "gmf",
        TrainConfig(epochs=20, evaluate_every=1),
        trained_epochs=23,
    ),
    Panel(
        "neumf",
        f"NeuMF on {_MOVIELENS}",
        "ml-1m",
        "neumf",
        TrainConfig(epochs=20, evaluate_every=5),
        trained_epochs=23,
    ),
    Panel(
        "sasrec",
        f"SASRec on {_MOVIELENS}",
        "ml-1m",
        "sasrec",
        TrainConfig(epochs=200, batch_size=128, negatives=1, evaluate_every=20),
        compact="mgqe[preset=compact;dense_epochs=200]",
    ),
    Panel("npmi", _NPMI, "ml-1m-npmi", "item_gmf", TrainConfig(epochs=20)),
    Panel("cosine", _COSINE, "movietweetings-cosine", "item_gmf", TrainConfig(epochs=20)),
)
"""The paper's settings (§5.2, §5.4); the last two stand in for its private app-to-app relevance data."""


def _quick(panel: Panel, leading_seeds: int, points: Points, **changes: Any) -> Panel:
    train = {**panel.train.to_dict(), "evaluate_every": 0, **changes}
    return replace(
        panel,
        train=TrainConfig.from_dict(train),
        points=points,
        leading_seeds=leading_seeds,
        seeds=1,
        compact=f"mgqe[preset=compact;dense_epochs={train['epochs']}]",
        trained_compact="mgqe[preset=compact;dense_epochs=1]",
        trained_epochs=None,
    )


_FEW = Points(dims=(16,), bits=(6, 4, 3, 2, 1), ranks=(16,), codebooks=(16,))
_SOME = Points(dims=(8, 16, 32), bits=(6, 4, 3, 2, 1), ranks=(8, 24), codebooks=(16,))

QUICK_PANELS: tuple[Panel, ...] = (
    _quick(PAPER_PANELS[0], 2, _SOME, epochs=3, batch_size=8192, learning_rate=8e-3),
    _quick(PAPER_PANELS[1], 1, _FEW, epochs=2, batch_size=8192, learning_rate=4e-3),
    _quick(PAPER_PANELS[2], 2, _FEW, epochs=8),
    _quick(PAPER_PANELS[3], 2, _SOME, epochs=10, batch_size=1024, learning_rate=2e-3),
    _quick(PAPER_PANELS[4], 2, _SOME, epochs=10, batch_size=1024, learning_rate=2e-3),
)
"""Fewer epochs in larger steps: shows that everything works, not what training on would give."""
