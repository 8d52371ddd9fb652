"""The experiments of the BACO paper as data: what is trained for each of its tables and figures, and how.

Jiang, Yang and Wu 2026, "BACO: balanced co-clustering of users and items for embedding-table compression" (SIGIR 2026,
arXiv 2604.18351), with LightGCN on a random 80/10/10 split.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from slimtable.bench.grids import Grid
from slimtable.embeddings.base import MethodConfig, get_config, get_method
from slimtable.embeddings.shared_rows_config import GroupedRowsConfig
from slimtable.training.trainer import TrainConfig
from studies.baco.size import Size, matched_size
from studies.series import Want
from studies.study import Item, Place, Study, describe_settings
from studies.study import Panel as BasePanel

BACKBONE = "lightgcn"

_INIT_STD_OF_PAPER = 1.0  # as torch draws embeddings
_INIT_STD_OF_PRESETS = 0.1


@dataclass(frozen=True, eq=False)
class Entry:
    """A row of a table: a method whose options are filled in with the sizes of the data.

    Attributes:
        name: what tables call it; the paper's word where it is one of its rows.
        method: registry name.
        options: options of the method; a text may name a figure of :class:`Size` in braces.
        leading: whether it gets as many seeds as are asked for; the others have one.
        matched: whether its number of rows can be set.
        embedding_dim: width of the tables; None for the usual one.
        slow: whether its grouping takes minutes, so that a quick version leaves it out.
    """

    name: str
    method: str
    options: Mapping[str, Any]
    leading: bool = False
    matched: bool = True
    embedding_dim: int | None = None
    slow: bool = False

    @property
    def exists(self) -> bool:
        """Whether its method has the preset that it names."""
        return "preset" not in self.options or self.options["preset"] in get_method(self.method).config_class.presets

    def config(self, size: Size, seed: int, init_std: float = 0.1) -> MethodConfig:
        """The configuration for some data; the seed of a training is that of its grouping too."""
        figures = size.figures()
        options = {
            name: value.format_map(figures) if isinstance(value, str) else value for name, value in self.options.items()
        }
        start = {} if "preset" in options else {"init_std": init_std}  # a preset says its own
        config = get_config(self.method, {**start, **options})
        return replace(config, grouping_seed=seed) if hasattr(config, "grouping_seed") else config  # type: ignore[call-arg]

    def grouping(self, size: Size) -> tuple[str, int | None]:
        """Its grouping, as text, and the rows that it is given; None for as many as its options give."""
        config = self.config(size, 0)
        assert isinstance(config, GroupedRowsConfig)
        return config.grouping, int(config.rows) if config.rows else None


def _shared(name: str, grouping: str, rows: str = "{rows}", **about: Any) -> Entry:
    return Entry(name, "shared", {"grouping": grouping, "rows": rows}, **about)


def _baco(name: str, leading: bool = False, rows: str = "{second_rows}", **options: Any) -> Entry:
    return Entry(name, "baco", {**options, "rows": rows}, leading)


_SIDES = "[user_rows={user_rows};item_rows={item_rows}]"
FULL = Entry("Full", "full", {}, leading=True)
RANDOM = _shared("Random", f"random{_SIDES}", leading=True)
LOUVAIN = _shared("GraphHash", "louvain", "", leading=True)
LEIDEN = _shared("Leiden", "leiden", leading=True)
BACO = _baco("BACO", leading=True)
BEST = _baco("BACO, preset best", leading=True, preset="best")
COMPACT = _baco("BACO, preset compact", leading=True, preset="compact")
MERGED = _baco("with merging", grouping="baco[merge=true]")
_VIEWS: dict[str, Any] = {"views": 4, "combine": "concat"}

COMPARED = (
    FULL,
    RANDOM,
    _shared("Frequency Hashing", f"frequency{_SIDES}"),
    Entry("Double Hashing", "double_hash", {"rows": "{rows}"}),
    Entry("Hybrid Hashing", "hybrid_hash", {"rows": "{rows}"}),
    _shared("LSH", "lsh"),
    Entry("CCE", "cce", {"rows": "{rows}"}),
    Entry("LEGCF", "legcf", {"rows": "{rows}"}),
    LOUVAIN,
    Entry("DoubleGraphHash", "double_graph_hash", {"grouping": "louvain", "rows": ""}),
    _shared("LP", "label_propagation"),
    LEIDEN,
    _shared("EBMD", "ebmd"),
    _shared("infomap", "infomap", "", matched=False),
    _shared("BiMLPA", "bimlpa", "", matched=False),
    _shared("BRIM", "brim", "", matched=False),
    _shared("SCC", "scc", leading=True, slow=True),
    _shared("SBC", f"sbc{_SIDES}", slow=True),
    _shared("ITCC", f"itcc{_SIDES}", slow=True),
    BACO,
    BEST,
    COMPACT,
)
"""The paper's 20 rows and ours."""

