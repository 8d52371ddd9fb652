"""Tables of the BACO paper: its figures beside ours, with what our seeds allow to say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from slimtable.bench.columns import spell, spell_difference, spell_seeds
from slimtable.bench.measures import Measure
from slimtable.bench.table import Estimate
from slimtable.reporting.tables import ABSENT, Table
from studies.baco.clusters import Clusters
from studies.baco.experiments import ABLATED, BACO, FULL, ORDER, SWEEPS, Entry, Panel
from studies.baco.published import COMPARISON, QUARTILES, SIZES
from studies.baco.size import Size
from studies.baco.timing import Timing
from studies.series import Series
from studies.study import Line
from studies.verdict import judge

NOT_RUN = "not run"
MASK = "train+valid"

Rows = Sequence[tuple[Entry, Series | None]]
"""Rows of a table, each with its runs."""


def recall(k: int, group: str = "") -> Measure:
    """Capped recall of lists of k, of all users or of a quarter of them, such as "q1"."""
    metric = f"capped_recall@{k}" + (f"/{group}" if group else "")
    return Measure(MASK, metric, f"R@{k}" + (f" {group}" if group else ""), 100.0)


def ndcg(k: int) -> Measure:
    """NDCG of lists of k."""
    return Measure(MASK, f"ndcg@{k}", f"N@{k}", 100.0)


UNCAPPED = Measure(MASK, "recall@20", "R@20, all", 100.0)
RANKED = (recall(10), ndcg(10), recall(20), ndcg(20), recall(50), ndcg(50), UNCAPPED)
LEADING = recall(10)
_IN_PAPER = (recall(10), ndcg(10), recall(50), ndcg(50))

_TRAINED_BYTES = 3 * 4  # of each trained parameter: itself and Adam's two moments, in float32
_MARGIN = 0.05  # points; what is within it and holds zero is no difference worth naming


def megabytes(series: Series) -> float:
    """Megabytes that the tables serve."""
    return series.mean("embedding_bits") / 8e6


def rows_of(series: Series, embedding_dim: int) -> float:
    """Rows of embedding_dim trained parameters."""
    return series.mean("trained_parameters") / embedding_dim


def sizes_of(series: Series, embedding_dim: int) -> tuple[str, str, str, str]:
    """Rows, trained parameters, those of the paper's count, and megabytes served, as text."""
    parameters = series.mean("trained_parameters")
    return (
        f"{parameters / embedding_dim:,.0f}",
        f"{parameters:,.0f}",
        f"{parameters + series.mean('second_rows'):,.0f}",
        f"{megabytes(series):.2f}",
    )


def compared_table(panel: Panel, rows: Rows, size: Size) -> Table:
    """The comparison of ways to share rows on a dataset: what the paper prints, each beside ours."""
    of_paper = COMPARISON.get(panel.data, {})
    beside = (column for measure in _IN_PAPER for column in (measure.name, f"paper {measure.name}"))
    columns = ("method", "rows", "MB served", *beside, "R@10 − full [95 %]", "R@10 of full", "seeds")
    full = series_of(FULL, rows)
    lines = []
    for entry, series in rows:
        paper = of_paper.get(entry.name)
        printed = [ABSENT] * len(_IN_PAPER) if paper is None else [f"{value:.2f}" for value in paper.values()]
        ours = [NOT_RUN] * len(_IN_PAPER)
        about, rest = (NOT_RUN, NOT_RUN), (NOT_RUN, NOT_RUN, NOT_RUN)
        if series is not None:
            ours = [spell(series.estimate(measure)) for measure in _IN_PAPER]
            count, _, _, served = sizes_of(series, panel.train.embedding_dim)
            about = (count, served)
            difference = None if full is None or series is full else series.difference(full, LEADING)
            seeds = f"{len(series.seeds)} ({spell_seeds(series.seeds)})"
            rest = (spell_difference(difference), retained(series, full), seeds)
        both = (cell for pair in zip(ours, printed, strict=True) for cell in pair)
        lines.append((_named(entry), *about, *both, *rest))
    note = (
        f"GraphHash has {size.user_rows:,} + {size.item_rows:,} rows of users and items, {_share(size):.1f} % of all."
    )
    return Table(panel.title, columns, tuple(lines), note)


