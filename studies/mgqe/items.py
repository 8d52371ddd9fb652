"""Each table and figure as text, numbers and picture, made from the finished runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from slimtable.bench.columns import format_difference, format_estimate
from slimtable.bench.measures import HIT_RATE, NDCG, RMSE, Measure, leading_measures
from slimtable.bench.published import Figures, Published
from slimtable.embeddings.base import method_of
from slimtable.files import write_json
from slimtable.reporting.tables import ABSENT, Table
from studies.captions import Captions
from studies.mgqe.experiments import LEADING, ON_PAIRS, RANKED, Panel, curves, describe_training
from studies.mgqe.figures import draw_losses, draw_popularity, draw_similarities, draw_sizes, mean_loss
from studies.mgqe.similarity import FILMS_PER_SET, GENRES, mean_similarity, measure_similarities
from studies.series import Row, Series, Want, at_best
from studies.study import Content, Item, Line, Place
from studies.tables import (
    MARGIN_ERROR,
    MARGIN_POINTS,
    NOT_RUN,
    SEEDS,
    Column,
    differing,
    estimated,
    of_runs,
    printed,
    row_table,
    verdict,
)

CAPTIONS = Captions.beside(__file__)
NOTES = CAPTIONS.notes
PUBLISHED = Published.read(Path(__file__).with_name("published.json"))
RANKING = {name: PUBLISHED.table(data="ml-1m", backbone=name, embedding_dim=64) for name in RANKED}
"""Tables 3, 4 and 6 of the paper, by model."""
REGRESSION = PUBLISHED.table(table="5")
"""Its Table 5, on app-to-app relevance data that is private: nothing of ours compares with it."""

POPULARITY = "figure4.json"
_VERDICTS = NOTES["verdicts"].format(points=MARGIN_POINTS, percent=100 * MARGIN_ERROR)
Rows = Sequence[Row[Want]]

_SIZE = of_runs("size %", lambda runs: f"{runs.records[0]['size_percent']:.2f}")
_TABLES = of_runs("tables %", lambda runs: f"{_tables_percent(runs):.2f}")
_EPOCHS = Column("epochs", lambda row: str(row.of.train.epochs))


def compared(item: Item[Panel], place: Place[Panel]) -> Content:
    """Tables 3, 4 and 6: the paper's figures beside ours; where nothing was run, they stand alone."""
    found = item.rows(place)
    source = PUBLISHED.note.removeprefix("Paper: ")
    if item.name == "table6":
        source = f"{source.partition(' The')[0]} The paper prints no sizes for its variants."
    tables = []
    for panel, rows in found:
        published, full = RANKING[panel.name], rows[0].series
        columns = [_SIZE, printed("size %", published, 1)]
        for measure in (HIT_RATE, NDCG):
            columns += [estimated(measure.name, measure.of), printed(measure.name, published)]
        columns += [of_runs("HR@10, best epoch", _best_epoch), differing("HR@10 − full [95 %]", HIT_RATE.of, full)]
        columns += [Column("paper HR@10 − full", partial(_paper_difference, published), True)]
        columns += [_verdict(full, HIT_RATE), SEEDS]
        tables.append(row_table(panel.title, "method", columns, rows))
    return Content([*_training(found, place), _VERDICTS, source], tables, _numbers(found))


def on_pairs(item: Item[Panel], place: Place[Panel]) -> Content:
    """Table 5: ours on the datasets that stand in, and the paper's own apart from them."""
    found = item.rows(place)
    tables = []
    for panel, rows in found:
        full = rows[0].series
        columns = [_SIZE, *(estimated(measure.name, measure.of) for measure in leading_measures(panel.model_name))]
        columns += [differing("RMSE − full [95 %]", RMSE.of, full), _verdict(full, RMSE), SEEDS]
        tables.append(row_table(panel.title, "method", columns, rows))
    lines = tuple((name, f"{row['RMSE on AAR']:.2f}", f"{row['size %']:.1f}") for name, row in REGRESSION.items())
    heads = ("method", "RMSE on AAR", "size %")
    tables.append(Table("The paper's Table 5, on private data; not comparable", heads, lines))
    return Content([NOTES["stand_in"], *_training(found, place), _VERDICTS], tables, _numbers(found))


