"""Each table and figure as text, numbers and picture, made from the finished runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slimtable.bench.jobs import Source
from slimtable.bench.labels import label_of
from slimtable.bench.measures import HIT_RATE, RMSE
from slimtable.bench.table import Row
from slimtable.embeddings.base import method_of
from slimtable.files import write_json
from slimtable.reporting.tables import Table
from studies.mgqe.experiments import (
    LEADING,
    ON_PAIRS,
    RANKED,
    Panel,
    Profile,
    curves,
    spell_training,
    table_rows,
    wanted,
)
from studies.mgqe.figures import (
    LossCurve,
    SizeCurve,
    draw_losses,
    draw_popularity,
    draw_similarities,
    draw_sizes,
)
from studies.mgqe.published import PUBLISHED
from studies.mgqe.similarity import (
    FILMS_PER_SET,
    GENRES,
    Similarity,
    mean_similarity,
    measure_similarities,
)
from studies.mgqe.store import Store
from studies.mgqe.tables import (
    NOT_RUN,
    compact_table,
    epochs_of,
    error_table,
    numbers,
    paper_error_table,
    ranked_table,
)
from studies.mgqe.texts import COMPACT, QUICK, STAND_IN, STATEMENTS, TITLES, VERDICTS
from studies.study import Rendered, to_csv

POPULARITY = "figure4.json"


@dataclass(frozen=True)
class Workplace:
    """What items are made from.

    Attributes:
        out: folder of the results.
        profile: what was asked for.
        store: the finished runs.
        data_root: folder of datasets; None for the usual one.
    """

    out: Path
    profile: Profile
    store: Store
    data_root: Path | None


_Content = tuple[list[str], list[Table], list[dict[str, Any]], bytes | None]
"""Notes, tables, lines of numbers and picture."""


def render_item(item: str, place: Workplace) -> Rendered:
    """Makes a table or figure from the runs that are there; what was not run is said, never made up.

    Args:
        item: its name.
        place: what it is made from.

    Returns:
        The item.

    Raises:
        DatasetError: Figure 4 or 8 needs a dataset that is not there.
        SlimtableError: the runs were made on different data.
    """
    missing = place.store.missing(wanted(item, place.profile))
    notes, tables, lines, picture = _MAKERS[item](item, place)
    if missing:
        notes.append(f"{missing} of the wanted runs are missing; this is made from those that are there.")
    return Rendered(
        item,
        TITLES[item],
        f"Paper: {STATEMENTS[item]}",
        tuple(notes),
        tuple(tables),
        to_csv(lines),
        picture,
        missing,
    )


def _ranked(item: str, place: Workplace) -> _Content:
    tables, lines, panels = [], [], []
    for name, configs in table_rows(item):
        panel = place.profile.panel(name)
        rows = place.store.rows(panel, configs)
        tables.append(ranked_table(panel, configs, rows))
        lines += [numbers(panel, config, row, rows[0]) for config, row in zip(configs, rows, strict=True)]
        panels.append(panel)
    source = PUBLISHED.note.removeprefix("Paper: ")
    if item == "table6":
        source = f"{source.partition(' The')[0]} The paper prints no sizes for its variants."
    return [*_training(panels, place), VERDICTS, source], tables, lines, None


def _on_pairs(item: str, place: Workplace) -> _Content:
    tables, lines, panels = [], [], []
    for name, configs in table_rows(item):
        panel = place.profile.panel(name)
        rows = place.store.rows(panel, configs)
        tables.append(error_table(panel, configs, rows))
        lines += [numbers(panel, config, row, rows[0]) for config, row in zip(configs, rows, strict=True)]
        panels.append(panel)
    tables.append(paper_error_table())
    return [STAND_IN, *_training(panels, place), VERDICTS], tables, lines, None


def _compact(item: str, place: Workplace) -> _Content:
    tables, lines, panels = [], [], []
    for name in RANKED:
        panel = place.profile.panel(name)
        wants = [want for want in wanted(item, place.profile) if want.panel == name]
        rows = [place.store.rows(panel, [want.config], None, want.epochs)[0] for want in wants]
        tables.append(compact_table(panel, wants, rows))
        for want, row in zip(wants, rows, strict=True):
            about = {} if row is None else {"tables_percent": 100 / row.embedding_compression_ratio}
            lines.append(numbers(panel, want.config, row, rows[0]) | about | {"epochs": epochs_of(panel, want)})
        panels.append(panel)
    return [COMPACT, *_training(panels, place), VERDICTS], tables, lines, None


def _popularity(item: str, place: Workplace) -> _Content:
    panel = place.profile.panel("gmf")
    counts = {name: np.array(values) for name, values in _counts(panel, place).items()}
    shares = []
    for name, values in counts.items():
        head = values[: max(1, round(0.1 * len(values)))].sum() / values.sum()
        shares.append(f"the top 10 % of {len(values):,} {name} hold {100 * head:.1f} % of the training interactions")
    lines = [
        {"of": name, "rank": rank, "interactions": int(value)}
        for name, values in counts.items()
        for rank, value in enumerate(values, start=1)
    ]
    note = f"{panel.data}: {' and '.join(shares)}. The paper's other panel is of its private data."
    return [note], [], lines, draw_popularity(counts)


def _counts(panel: Panel, place: Workplace) -> dict[str, list[int]]:
    """Interactions of every item and user, descending; kept beside the results, so that the data is needed once."""
    path = place.out / POPULARITY
    if path.is_file():
        cached = json.loads(path.read_text())
        if cached["data"] == panel.data:
            return {name: cached[name] for name in ("items", "users")}
    parts = Source(panel.data, place.data_root).load_split()
    counts = {"items": parts.train.item_counts(), "users": parts.train.user_counts()}
    descending = {name: np.sort(values)[::-1].tolist() for name, values in counts.items()}
    place.out.mkdir(parents=True, exist_ok=True)
    write_json(path, {"data": panel.data, **descending})
    return descending


def _sizes(item: str, place: Workplace) -> _Content:
    lines: list[dict[str, Any]] = []
    drawn, absent, panels = [], [], []
    for panel in place.profile.panels:
        found = _size_curves(panel, place.store, lines)
        if found:
            drawn.append((panel.title, RMSE if panel.name in ON_PAIRS else HIT_RATE, found))
            panels.append(panel)
        else:
            absent.append(panel.title)
    width = place.profile.panels[0].train.embedding_dim
    notes = [
        f"Size is that of the whole model over the uncompressed one at d = {width}. Bars are one standard deviation "
        "where there are several seeds; for RMSE, lower is better, and errors far above the others are named at the "
        "edge. What the tables hold, and uniform, are means over their seeds, every other point is seed 0 alone: small "
        "steps between them mean nothing.",
        *_training(panels, place),
    ]
    if absent:
        notes.append(f"Not run: {', '.join(absent)}.")
    if set(ON_PAIRS) & {panel.name for panel in panels}:
        notes.append(STAND_IN)
    return notes, [], lines, draw_sizes(drawn) if drawn else None


def _size_curves(panel: Panel, store: Store, lines: list[dict[str, Any]]) -> list[SizeCurve]:
    """The lines of a panel, from the points that were run; their numbers are added to ``lines``."""
    full_bits = store.full_bits(panel)
    found: list[SizeCurve] = []
    if full_bits is None:
        return found
    for curve in curves(panel):
        sizes, quality = [], []
        for embedding_dim, config in curve.points:
            (row,) = store.rows(panel, [config], embedding_dim)
            if row is None:
                continue
            sizes.append(100 * row.bits / full_bits)
            quality.append(row.quality)
            lines.append(_size_line(panel, curve.varied, embedding_dim, label_of(config), row, sizes[-1]))
        if sizes:
            found.append(SizeCurve(curve.method, f"{curve.method}, {curve.varied}", tuple(sizes), tuple(quality)))
    return found


def _size_line(panel: Panel, varied: str, dim: int | None, label: str, row: Row, size: float) -> dict[str, Any]:
    line: dict[str, Any] = {"panel": panel.name, "method": label, "varied": varied}
    line |= {"embedding_dim": dim or panel.train.embedding_dim, "bits": row.bits, "size_percent_of_usual_width": size}
    measure = row.measures[0]
    line |= {"seeds": " ".join(map(str, row.seeds)), "metric": measure.name}
    return line | {"mean": row.quality.mean, "std": row.quality.std}


def _losses(item: str, place: Workplace) -> _Content:
    drawn, lines, cells, panels = [], [], [], []
    for name in RANKED:
        panel = place.profile.panel(name)
        found = []
        for want in wanted(item, place.profile):
            runs = place.store.runs(panel, want.config) if want.panel == name else {}
            by_seed = {
                seed: [(p["epoch"], p["loss"]) for p in run["curve"]] for seed, run in runs.items() if run["curve"]
            }
            if by_seed:
                found.append(LossCurve(method_of(want.config).method, by_seed))
                lines += [
                    {"panel": name, "method": label_of(want.config), "seed": seed, "epoch": epoch, "loss": loss}
                    for seed, points in by_seed.items()
                    for epoch, loss in points
                ]
        cells.append((panel.title, *_last_losses(found)))
        if found:
            drawn.append((panel.title, found))
            panels.append(panel)
    columns = ("backbone", "epochs", *(f"loss of {label}" for label in LEADING), "mgqe over full")
    table = Table("Training loss after the last epoch, mean over seeds", columns, tuple(cells))
    notes = [
        "The loss is that of the task, without MGQE's penalty. Thin lines are single seeds.",
        *_training(panels, place),
    ]
    return notes, [table], lines, draw_losses(drawn) if drawn else None


def _last_losses(found: Sequence[LossCurve]) -> tuple[str, str, str, str]:
    """Epochs, last loss of full and of MGQE, and the latter over the former."""
    last = {curve.method: curve.mean()[-1] for curve in found}
    full, mgqe = (last.get(label) for label in LEADING)
    epochs = str(max(epoch for epoch, _ in last.values())) if last else NOT_RUN
    shown = [NOT_RUN if each is None else f"{each[1]:.4f}" for each in (full, mgqe)]
    ratio = NOT_RUN if full is None or mgqe is None or full[0] != mgqe[0] else f"{100 * (mgqe[1] / full[1] - 1):+.1f} %"
    return epochs, shown[0], shown[1], ratio


def _similarities(item: str, place: Workplace) -> _Content:
    panel = place.profile.panel("gmf")
    wants = wanted(item, place.profile)
    runs = {label_of(want.config): place.store.runs(panel, want.config) for want in wants}
    measured = measure_similarities(place.out, runs, place.data_root)
    found = [mean_similarity(label, by_seed) for label, by_seed in measured.items()]
    lines = [
        {"method": each.label, "seeds": " ".join(map(str, each.seeds)), "codes": each.num_codes}
        | {"genre": GENRES[row], "other": GENRES[column], "equal_codes": value}
        for each in found
        for (row, column), value in np.ndenumerate(each.matrix)
    ]
    notes = [
        f"Two disjoint sets of {FILMS_PER_SET} films, {FILMS_PER_SET // len(GENRES)} of each genre, drawn with seed 0; "
        "a film with several of the four genres counts as the one that has the fewest films. A cell is the mean number "
        "of positions at which the item codes of two films, one of each set, are equal; colours are relative to the "
        "mean between genres, on one scale. The contrast is the mean of the diagonal minus that of the rest.",
        *_training([panel], place),
    ]
    return notes, [_contrasts(found, wants)], lines, draw_similarities(found) if found else None


def _contrasts(found: Sequence[Similarity], wants: Sequence[Any]) -> Table:
    by_label = {each.label: each for each in found}
    cells = []
    for label in (label_of(want.config) for want in wants):
        each = by_label.get(label)
        if each is None:
            cells.append((label, *[NOT_RUN] * 5))
            continue
        within = np.eye(len(each.matrix), dtype=bool)
        figures = (each.matrix[within].mean(), each.matrix[~within].mean(), each.contrast)
        relative = f"{100 * each.relative_contrast:+.1f} %"
        cells.append((label, *(f"{figure:.2f}" for figure in figures), relative, str(len(each.seeds))))
    columns = ("method", "within genres", "between genres", "contrast", "contrast over between", "trainings")
    return Table("Mean number of equal codes", columns, tuple(cells))


def _training(panels: Sequence[Panel], place: Workplace) -> list[str]:
    """How the runs were made, and where that is less than the paper did."""
    if not panels:
        return []
    return [*([QUICK] if place.profile.name == "quick" else []), " ".join(map(spell_training, panels))]


_MAKERS: dict[str, Callable[[str, Workplace], _Content]] = {
    "table3": _ranked,
    "table4": _ranked,
    "table5": _on_pairs,
    "table6": _ranked,
    "figure4": _popularity,
    "figure6": _sizes,
    "figure7": _losses,
    "figure8": _similarities,
    "compact": _compact,
}
