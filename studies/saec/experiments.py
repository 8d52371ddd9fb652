"""The experiments on Saec as data: click logs, models, what is compared, and how everything is trained.

Wu, Xu, Zhang, Chen and Wang 2020, "Saec: similarity-aware embedding compression in recommendation systems" (APSys 2020,
arXiv 1903.00103). Its data and code are private; these are public logs and a reconstruction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from slimtable.training.ctr_trainer import CTRTrainConfig

ITEMS = ("movietweetings", "criteo", "ml-1m", "sizes", "new-values", "hysteresis", "seconds")
"""What can be reproduced."""

RATIO = 27.0
"""How many times smaller than float32 the tables of the poster are: 4.46 GB over 161 MB, nearly."""
FEWER = 50.0
"""How many times fewer vectors there must be here; two orders of magnitude on the poster."""
BOUND = 0.002
"""What AUC may fall, and log loss rise, by."""
EMBEDDING_DIM = 16
SEEDS = 3

Kind = Literal["uncompressed", "compressed", "trained", "new-values", "hysteresis"]


@dataclass(frozen=True)
class Retraining:
    """How compressed tables and the network above them are trained on; the assignment stays.

    Attributes:
        epochs: passes over the clicks that the uncompressed model was trained on last.
        learning_rate: of the network.
        row_learning_rate: of rows that are looked up, by Adam.
        decay: both rates are multiplied by it after every epoch.
    """

    epochs: int = 1
    learning_rate: float = 3e-4
    row_learning_rate: float = 1e-3
    decay: float = 1.0

    def config(self, batch_size: int, seed: int) -> CTRTrainConfig:
        """The settings of the trainer."""
        return CTRTrainConfig(
            epochs=self.epochs,
            batch_size=batch_size,
            learning_rate=self.learning_rate,
            row_optimizer="adam",
            row_learning_rate=self.row_learning_rate,
            table_learning_rate=self.row_learning_rate,
            seed=seed,
        )


@dataclass(frozen=True)
class Panel:
    """A click log with a model.

    Attributes:
        name: what the experiments call it.
        item: the item that compares everything on it.
        title: what captions call it.
        data: name of the log.
        model: registry name of the model.
        train: how the uncompressed model is trained, whatever the seed.
        windows: into how many windows of time the log is cut; 0 for a seeded 80/10/10 split.
        patience: epochs without a better validation log loss after which training on a split ends.
        retrain: how compressed models are trained on.
    """

    name: str
    item: str
    title: str
    data: str
    model: str
    train: CTRTrainConfig
    windows: int = 8
    patience: int = 2
    retrain: Retraining = field(default_factory=Retraining)

    def settings(self) -> dict[str, Any]:
        """What its figures depend on, as JSON values."""
        return {
            "data": self.data,
            "model": self.model,
            "windows": self.windows,
            "patience": self.patience,
            "train": self.train.to_dict(),
            "retrain": vars(self.retrain),
        }


@dataclass(frozen=True, eq=False)
class Entry:
    """A row of a table.

    Attributes:
        name: what tables and the file of finished cells call it.
        kind: how it is measured: "uncompressed"; "compressed" after training and trained on; "trained" from the start
            as it is; or one of the measurements of their own.
        plan: how its options are found, a name in :mod:`studies.saec.plans`.
        options: of the plan.
        embedding_dim: width of the vectors; 0 for the widest that fits into the budget.
        ratio: how many times smaller than float32 the tables must be at least; 0 for no such budget.
        soft: train on with the predictions of the uncompressed model for labels.
        weighed: errors cost what they cost in log loss, by direction; else all directions cost the same.
        quick: whether a quick version has it.
        on_split: only where the log has no windows: it takes long, and where values are well observed it pays.
    """

    name: str
    kind: Kind
    plan: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    embedding_dim: int = EMBEDDING_DIM
    ratio: float = RATIO
    soft: bool = True
    weighed: bool = False
    quick: bool = False
    on_split: bool = False


def _compressed(name: str, plan: str, **about: Any) -> Entry:
    return Entry(name, "compressed", plan, **about)


FULL = Entry("uncompressed", "uncompressed", ratio=0, quick=True)
_SHARE = {"alpha": 0.35}  # rows in proportion to this power of a field's values
PLAIN = {**_SHARE, "row_bits": 32, "levels": 1}
OURS = {**_SHARE, "row_bits": 8, "levels": 1, "small_bits": 8}
AS_PUBLISHED = _compressed("Saec, as reconstructed", "saec", options=PLAIN, soft=False, quick=True)
SOFT = _compressed("Saec, soft labels", "saec", options=PLAIN)
SAEC = _compressed("Saec, ours", "saec", options=OURS, weighed=True, quick=True)
_LEVELS = {"row_bits": 8, "levels": 4, "small_bits": 8}  # rows of fields by gain, which takes long
LEVELS = _compressed("Saec, ours, 4 levels", "saec", options=_LEVELS, weighed=True, on_split=True)
BYTES_ALONE = _compressed(
    "Saec, ours, 4 levels, any number of vectors",
    "saec",
    options={**_LEVELS, "fewer": False},
    weighed=True,
    on_split=True,
)

NARROW = _compressed("low dimension, 8 bits", "uniform", options={"bits": 8}, embedding_dim=0, quick=True)
"""The low-dimension baseline at equal bytes."""
WIDTHS = tuple(
    Entry(f"low dimension, d = {width}, float32", "uncompressed", embedding_dim=width, ratio=0, quick=width == 1)
    for width in (1, 2, 4)
)
HASHED = Entry("hashing", "trained", "hashing", quick=True)
HEAD = Entry("own rows for the head, hashing for the rest", "trained", "head")
DOUBLE = Entry("double hashing", "trained", "double")
QR = Entry("quotient–remainder", "trained", "qr")
BITS = tuple(
    _compressed(f"{bits} bits, d = 16", "uniform", options={"bits": bits}, ratio=0, quick=bits == 4) for bits in (4, 2)
)
EQUAL_BITS = tuple(
    _compressed(f"{bits} bits, widest d that fits", "uniform", options={"bits": bits}, embedding_dim=0)
    for bits in (4, 2)
)
PQ = _compressed("PQ", "pq", quick=True)
MGQE = _compressed("MGQE", "mgqe")

COMPARED = (
    FULL,
    AS_PUBLISHED,
    SOFT,
    SAEC,
    LEVELS,
    BYTES_ALONE,
    NARROW,
    *WIDTHS,
    HASHED,
    HEAD,
    DOUBLE,
    QR,
    *BITS,
    *EQUAL_BITS,
    PQ,
    MGQE,
)
"""The rows of every comparison."""

OTHER_RATES = (0.25, 1.0, 4.0)
"""Factors of the row learning rate, chosen for d = 16, that tables of other widths and hashed ones may choose from."""

RATIOS = (27, 40, 60, 90, 130, 200)
"""How many times smaller tables are in the item ``sizes``."""

NEW_VALUES = Entry("new values", "new-values", "saec", OURS, weighed=True, quick=True)
HYSTERESIS: Mapping[str, float | None] = MappingProxyType(
    {"groups made anew": None, "hysteresis 0": 0.0, "hysteresis 0.1": 0.1, "hysteresis 0.3": 0.3}
)
MOVING = tuple(
    Entry(name, "hysteresis", "saec", {**OURS, "hysteresis": share}, weighed=True, quick=share in (None, 0.1))
    for name, share in HYSTERESIS.items()
)


FAMILIES: Mapping[str, Entry] = MappingProxyType(
    {"ours": SAEC, "ours, 4 levels": LEVELS, "as reconstructed": AS_PUBLISHED}
)
"""What is made smaller and smaller in the item ``sizes``."""


def sized(family: str, ratio: float) -> Entry:
    """A row of a family at a size; at the usual one it is a row of the comparisons."""
    entry = FAMILIES[family]
    if ratio == RATIO:
        return entry
    return replace(entry, name=f"{entry.name}, 1/{ratio:g}", ratio=float(ratio), quick=entry is SAEC and ratio == 90)


_MT, _CRITEO, _ML = "movietweetings-ctr", "criteo", "ml-1m-ctr"
_ON_SPLIT = Retraining(epochs=3, decay=0.3)

PANELS = (
    Panel(
        "movietweetings-deepfm",
        "movietweetings",
        "MovieTweetings, DeepFM",
        _MT,
        "deepfm",
        CTRTrainConfig(row_learning_rate=0.1),
    ),
    Panel(
        "movietweetings-dlrm",
        "movietweetings",
        "MovieTweetings, DLRM",
        _MT,
        "dlrm",
        CTRTrainConfig(learning_rate=3e-3, batch_size=256, row_learning_rate=0.05),
    ),
    Panel(
        "criteo-deepfm",
        "criteo",
        "Criteo, DeepFM",
        _CRITEO,
        "deepfm",
        CTRTrainConfig(learning_rate=3e-3, row_learning_rate=0.01),
    ),
    Panel(
        "criteo-dlrm",
        "criteo",
        "Criteo, DLRM",
        _CRITEO,
        "dlrm",
        CTRTrainConfig(learning_rate=3e-3, batch_size=256, row_learning_rate=0.05),
    ),
    Panel(
        "ml-1m-deepfm",
        "ml-1m",
        "MovieLens-1M, DeepFM",
        _ML,
        "deepfm",
        CTRTrainConfig(epochs=12, batch_size=1024, row_learning_rate=0.05),
        windows=0,
        retrain=_ON_SPLIT,
    ),
    Panel(
        "ml-1m-dlrm",
        "ml-1m",
        "MovieLens-1M, DLRM",
        _ML,
        "dlrm",
        CTRTrainConfig(epochs=12, batch_size=1024, row_learning_rate=0.05),
        windows=0,
        retrain=_ON_SPLIT,
    ),
)
"""Settings of training were chosen by the log loss of uncompressed models, seed 0."""


@dataclass(frozen=True)
class Cell:
    """What is measured at once.

    Attributes:
        panel: the log and model.
        seed: of the initialisation, the order of the clicks, and the split where there is one.
        entry: the row.
    """

    panel: Panel
    seed: int
    entry: Entry

    @property
    def key(self) -> tuple[str, int, str]:
        """What tells cells of a folder apart."""
        return self.panel.name, self.seed, self.entry.name


@dataclass(frozen=True)
class Profile:
    """How much is done.

    Attributes:
        name: "full" or "quick".
        panels: logs and models.
        asked_seeds: how many seeds were asked for; None for the usual number.
    """

    name: str = "full"
    panels: tuple[Panel, ...] = PANELS
    asked_seeds: int | None = None

    @property
    def quick(self) -> bool:
        """Whether most rows are left out."""
        return self.name == "quick"

    @property
    def seeds(self) -> int:
        """Seeds of every cell."""
        return self.asked_seeds if self.asked_seeds is not None else 1 if self.quick else SEEDS

    def panels_of(self, item: str) -> tuple[Panel, ...]:
        """The panels of an item."""
        if item in ("new-values", "hysteresis", "seconds"):
            return tuple(panel for panel in self.panels if panel.windows)
        return tuple(panel for panel in self.panels if item in ("sizes", panel.item))

    def entries_of(self, item: str, panel: Panel) -> tuple[Entry, ...]:
        """The rows of an item on a panel."""
        chosen: Mapping[str, Sequence[Entry]] = {
            "sizes": [FULL, *(sized(family, ratio) for family in FAMILIES for ratio in RATIOS)],
            "new-values": [NEW_VALUES],
            "hysteresis": MOVING,
            "seconds": [FULL, SAEC],
        }
        entries = (entry for entry in chosen.get(item, COMPARED) if entry.quick or not self.quick)
        return tuple(entry for entry in entries if not (entry.on_split and panel.windows))

    def cells(self, items: Sequence[str]) -> list[Cell]:
        """All cells that some items need, each once, those of one panel and seed together."""
        found: dict[tuple[str, int, str], Cell] = {}
        for item in items:
            for panel in self.panels_of(item):
                for entry in self.entries_of(item, panel):
                    for seed in range(self.seeds):
                        cell = Cell(panel, seed, entry)
                        found.setdefault(cell.key, cell)
        order = {panel.name: place for place, panel in enumerate(self.panels)}
        return sorted(found.values(), key=lambda cell: (cell.seed, order[cell.panel.name]))


def make_profile(quick: bool, seeds: int | None = None) -> Profile:
    """The profile that a user asks for.

    Args:
        quick: one seed, few rows, and ten of MovieLens-1M's epochs less.
        seeds: counted from 0; None for 3, or for 1 where it is quick.

    Raises:
        ValueError: the number of seeds is not positive.
    """
    if seeds is not None and seeds < 1:
        raise ValueError(f"`seeds` must be at least 1, got {seeds}.")
    if not quick:
        return Profile(asked_seeds=seeds)
    panels = tuple(panel if panel.windows else replace(panel, train=replace(panel.train, epochs=2)) for panel in PANELS)
    return Profile("quick", tuple(panel for panel in panels if panel.windows or panel.model == "deepfm"), seeds)
