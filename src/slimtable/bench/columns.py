"""What the tables of a report say, cell by cell; Markdown, HTML and the console only draw it."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from slimtable.bench.jobs import HIT_RATE, MASK, NDCG
from slimtable.bench.paper import SIZE_NOTE, SOURCE
from slimtable.bench.table import Difference, Estimate, Metrics, Row, Section
from slimtable.evaluate import MASKS, POPULARITY_SHARES
from slimtable.train import TrainConfig

PROTOCOL = (
    "Every withheld interaction of the test part is ranked against all items but those that the user has in training; "
    "ties count at mid-rank. Figures are percent, mean ± standard deviation over seeds, after the last epoch.\n"
    "Size is every bit served over that of the same model with uncompressed float32 tables. Differences to full are "
    "paired by seed, with their 95 % interval by Student's t."
)

ABSENT = "–"


@dataclass(frozen=True)
class Table:
    """A table as text.

    Attributes:
        title: what it shows.
        columns: heads; the first column is text, the others are numbers.
        rows: cells.
        note: what to read below it, or an empty text.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def tables(section: Section) -> list[Table]:
    """The tables of a section: quality against size, then popularity and time, then the other masks."""
    return [_quality(section.rows), _details(section.rows), _masks(section.rows)]


def title(section: Section) -> str:
    """Backbone and data of a section."""
    return f"{section.about['backbone']} on {section.about['data']}"


def facts(section: Section) -> list[tuple[str, str]]:
    """Settings of a section as (name, value)."""
    about = section.about
    counts = {name: f"{number:,}" for name, number in about["counts"].items()}
    return [
        ("data", f"{about['data']}: {counts['users']} users, {counts['items']} items (digest {about['fingerprint']})"),
        (
            "split",
            f"{about['split']}: {counts['train']} interactions to train on, {counts['valid']} to validate, "
            f"{counts['test']} to test",
        ),
        ("training", ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in about["train"].items())),
        ("seeds", spell_seeds(section.seeds)),
        ("date", _span([record["date"][:10] for record in section.records])),
        ("versions", _distinct(_versions(record) for record in section.records)),
        ("CPU", _distinct(record["cpu"] for record in section.records)),
    ]


def command(section: Section, out: str) -> str:
    """The command line that makes the section again.

    Args:
        section: the section.
        out: folder of the results.

    Returns:
        One line for a POSIX shell.
    """
    about, usual = section.about, TrainConfig().to_dict()
    labels = dict.fromkeys(record["label"] for record in section.records)
    words = ["slimtable", "bench", "--data", about["data"], "--split", about["split"], "--backbone", about["backbone"]]
    words += ["--methods", ",".join(labels), "--seeds", str(max(section.seeds) + 1)]
    for name, value in about["train"].items():
        if name == "epochs" or value != usual.get(name):
            for part in value if isinstance(value, list) else [value]:
                words += [f"--{name.replace('_', '-')}", str(part)]
    return shlex.join([*words, "--out", out])


def spell_seeds(seeds: Sequence[int]) -> str:
    """Seeds in few characters.

    Example:
        >>> spell_seeds([0, 1, 2]), spell_seeds([0, 5])
        ('0–2', '0, 5')
    """
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}–{seeds[-1]}"
    return ", ".join(map(str, seeds))


def to_csv(sections: Sequence[Section]) -> str:
    """All rows with all their numbers, one line each; percent where the name says so."""
    lines = [_csv_line(section, row) for section in sections for row in section.rows]
    names = list(dict.fromkeys(name for line in lines for name in line))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _quality(rows: Sequence[Row]) -> Table:
    columns = ["method", "size %", "HR@10", "NDCG@10", "HR@10 − full [95 %]", "NDCG@10 − full [95 %]", "bits", "seeds"]
    in_paper = any(row.paper is not None for row in rows)
    if in_paper:
        columns += ["paper HR@10", "paper NDCG@10", "paper size %"]
    cells = []
    for row in rows:
        line = [row.label, f"{row.size_percent:.2f}"]
        line += [_estimate(row.last, MASK, metric) for metric in (HIT_RATE, NDCG)]
        line += [_difference(row.differences.get(metric)) for metric in (HIT_RATE, NDCG)]
        line += [f"{row.bits:,}", f"{len(row.seeds)} ({spell_seeds(row.seeds)})"]
        if in_paper and row.paper is None:
            line += [ABSENT] * 3
        elif row.paper is not None:
            line += [f"{row.paper.hit_rate:.2f}", f"{row.paper.ndcg:.2f}", f"{row.paper.size_percent:.1f}"]
        cells.append(tuple(line))
    note = f"Paper: {SOURCE}. {SIZE_NOTE}" if in_paper else ""
    return Table("Quality against size", tuple(columns), tuple(cells), note)


