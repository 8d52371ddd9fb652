"""The comparison of codecs as data: trained models, codecs, rates and sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from slimtable.config import Bounds, Config, Count, Positive, PositiveInt
from slimtable.embeddings.base import get_config, method_names
from slimtable.training.trainer import TrainConfig
from studies.study import Item, Study
from studies.study import Panel as BasePanel

RATES = (16, 24, 32, 40, 56, 72, 104, 136, 200, 288, 400, 544)
"""Bits a row, all arrays included; a float32 row of d = 64 takes 2,048."""
CONSTANT_BITS = 512
"""Allowed on top for a table, whatever its rows: ranges of gains, seeds and the like."""
BELOW_FOUR = 4 * 64
"""Bits a row of four bits a dimension."""
K = 20
"""Length of the lists."""

Side = Literal["items", "both"]
SIDES: tuple[Side, ...] = ("items", "both")


@dataclass(frozen=True)
class IALSConfig(Config):
    """Training of iALS by the library ``implicit``; its words.

    Attributes:
        embedding_dim: width of the tables.
        alpha: weight of an interaction.
        regularization: weight of the squared norms.
        iterations: rounds over both tables.
        seed: of the first tables.
    """

    embedding_dim: PositiveInt = 64
    alpha: Positive = 1.0
    regularization: Positive = 0.01
    iterations: Annotated[int, Bounds(1, 1000)] = 15
    seed: Count = 0


@dataclass(frozen=True)
class Panel(BasePanel):
    """A model on a dataset, whose tables are compressed.

    Attributes:
        candidates: the training settings that are tried; that with the best validation Recall@20 counts.
        fractions: training, validation and test shares of a random split.
        users: number of test users, drawn with a fixed seed; 0 for all.
        sides: what is compressed: the items, or items and users.
        quick: whether only a few rates are measured.
    """

    candidates: tuple[Config, ...] = ()
    fractions: tuple[float, float, float] = (0.72, 0.08, 0.2)
    users: int = 6_000
    sides: tuple[Side, ...] = SIDES
    quick: bool = False

    @property
    def rates(self) -> tuple[int, ...]:
        """The rates at which its tables are compressed, bits a row."""
        return RATES[3:8:4] if self.quick else RATES

    def settings(self) -> dict[str, Any]:
        return {
            "data": self.data,
            "model": self.model_name,
            "split": self.split,
            "users": self.users,
            "candidates": [candidate.to_dict() for candidate in self.candidates],
        }


@dataclass(frozen=True)
class Entry:
    """A codec.

    Attributes:
        name: what tables and the file of finished cells call it.
        ours: whether it is a method of the library; else of faiss.
        kind: registry name of the method, or faiss's word.
        options: of the method; those of its size are found from the budget.
    """

    name: str
    ours: bool
    kind: str
    options: tuple[tuple[str, Any], ...] = ()


OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "uniform": {"axis": "row", "scale_bits": 16, "clip": True},
    "saec": {"row_bits": 8},
}
"""Options of methods whose defaults are not meant for trained tables of this kind."""
UNCOMPRESSED = "full"
OF_FAISS = "faiss "
_ANY_SHAPE = 4096, 64
FAISS = ("PQ", "OPQ", "RQ", "LSQ", "SQ", "RaBitQ")


def entries() -> list[Entry]:
    """Every method with a codec, as registered, and those of faiss."""
    ours = []
    for name in (name for name in method_names() if name != UNCOMPRESSED):
        options = OPTIONS.get(name, {})
        if get_config(name, dict(options)).codec(*_ANY_SHAPE) is not None:
            ours.append(Entry(name, True, name, tuple(options.items())))
    return [*ours, *(Entry(OF_FAISS + kind, False, kind) for kind in FAISS)]


@dataclass(frozen=True)
class Cell:
    """What is measured at once.

    Attributes:
        panel: the model and its data.
        side: what is compressed.
        entry: the codec.
        rate: the budget, bits a row.
    """

    panel: Panel
    side: Side
    entry: Entry
    rate: int

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What tells cells of a folder apart."""
        return self.panel.name, self.side, self.entry.name, self.rate


