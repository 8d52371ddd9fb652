"""The experiments of the BACO paper as data: what is trained for each of its tables and figures, and how.

Jiang, Yang and Wu 2026, "BACO: balanced co-clustering of users and items for embedding-table compression" (SIGIR 2026,
arXiv 2604.18351), with LightGCN on a random 80/10/10 split.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slimtable.bench.grids import Grid
from slimtable.bench.jobs import Source
from slimtable.embeddings.base import MethodConfig, get_config, get_method
from slimtable.embeddings.shared_rows_config import GroupedRowsConfig
from slimtable.training.trainer import TrainConfig
from studies.baco.size import Size

ITEMS = ("beauty", "small_start", "gowalla", "equal_bytes", "quartiles", "sizes", "clusters", "ablations", "timing")
"""What can be reproduced."""

BACKBONE = "lightgcn"
UNTRAINED = frozenset({"clusters", "timing"})
"""Items that look at groupings alone."""

PANEL_OF = {
    "beauty": "beauty",
    "small_start": "small_start",
    "gowalla": "gowalla",
    "equal_bytes": "small_start",
    "quartiles": "small_start",
    "sizes": "small_start",
    "ablations": "small_start",
}
"""The panel on which each item that trains does so."""

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


def _shared(name: str, grouping: str, rows: str = "{rows}", **about: Any) -> Entry:
    return Entry(name, "shared", {"grouping": grouping, "rows": rows}, **about)


FULL = Entry("Full", "full", {}, leading=True)
RANDOM = _shared("Random", "random[user_rows={user_rows};item_rows={item_rows}]", leading=True)
LOUVAIN = _shared("GraphHash", "louvain", "", leading=True)
LEIDEN = _shared("Leiden", "leiden", leading=True)
SCC = _shared("SCC", "scc", leading=True, slow=True)
BACO = Entry("BACO", "baco", {"rows": "{second_rows}"}, leading=True)
BEST = Entry("BACO, preset best", "baco", {"preset": "best", "rows": "{second_rows}"}, leading=True)
COMPACT = Entry("BACO, preset compact", "baco", {"preset": "compact", "rows": "{second_rows}"}, leading=True)
MERGED = Entry("with merging", "baco", {"grouping": "baco[merge=true]", "rows": "{second_rows}"})
VIEWS = {"views": 4, "combine": "concat", "rows": "{second_rows}"}

COMPARED = (
    FULL,
    RANDOM,
    _shared("Frequency Hashing", "frequency[user_rows={user_rows};item_rows={item_rows}]"),
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
    SCC,
    _shared("SBC", "sbc[user_rows={user_rows};item_rows={item_rows}]", slow=True),
    _shared("ITCC", "itcc[user_rows={user_rows};item_rows={item_rows}]", slow=True),
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
    Entry("without second clusters", "baco", {"grouping": "baco[secondary=none]", "rows": "{rows}"}),
    Entry("nominal weights (cpm)", "baco", {"grouping": "baco[item_weight=cpm]", "rows": "{second_rows}"}),
    Entry("clean volumes", "baco", {"grouping": "baco[clean_volumes=true]", "rows": "{second_rows}"}),
    MERGED,
    Entry("with four views", "baco", VIEWS),
    Entry("with both", "baco", {"grouping": "baco[merge=true]", **VIEWS}),
    LOUVAIN,
    _shared("GraphHash with second clusters", "louvain[secondary=users]", "{second_rows}"),
)


def sized(share: int) -> tuple[Entry, Entry]:
    """BACO and Louvain's communities with a share of the rows, in percent."""
    share_text = f"{share}%"
    return (
        Entry(f"BACO, {share} %", "baco", {"rows": share_text}),
        _shared(f"GraphHash, {share} %", "louvain", share_text),
    )


def grouping_of(entry: Entry, size: Size) -> tuple[str, int | None]:
    """The grouping of a row, as text, and the rows that it is given; None for as many as its options give."""
    config = entry.config(size, 0)
    assert isinstance(config, GroupedRowsConfig)
    return config.grouping, int(config.rows) if config.rows else None


def timed(profile: Profile) -> list[Entry]:
    """The rows whose groupings are timed."""
    groupings = [entry for entry in COMPARED if entry.method in ("shared", "baco") and entry not in (BEST, COMPACT)]
    groupings.append(replace(MERGED, name="BACO with merging"))  # that of both presets
    return [entry for entry in groupings if not (profile.quick and entry.slow)]


SHARING = frozenset({"shared", "baco"})
"""Methods of :func:`at_equal_bytes` whose ids share rows."""