def _details(rows: Sequence[Row]) -> Table:
    shares = [f"HR@10 {name} ({100 * share:.0f} %)" for name, share in POPULARITY_SHARES.items()]
    columns = ("method", *shares, "HR@10, best epoch", "NDCG@10, best epoch", "tables smaller ×", "s/epoch", "× full")
    cells = [
        (
            row.label,
            *(_estimate(row.last, MASK, f"{HIT_RATE}/{group}") for group in POPULARITY_SHARES),
            *(_estimate(row.best, MASK, metric) for metric in (HIT_RATE, NDCG)),
            f"{row.embedding_compression_ratio:.2f}",
            f"{row.seconds_per_epoch.mean:.3g}",
            ABSENT if row.relative_seconds is None else f"{row.relative_seconds:.2f}",
        )
        for row in rows
    ]
    note = (
        "Head, torso and tail are the withheld items among the most, middling and least frequent in training. The "
        "best epoch is chosen by NDCG@10 on the validation part. Seconds are those of the training steps, median "
        "over epochs; a method that compresses after training takes those of the training before. Other work on the "
        "machine shows in them: benchmarks/train_step.py lets methods take turns and is the fairer comparison."
    )
    return Table("Popularity, best epoch and time", columns, tuple(cells), note)


def _masks(rows: Sequence[Row]) -> Table:
    masks = [mask for mask in MASKS if mask != MASK]
    names = {HIT_RATE: "HR@10", NDCG: "NDCG@10"}
    columns = ("method", *(f"{name}, mask {mask}" for mask in masks for name in names.values()))
    cells = [(row.label, *(_estimate(row.last, mask, metric) for mask in masks for metric in names)) for row in rows]
    note = "Mask none leaves all items in; mask train+valid leaves out the user's validation item too."
    return Table("Other masks", columns, tuple(cells), note)


def _estimate(metrics: Metrics | None, mask: str, metric: str) -> str:
    if metrics is None or metric not in metrics[mask]:
        return ABSENT
    return spell(metrics[mask][metric])


def spell(estimate: Estimate) -> str:
    """Mean ± standard deviation with two digits.

    Example:
        >>> spell(Estimate(7.786, 0.0812, 3))
        '7.79 ± 0.08'
    """
    return f"{estimate.mean:.2f}" + ("" if estimate.std is None else f" ± {estimate.std:.2f}")


def _difference(difference: Difference | None) -> str:
    if difference is None:
        return ABSENT
    mean, half = difference.mean, difference.half_width
    return _signed(mean) + ("" if half is None else f" [{_signed(mean - half)}, {_signed(mean + half)}]")


def _signed(value: float) -> str:
    return f"{round(value, 2) + 0.0:+.2f}"  # adding zero turns -0.00 into +0.00


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
                name = f"{epoch} {mask} {metric} percent"
                line |= {name: estimate.mean, f"{name} std": "" if estimate.std is None else estimate.std}
    for metric, difference in row.differences.items():
        half = "" if difference.half_width is None else difference.half_width
        line |= {f"{metric} minus full": difference.mean, f"{metric} minus full half width": half}
    line |= {"seconds_per_epoch": row.seconds_per_epoch.mean, "times_full": row.relative_seconds}
    if row.paper is not None:
        line |= {f"paper {name}": value for name, value in vars(row.paper).items()}
    return line


def _versions(record: dict[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in record["versions"].items())


def _distinct(values: Any) -> str:
    return "; ".join(dict.fromkeys(values))


def _span(dates: Sequence[str]) -> str:
    first, last = min(dates), max(dates)
    return first if first == last else f"{first} to {last}"