def compact(item: Item[Panel], place: Place[Panel]) -> Content:
    """The small tables beside the uncompressed ones that were trained for as many epochs."""
    found = item.rows(place)
    columns = [_TABLES, _SIZE, *(estimated(measure.name, measure.of) for measure in (HIT_RATE, NDCG))]
    tables = []
    for panel, rows in found:

        def difference(row: Row[Want], rows: Rows = rows) -> str:
            return format_difference(row.runs.difference(_full(row, rows), HIT_RATE.of))

        def judged(row: Row[Want], rows: Rows = rows) -> str:
            return verdict(row.runs, _full(row, rows), HIT_RATE)

        own = [Column("HR@10 − full [95 %]", difference), Column("verdict", judged)]
        tables.append(row_table(panel.title, "method", [*columns, *own, _EPOCHS, SEEDS], rows))
    lines = [
        numbers(panel, row, _full(row, rows))
        | ({"tables_percent": _tables_percent(row.series)} if row.series else {})
        | {"epochs": row.of.train.epochs}
        for panel, rows in found
        for row in rows
    ]
    return Content([NOTES["compact"], *_training(found, place), _VERDICTS], tables, lines)


def popularity(item: Item[Panel], place: Place[Panel]) -> Content:
    """Figure 4, from the data alone."""
    (panel,) = item.panels_of(place.study)
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
    return Content([note], [], lines, draw_popularity(counts))


def _counts(panel: Panel, place: Place[Panel]) -> dict[str, list[int]]:
    """Interactions of every item and user, descending; kept beside the results, so that the data is needed once."""
    path = place.out / POPULARITY
    if path.is_file():
        cached = json.loads(path.read_text())
        if cached["data"] == panel.data:
            return {name: cached[name] for name in ("items", "users")}
    train = panel.source(place.data_root).load_split().train
    counts = {"items": train.item_counts(), "users": train.user_counts()}
    descending = {name: np.sort(values)[::-1].tolist() for name, values in counts.items()}
    place.out.mkdir(parents=True, exist_ok=True)
    write_json(path, {"data": panel.data, **descending})
    return descending


def sizes(item: Item[Panel], place: Place[Panel]) -> Content:
    """Figure 6: quality against size."""
    lines: list[Line] = []
    drawn, absent, shown = [], [], []
    for panel in item.panels_of(place.study):
        measure = leading_measures(panel.model_name)[0]
        found = []
        for (method, varied), wants in curves(panel).items():
            points = []
            for row in place.rows(wants):
                of_width = place.runs.of(panel, panel.train)
                if row.series is not None and of_width:
                    size = 100 * row.series.records[0]["bits"] / of_width[0]["full_bits"]
                    points.append((size, row.series.estimate(measure.of)))
                    lines.append(_size_line(panel, varied, row, size, measure))
            if points:
                found.append((method, f"{method}, {varied}", points))
        if found:
            drawn.append((panel.title, measure, found))
            shown.append(panel)
        else:
            absent.append(panel.title)
    width = place.study.panels[0].train.embedding_dim
    notes = [NOTES["sizes"].format(width=width), *_training([(panel, []) for panel in shown], place)]
    if absent:
        notes.append(f"Not run: {', '.join(absent)}.")
    if any(panel.name in ON_PAIRS for panel in shown):
        notes.append(NOTES["stand_in"])
    return Content(notes, [], lines, draw_sizes(drawn) if drawn else None)


def _size_line(panel: Panel, varied: str, row: Row[Want], size: float, measure: Measure) -> Line:
    quality = row.runs.estimate(measure.of)
    line: Line = {"panel": panel.name, "method": row.name, "varied": varied}
    line |= {"embedding_dim": row.of.train.embedding_dim, "bits": row.runs.records[0]["bits"]}
    line |= {"size_percent_of_usual_width": size, "seeds": " ".join(map(str, row.runs.seeds))}
    return line | {"metric": measure.name, "mean": quality.mean, "std": quality.std}


def losses(item: Item[Panel], place: Place[Panel]) -> Content:
    """Figure 7: the training loss over epochs."""
    drawn, lines, cells = [], [], []
    for panel, rows in item.rows(place):
        found = {}
        for row in rows:
            runs = row.series.by_seed if row.series else {}
            by_seed = {seed: [(p["epoch"], p["loss"]) for p in run["curve"]] for seed, run in runs.items()}
            if by_seed := {seed: points for seed, points in by_seed.items() if points}:
                found[method_of(row.of.config).method] = by_seed
                lines += [
                    {"panel": panel.name, "method": row.name, "seed": seed, "epoch": epoch, "loss": loss}
                    for seed, points in by_seed.items()
                    for epoch, loss in points
                ]
        cells.append((panel.title, *_last_losses({name: mean_loss(each)[-1] for name, each in found.items()})))
        if found:
            drawn.append((panel, found))
    heads = ("backbone", "epochs", *(f"loss of {label}" for label in LEADING), "mgqe over full")
    table = Table("Training loss after the last epoch, mean over seeds", heads, tuple(cells))
    note = "The loss is that of the task, without MGQE's penalty. Thin lines are single seeds."
    picture = draw_losses([(panel.title, found) for panel, found in drawn]) if drawn else None
    return Content([note, *_training(drawn, place)], [table], lines, picture)