FEW = (FULL, RANDOM, LOUVAIN, BACO, BEST)
"""The rows on Gowalla."""

BY_START = (FULL, RANDOM, LOUVAIN, LEIDEN, BACO, BEST, COMPACT)
"""The rows whose start is compared: drawn as LightGCN draws them instead of as the published code does."""

BY_ACTIVITY = (FULL, LOUVAIN, LEIDEN, BACO, BEST)
CLUSTERED = (LOUVAIN, LEIDEN, BACO)
ORDER = (BACO, LOUVAIN, RANDOM)
"""Best first, as the paper has it."""

CLOSE = (BACO, LOUVAIN)
"""Those of them that a few seeds cannot tell apart."""

SWEEPS = 8
"""Sweeps whose rows the item ``ablations`` shows."""

SHARES = (10, 15, 20, 25, 30)
"""Budgets of the item ``sizes``, in percent of users and items."""

ABLATED = (
    BACO,
    _baco("without second clusters", rows="{rows}", grouping="baco[secondary=none]"),
    _baco("nominal weights (cpm)", grouping="baco[item_weight=cpm]"),
    _baco("clean volumes", grouping="baco[clean_volumes=true]"),
    MERGED,
    _baco("with four views", **_VIEWS),
    _baco("with both", grouping="baco[merge=true]", **_VIEWS),
    LOUVAIN,
    _shared("GraphHash with second clusters", "louvain[secondary=users]", "{second_rows}"),
)

SIZED = {
    share: {
        "BACO": _baco(f"BACO, {share} %", rows=f"{share}%"),
        "GraphHash": _shared(f"GraphHash, {share} %", "louvain", f"{share}%"),
    }
    for share in SHARES
}
"""BACO and Louvain's communities with a share of the rows, in percent."""

SHARING = frozenset({"shared", "baco"})
"""Methods of :func:`at_equal_bytes` whose ids share rows."""


