"""Each table and figure of the BACO paper as text, numbers and picture, made from the finished runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slimtable.bench.table import Estimate
from slimtable.reporting.tables import Table
from slimtable.training.evaluation import ACTIVITY_QUARTERS
from studies.baco.clusters import measure_clusters
from studies.baco.experiments import (
    BACKBONE,
    CLUSTERED,
    FULL,
    PANEL_OF,
    SHARES,
    SWEEPS,
    Entry,
    Panel,
    Profile,
    Want,
    grouping_of,
    sized,
    spell_training,
    timed,
    wanted,
)
from studies.baco.figures import draw_clusters, draw_quartiles, draw_sizes
from studies.baco.published import PUBLISHED
from studies.baco.size import Size
from studies.baco.sweeps import rows_after_sweeps
from studies.baco.tables import (
    NOT_RUN,
    Rows,
    ablations_table,
    bytes_table,
    clusters_table,
    compared_table,
    details_table,
    numbers,
    order_table,
    our_quartiles_table,
    paper_quartiles_table,
    paper_sizes_table,
    recall,
    rows_of,
    series_of,
    sweeps_table,
    timing_table,
)
from studies.baco.texts import (
    ABLATED,
    BY_BYTES,
    CHOSEN,
    CLUSTER_SIZES,
    MEASURED,
    MEASURED_BRIEFLY,
    ORDERED,
    PAIRED,
    PATIENCE,
    POINTS,
    QUARTERS,
    QUICK,
    SIZES_MATCH,
    STATEMENTS,
    TIMED,
    TITLES,
    WHAT_GROUPING_GIVES,
)
from studies.baco.timing import Timing, known_timings, timing_key
from studies.baco.verdict import which_serves_better
from studies.series import Runs, Series
from studies.study import Line, Rendered, to_csv


@dataclass(frozen=True)
class Workplace:
    """What items are made from.

    Attributes:
        out: folder of the results.
        profile: what was asked for.
        runs: finished runs.
        sizes: of the data of each panel, where known.
        data_root: folder of datasets; None for the usual one.
    """

    out: Path
    profile: Profile
    runs: Runs
    sizes: Mapping[str, Size]
    data_root: Path | None

    def series(self, want: Want) -> Series | None:
        """The runs of a row; None where there is none."""
        panel = self.profile.panel(want.panel)
        if panel.name not in self.sizes:
            return None
        configs = {seed: want.entry.config(self.sizes[panel.name], seed, panel.init_std) for seed in want.seeds}
        train = panel.trained_at(want.entry.embedding_dim)
        return self.runs.series(panel.data, panel.split, BACKBONE, train, configs)

    def missing(self, wants: Sequence[Want]) -> int:
        """How many runs of some rows are not there."""
        found = [(want, self.series(want)) for want in wants]
        return sum(len(want.seeds) - (0 if series is None else len(series.seeds)) for want, series in found)


@dataclass(frozen=True)
class Content:
    """What a maker gives.

    Attributes:
        notes: paragraphs.
        tables: tables.
        lines: lines of numbers.
        picture: a PNG file, or None.
    """

    notes: list[str]
    tables: list[Table]
    lines: list[Line]
    picture: bytes | None = None


def render_item(item: str, place: Workplace) -> Rendered:
    """Makes a table or figure from the runs that are there; what was not run is said, never made up.

    Args:
        item: its name.
        place: what it is made from.

    Returns:
        The item.

    Raises:
        DatasetError: it needs a dataset that is not there.
        SlimtableError: the runs were made on different data.
    """
    missing = missing_of(item, place)
    made = _MAKERS[item](item, place)
    notes = [*made.notes]
    if missing:
        notes.append(f"{missing} of the wanted runs are missing; this is made from those that are there.")
    return Rendered(
        item,
        TITLES[item],
        f"Paper: {STATEMENTS[item]}",
        tuple(notes),
        tuple(made.tables),
        to_csv(made.lines),
        made.picture,
        missing,
    )


def missing_of(item: str, place: Workplace) -> int:
    """How many runs, or times, of an item are not there."""
    if item == "timing":
        return sum(timing is None for *_, timing in _timings(place))
    return place.missing(wanted(item, place.profile, place.sizes))


def _rows(item: str, place: Workplace) -> Rows:
    return [(want.entry, place.series(want)) for want in wanted(item, place.profile, place.sizes)]


def _compared(item: str, place: Workplace) -> Content:
    panel, rows = place.profile.panel(PANEL_OF[item]), _rows(item, place)
    tables = [
        compared_table(panel, rows, place.sizes[panel.name]),
        order_table(rows),
        details_table(panel, rows),
    ]
    lines = [numbers(panel, entry, series) for entry, series in rows]
    notes = [
        *_training(panel, place),
        PATIENCE,
        CHOSEN,
        MEASURED,
        SIZES_MATCH,
        f"{PAIRED} {ORDERED}",
        PUBLISHED.note.removeprefix("Paper: "),
    ]
    return Content(notes, tables, lines)


def _equal_bytes(item: str, place: Workplace) -> Content:
    panel, rows = place.profile.panel(PANEL_OF[item]), _rows(item, place)
    notes = [which_serves_better(rows), WHAT_GROUPING_GIVES, *_training(panel, place), BY_BYTES, CHOSEN]
    notes += [PAIRED, MEASURED_BRIEFLY]
    return Content(notes, [bytes_table(panel, rows)], [numbers(panel, entry, series) for entry, series in rows])


def _quartiles(item: str, place: Workplace) -> Content:
    panel, rows = place.profile.panel(PANEL_OF[item]), _rows(item, place)
    drawn: dict[str, list[Estimate]] = {}
    lines: list[Line] = []
    for entry, series in rows:
        if series is None:
            continue
        drawn[entry.name] = [series.estimate(recall(20, quarter)) for quarter in ACTIVITY_QUARTERS]
        for quarter, estimate in zip(ACTIVITY_QUARTERS, drawn[entry.name], strict=True):
            about = {"panel": panel.name, "method": entry.name, "quarter": quarter, "seeds": estimate.num_seeds}
            lines.append(about | {"R@20": estimate.mean, "R@20 std": estimate.std})
    picture = draw_quartiles(drawn, f"LightGCN on {panel.title}", "capped R@20 on the test part, %") if drawn else None
    tables = [our_quartiles_table(panel, drawn), paper_quartiles_table()] if drawn else [paper_quartiles_table()]
    return Content([QUARTERS, *_training(panel, place)], tables, lines, picture)


def _sizes(item: str, place: Workplace) -> Content:
    panel, rows = place.profile.panel(PANEL_OF[item]), _rows(item, place)
    ids = sum((place.sizes[panel.name].num_users, place.sizes[panel.name].num_items))
    drawn: dict[str, list[tuple[float, Estimate]]] = {}
    lines: list[Line] = []
    for share in SHARES:
        for name, entry in zip(("BACO", "GraphHash"), sized(share), strict=True):
            series = series_of(entry, rows)
            if series is None:
                continue
            percent = 100 * rows_of(series, panel.train.embedding_dim) / ids
            drawn.setdefault(name, []).append((percent, series.estimate(recall(20))))
            lines.append({"rows_percent": percent, "budget_percent": share} | numbers(panel, entry, series))
    full = series_of(FULL, rows)
    level = None if full is None else full.estimate(recall(20))
    title = f"LightGCN on {panel.title}"
    picture = draw_sizes(drawn, level, title, "capped R@20 on the test part, %") if drawn else None
    notes = [POINTS, *_training(panel, place), MEASURED_BRIEFLY]
    return Content(notes, [paper_sizes_table()], lines, picture)


def _clusters(item: str, place: Workplace) -> Content:
    drawn, tables, lines = {}, [], []
    for panel in place.profile.datasets:
        size = place.sizes[panel.name]
        groupings = {entry.name: grouping_of(entry, size) for entry in CLUSTERED}
        found = measure_clusters(panel.name, panel.source(place.data_root), groupings, place.out)
        drawn[panel.data_title] = found
        tables.append(clusters_table(panel, found))
        lines += [
            {"panel": panel.name, "grouping": name, "side": side, "members": members, "clusters": count}
            for name, of_sides in found.items()
            for side, clusters in of_sides.items()
            for members, count in zip(clusters.sizes, clusters.counts, strict=True)
        ]
    return Content([CLUSTER_SIZES], tables, lines, draw_clusters(drawn))


def _ablations(item: str, place: Workplace) -> Content:
    panel, rows = place.profile.panel(PANEL_OF[item]), _rows(item, place)
    size = place.sizes[panel.name]
    after = {
        name: rows_after_sweeps(name, each.source(place.data_root), place.sizes[name].second_rows, SWEEPS, place.out)
        for name, each in ((each.name, each) for each in place.profile.datasets)
        if name in place.sizes
    }
    titles = {name: place.profile.panel(name).data_title for name in after}
    tables = [ablations_table(panel, rows), sweeps_table(after, place.sizes, titles)]
    lines = [numbers(panel, entry, series) for entry, series in rows]
    lines += [
        {"panel": name, "method": "BACO", "gamma": gamma, "sweep": sweep, "rows": count}
        for name, (gamma, counts) in after.items()
        for sweep, count in enumerate(counts, start=1)
    ]
    notes = [ABLATED, *_training(panel, place), CHOSEN, PAIRED, MEASURED_BRIEFLY]
    notes.append(
        f"The budget of BACO on {panel.data_title} is {size.second_rows:,} rows: {size.rows:,} less what the paper "
        "would charge for a second cluster of every user."
    )
    return Content(notes, tables, lines)


def _timing(item: str, place: Workplace) -> Content:
    found = _timings(place)
    by_panel = {panel.name: [row[1:] for row in found if row[0] is panel] for panel in place.profile.datasets}
    tables = [timing_table(panel, by_panel[panel.name]) for panel in place.profile.datasets if by_panel[panel.name]]
    lines: list[Line] = []
    for panel, entry, timing in found:
        line: Line = {"panel": panel.name, "grouping": entry.name}
        if timing is not None:
            line |= {"rows": timing.rows, "seconds": timing.seconds, "tuning_seconds": timing.tuning_seconds}
            line |= {"ended": timing.ended, "limit": timing.limit, "cpu": timing.cpu}
        lines.append(line)
    processors = dict.fromkeys(timing.cpu for *_, timing in found if timing is not None)
    notes = [TIMED, f"Processor: {'; '.join(processors) or NOT_RUN}."]
    return Content(notes, tables, lines)


def _timings(place: Workplace) -> list[tuple[Panel, Entry, Timing | None]]:
    """The time of each grouping that is wanted; None where it was not taken."""
    known = known_timings(place.out)
    found = []
    for panel in place.profile.datasets:
        for entry in timed(place.profile):
            timing = None
            if panel.name in place.sizes:
                grouping, rows = grouping_of(entry, place.sizes[panel.name])
                timing = known.get(timing_key(panel.name, grouping, rows, place.profile.time_limit))
            found.append((panel, entry, timing))
    return found


def _training(panel: Panel, place: Workplace) -> list[str]:
    return [*([QUICK] if place.profile.quick else []), spell_training(panel)]


_MAKERS: dict[str, Callable[[str, Workplace], Content]] = {
    "beauty": _compared,
    "small_start": _compared,
    "gowalla": _compared,
    "equal_bytes": _equal_bytes,
    "quartiles": _quartiles,
    "sizes": _sizes,
    "clusters": _clusters,
    "ablations": _ablations,
    "timing": _timing,
}