def _last_losses(last: dict[str, tuple[int, float]]) -> tuple[str, str, str, str]:
    """Epochs, last loss of full and of MGQE, and the latter over the former."""
    full, mgqe = (last.get(label) for label in LEADING)
    epochs = str(max(epoch for epoch, _ in last.values())) if last else NOT_RUN
    shown = [NOT_RUN if each is None else f"{each[1]:.4f}" for each in (full, mgqe)]
    ratio = NOT_RUN if full is None or mgqe is None or full[0] != mgqe[0] else f"{100 * (mgqe[1] / full[1] - 1):+.1f} %"
    return epochs, shown[0], shown[1], ratio


def similarities(item: Item[Panel], place: Place[Panel]) -> Content:
    """Figure 8: how alike the codes of films are."""
    ((panel, rows),) = item.rows(place)
    runs = {row.name: dict(row.series.by_seed) if row.series else {} for row in rows}
    measured = measure_similarities(place.out, runs, place.data_root)
    found = {label: mean_similarity(label, by_seed) for label, by_seed in measured.items()}
    lines = [
        {"method": each.label, "seeds": " ".join(map(str, each.seeds)), "codes": each.num_codes}
        | {"genre": GENRES[row], "other": GENRES[column], "equal_codes": value}
        for each in found.values()
        for (row, column), value in np.ndenumerate(each.matrix)
    ]
    cells = []
    for row in rows:
        if (each := found.get(row.name)) is None:
            cells.append((row.name, *[NOT_RUN] * 5))
            continue
        figures = (f"{figure:.2f}" for figure in (each.within, each.between, each.contrast))
        cells.append((row.name, *figures, f"{100 * each.relative_contrast:+.1f} %", str(len(each.seeds))))
    heads = ("method", "within genres", "between genres", "contrast", "contrast over between", "trainings")
    notes = [NOTES["films"].format(films=FILMS_PER_SET, each=FILMS_PER_SET // len(GENRES))]
    picture = draw_similarities(list(found.values())) if found else None
    table = Table("Mean number of equal codes", heads, tuple(cells))
    return Content([*notes, *_training([(panel, rows)], place)], [table], lines, picture)


def numbers(panel: Panel, row: Row[Want], full: Series | None) -> Line:
    """A row with all its digits, for a CSV file; what was not run is left empty."""
    line: Line = {"panel": panel.name, "data": panel.data, "backbone": panel.model_name, "method": row.name}
    if row.series is not None:
        runs, measures = row.series, leading_measures(panel.model_name)
        line["seeds"] = " ".join(map(str, runs.seeds))
        line |= {name: runs.records[0][name] for name in ("bits", "full_bits", "size_percent")}
        for measure in measures:
            estimate = runs.estimate(measure.of)
            line |= {measure.name: estimate.mean, f"{measure.name} std": estimate.std}
        difference = runs.difference(full, measures[0].of)
        name = f"{measures[0].name} minus full"
        line |= {name: difference and difference.mean, f"{name} half width": difference and difference.half_width}
        line["verdict"] = verdict(runs, full, measures[0])
    if paper := RANKING.get(panel.name, {}).get(row.name):
        line |= {f"paper {name}": paper.get(name) for name in ("HR@10", "NDCG@10")}
        line["paper size_percent"] = paper.get("size %")
    return line


def _numbers(found: Sequence[tuple[Panel, Rows]]) -> list[Line]:
    return [numbers(panel, row, rows[0].series) for panel, rows in found for row in rows]


def _full(row: Row[Want], rows: Rows) -> Series | None:
    """The uncompressed table that was trained as a row was."""
    return next((other.series for other in rows if other.name == "full" and other.of.train == row.of.train), None)


def _verdict(full: Series | None, measure: Measure) -> Column:
    return of_runs("verdict", lambda runs: verdict(runs, full, measure))


def _best_epoch(runs: Series) -> str:
    validated = all(record["metrics"]["best"] is not None for record in runs.records)
    return format_estimate(runs.estimate(at_best(HIT_RATE))) if validated else ABSENT


def _tables_percent(runs: Series) -> float:
    return 100 / runs.records[0]["embedding_compression_ratio"]


def _paper_difference(published: Figures, row: Row[Want]) -> str:
    paper, full = (published.get(name) for name in (row.name, "full"))
    if paper is None or full is None or paper is full:
        return ABSENT
    return f"{paper['HR@10'] - full['HR@10'] + 0.0:+.2f}"


def _training(found: Sequence[tuple[Panel, Any]], place: Place[Panel]) -> list[str]:
    """How the runs were made, and where that is less than the paper did."""
    if not found:
        return []
    spelled = " ".join(describe_training(panel) for panel, _ in found)
    return [*([NOTES["quick"]] if place.study.quick else []), spelled]
