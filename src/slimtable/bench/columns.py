"""The cells of the tables of a report as text; Markdown, HTML and the console only lay them out."""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from slimtable.bench.measures import HIT_RATE, LOG_LOSS, NDCG, RECALL, RMSE, Measure
from slimtable.bench.table import Difference, Estimate, Metrics, Row, Section
from slimtable.config import Config
from slimtable.models.base import get_model
from slimtable.reporting.tables import ABSENT, Table
from slimtable.training.ctr_run import CTRRunConfig
from slimtable.training.evaluation import MASKS, POPULARITY_SHARES
from slimtable.training.trainer import TrainConfig

_RANKING = (
    "Every held-out interaction of the test part is ranked against all items except the user's training items; ties "
    "count at mid-rank. Values are percent, mean ± standard deviation over seeds, after the last epoch."
)
_CAPPED = (
    "Every held-out interaction of the test part is ranked against all items except the user's training and validation "
    "items; ties count at mid-rank. R@20 is hits divided by min(20, held-out items of the user). Values are percent, "
    "mean ± standard deviation over seeds, after the best epoch by validation if training has patience, else after the "
    "last."
)
_REGRESSION = (
    "RMSE is the root of the mean squared error of the predicted scores of the test part, MAE their mean absolute "
    "error; lower is better. Values are mean ± standard deviation over seeds, after the last epoch."
)
_CLICKS = (
    "The log loss and the area under the ROC curve of the predicted clicks of the test part, with tables as served. "
    "Values are mean ± standard deviation over seeds, after the last epoch."
)
_SIZES = (
    "Size is all bits served, divided by those of the same model with float32 tables. Differences from full are paired "
    "by seed, with their 95 % interval by Student's t."
)

_CHOICES = {NDCG.metric: NDCG.name, RECALL.metric: f"capped {RECALL.name}"}
_COSTS = ("tables smaller ×", "s/epoch", "× full")
_SECONDS = (
    "Seconds are those of the training steps, median over epochs; for compression after training those of the training "
    "before. They depend on other load of the machine: benchmarks/training_cost.py interleaves the methods and is the "
    "fairer comparison."
)


def tables(section: Section) -> list[Table]:
    """The tables of a section: quality against size, then popularity and time, then the other masks."""
    if section.measures[0] in (RMSE, LOG_LOSS):
        return [_quality(section), _time(section.rows)]
    return [_quality(section), _details(section), _masks(section.rows)]


def protocol(section: Section) -> list[str]:
    """Paragraphs that describe how the results were measured."""
    texts = {RMSE: _REGRESSION, RECALL: _CAPPED, LOG_LOSS: _CLICKS}
    return [texts.get(section.measures[0], _RANKING), _SIZES]


def title(section: Section) -> str:
    """Model and data of a section."""
    return f"{section.about['backbone']} on {section.about['data']}"


def facts(section: Section) -> list[tuple[str, str]]:
    """Settings of a section as (name, value)."""
    about = section.about
    options = "".join(f", {name} {value}" for name, value in about.get("backbone_config", {}).items())
    counts = {name: f"{number:,}" for name, number in about["counts"].items()}
    unit = "clicks" if "fields" in counts else "interactions"
    parts = [f"{counts[name]} {name}" for name in ("users", "items", "fields", "values") if name in counts]
    return [
        ("data", f"{about['data']}: {', '.join(parts)} (digest {about['fingerprint']})"),
        (
            "split",
            f"{about['split']}: {counts['train']} {unit} to train on, {counts['valid']} to validate, "
            f"{counts['test']} to test",
        ),
        ("backbone", about["backbone"] + options),
        ("training", ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in about["train"].items())),
        ("seeds", format_seeds(section.seeds)),
        ("date", _span([record["date"][:10] for record in section.records])),
        ("versions", _distinct(_versions(record) for record in section.records)),
        ("CPU", _distinct(record["cpu"] for record in section.records)),
    ]


