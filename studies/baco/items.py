"""Each table and figure of the BACO paper as text, numbers and picture, made from the finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from slimtable.bench.columns import format_difference, format_estimate
from slimtable.bench.measures import Measure
from slimtable.bench.published import Published
from slimtable.bench.table import Estimate
from slimtable.reporting.tables import ABSENT, Table
from slimtable.training.evaluation import ACTIVITY_QUARTERS
from studies.baco import experiments
from studies.baco.clusters import Clusters, measure_clusters, rows_after_sweeps
from studies.baco.experiments import BACKBONE, BACO, FULL, SWEEPS, Entry, Panel, datasets, describe_training, entry_of
from studies.baco.figures import draw_clusters, draw_quartiles, draw_sizes
from studies.baco.timing import Timing, timings
from studies.captions import Captions
from studies.series import Row, Series, Want, at_best
from studies.study import Content, Item, Line, Place
from studies.tables import (
    NOT_RUN,
    SEEDS,
    Column,
    differing,
    estimated,
    judge,
    of_runs,
    printed,
    published_table,
    row_table,
)

CAPTIONS = Captions.beside(__file__)
NOTES = CAPTIONS.notes
PUBLISHED = Published.read(Path(__file__).with_name("published.json"))
COMPARISON = {data: PUBLISHED.table(data=data, backbone=BACKBONE, embedding_dim=64) for data in ("beauty", "gowalla")}
"""Table 8 of the paper's supplement, by data: capped recall and NDCG at 10 and at 50, in percent."""
QUARTILES, SIZES = PUBLISHED.table(figure="5"), PUBLISHED.table(figure="6")
"""Its Figures 5 and 6, read off: ± 0.1 and ± 0.05."""

Rows = Sequence[Row[Want]]

_MASK = "train+valid"
_TRAINED_BYTES = 3 * 4  # of each trained parameter: itself and Adam's two moments, in float32
_MARGIN = 0.05  # points; what is within it and holds zero is no difference worth naming
_KIND_MARGIN = 0.1  # the same between shared rows and others
_NOISE = 1.05  # sizes that differ by less count as equal
_QUALITY = "capped R@20 on the test part, %"


def recall(k: int, group: str = "") -> Measure:
    """Capped recall of lists of k, of all users or of a quarter of them, such as "q1"."""
    metric = f"capped_recall@{k}" + (f"/{group}" if group else "")
    return Measure(_MASK, metric, f"R@{k}" + (f" {group}" if group else ""), 100.0)


def ndcg(k: int) -> Measure:
    """NDCG of lists of k."""
    return Measure(_MASK, f"ndcg@{k}", f"N@{k}", 100.0)


UNCAPPED = Measure(_MASK, "recall@20", "R@20, all", 100.0)
RANKED = (recall(10), ndcg(10), recall(20), ndcg(20), recall(50), ndcg(50), UNCAPPED)
_IN_PAPER = (recall(10), ndcg(10), recall(50), ndcg(50))
_LEADING = at_best(recall(10))


def compared(item: Item[Panel], place: Place[Panel]) -> Content:
    """The comparison of methods that share rows: what the paper prints, each beside ours."""
    ((panel, rows),) = item.rows(place)
    published, full, size = COMPARISON.get(panel.data, {}), series_of(FULL, rows), panel.size(place)
    shown = [row if entry_of(row.of).matched else replace(row, name=f"{row.name} (own size)") for row in rows]
    columns = [_rows(panel), _SERVED]
    for measure in _IN_PAPER:
        columns += [estimated(measure.name, at_best(measure)), printed(measure.name, published)]
    columns += [differing("R@10 − full [95 %]", _LEADING, full), _retained(full), SEEDS]
    share = f"{100 * size.rows / size.ids:.1f} % of all"
    note = f"GraphHash has {size.user_rows:,} + {size.item_rows:,} rows of users and items, {share}."
    more = [_PARAMETERS, _OF_PAPER]
    more += [estimated(measure.name, at_best(measure)) for measure in (recall(20), ndcg(20), UNCAPPED)]
    more += [of_runs("best epoch of each seed", lambda runs: ", ".join(_epochs(runs)))]
    tables = [
        row_table(panel.title, "method", columns, shown, note),
        order_table(rows),
        row_table("More of the same runs", "method", more, shown),
    ]
    notes = [*_training(panel, place), NOTES["patience"], NOTES["chosen"], NOTES["measured"], NOTES["sizes_match"]]
    notes += [f"{NOTES['paired']} {NOTES['ordered']}", PUBLISHED.note.removeprefix("Paper: ")]
    return Content(notes, tables, [numbers(panel, row) for row in rows])