def details_table(panel: Panel, rows: Rows) -> Table:
    """What the comparison leaves out: parameters, lists of 20, and the epochs that were tested."""
    measures = (recall(20), ndcg(20), UNCAPPED)
    names = (measure.name for measure in measures)
    columns = ("method", "trained parameters", "paper's count", *names, "best epoch of each seed")
    lines = []
    for entry, series in rows:
        if series is None:
            lines.append((_named(entry), *[NOT_RUN] * (len(columns) - 1)))
            continue
        _, parameters, of_paper, _ = sizes_of(series, panel.train.embedding_dim)
        quality = (spell(series.estimate(measure)) for measure in measures)
        epochs = ", ".join(str(record["best_epoch"]) for record in series.records)
        lines.append((_named(entry), parameters, of_paper, *quality, epochs))
    return Table("More of the same runs", columns, tuple(lines))


def _named(entry: Entry) -> str:
    return entry.name if entry.matched else f"{entry.name} (own size)"


def bytes_table(panel: Panel, rows: Rows) -> Table:
    """Quality at equal bytes, with what training keeps in memory."""
    columns = (
        "tables",
        "MB served",
        "of full",
        "trained parameters",
        "training MB",
        *(measure.name for measure in RANKED[:4]),
        "R@10 − BACO [95 %]",
        "R@10 of full",
        "seeds",
    )
    full, baco = series_of(FULL, rows), series_of(BACO, rows)
    lines = []
    for entry, series in rows:
        if series is None:
            lines.append((entry.name, *[NOT_RUN] * (len(columns) - 1)))
            continue
        parameters, served = series.mean("trained_parameters"), megabytes(series)
        difference = None if baco is None or series is baco else series.difference(baco, LEADING)
        lines.append(
            (
                entry.name,
                f"{served:.2f}",
                ABSENT if full is None else f"{100 * served / megabytes(full):.1f} %",
                f"{parameters:,.0f}",
                f"{_TRAINED_BYTES * parameters / 1e6:.1f}",
                *(spell(series.estimate(measure)) for measure in RANKED[:4]),
                spell_difference(difference),
                retained(series, full),
                f"{len(series.seeds)} ({spell_seeds(series.seeds)})",
            )
        )
    return Table(panel.title, columns, tuple(lines))


def ablations_table(panel: Panel, rows: Rows) -> Table:
    """BACO with a part changed at a time."""
    columns = (
        "grouping",
        "rows",
        "second rows",
        "paper's count",
        *(measure.name for measure in RANKED[:6]),
        "R@10 − BACO [95 %]",
        "seeds",
    )
    baco = series_of(BACO, rows)
    lines = []
    for entry in ABLATED:
        series = series_of(entry, rows)
        if series is None:
            lines.append((entry.name, *[NOT_RUN] * (len(columns) - 1)))
            continue
        count, _, of_paper, _ = sizes_of(series, panel.train.embedding_dim)
        lines.append(
            (
                entry.name,
                count,
                f"{series.mean('second_rows'):,.0f}",
                of_paper,
                *(spell(series.estimate(measure)) for measure in RANKED[:6]),
                spell_difference(None if baco is None or series is baco else series.difference(baco, LEADING)),
                f"{len(series.seeds)} ({spell_seeds(series.seeds)})",
            )
        )
    return Table(panel.title, columns, tuple(lines))


def sweeps_table(
    after: Mapping[str, tuple[float, Sequence[int]]], sizes: Mapping[str, Size], titles: Mapping[str, str]
) -> Table:
    """Rows after each sweep, in percent of users and items."""
    lines = []
    for name, (gamma, counts) in after.items():
        ids = sizes[name].num_users + sizes[name].num_items
        shown = [f"{100 * count / ids:.1f} %" for count in counts]
        lines.append((titles[name], f"{gamma:.4g}", *shown, *[ABSENT] * (SWEEPS - len(shown))))
    columns = ("data", "γ", *(f"T = {sweep}" for sweep in range(1, SWEEPS + 1)))
    note = "γ is the one with which 5 sweeps meet the budget, seed 0."
    return Table("Rows of BACO after each sweep, of users and items", columns, tuple(lines), note)


def clusters_table(panel: Panel, found: Mapping[str, Mapping[str, Clusters]]) -> Table:
    """Figures of the clusters of each side."""
    columns = ("grouping", "side", "clusters", "median size", "largest", "of one member", "Gini")
    lines = [
        (
            name,
            side,
            f"{each.rows:,}",
            f"{each.median:g}",
            f"{each.largest:,}",
            f"{each.singletons_percent:.1f} %",
            f"{each.gini:.3f}",
        )
        for name, of_sides in found.items()
        for side, each in of_sides.items()
    ]
    return Table(panel.data_title, columns, tuple(lines))