@dataclass(frozen=True)
class CellItem(Item[Panel]):
    """An item that is made of cells."""

    def cells(self, study: Study[Panel]) -> list[Cell]:
        """All cells of its panels."""
        return [
            Cell(panel, side, entry, rate)
            for panel in self.panels_of(study)
            for side in panel.sides
            for rate in panel.rates
            for entry in entries()
        ]


def cells_of(items: Sequence[CellItem], study: Study[Panel]) -> list[Cell]:
    """All cells that some items need, each once: panels in order, of a panel the items first."""
    found = {cell.key: cell for item in items for cell in item.cells(study)}
    order = {panel.name: place for place, panel in enumerate(study.panels)}
    return sorted(found.values(), key=lambda cell: (order[cell.panel.name], cell.side != "items"))


def _ials(data: str, title: str, split: str | None, *tried: tuple[float, float]) -> Panel:
    candidates = tuple(IALSConfig(alpha=alpha, regularization=weight) for alpha, weight in tried)
    return Panel(f"ials-{data}", f"iALS, {title}", data, "ials", candidates[0], 1, split, candidates)


def _ranker(model: str, data: str, title: str, split: str | None, sides: tuple[Side, ...], **train: Any) -> Panel:
    called = {"sasrec": "SASRec", "lightgcn": "LightGCN"}[model]
    rates = (1e-3, 3e-3) if model == "lightgcn" else (1e-3,)
    candidates = tuple(
        TrainConfig.for_model(model, embedding_dim=64, ks=(K,), **{"learning_rate": rate, **train}) for rate in rates
    )
    name, words = f"{model}-{data}", f"{called}, {title}"
    return Panel(name, words, data, model, candidates[0], 1, split, candidates, sides=sides)


_TITLES = {
    "gowalla": "Gowalla",
    "ml-1m": "MovieLens-1M",
    "beauty": "Beauty",
    "lastfm": "Last.fm",
    "movietweetings": "MovieTweetings",
}
_SPLITS = {"gowalla": "fixed", "lastfm": "fixed"}
_TRIED: Mapping[str, tuple[tuple[float, float], ...]] = {
    "gowalla": ((30, 100), (10, 10), (60, 200)),
    "ml-1m": ((8, 100), (4, 10), (8, 30), (4, 30), (16, 100)),
    "beauty": ((10, 1), (10, 10), (30, 10), (30, 30), (100, 100)),
    "lastfm": ((4, 1), (4, 10), (10, 10), (10, 30), (30, 100)),
    "movietweetings": ((4, 10), (10, 10), (10, 30), (30, 30), (30, 100)),
}
_STEPS: Mapping[str, Any] = {"batch_size": 8192, "epochs": 300, "evaluate_every": 5, "patience": 15}

IALS = tuple(_ials(data, _TITLES[data], _SPLITS.get(data, "random"), *tried) for data, tried in _TRIED.items())
SASREC = tuple(
    _ranker("sasrec", data, _TITLES[data], "leave-two-out", ("items",), evaluate_every=10, patience=30)
    for data in ("ml-1m", "beauty", "movietweetings")  # the others have no times
)
LIGHTGCN = tuple(
    _ranker("lightgcn", data, title, _SPLITS.get(data, "random"), SIDES, **_STEPS) for data, title in _TITLES.items()
)
FULL_PANELS = (*IALS, *SASREC, *LIGHTGCN)

_QUICK = "synthetic:4000"


def _quick(name: str, title: str, split: str, config: Config, sides: tuple[Side, ...] = SIDES) -> Panel:
    model = name.partition("-")[0]
    return Panel(name, title, _QUICK, model, config, 1, split, (config,), sides=sides, quick=True)


QUICK_PANELS = (
    _quick("ials-gowalla", "iALS, synthetic", "random", IALSConfig(alpha=4, iterations=5, embedding_dim=16)),
    _quick(
        "sasrec-ml-1m",
        "SASRec, synthetic",
        "leave-two-out",
        TrainConfig.for_model("sasrec", embedding_dim=16, epochs=2, ks=(K,)),
        ("items",),
    ),
    _quick(
        "lightgcn-lastfm",
        "LightGCN, synthetic",
        "random",
        TrainConfig.for_model("lightgcn", embedding_dim=16, epochs=3, evaluate_every=3, patience=0, ks=(K,)),
    ),
)
"""Seconds: one small dataset, two rates."""