def order_table(rows: Rows) -> Table:
    """Whether the paper's order holds: each method against the next one."""
    lines = []
    for better, worse in pairwise(experiments.ORDER):
        first, second = series_of(better, rows), series_of(worse, rows)
        claim = f"{better.name} over {worse.name}"
        if first is None or second is None:
            lines.append((claim, *[NOT_RUN] * 4))
            continue
        cells = [format_difference(first.difference(second, at_best(recall(k)))) for k in (10, 20, 50)]
        lines.append((claim, *cells, judge(first.difference(second, _LEADING), recall(10), _MARGIN)))
    heads = ("difference, paired by seed", "R@10 [95 %]", "R@20 [95 %]", "R@50 [95 %]", "verdict on R@10")
    return Table("Order of the methods", heads, tuple(lines))


def equal_bytes(item: Item[Panel], place: Place[Panel]) -> Content:
    """Quality at equal bytes, with what training keeps in memory."""
    ((panel, rows),) = item.rows(place)
    full, baco = series_of(FULL, rows), series_of(BACO, rows)

    def of_full(runs: Series) -> str:
        return ABSENT if full is None else f"{100 * megabytes(runs) / megabytes(full):.1f} %"

    def training_megabytes(runs: Series) -> str:
        return f"{_TRAINED_BYTES * runs.mean('trained_parameters') / 1e6:.1f}"

    columns = [_SERVED, of_runs("of full", of_full), _PARAMETERS, of_runs("training MB", training_megabytes)]
    columns += [estimated(measure.name, at_best(measure)) for measure in RANKED[:4]]
    columns += [differing("R@10 − BACO [95 %]", _LEADING, baco), _retained(full), SEEDS]
    notes = [which_serves_better(rows), NOTES["what_grouping_gives"], *_training(panel, place), NOTES["by_bytes"]]
    notes += [NOTES["chosen"], NOTES["paired"], NOTES["measured_briefly"]]
    table = row_table(panel.title, "tables", columns, rows)
    return Content(notes, [table], [numbers(panel, row) for row in rows])


def which_serves_better(rows: Rows) -> str:
    """A sentence for each size, from what was measured: the best shared rows against the best of the others."""
    baco = series_of(BACO, rows)
    if baco is None:
        return "Which serves better cannot be said yet: BACO was not run."
    sentences = []
    for words, limit in (("At BACO's bytes", megabytes(baco)), ("At a quarter of them", megabytes(baco) / 4)):
        fitting = [row for row in rows if row.series is not None and megabytes(row.series) <= _NOISE * limit]
        shared = _best([row for row in fitting if entry_of(row.of).method in experiments.SHARING])
        other = _best([row for row in fitting if entry_of(row.of).method not in experiments.SHARING])
        compared = "nothing can be compared yet."
        if shared is not None and other is not None:
            compared = _compare(shared, other)
        separator = ":" if shared is not None and other is not None else ","
        sentences.append(f"{words}, {limit:.2f} MB{separator} {compared}")
    sentences.append("The best of each kind is picked by these test figures, among the rows of at most that size.")
    return " ".join(sentences)


def _best(rows: Rows) -> Row[Want] | None:
    return max(rows, key=lambda row: row.runs.estimate(_LEADING).mean, default=None)


def _compare(shared: Row[Want], other: Row[Want]) -> str:
    means = [row.runs.estimate(_LEADING).mean for row in (shared, other)]
    sizes = [megabytes(row.runs) for row in (shared, other)]
    both = zip((shared, other), means, sizes, strict=True)
    ours, theirs = (f"{row.name} ({mean:.2f} % R@10, {size:.2f} MB)" for row, mean, size in both)
    gap = means[1] - means[0]
    better = f"{theirs} serves better than the best shared rows, {ours}"
    if gap < 0:
        better = f"the best shared rows, {ours}, serve better than {theirs}"
    judged = judge(other.runs.difference(shared.runs, _LEADING), recall(10), _KIND_MARGIN)
    spelled = {"better": "significant", "worse": "significant"} | dict.fromkeys(
        ("matches", "undecided"), "not significant"
    )
    said = spelled.get(judged, f"not to be judged ({judged})")
    return f"{better}, by {abs(gap):.2f} points; paired by seed, the difference is {said}."