def command(section: Section, out: str) -> str:
    """The command line that reproduces the section.

    Args:
        section: the section.
        out: folder of the results.

    Returns:
        One line for a POSIX shell.
    """
    about, model = section.about, get_model(section.about["backbone"])
    defaults = CTRRunConfig() if model.task == "ctr" else TrainConfig()
    fixed = Config.to_dict(defaults)  # all fields, also those that records may leave out
    defaults_of_model = fixed | dict(model.train_defaults)
    labels = dict.fromkeys(record["label"] for record in section.records)
    words = ["slimtable", "bench", "--data", about["data"], "--split", about["split"], "--model", about["backbone"]]
    words += ["--methods", ",".join(labels), "--seeds", str(max(section.seeds) + 1)]
    for name, value in about.get("backbone_config", {}).items():
        words += ["--model-set", f"{name}={json.dumps(value)}"]
    settings = {name: about["train"].get(name, value) for name, value in fixed.items() if name != "seed"}
    for name, value in settings.items():
        if name == "epochs" or value != defaults_of_model.get(name) or value != fixed.get(name):
            for part in value if isinstance(value, list) else [value]:
                words += [f"--{name.replace('_', '-')}", str(part)]
    return shlex.join([*words, "--out", out])


def format_seeds(seeds: Sequence[int]) -> str:
    """Seeds as a short text.

    Example:
        >>> format_seeds([0, 1, 2]), format_seeds([0, 5])
        ('0–2', '0, 5')
    """
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}–{seeds[-1]}"
    return ", ".join(map(str, seeds))


def to_csv(sections: Sequence[Section]) -> str:
    """All rows with all digits, as CSV; percent if the column name says so."""
    lines = [_csv_line(section, row) for section in sections for row in section.rows]
    names = list(dict.fromkeys(name for line in lines for name in line))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _quality(section: Section) -> Table:
    rows, measures = section.rows, section.measures
    columns = ["method", "size %", *(m.name for m in measures), *(f"{m.name} − full [95 %]" for m in measures)]
    columns += ["bits", "seeds"]
    printed = list(dict.fromkeys(name for row in rows for name in row.published))
    columns += [f"paper {name}" for name in printed]
    digits = {measure.name: measure.digits for measure in measures}
    cells = []
    for row in rows:
        line = [row.label, f"{row.size_percent:.2f}"]
        line += [_estimate(row.last, measure) for measure in measures]
        line += [format_difference(row.differences.get(measure.metric), measure.digits) for measure in measures]
        line += [f"{row.bits:,}", f"{len(row.seeds)} ({format_seeds(row.seeds)})"]
        line += [format_published(row.published, name, digits.get(name, 1)) for name in printed]
        cells.append(tuple(line))
    return Table("Quality against size", tuple(columns), tuple(cells), section.note if printed else "")


def _details(section: Section) -> Table:
    rows, chosen = section.rows, get_model(section.about["backbone"]).selection
    shares = [f"HR@10 {name} ({100 * share:.0f} %)" for name, share in POPULARITY_SHARES.items()]
    columns = ("method", *shares, "HR@10, best epoch", "NDCG@10, best epoch", *_COSTS)
    cells = [
        (
            row.label,
            *(_estimate(row.last, replace(HIT_RATE, metric=f"{HIT_RATE.metric}/{g}")) for g in POPULARITY_SHARES),
            *(_estimate(row.best, measure) for measure in (HIT_RATE, NDCG)),
            *_costs(row),
        )
        for row in rows
    ]
    note = (
        "Head, torso and tail are held-out items by their frequency in training, from most to least frequent. The "
        f"best epoch is chosen by {_CHOICES.get(chosen.metric, chosen.metric)} on the validation part. " + _SECONDS
    )
    return Table("Popularity, best epoch and time", columns, tuple(cells), note)


def _time(rows: Sequence[Row]) -> Table:
    cells = tuple((row.label, *_costs(row)) for row in rows)
    return Table("Time", ("method", *_COSTS), cells, _SECONDS)


