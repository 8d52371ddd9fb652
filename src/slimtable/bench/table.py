"""Rows of the tables, computed from finished runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from slimtable.bench.measures import Measure, measures_of
from slimtable.bench.published import Published
from slimtable.bench.results import Record, canonical, setting_of
from slimtable.embeddings.base import MethodConfig, method_of
from slimtable.methods.full import FullConfig

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """Mean over seeds.

    Attributes:
        mean: the mean.
        std: sample standard deviation; None for one seed.
        num_seeds: number of seeds.
    """

    mean: float
    std: float | None
    num_seeds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Estimate:
        """Mean and standard deviation of one value per seed."""
        std = float(np.std(values, ddof=1)) if len(values) > 1 else None
        return cls(float(np.mean(values)), std, len(values))


@dataclass(frozen=True)
class Difference:
    """Mean difference over seeds that both sides have.

    Attributes:
        mean: the mean.
        half_width: half of its 95 % interval by Student's t; None for one seed.
        num_seeds: number of paired seeds.
    """

    mean: float
    half_width: float | None
    num_seeds: int

    @classmethod
    def of(cls, differences: Sequence[float]) -> Difference:
        """The mean of paired differences, with its interval.

        Example:
            >>> difference = Difference.of([0.1, 0.3])
            >>> round(difference.mean, 3), round(difference.half_width, 3)
            (0.2, 1.271)
        """
        estimate = Estimate.of(differences)
        half = None
        if estimate.std is not None:
            quantile = float(stats.t.ppf((1 + _CONFIDENCE) / 2, estimate.num_seeds - 1))
            half = quantile * estimate.std / estimate.num_seeds**0.5
        return cls(estimate.mean, half, estimate.num_seeds)


Metrics = dict[str, dict[str, Estimate]]
"""Estimates by mask and metric: ranking metrics in percent, errors without scaling."""


@dataclass(frozen=True)
class Row:
    """One configuration of a method, over its seeds.

    Attributes:
        setting: data, split, model and training that the rows of one table share, as canonical JSON.
        key: method and options, as canonical JSON.
        label: the method and its options.
        method: registry name.
        seeds: seeds of the finished runs, ascending.
        bits: all bits served.
        full_bits: bits of the same model with uncompressed tables.
        size_percent: 100 · bits / full_bits.
        embedding_compression_ratio: compression ratio of the tables alone.
        measures: the two main metrics, the more important one first.
        last: test metrics after the last epoch.
        best: test metrics after the best validation epoch; None without validation.
        differences: main metrics (last epoch) minus those of the uncompressed table, in percentage points or as
            errors, paired by seed; empty if the uncompressed table was not run.
        seconds_per_epoch: training time of an epoch.
        relative_seconds: training time divided by that of the uncompressed table, on common seeds; None without it.
        published: published values, by name of the metric; empty if there are none.
        curve: each validated epoch with the means of the main validation metrics.
    """

    setting: str
    key: str
    label: str
    method: str
    seeds: tuple[int, ...]
    bits: int
    full_bits: int
    size_percent: float
    embedding_compression_ratio: float
    measures: tuple[Measure, Measure]
    last: Metrics
    best: Metrics | None
    differences: dict[str, Difference]
    seconds_per_epoch: Estimate
    relative_seconds: float | None
    published: Mapping[str, float]
    curve: tuple[tuple[int, dict[str, Estimate]], ...]

    @property
    def is_full(self) -> bool:
        """True if nothing is compressed."""
        return self.bits == self.full_bits

    @property
    def quality(self) -> Estimate:
        """The first main metric, after the last epoch."""
        return self.estimate(self.measures[0])

    def estimate(self, measure: Measure) -> Estimate:
        """A metric after the last epoch."""
        return self.last[measure.mask][measure.metric]


@dataclass(frozen=True)
class Section:
    """Rows that can be compared with each other, largest first.

    Attributes:
        records: their runs.
        rows: one for each configuration.
        note: source of the published values.
    """

    records: tuple[Record, ...]
    rows: tuple[Row, ...]
    note: str = ""

    @property
    def about(self) -> Record:
        """The first record; data, split, model and training settings are the same in all."""
        return self.records[0]

    @property
    def measures(self) -> tuple[Measure, Measure]:
        """The two main metrics of its rows."""
        return measures_of(self.about)

    @property
    def seeds(self) -> tuple[int, ...]:
        """All seeds, ascending."""
        return tuple(sorted({record["seed"] for record in self.records}))


def tabulate(records: Sequence[Record], published: Published | None = None) -> list[Section]:
    """Groups runs into sections of rows.

    Args:
        records: finished runs, in any order.
        published: results of a paper; None for none.

    Returns:
        A section for each setting in order of appearance; rows from the largest to the smallest.
    """
    settings: dict[str, list[Record]] = {}
    for record in records:
        settings.setdefault(setting_of(record), []).append(record)
    return [_section(setting, members, published or Published()) for setting, members in settings.items()]


def headline(section: Section) -> str:
    """One sentence about the smallest table that keeps 97 % of the quality, or about the best one if none does."""
    measure = section.measures[0]
    percent = " %" if measure.scale == 100 else ""
    full = next((row for row in section.rows if row.is_full), None)
    others = [row for row in section.rows if not row.is_full]
    if full is None or not others:
        best = min(section.rows, key=_cost)
        extreme = "lowest" if measure.lower_is_better else "highest"
        return (
            f"{best.label} has the {extreme} {measure.name}, {best.quality.mean:.2f}{percent}, at "
            f"{best.size_percent:.2f} % of the size."
        )
    keeping = [row for row in others if _keeps(row, full)]
    row = min(keeping, key=lambda row: row.bits) if keeping else min(others, key=_cost)
    share = 100 * row.quality.mean / full.quality.mean if full.quality.mean else None
    kept = f"its {measure.name} of zero" if share is None else f"{share:.1f} % of its {measure.name}"
    return (
        f"{row.label} takes {row.size_percent:.2f} % of the uncompressed model's size and "
        f"{'has' if measure.lower_is_better else 'keeps'} {kept}: "
        f"{row.quality.mean:.2f}{percent} against {full.quality.mean:.2f}{percent}."
    )


def _cost(row: Row) -> float:
    """A value that is smaller for better quality."""
    return row.quality.mean if row.measures[0].lower_is_better else -row.quality.mean


def _keeps(row: Row, full: Row) -> bool:
    """True if quality is within 3 % of that of the uncompressed table."""
    if row.measures[0].lower_is_better:
        return row.quality.mean <= 1.03 * full.quality.mean
    return row.quality.mean >= 0.97 * full.quality.mean


def method_key(record: Record) -> str:
    """Method and options of a run, as canonical JSON."""
    return canonical([record["method"], record["method_config"]])


def config_key(config: MethodConfig) -> str:
    """Method and options of a configuration, as for :func:`method_key`."""
    return canonical([method_of(config).method, config.to_dict()])


def _section(setting: str, records: list[Record], published: Published) -> Section:
    runs: dict[str, dict[int, Record]] = {}
    for record in records:
        runs.setdefault(method_key(record), {})[record["seed"]] = record
    rows = [_row(setting, by_seed, _uncompressed(by_seed, runs), published) for by_seed in runs.values()]
    return Section(tuple(records), tuple(sorted(rows, key=lambda row: (-row.bits, row.label))), published.note)


def _uncompressed(by_seed: dict[int, Record], runs: dict[str, dict[int, Record]]) -> dict[int, Record]:
    """Runs of the uncompressed table: those with the same initial standard deviation, else with the default one."""
    std = next(iter(by_seed.values()))["method_config"].get("init_std", FullConfig().init_std)
    return runs.get(config_key(FullConfig(init_std=std)), runs.get(config_key(FullConfig()), {}))


def _row(setting: str, by_seed: dict[int, Record], full: dict[int, Record], published: Published) -> Row:
    seeds = tuple(sorted(by_seed))
    runs = [by_seed[seed] for seed in seeds]
    paired = [(by_seed[seed], full[seed]) for seed in seeds if seed in full]
    first = runs[0]
    measures = measures_of(first)
    differences, relative = {}, None
    if paired and full is not by_seed:
        for measure in measures:
            differences[measure.metric] = Difference.of([measure.of(a) - measure.of(b) for a, b in paired])
    if paired:
        relative = sum(a["seconds_per_epoch"] for a, _ in paired) / sum(b["seconds_per_epoch"] for _, b in paired)
    validated = all(run["metrics"]["best"] is not None for run in runs)
    return Row(
        setting=setting,
        key=method_key(first),
        label=first["label"],
        method=first["method"],
        seeds=seeds,
        bits=first["bits"],
        full_bits=first["full_bits"],
        size_percent=100 * first["bits"] / first["full_bits"],
        embedding_compression_ratio=first["embedding_compression_ratio"],
        measures=measures,
        last=_estimates([run["metrics"]["last"] for run in runs], measures[0].scale),
        best=_estimates([run["metrics"]["best"] for run in runs], measures[0].scale) if validated else None,
        differences=differences,
        seconds_per_epoch=Estimate.of([run["seconds_per_epoch"] for run in runs]),
        relative_seconds=relative,
        published=published.of(first),
        curve=_mean_curve([run["curve"] for run in runs], measures),
    )


def _estimates(reports: list[dict[str, dict[str, float]]], scale: float) -> Metrics:
    return {
        mask: {metric: Estimate.of([scale * report[mask][metric] for report in reports]) for metric in metrics}
        for mask, metrics in reports[0].items()
    }


def _mean_curve(
    curves: list[list[dict[str, Any]]], measures: tuple[Measure, Measure]
) -> tuple[tuple[int, dict[str, Estimate]], ...]:
    """The means of validated epochs; other epochs have only a training loss."""
    points: dict[int, list[dict[str, Any]]] = {}
    for curve in curves:
        for point in curve:
            if all(measure.metric in point for measure in measures):
                points.setdefault(point["epoch"], []).append(point)
    return tuple(
        (epoch, {m.metric: Estimate.of([m.scale * point[m.metric] for point in points[epoch]]) for m in measures})
        for epoch in sorted(points)
    )