def quartiles(item: Item[Panel], place: Place[Panel]) -> Content:
    """Recall of each quarter of the users."""
    ((panel, rows),) = item.rows(place)
    heads = tuple(next(iter(QUARTILES.values())))
    drawn: dict[str, list[Estimate]] = {}
    lines: list[Line] = []
    for row in rows:
        if row.series is None:
            continue
        drawn[row.name] = [row.series.estimate(at_best(recall(20, quarter))) for quarter in ACTIVITY_QUARTERS]
        for quarter, estimate in zip(ACTIVITY_QUARTERS, drawn[row.name], strict=True):
            about = {"panel": panel.name, "method": row.name, "quarter": quarter, "seeds": estimate.num_seeds}
            lines.append(about | {"R@20": estimate.mean, "R@20 std": estimate.std})
    tables = [published_table("The paper's Figure 5, Gowalla: R@20, read off the picture", QUARTILES, 1)]
    if drawn:
        shown = tuple((name, *map(format_estimate, estimates)) for name, estimates in drawn.items())
        tables.insert(0, Table(f"Ours, {panel.title}: R@20", ("method", *heads), shown))
    picture = draw_quartiles(drawn, f"LightGCN on {panel.title}", _QUALITY) if drawn else None
    return Content([NOTES["quarters"], *_training(panel, place)], tables, lines, picture)


def sizes(item: Item[Panel], place: Place[Panel]) -> Content:
    """Quality against the number of rows."""
    ((panel, rows),) = item.rows(place)
    drawn: dict[str, list[tuple[float, Estimate]]] = {}
    lines: list[Line] = []
    for share, entries in experiments.SIZED.items():
        for name, entry in entries.items():
            row = next(row for row in rows if row.name == entry.name)
            if row.series is None:
                continue
            percent = 100 * rows_of(row.series, panel) / panel.size(place).ids
            drawn.setdefault(name, []).append((percent, row.series.estimate(at_best(recall(20)))))
            lines.append({"rows_percent": percent, "budget_percent": share} | numbers(panel, row))
    full = series_of(FULL, rows)
    level = None if full is None else full.estimate(at_best(recall(20)))
    picture = draw_sizes(drawn, level, f"LightGCN on {panel.title}", _QUALITY) if drawn else None
    note = "GraphHash has as many rows as BACO at each γ; sizes span about a tenth to a fifth of all."
    table = published_table("The paper's Figure 6, Gowalla, read off the picture", SIZES, 2, note)
    return Content([NOTES["points"], *_training(panel, place), NOTES["measured_briefly"]], [table], lines, picture)


def clusters(item: Item[Panel], place: Place[Panel]) -> Content:
    """Figures of the clusters of each side."""
    heads = ("grouping", "side", "clusters", "median size", "largest", "of one member", "Gini")
    drawn, tables, lines = {}, [], list[Line]()
    for panel in datasets(place.study):
        found = {entry.name: measure_clusters(panel, entry, place) for entry in experiments.CLUSTERED}
        drawn[panel.data_title] = found
        sides = [(name, side, each) for name, of_sides in found.items() for side, each in of_sides.items()]
        cells = tuple((name, side, *_cells_of(each)) for name, side, each in sides)
        tables.append(Table(panel.data_title, heads, cells))
        lines += [
            {"panel": panel.name, "grouping": name, "side": side, "members": members, "clusters": count}
            for name, side, each in sides
            for members, count in zip(each.sizes, each.counts, strict=True)
        ]
    return Content([NOTES["cluster_sizes"]], tables, lines, draw_clusters(drawn))


def _cells_of(each: Clusters) -> tuple[str, ...]:
    share = f"{each.singletons_percent:.1f} %"
    return f"{each.rows:,}", f"{each.median:g}", f"{each.largest:,}", share, f"{each.gini:.3f}"


def ablations(item: Item[Panel], place: Place[Panel]) -> Content:
    """BACO with a part changed at a time, and its rows after each sweep."""
    ((panel, rows),) = item.rows(place)
    columns = [_rows(panel), of_runs("second rows", lambda runs: f"{runs.mean('second_rows'):,.0f}"), _OF_PAPER]
    columns += [estimated(measure.name, at_best(measure)) for measure in RANKED[:6]]
    columns += [differing("R@10 − BACO [95 %]", _LEADING, series_of(BACO, rows)), SEEDS]
    lines, cells = [numbers(panel, row) for row in rows], []
    for each in datasets(place.study):
        gamma, after = rows_after_sweeps(each, place)
        lines += [
            {"panel": each.name, "method": "BACO", "gamma": gamma, "sweep": sweep, "rows": count}
            for sweep, count in enumerate(after, start=1)
        ]
        shares = [f"{100 * count / each.size(place).ids:.1f} %" for count in after]
        cells.append((each.data_title, f"{gamma:.4g}", *shares, *[ABSENT] * (SWEEPS - len(shares))))
    heads = ("data", "γ", *(f"T = {sweep}" for sweep in range(1, SWEEPS + 1)))
    note = "γ is the one with which 5 sweeps meet the budget, seed 0."
    sweeps = Table("Rows of BACO after each sweep, of users and items", heads, tuple(cells), note)
    notes = [NOTES["ablated"], *_training(panel, place), NOTES["chosen"], NOTES["paired"], NOTES["measured_briefly"]]
    size = panel.size(place)
    notes.append(
        f"The budget of BACO on {panel.data_title} is {size.second_rows:,} rows: {size.rows:,} less what the paper "
        "would charge for a second cluster of every user."
    )
    return Content(notes, [row_table(panel.title, "grouping", columns, rows), sweeps], lines)