def at_equal_bytes(size: Size, embedding_dim: int) -> tuple[Entry, ...]:
    """What serves about as many bytes as BACO, or about a quarter of them, by the usual width of tables."""
    share = size.rows / (size.num_users + size.num_items)
    width, bits = max(1, int(embedding_dim * share)), max(1, min(8, int(32 * share)))
    narrow, few = max(1, width // 4), max(1, bits // 4)

    def uniform(bits: int) -> Entry:
        return Entry(f"uniform, {bits} bit{'s' if bits > 1 else ''}", "uniform", {"bits": bits}, leading=True)

    return (
        FULL,
        BACO,
        BEST,
        Entry(f"full, d = {width}", "full", {}, embedding_dim=width),
        Entry("low-rank", "low_rank", {"rank": width}),
        uniform(bits),
        Entry("MGQE", "mgqe", {}),
        _baco("BACO, int4 rows", row_bits=4),
        _baco("BACO, preset best, float rows", preset="best", row_bits=32),
        _baco("BACO, preset best, int4 rows", preset="best", row_bits=4),
        COMPACT,
        Entry(f"full, d = {narrow}", "full", {}, embedding_dim=narrow),
        uniform(few + 1),
        uniform(few),
    )


@dataclass(frozen=True)
class Panel(BasePanel):
    """A dataset and how LightGCN is trained on it.

    Attributes:
        init_std: standard deviation of fresh rows: 0.1 as LightGCN draws them, or the 1 of BACO's published code.
        order_seeds: of the rows in :data:`CLOSE`; None for as many as the leading rows have.
    """

    train: TrainConfig
    init_std: float = 0.1
    order_seeds: int | None = None

    @property
    def data_title(self) -> str:
        """What captions call its data, however it is trained on."""
        return self.title.partition(",")[0]

    def size(self, place: Place[Panel]) -> Size:
        """The sizes of its data; found now where they are not known."""
        return matched_size(self.name, self.source(place.data_root), self.train.embedding_dim, place.out)

    def seeded(self, seeds: int) -> Self:
        return replace(self, seeds=seeds, order_seeds=None)


def datasets(study: Study[Panel]) -> list[Panel]:
    """The first panel of each dataset."""
    return list({panel.data: panel for panel in reversed(study.panels)}.values())[::-1]


@dataclass(frozen=True)
class EntryWant(Want):
    """A row that an item needs on a panel.

    Attributes:
        entry: the row.
    """

    entry: Entry


Entries = Callable[[Panel, Place[Panel]], Sequence[Entry]]


def wants(entries: Sequence[Entry] | Entries) -> Callable[[Panel, Place[Panel]], list[Want]]:
    """Rows that are wanted of a panel; a function of it where they go by its size."""

    def wanted(panel: Panel, place: Place[Panel]) -> list[Want]:
        chosen = entries(panel, place) if callable(entries) else entries
        size, found = panel.size(place), list[Want]()
        for entry in chosen:
            if (place.study.quick and entry.slow) or not entry.exists:
                continue
            seeds = panel.seeds if entry.leading else 1
            if entry in CLOSE and panel.order_seeds is not None:
                seeds = panel.order_seeds
            configs = {seed: entry.config(size, seed, panel.init_std) for seed in range(seeds)}
            width = panel.train.embedding_dim if entry.embedding_dim is None else entry.embedding_dim
            found.append(EntryWant(panel, entry.name, configs, replace(panel.train, embedding_dim=width), entry))
        return found

    return wanted


def entry_of(want: Want) -> Entry:
    """The row that is wanted."""
    assert isinstance(want, EntryWant)
    return want.entry


def timed(study: Study[Panel]) -> list[Entry]:
    """The rows whose groupings are timed."""
    groupings = [entry for entry in COMPARED if entry.method in SHARING and entry not in (BEST, COMPACT)]
    groupings.append(replace(MERGED, name="BACO with merging"))  # that of both presets
    return [entry for entry in groupings if not (study.quick and entry.slow)]


def grids(items: Sequence[Item[Panel]], place: Place[Panel]) -> list[Grid]:
    """What has to be trained for some items, in order: first seeds of the leading rows, their next ones, the rest."""
    found = []
    for item in items:
        runs = [(want, seed) for want in item.wanted(place) for seed in want.configs]
        # Stable, so that rows stay in order. A grouping of minutes shall not keep the others waiting.
        runs.sort(key=lambda run: (not entry_of(run[0]).leading, entry_of(run[0]).slow, run[1]))
        for want, seed in runs:
            config, source = want.configs[seed], want.panel.source(place.data_root)
            grouped = type(config).row_maps is not MethodConfig.row_maps  # building such a model groups its ids
            found.append(Grid(source, BACKBONE, want.train, (config,), (seed,), checked=not grouped))
    return found


_SPELLED = {
    "epochs": "at most {} epochs",
    "batch_size": "batch size {}",
    "learning_rate": "learning rate {}",
    "weight_decay": "weight decay {}",
    "patience": "patience of {} epochs",
    "evaluate_every": "validated every {} epochs",
}


def describe_training(panel: Panel) -> str:
    """How a panel is trained, and where that differs from the paper."""
    settings = describe_settings(panel.train, TrainConfig.for_model(BACKBONE), _SPELLED)
    drawn = "" if panel.init_std == _INIT_STD_OF_PAPER else f" (paper: {_INIT_STD_OF_PAPER:g})"
    spelled = (
        f"{panel.title}: LightGCN of 2 layers, d = {panel.train.embedding_dim}, {settings}, rows drawn with standard "
        f"deviation {panel.init_std:g}{drawn}; the same for all rows"
    )
    if panel.init_std != _INIT_STD_OF_PRESETS:
        spelled += (
            f", but that the presets best and compact draw theirs with {_INIT_STD_OF_PRESETS:g}. Part of what they "
            "gain here is that: see the comparison from a small start, where all rows start alike"
        )
    return f"{spelled}."


def _panels(beauty: Any, small_start: Any, gowalla: Any, seeds: int, order_seeds: int | None) -> tuple[Panel, ...]:
    trains = [TrainConfig.for_model(BACKBONE, **given) for given in (beauty, small_start, gowalla)]
    title = "Amazon Beauty"
    return (
        Panel("beauty", title, "beauty", BACKBONE, trains[0], seeds, "random", 1.0, order_seeds),
        Panel("small_start", f"{title}, small start", "beauty", BACKBONE, trains[1], seeds, "random"),
        Panel("gowalla", "Gowalla, small start", "gowalla", BACKBONE, trains[2], 1, "pooled"),
    )


FULL_PANELS = _panels(
    {"batch_size": 8192, "learning_rate": 1e-2, "epochs": 800},
    {"batch_size": 8192, "learning_rate": 5e-3, "epochs": 200, "patience": 30},
    {"batch_size": 16384, "learning_rate": 5e-3, "epochs": 100, "patience": 20},
    seeds=3,
    order_seeds=5,  # three leave the order of BACO and GraphHash open
)
"""Larger batches with larger steps than the paper's, so that a processor can do them.

The paper's code draws rows from N(0, 1), which takes hundreds of epochs to forget. From a small start, as LightGCN
draws them, training takes a tenth of the steps.
"""

_QUICK = {"batch_size": 8192, "learning_rate": 1e-2, "epochs": 10, "evaluate_every": 5, "patience": 0}
QUICK_PANELS = _panels(
    _QUICK, _QUICK, {**_QUICK, "batch_size": 32768, "epochs": 4, "evaluate_every": 2}, seeds=1, order_seeds=None
)
"""A few epochs: shows that everything works, not what training on would give."""