def at_equal_bytes(size: Size, embedding_dim: int) -> tuple[Entry, ...]:
    """What serves about as many bytes as BACO, or about a quarter of them.

    Args:
        size: of the data.
        embedding_dim: width of the usual tables.
    """
    share = size.rows / (size.num_users + size.num_items)
    width, bits = max(1, int(embedding_dim * share)), max(1, min(8, int(32 * share)))
    quarter_width, quarter_bits = max(1, width // 4), max(1, bits // 4)
    rows = "{second_rows}"
    return (
        FULL,
        BACO,
        BEST,
        Entry(f"full, d = {width}", "full", {}, embedding_dim=width),
        Entry("low-rank", "low_rank", {"rank": width}),
        Entry(f"uniform, {bits} bits", "uniform", {"bits": bits}, leading=True),
        Entry("MGQE", "mgqe", {}),
        Entry("BACO, int4 rows", "baco", {"rows": rows, "row_bits": 4}),
        Entry("BACO, preset best, float rows", "baco", {"preset": "best", "rows": rows, "row_bits": 32}),
        Entry("BACO, preset best, int4 rows", "baco", {"preset": "best", "rows": rows, "row_bits": 4}),
        COMPACT,
        Entry(f"full, d = {quarter_width}", "full", {}, embedding_dim=quarter_width),
        Entry(f"uniform, {quarter_bits + 1} bits", "uniform", {"bits": quarter_bits + 1}, leading=True),
        Entry(
            f"uniform, {quarter_bits} bit{'s' if quarter_bits > 1 else ''}",
            "uniform",
            {"bits": quarter_bits},
            leading=True,
        ),
    )


@dataclass(frozen=True)
class Panel:
    """A dataset and how LightGCN is trained on it.

    Attributes:
        name: what the experiments call it.
        title: what captions call it.
        data: name of the dataset.
        split: name of the split.
        train: training settings.
        seeds: of the leading rows.
        init_std: standard deviation of fresh rows: 0.1 as LightGCN draws them, or the 1 of BACO's published code.
        order_seeds: of the rows in :data:`CLOSE`; None for as many as the leading rows have.
    """

    name: str
    title: str
    data: str
    split: str
    train: TrainConfig
    seeds: int = 3
    init_std: float = 0.1
    order_seeds: int | None = None

    @property
    def data_title(self) -> str:
        """What captions call its data, however it is trained on."""
        return self.title.partition(",")[0]

    def source(self, data_root: Path | None) -> Source:
        """Where its data comes from."""
        return Source(self.data, data_root, self.split)

    def trained_at(self, embedding_dim: int | None) -> TrainConfig:
        """Its training settings for tables of another width; None for the usual one."""
        return self.train if embedding_dim is None else replace(self.train, embedding_dim=embedding_dim)


@dataclass(frozen=True)
class Want:
    """A row that an item needs, on a dataset.

    Attributes:
        panel: name of the panel.
        entry: the row.
        seeds: seeds to run.
    """

    panel: str
    entry: Entry
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Profile:
    """How much of the paper is done.

    Attributes:
        name: "full" or "quick".
        panels: the datasets and their training.
        asked_seeds: how many were asked for; None for the usual ones.
    """

    name: str
    panels: tuple[Panel, ...]
    asked_seeds: int | None = None

    @property
    def time_limit(self) -> float:
        """Seconds after which a grouping that is timed is stopped."""
        return 60.0 if self.quick else 600.0

    @property
    def datasets(self) -> tuple[Panel, ...]:
        """The first panel of each dataset."""
        return tuple({panel.data: panel for panel in reversed(self.panels)}.values())[::-1]

    def panel(self, name: str) -> Panel:
        """A panel by its name."""
        return next(panel for panel in self.panels if panel.name == name)

    @property
    def quick(self) -> bool:
        """Whether rows that take long are left out."""
        return self.name == "quick"


def wanted(item: str, profile: Profile, sizes: Mapping[str, Size]) -> list[Want]:
    """The rows that an item needs.

    Args:
        item: one of :data:`ITEMS`.
        profile: how much is done.
        sizes: of the data of each panel; rows whose options cannot be told without are left out.
    """
    if item in UNTRAINED:
        return []
    panel = profile.panel(PANEL_OF[item])
    known = sizes.get(panel.name)
    chosen: Mapping[str, Sequence[Entry]] = {
        "beauty": COMPARED,
        "small_start": BY_START,
        "gowalla": FEW,
        "equal_bytes": () if known is None else at_equal_bytes(known, panel.train.embedding_dim),
        "quartiles": BY_ACTIVITY,
        "sizes": [FULL, *(entry for share in SHARES for entry in sized(share))],
        "ablations": ABLATED,
    }
    return list(_wants(profile, panel.name, chosen[item]))


def grids(items: Sequence[str], profile: Profile, sizes: Mapping[str, Size], data_root: Path | None) -> list[Grid]:
    """What has to be trained for some items, in order: first seeds of the leading rows, their next ones, the rest."""
    found = []
    for item in items:
        runs = [(want, seed) for want in wanted(item, profile, sizes) for seed in want.seeds]
        # Stable, so that rows stay in order. A grouping of minutes shall not keep the others waiting.
        runs.sort(key=lambda run: (not run[0].entry.leading, run[0].entry.slow, run[1]))
        for want, seed in runs:
            panel = profile.panel(want.panel)
            config = want.entry.config(sizes[panel.name], seed, panel.init_std)
            train = panel.trained_at(want.entry.embedding_dim)
            grouped = type(config).row_maps is not MethodConfig.row_maps  # building such a model groups its ids
            found.append(Grid(panel.source(data_root), BACKBONE, train, (config,), (seed,), checked=not grouped))
    return found


def make_profile(
    quick: bool, seeds: int | None = None, changes: Mapping[str, Mapping[str, Any]] | None = None
) -> Profile:
    """The profile that a user asks for.

    Args:
        quick: few epochs, and nothing that takes minutes to group.
        seeds: seeds of the leading rows, counted from 0; None for 3, or for 1 where it is quick.
        changes: other training settings of some panels, by field.

    Returns:
        The profile.

    Raises:
        ValueError: a number is out of range, or there is no such panel.
    """
    if seeds is not None and seeds < 1:
        raise ValueError(f"`seeds` must be at least 1, got {seeds}.")
    panels = QUICK_PANELS if quick else PANELS
    names = [panel.name for panel in panels]
    for name in changes or {}:
        if name not in names:
            raise ValueError(f"No experiment trains on {name!r}. They train on {', '.join(names)}.")
    changed = []
    for panel in panels:
        train = TrainConfig.from_dict({**panel.train.to_dict(), **(changes or {}).get(panel.name, {})})
        panel = replace(panel, train=train)
        changed.append(panel if seeds is None else replace(panel, seeds=seeds, order_seeds=None))
    return Profile("quick" if quick else "full", tuple(changed), seeds)


def spell_training(panel: Panel) -> str:
    """How a panel is trained, and where that differs from the paper."""
    paper, train = TrainConfig.for_model(BACKBONE), panel.train
    parts = []
    for field, text in (
        ("epochs", "at most {} epochs"),
        ("batch_size", "batch size {}"),
        ("learning_rate", "learning rate {}"),
        ("weight_decay", "weight decay {}"),
        ("patience", "patience of {} epochs"),
        ("evaluate_every", "validated every {} epochs"),
    ):
        value, usual = getattr(train, field), getattr(paper, field)
        parts.append(text.format(value) + ("" if value == usual else f" (paper: {usual})"))
    drawn = "" if panel.init_std == _INIT_STD_OF_PAPER else f" (paper: {_INIT_STD_OF_PAPER:g})"
    parts.append(f"rows drawn with standard deviation {panel.init_std:g}{drawn}")
    spelled = (
        f"{panel.title}: LightGCN of 2 layers, d = {train.embedding_dim}, {', '.join(parts)}; the same for all rows"
    )
    if panel.init_std != _INIT_STD_OF_PRESETS:
        spelled += (
            f", but that the presets best and compact draw theirs with {_INIT_STD_OF_PRESETS:g}. Part of what they "
            "gain here is that: see the comparison from a small start, where all rows start alike"
        )
    return f"{spelled}."


def _wants(profile: Profile, panel: str, entries: Sequence[Entry]) -> Iterator[Want]:
    about = profile.panel(panel)
    for entry in entries:
        if (profile.quick and entry.slow) or not entry.exists:
            continue
        seeds = about.seeds if entry.leading else 1
        if entry in CLOSE and about.order_seeds is not None:
            seeds = about.order_seeds
        yield Want(panel, entry, tuple(range(seeds)))


def _panels(
    beauty: Mapping[str, Any],
    small_start: Mapping[str, Any],
    gowalla: Mapping[str, Any],
    seeds: tuple[int, int, int],
    order_seeds: int | None = None,
) -> tuple[Panel, ...]:
    trains = [TrainConfig.for_model(BACKBONE, **given) for given in (beauty, small_start, gowalla)]
    return (
        Panel("beauty", "Amazon Beauty", "beauty", "random", trains[0], seeds[0], 1.0, order_seeds),
        Panel("small_start", "Amazon Beauty, small start", "beauty", "random", trains[1], seeds[1]),
        Panel("gowalla", "Gowalla, small start", "gowalla", "pooled", trains[2], seeds[2]),
    )


PANELS = _panels(
    {"batch_size": 8192, "learning_rate": 1e-2, "epochs": 800},
    {"batch_size": 8192, "learning_rate": 5e-3, "epochs": 200, "patience": 30},
    {"batch_size": 16384, "learning_rate": 5e-3, "epochs": 100, "patience": 20},
    (3, 3, 1),
    order_seeds=5,  # three leave the order of BACO and GraphHash open
)
"""Larger batches with larger steps than the paper's, so that a processor can do them.

The paper's code draws rows from N(0, 1), which takes hundreds of epochs to forget. From a small start, as LightGCN
draws them, training takes a tenth of the steps.
"""

_FEW = {"batch_size": 8192, "learning_rate": 1e-2, "epochs": 10, "evaluate_every": 5, "patience": 0}
QUICK_PANELS = _panels(_FEW, _FEW, {**_FEW, "batch_size": 32768, "epochs": 4, "evaluate_every": 2}, (1, 1, 1))
"""A few epochs: shows that everything works, not what training on would give."""