def timing(item: Item[Panel], place: Place[Panel]) -> Content:
    """Seconds of each grouping, and how many times those of BACO."""
    found = list(timings(place))
    heads = ("grouping", "rows", "seconds", "times BACO", "seconds to tune")
    tables, lines = [], list[Line]()
    for panel in datasets(place.study):
        own = [(entry, each) for other, entry, each in found if other is panel]
        baco = next((each for entry, each in own if entry.name == BACO.name), None)
        tables.append(Table(panel.data_title, heads, tuple(_timing_cells(entry, each, baco) for entry, each in own)))
        for entry, each in own:
            lines.append({"panel": panel.name, "grouping": entry.name} | ({} if each is None else vars(each)))
    processors = dict.fromkeys(each.cpu for *_, each in found if each is not None)
    return Content([NOTES["timed"], f"Processor: {'; '.join(processors) or NOT_RUN}."], tables, lines)


def _timing_cells(entry: Entry, each: Timing | None, baco: Timing | None) -> tuple[str, ...]:
    if each is None:
        return (entry.name, *[NOT_RUN] * 4)
    if each.seconds is None or each.rows is None:
        ended = f"stopped at {each.limit:g} s" if each.ended == "stopped" else f"failed: {each.ended}"
        return (entry.name, ABSENT, ended, ABSENT, ABSENT)
    compares = baco is not None and baco.seconds and each is not baco
    ratio = f"{each.seconds / baco.seconds:.1f}" if compares else ABSENT  # type: ignore[operator,union-attr]
    name = entry.name if entry.matched else f"{entry.name} (own size)"
    return (name, f"{each.rows:,}", f"{each.seconds:.3f}", ratio, f"{each.tuning_seconds or 0.0:.2f}")


def numbers(panel: Panel, row: Row[Want]) -> Line:
    """A row with all its digits, for a CSV file; what was not run is left empty."""
    line: Line = {"panel": panel.name, "data": panel.data, "split": panel.split, "method": row.name}
    if row.series is not None:
        runs = row.series
        line |= {"labels": " | ".join(dict.fromkeys(record["label"] for record in runs.records))}
        line |= {"seeds": " ".join(map(str, runs.seeds)), "rows": rows_of(runs, panel)}
        line |= {name: runs.mean(name) for name in ("trained_parameters", "second_rows", "embedding_bits", "bits")}
        line |= {"best_epochs": " ".join(_epochs(runs)), "seconds_per_epoch": runs.mean("seconds_per_epoch")}
        for measure in RANKED:
            estimate = runs.estimate(at_best(measure))
            line |= {measure.name: estimate.mean, f"{measure.name} std": estimate.std}
    return line | {f"paper {name}": value for name, value in COMPARISON.get(panel.data, {}).get(row.name, {}).items()}


def series_of(entry: Entry, rows: Rows) -> Series | None:
    """The runs of a row of a table, by its name."""
    return next((row.series for row in rows if row.name == entry.name), None)


def megabytes(runs: Series) -> float:
    """Megabytes that the tables serve."""
    return runs.mean("embedding_bits") / 8e6


def rows_of(runs: Series, panel: Panel) -> float:
    """Rows of the usual width that are trained."""
    return runs.mean("trained_parameters") / panel.train.embedding_dim


_SERVED = of_runs("MB served", lambda runs: f"{megabytes(runs):.2f}")
_PARAMETERS = of_runs("trained parameters", lambda runs: f"{runs.mean('trained_parameters'):,.0f}")
_OF_PAPER = of_runs("paper's count", lambda runs: f"{runs.mean('trained_parameters') + runs.mean('second_rows'):,.0f}")


def _rows(panel: Panel) -> Column:
    return of_runs("rows", lambda runs: f"{rows_of(runs, panel):,.0f}")


def _retained(full: Series | None) -> Column:
    """R@10 in percent of that of full tables."""

    def text(runs: Series) -> str:
        return ABSENT if full is None else f"{100 * runs.estimate(_LEADING).mean / full.estimate(_LEADING).mean:.1f} %"

    return of_runs("R@10 of full", text)


def _epochs(runs: Series) -> list[str]:
    return [str(record["best_epoch"]) for record in runs.records]


def _training(panel: Panel, place: Place[Panel]) -> list[str]:
    return [*([NOTES["quick"]] if place.study.quick else []), describe_training(panel)]