def _costs(row: Row) -> tuple[str, str, str]:
    return (
        f"{row.embedding_compression_ratio:.2f}",
        f"{row.seconds_per_epoch.mean:.3g}",
        ABSENT if row.relative_seconds is None else f"{row.relative_seconds:.2f}",
    )


def _masks(rows: Sequence[Row]) -> Table:
    measures = [replace(m, mask=mask) for mask in MASKS if mask != HIT_RATE.mask for m in (HIT_RATE, NDCG)]
    columns = ("method", *(f"{measure.name}, mask {measure.mask}" for measure in measures))
    cells = [(row.label, *(_estimate(row.last, measure) for measure in measures)) for row in rows]
    note = "Mask none excludes no items; mask train+valid also excludes the user's validation item."
    return Table("Other masks", columns, tuple(cells), note)


def _estimate(metrics: Metrics | None, measure: Measure) -> str:
    if metrics is None or measure.metric not in metrics[measure.mask]:
        return ABSENT
    return format_estimate(metrics[measure.mask][measure.metric], measure.digits)


def format_estimate(estimate: Estimate, digits: int = 2) -> str:
    """Mean ± standard deviation.

    Example:
        >>> format_estimate(Estimate(7.786, 0.0812, 3))
        '7.79 ± 0.08'
    """
    return f"{estimate.mean:.{digits}f}" + ("" if estimate.std is None else f" ± {estimate.std:.{digits}f}")


def format_difference(difference: Difference | None, digits: int = 2) -> str:
    """Mean difference, with its 95 % interval if there is one.

    Example:
        >>> format_difference(Difference(-0.1, 0.25, 3))
        '-0.10 [-0.35, +0.15]'
    """
    if difference is None:
        return ABSENT
    mean, half = difference.mean, difference.half_width
    interval = "" if half is None else f" [{_signed(mean - half, digits)}, {_signed(mean + half, digits)}]"
    return _signed(mean, digits) + interval


def format_published(published: Mapping[str, float], name: str, digits: int = 2) -> str:
    """A value of a paper, or a dash if the paper does not print it."""
    return f"{published[name]:.{digits}f}" if name in published else ABSENT


def _signed(value: float, digits: int = 2) -> str:
    return f"{round(value, digits) + 0.0:+.{digits}f}"  # adding zero turns -0.00 into +0.00


def _csv_line(section: Section, row: Row) -> dict[str, Any]:
    about = section.about
    line: dict[str, Any] = {"data": about["data"], "split": about["split"], "backbone": about["backbone"]}
    line |= {name: value for name, value in about["train"].items() if not isinstance(value, list)}
    line |= {"label": row.label, "method": row.method, "seeds": " ".join(map(str, row.seeds))}
    line |= {"bits": row.bits, "full_bits": row.full_bits, "size_percent": row.size_percent}
    line["embedding_compression_ratio"] = row.embedding_compression_ratio
    for epoch, metrics in (("last", row.last), ("best", row.best or {})):
        for mask, estimates in metrics.items():
            for metric, estimate in estimates.items():
                name = f"{epoch} {mask} {metric}" + (" percent" if row.measures[0].scale == 100 else "")
                line |= {name: estimate.mean, f"{name} std": "" if estimate.std is None else estimate.std}
    for metric, difference in row.differences.items():
        half = "" if difference.half_width is None else difference.half_width
        line |= {f"{metric} minus full": difference.mean, f"{metric} minus full half width": half}
    line |= {"seconds_per_epoch": row.seconds_per_epoch.mean, "times_full": row.relative_seconds}
    return line | {f"paper {name}": value for name, value in row.published.items()}


def _versions(record: dict[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in record["versions"].items())


def _distinct(values: Any) -> str:
    return "; ".join(dict.fromkeys(values))


def _span(dates: Sequence[str]) -> str:
    first, last = min(dates), max(dates)
    return first if first == last else f"{first} to {last}"
