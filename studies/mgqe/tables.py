"""Tables 3 to 6: the paper's figures beside ours, with what our seeds allow to say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slimtable.bench.columns import spell, spell_difference, spell_published, spell_seeds
from slimtable.bench.labels import label_of
from slimtable.bench.measures import HIT_RATE, NDCG, RMSE
from slimtable.bench.table import Row
from slimtable.embeddings.base import MethodConfig
from slimtable.reporting.tables import ABSENT, Table
from studies.mgqe.experiments import Panel, Want
from studies.mgqe.published import RANKING, REGRESSION
from studies.verdict import verdict

NOT_RUN = "not run"

_RANKED_COLUMNS = (
    "method",
    "size %",
    "paper size %",
    "HR@10",
    "paper HR@10",
    "NDCG@10",
    "paper NDCG@10",
    "HR@10, best epoch",
    "HR@10 − full [95 %]",
    "paper HR@10 − full",
    "verdict",
    "seeds",
)
_COMPACT_COLUMNS = (
    "method",
    "tables %",
    "size %",
    "HR@10",
    "NDCG@10",
    "HR@10 − full [95 %]",
    "verdict",
    "epochs",
    "seeds",
)
_ERROR_COLUMNS = ("method", "size %", "RMSE", "MAE", "RMSE − full [95 %]", "verdict", "seeds")


def ranked_table(panel: Panel, configs: Sequence[MethodConfig], rows: Sequence[Row | None]) -> Table:
    """A model of Table 3, 4 or 6.

    Args:
        panel: the model.
        configs: the rows, the uncompressed table first.
        rows: what was measured of each; None where it was not run.

    Returns:
        The table; where nothing was run, the paper's figures stand alone.
    """
    papers = [RANKING[panel.name].get(label_of(config), {}) for config in configs]
    lines = []
    for config, row, paper in zip(configs, rows, papers, strict=True):
        ours = [NOT_RUN] * 7
        if row is not None:
            best = row.best
            ours = [
                f"{row.size_percent:.2f}",
                spell(row.estimate(HIT_RATE)),
                spell(row.estimate(NDCG)),
                ABSENT if best is None else spell(best[HIT_RATE.mask][HIT_RATE.metric]),
                spell_difference(row.differences.get(HIT_RATE.metric)),
                verdict(row, rows[0]),
                f"{len(row.seeds)} ({spell_seeds(row.seeds)})",
            ]
        size, hit_rate, ndcg, at_best, difference, judged, seeds = ours
        lines.append(
            (
                label_of(config),
                size,
                spell_published(paper, "size %", 1),
                hit_rate,
                spell_published(paper, "HR@10"),
                ndcg,
                spell_published(paper, "NDCG@10"),
                at_best,
                difference,
                _paper_difference(paper, papers[0]),
                judged,
                seeds,
            )
        )
    return Table(panel.title, _RANKED_COLUMNS, tuple(lines))


def error_table(panel: Panel, configs: Sequence[MethodConfig], rows: Sequence[Row | None]) -> Table:
    """Our part of Table 5 on one of the datasets that stand in; the paper's own has a table of its own."""
    lines = []
    for config, row in zip(configs, rows, strict=True):
        ours = [NOT_RUN] * (len(_ERROR_COLUMNS) - 1)
        if row is not None:
            ours = [
                f"{row.size_percent:.2f}",
                *(spell(row.estimate(measure)) for measure in row.measures),
                spell_difference(row.differences.get(RMSE.metric)),
                verdict(row, rows[0]),
                f"{len(row.seeds)} ({spell_seeds(row.seeds)})",
            ]
        lines.append((label_of(config), *ours))
    return Table(panel.title, _ERROR_COLUMNS, tuple(lines))


def epochs_of(panel: Panel, want: Want) -> int:
    """Epochs that a wanted configuration is trained for."""
    return panel.train.epochs if want.epochs is None else want.epochs


def compact_table(panel: Panel, wants: Sequence[Want], rows: Sequence[Row | None]) -> Table:
    """The small tables of a model beside the uncompressed ones and the paper's.

    Args:
        panel: the model.
        wants: the rows, the uncompressed table first and the small ones last.
        rows: what was measured of each; None where it was not run. Differences are to the uncompressed table that
            was trained for as many epochs.

    Returns:
        The table.
    """
    lines = []
    for want, row in zip(wants, rows, strict=True):
        ours = [NOT_RUN] * (len(_COMPACT_COLUMNS) - 1)
        if row is not None:
            ours = [
                f"{100 / row.embedding_compression_ratio:.2f}",
                f"{row.size_percent:.2f}",
                spell(row.estimate(HIT_RATE)),
                spell(row.estimate(NDCG)),
                spell_difference(row.differences.get(HIT_RATE.metric)),
                verdict(row, rows[0]),
                str(epochs_of(panel, want)),
                f"{len(row.seeds)} ({spell_seeds(row.seeds)})",
            ]
        lines.append((label_of(want.config), *ours))
    return Table(panel.title, _COMPACT_COLUMNS, tuple(lines))


def paper_error_table() -> Table:
    """Table 5 as the paper prints it."""
    lines = tuple((name, f"{paper['RMSE on AAR']:.2f}", f"{paper['size %']:.1f}") for name, paper in REGRESSION.items())
    return Table("The paper's Table 5, on private data; not comparable", ("method", "RMSE on AAR", "size %"), lines)


def numbers(panel: Panel, config: MethodConfig, row: Row | None, full: Row | None) -> dict[str, Any]:
    """A row with all its digits, for a CSV file; what was not run is left empty."""
    line: dict[str, Any] = {"panel": panel.name, "data": panel.data, "backbone": panel.model_name}
    line["method"] = label_of(config)
    if row is not None:
        line |= {"seeds": " ".join(map(str, row.seeds)), "bits": row.bits, "full_bits": row.full_bits}
        line["size_percent"] = row.size_percent
        for measure in row.measures:
            estimate = row.estimate(measure)
            line |= {measure.name: estimate.mean, f"{measure.name} std": estimate.std}
        difference = row.differences.get(row.measures[0].metric)
        name = f"{row.measures[0].name} minus full"
        line |= {name: None, f"{name} half width": None}
        if difference is not None:
            line |= {name: difference.mean, f"{name} half width": difference.half_width}
        line["verdict"] = verdict(row, full)
    paper = RANKING.get(panel.name, {}).get(label_of(config))
    if paper:
        line |= {"paper HR@10": paper["HR@10"], "paper NDCG@10": paper["NDCG@10"]}
        line["paper size_percent"] = paper.get("size %")
    return line


def _paper_difference(paper: Mapping[str, float], full: Mapping[str, float]) -> str:
    if not paper or not full or paper is full:
        return ABSENT
    return f"{paper['HR@10'] - full['HR@10'] + 0.0:+.2f}"