def timing_table(panel: Panel, found: Sequence[tuple[Entry, Timing | None]]) -> Table:
    """Seconds of each grouping, and how many times those of BACO."""
    baco = next((timing for entry, timing in found if entry.name == BACO.name), None)
    lines = []
    for entry, timing in found:
        if timing is None:
            lines.append((entry.name, *[NOT_RUN] * 4))
        elif timing.seconds is None or timing.rows is None:
            ended = f"stopped at {timing.limit:g} s" if timing.ended == "stopped" else f"failed: {timing.ended}"
            lines.append((entry.name, ABSENT, ended, ABSENT, ABSENT))
        else:
            ratio = ABSENT
            if baco is not None and baco.seconds and timing is not baco:
                ratio = f"{timing.seconds / baco.seconds:.1f}"
            tuning = f"{timing.tuning_seconds or 0.0:.2f}"
            lines.append((_named(entry), f"{timing.rows:,}", f"{timing.seconds:.3f}", ratio, tuning))
    columns = ("grouping", "rows", "seconds", "times BACO", "seconds to tune")
    return Table(panel.data_title, columns, tuple(lines))


_QUARTERS = ("0–25 %", "25–50 %", "50–75 %", "75–100 %")


def our_quartiles_table(panel: Panel, found: Mapping[str, Sequence[Estimate]]) -> Table:
    """R@20 of each quarter of the users, by method."""
    lines = tuple((name, *map(spell, estimates)) for name, estimates in found.items())
    return Table(f"Ours, {panel.title}: R@20", ("method", *_QUARTERS), lines)


def paper_quartiles_table() -> Table:
    """Figure 5 of the paper."""
    lines = tuple((name, *(f"{value:.1f}" for value in values.values())) for name, values in QUARTILES.items())
    return Table("The paper's Figure 5, Gowalla: R@20, read off the picture", ("method", *_QUARTERS), lines)


def paper_sizes_table() -> Table:
    """Figure 6 of the paper."""
    lines = [(name, *(f"{value:.2f}" for value in values.values())) for name, values in SIZES.items()]
    columns = ("method", *next(iter(SIZES.values())))
    note = "GraphHash has as many rows as BACO at each γ; sizes span about a tenth to a fifth of all."
    return Table("The paper's Figure 6, Gowalla, read off the picture", columns, tuple(lines), note)


def order_table(rows: Rows) -> Table:
    """Whether the paper's order holds: each method against the next one."""
    lines = []
    for better, worse in pairwise(ORDER):
        first, second = series_of(better, rows), series_of(worse, rows)
        claim = f"{better.name} over {worse.name}"
        if first is None or second is None:
            lines.append((claim, *[NOT_RUN] * 4))
            continue
        cells = [spell_difference(first.difference(second, recall(k))) for k in (10, 20, 50)]
        lines.append((claim, *cells, judge(first.difference(second, LEADING), LEADING, _MARGIN)))
    columns = ("difference, paired by seed", "R@10 [95 %]", "R@20 [95 %]", "R@50 [95 %]", "verdict on R@10")
    return Table("Order of the methods", columns, tuple(lines))


def numbers(panel: Panel, entry: Entry, series: Series | None) -> Line:
    """A row with all its digits, for a CSV file; what was not run is left empty."""
    line: dict[str, Any] = {"panel": panel.name, "data": panel.data, "split": panel.split, "method": entry.name}
    if series is not None:
        line |= {"labels": " | ".join(dict.fromkeys(record["label"] for record in series.records))}
        line |= {"seeds": " ".join(map(str, series.seeds)), "rows": rows_of(series, panel.train.embedding_dim)}
        line |= {name: series.mean(name) for name in ("trained_parameters", "second_rows", "embedding_bits", "bits")}
        line |= {"best_epochs": " ".join(str(record["best_epoch"]) for record in series.records)}
        line |= {"seconds_per_epoch": series.mean("seconds_per_epoch")}
        for measure in RANKED:
            estimate = series.estimate(measure)
            line |= {measure.name: estimate.mean, f"{measure.name} std": estimate.std}
    paper = COMPARISON.get(panel.data, {}).get(entry.name)
    if paper is not None:
        line |= {f"paper {measure.name}": value for measure, value in zip(_IN_PAPER, paper.values(), strict=True)}
    return line


def series_of(entry: Entry, rows: Rows) -> Series | None:
    """The runs of a row of a table, by its name."""
    return next((series for other, series in rows if other.name == entry.name), None)


def retained(series: Series, full: Series | None) -> str:
    """R@10 in percent of that of full tables."""
    if full is None:
        return ABSENT
    return f"{100 * series.estimate(LEADING).mean / full.estimate(LEADING).mean:.1f} %"


def _share(size: Size) -> float:
    return 100 * size.rows / (size.num_users + size.num_items)
