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
from studies.study import Item, Study
from studies.study import Panel as BasePanel

RATIO = 27.0
"""How many times smaller than float32 the tables of the poster are: 4.46 GB over 161 MB, nearly."""
FEWER = 50.0
"""How many times fewer vectors there must be here; two orders of magnitude on the poster."""
BOUND = 0.002
"""What AUC may fall, and log loss rise, by."""
EMBEDDING_DIM = 16

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
class Panel(BasePanel):
    """A click log with a model; ``train`` is how the uncompressed model is trained, whatever the seed.

    Attributes:
        windows: into how many windows of time the log is cut; 0 for a seeded 80/10/10 split.
        patience: epochs without a better validation log loss after which training on a split ends.
        retrain: how compressed models are trained on.
    """

    train: CTRTrainConfig
    windows: int = 8
    patience: int = 2
    retrain: Retraining = field(default_factory=Retraining)

    def settings(self) -> dict[str, Any]:
        return {
            "data": self.data,
            "model": self.model_name,
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


def _saec(name: str, options: Mapping[str, Any], **about: Any) -> Entry:
    return Entry(name, "compressed", "saec", options, **about)


def _bits(name: str, bits: int, **about: Any) -> Entry:
    return Entry(name, "compressed", "uniform", {"bits": bits}, **about)


FULL = Entry("uncompressed", "uncompressed", ratio=0, quick=True)
_SHARE = {"alpha": 0.35}  # rows in proportion to this power of a field's values
PLAIN = {**_SHARE, "row_bits": 32, "levels": 1}
OURS = {**_SHARE, "row_bits": 8, "levels": 1, "small_bits": 8}
_LEVELS = {"row_bits": 8, "levels": 4, "small_bits": 8}  # rows of fields by gain, which takes long
_ANY = {**_LEVELS, "fewer": False}
AS_PUBLISHED = _saec("Saec, as reconstructed", PLAIN, soft=False, quick=True)
SAEC = _saec("Saec, ours", OURS, weighed=True, quick=True)
LEVELS = _saec("Saec, ours, 4 levels", _LEVELS, weighed=True, on_split=True)

NARROW = _bits("low dimension, 8 bits", 8, embedding_dim=0, quick=True)
"""The low-dimension baseline at equal bytes."""
WIDTHS = tuple(
    Entry(f"low dimension, d = {width}, float32", "uncompressed", embedding_dim=width, ratio=0, quick=width == 1)
    for width in (1, 2, 4)
)
BITS = tuple(_bits(f"{bits} bits, d = 16", bits, ratio=0, quick=bits == 4) for bits in (4, 2))
EQUAL_BITS = tuple(_bits(f"{bits} bits, widest d that fits", bits, embedding_dim=0) for bits in (4, 2))
PQ = Entry("PQ", "compressed", "pq", quick=True)
MGQE = Entry("MGQE", "compressed", "mgqe")

COMPARED = (
    FULL,
    AS_PUBLISHED,
    _saec("Saec, soft labels", PLAIN),
    SAEC,
    LEVELS,
    _saec("Saec, ours, 4 levels, any number of vectors", _ANY, weighed=True, on_split=True),
    NARROW,
    *WIDTHS,
    Entry("hashing", "trained", "hashing", quick=True),
    Entry("own rows for the head, hashing for the rest", "trained", "head"),
    Entry("double hashing", "trained", "double"),
    Entry("quotient–remainder", "trained", "qr"),
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


def _sized(entry: Entry, ratio: float) -> Entry:
    if ratio == RATIO:
        return entry
    return replace(entry, name=f"{entry.name}, 1/{ratio:g}", ratio=float(ratio), quick=entry is SAEC and ratio == 90)


SIZED = {family: tuple(_sized(entry, ratio) for ratio in RATIOS) for family, entry in FAMILIES.items()}
"""The rows of each family by size; at the usual one it is a row of the comparisons."""


def _panel(log: str, title: str, data: str, model: str, windows: int = 8, **train: Any) -> Panel:
    name, retrain = model.lower(), Retraining() if windows else Retraining(epochs=3, decay=0.3)
    config = CTRTrainConfig(**train)
    return Panel(f"{log}-{name}", f"{title}, {model}", data, name, config, windows=windows, retrain=retrain)


_MT = ("movietweetings", "MovieTweetings", "movietweetings-ctr")
_CRITEO = ("criteo", "Criteo", "criteo")
_ML = ("ml-1m", "MovieLens-1M", "ml-1m-ctr")
_SMALL_STEPS: Mapping[str, Any] = {"learning_rate": 3e-3, "batch_size": 256, "row_learning_rate": 0.05}
_LARGE_STEPS: Mapping[str, Any] = {"epochs": 12, "batch_size": 1024, "row_learning_rate": 0.05}

FULL_PANELS = (
    _panel(*_MT, "DeepFM", row_learning_rate=0.1),
    _panel(*_MT, "DLRM", **_SMALL_STEPS),
    _panel(*_CRITEO, "DeepFM", learning_rate=3e-3, row_learning_rate=0.01),
    _panel(*_CRITEO, "DLRM", **_SMALL_STEPS),
    _panel(*_ML, "DeepFM", 0, **_LARGE_STEPS),
    _panel(*_ML, "DLRM", 0, **_LARGE_STEPS),
)
"""Settings of training were chosen by the log loss of uncompressed models, seed 0."""

QUICK_PANELS = tuple(
    (panel if panel.windows else panel.trained(epochs=2)).seeded(1)
    for panel in FULL_PANELS
    if panel.windows or panel.model_name == "deepfm"
)
"""One seed, MovieLens-1M with one model alone, and ten of its epochs less."""


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
class CellItem(Item[Panel]):
    """An item that is made of cells.

    Attributes:
        entries: its rows.
    """

    entries: Sequence[Entry] = COMPARED

    def entries_on(self, panel: Panel, study: Study[Panel]) -> list[Entry]:
        """Its rows on a panel."""
        return [
            entry
            for entry in self.entries
            if (entry.quick or not study.quick) and not (entry.on_split and panel.windows)
        ]


def cells_of(items: Sequence[CellItem], study: Study[Panel]) -> list[Cell]:
    """All cells that some items need, each once, those of one panel and seed together."""
    found: dict[tuple[str, int, str], Cell] = {}
    for item in items:
        for panel in item.panels_of(study):
            for entry in item.entries_on(panel, study):
                for seed in range(panel.seeds):
                    cell = Cell(panel, seed, entry)
                    found.setdefault(cell.key, cell)
    order = {panel.name: place for place, panel in enumerate(study.panels)}
    return sorted(found.values(), key=lambda cell: (cell.seed, order[cell.panel.name]))


def describe_training(panel: Panel) -> str:
    """How a panel is trained, in a sentence."""
    train, more = panel.train, panel.retrain
    epochs = "one pass" if train.epochs == 1 else f"at most {train.epochs} epochs"
    passes = "one pass" if more.epochs == 1 else f"{more.epochs} epochs, rates × {more.decay:g} after each"
    return (
        f"{panel.title}: {epochs}, batches of {train.batch_size}, Adam at {train.learning_rate:g} for the network and "
        f"rowwise Adagrad at {train.row_learning_rate:g} for rows; retraining {passes}, Adam at "
        f"{more.learning_rate:g} and {more.row_learning_rate:g}."
    )
