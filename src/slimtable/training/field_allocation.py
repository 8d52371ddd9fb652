"""Allocates a budget of bytes to the fields of a model: the number of shared rows of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch

from slimtable.codecs.quantize.metric import Metric
from slimtable.codecs.quantize.sample import draw
from slimtable.embeddings.base import MethodConfig
from slimtable.errors import BudgetError
from slimtable.methods.full import FullConfig
from slimtable.methods.saec import Saec, SaecConfig
from slimtable.methods.uniform import UniformConfig

_SAMPLE = 4096  # vectors of a field whose distortion is measured
_VECTORS_PER_ROW = 4  # vectors of the sample for each row, at least; fewer predict the others badly
_LADDER = 2  # ratio of the numbers of rows at which distortion is measured
_STEPS = 2.0**0.25  # ratio of the numbers of rows to choose from
_ITERATIONS = 4
_BEAM = 2  # of sums of stages; errors then fall as those of wider beams do
_MAX_TRIES = 64
_UNITS = 4096  # parts of a budget that costs are rounded up to


def allocate(
    tables: Mapping[str, np.ndarray],
    frequencies: Mapping[str, np.ndarray],
    budget_bits: float,
    config: SaecConfig,
    *,
    rule: Literal["gain", "power"] = "gain",
    alpha: float = 0.5,
    sensitivity: Mapping[str, np.ndarray] | None = None,
    stages: Sequence[int] = (),
    max_row_share: float = 1.0,
) -> dict[str, MethodConfig]:
    """Splits a budget over fields.

    A field keeps all its vectors where they cost no more than shared rows and their map: stored by ``full``, or by
    ``uniform`` in 8 bits if the rows are to have 8 bits or fewer.

    "gain" minimizes the total frequency-weighted squared error: the distortion of each field is measured on a sample at
    several sizes, and a knapsack picks one size per field. (The cost of rows jumps at powers of two, where the map gets
    wider, so a greedy choice by gain per bit would stop too early.) "power" gives fields rows in proportion to a power
    of their number of ids. Either way, the rest of the budget is then used up.

    Args:
        tables: by field, float (ids, width).
        frequencies: by field, (ids,) how often each id occurs.
        budget_bits: budget of all tables and their maps.
        config: options of every field, except the number of rows.
        rule: "gain" or "power".
        alpha: exponent of "power".
        sensitivity: by field, float (width, width), the cost of errors in its vectors, from
            :func:`slimtable.training.sensitivity.measure_sensitivity`; None weighs all
            squared errors alike.
        stages: numbers of residual stages that "gain" chooses from for each field; empty for that of ``config``.
        max_row_share: largest number of rows of a field, as a share of its ids; all vectors stay only where that would
            leave no more than one row.

    Returns:
        For each field the configuration of ``full`` or ``uniform``, or ``config`` with ``num_rows`` and ``stages``;
        together they never exceed the budget.

    Raises:
        ValueError: a field has no frequencies or sensitivity, or frequencies of the wrong shape; the rule is unknown,
            or a number is out of range.
        BudgetError: the budget is below one row per field; the message gives the smallest budget.
    """
    for what, given in (("frequencies", frequencies), ("sensitivity", tables if sensitivity is None else sensitivity)):
        if missing := sorted(set(tables) - set(given)):
            raise ValueError(f"Fields {', '.join(missing)} have no {what}. Give those of every field.")
    for name, table in tables.items():
        if np.shape(frequencies[name]) != (len(table),):
            raise ValueError(
                f"The frequencies of field {name} must have shape ({len(table)},), got {np.shape(frequencies[name])}."
            )
    if rule not in ("gain", "power") or math.isnan(budget_bits):
        raise ValueError(f"`rule` must be gain or power and `budget_bits` a number, got {rule!r} and {budget_bits}.")
    if alpha < 0 or not 0 < max_row_share <= 1:
        raise ValueError(
            f"`alpha` must not be negative and `max_row_share` be in (0, 1], got {alpha} and {max_row_share}."
        )
    configs = [replace(config, stages=number) for number in stages] if stages and rule == "gain" else [config]
    metrics = {} if sensitivity is None else {field: Metric.of(sensitivity[field]) for field in tables}
    fields = {
        name: [_Field(table, np.asarray(frequencies[name]), each, metrics.get(name), max_row_share) for each in configs]
        for name, table in tables.items()
    }
    chosen = {name: min(((field.min_rows(), field) for field in some), key=_cost) for name, some in fields.items()}
    least = sum(map(_cost, chosen.values()))
    if least > budget_bits:
        raise BudgetError(
            f"A budget of {budget_bits / 8:,.0f} bytes is too small for the fewest rows of {len(fields)} fields with "
            f"their maps. The smallest budget is {-(-least // 8):,} bytes."
        )
    if rule == "power":
        chosen = _by_power({name: field for name, (field,) in fields.items()}, budget_bits, alpha)
        order = sorted(chosen, key=lambda name: -chosen[name][1].ids)
    else:
        chosen = _by_gain(fields, budget_bits, chosen)
        order = sorted(chosen, key=lambda name: -chosen[name][1].slope(chosen[name][0]))
    left = budget_bits - sum(map(_cost, chosen.values()))
    for name in order:
        rows, field = chosen[name]
        filled = max(rows, field.max_rows_within(field.bits(rows) + left))
        left -= field.bits(filled) - field.bits(rows)
        chosen[name] = filled, field
    return {name: chosen[name][1].config_of(chosen[name][0]) for name in tables}


@dataclass(frozen=True, eq=False)
class _Field:
    """A field; as many rows as ids means the uncompressed table."""

    table: np.ndarray
    counts: np.ndarray
    config: SaecConfig
    metric: Metric | None
    max_row_share: float

    @property
    def ids(self) -> int:
        return len(self.table)

    def bits(self, rows: int) -> int:
        """Bits served with a number of rows."""
        if rows >= self.ids:
            return int(self.table.size) * (8 if self.rounded else 32) + (32 * self.ids if self.rounded else 0)
        return self.config.bits_of_rows(rows, *self.table.shape)

    @property
    def rounded(self) -> bool:
        """True if a field that keeps all vectors serves them in 8 bits, with an offset and a step each in 16."""
        return self.config.row_bits <= 8 and 8 * self.table.shape[1] + 32 < 32 * self.table.shape[1]

    @property
    def keeps_all(self) -> bool:
        """True if the field may keep all its vectors."""
        return self.max_row_share == 1 or self.max_row_share * self.ids <= 1 or self.ids <= self.config.stages

    @property
    def max_shared_rows(self) -> int:
        """Largest number of rows below the number of ids."""
        return min(self.ids - 1, max(self.config.stages, int(self.max_row_share * self.ids)))

    def config_of(self, rows: int) -> MethodConfig:
        """The configuration with a number of rows."""
        if rows < self.ids:
            return replace(self.config, num_rows=rows)
        if self.rounded:
            return UniformConfig(init_std=self.config.init_std, bits=8, axis="row", scale_bits=16)
        return FullConfig(init_std=self.config.init_std)

    def min_rows(self) -> int:
        """The cheapest number of rows."""
        fewest = self.config.stages
        cheaper = fewest < self.ids and self.bits(fewest) < self.bits(self.ids)
        return fewest if cheaper or not self.keeps_all else self.ids

    def max_rows_within(self, bits: float) -> int:
        """Largest number of rows that fits into some bits, 0 for none."""
        if self.keeps_all and self.bits(self.ids) <= bits:
            return self.ids
        return min(self.config.rows_within(bits, *self.table.shape), self.max_shared_rows)

    def ladder(self) -> list[int]:
        """Numbers of rows to choose from, ascending, without those that cost as much as all ids."""
        steps = math.floor(math.log(max(self.ids, 2), _STEPS)) + 1
        rows = {self.config.stages} | {math.floor(_STEPS**step + 1e-9) for step in range(steps)}
        dear = self.bits(self.ids) if self.keeps_all else math.inf
        some = sorted(k for k in rows if self.config.stages <= k <= self.max_shared_rows and self.bits(k) < dear)
        return [*some, self.ids] if self.keeps_all else some

    @cached_property
    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Logarithms of numbers of rows and of the frequency-weighted squared error at each, measured on a sample."""
        mass = float(self.counts.sum(dtype=np.float64)) or float(self.ids)
        weights = self.counts.astype(np.float32) if self.counts.any() else np.ones(self.ids, np.float32)
        ids, heavy = draw(weights, min(_SAMPLE, self.ids), "proportional", 1.0, np.random.default_rng(0))
        drawn = np.array(self.table[ids], dtype=np.float32)
        vectors = torch.from_numpy(drawn if self.metric is None else self.metric.apply(drawn))
        counts = torch.from_numpy(heavy)
        limit = len(ids) - 1 if len(ids) == self.ids else len(ids) // _VECTORS_PER_ROW
        rows: list[float] = []
        errors: list[float] = []
        k = self.config.stages
        while k <= limit or not rows:
            own = max(self.config.stages, min(k, len(ids) - 1))
            config = replace(
                self.config, num_rows=own, min_frequency=0, iterations=_ITERATIONS, row_bits=32, beam=_BEAM
            )
            served = Saec.from_table(vectors, config, frequencies=counts).weight if len(ids) > own else vectors
            error = ((served - vectors).square().sum(dim=1).double() * counts.double()).sum() / counts.double().sum()
            rows.append(math.log(k))
            errors.append(math.log(float(error) * mass + 1e-12 * mass))
            k *= _LADDER
        return np.array(rows), np.minimum.accumulate(np.array(errors))

    def error(self, rows: int) -> float:
        """Frequency-weighted squared error with a number of rows, interpolated or extrapolated from the curve."""
        if rows >= self.ids:
            return 0.0
        sizes, errors = self.curve
        place = math.log(rows)
        if place <= sizes[-1] or len(sizes) < 2:
            return float(np.exp(np.interp(place, sizes, errors)))
        fall = (errors[-1] - errors[-2]) / (sizes[-1] - sizes[-2])
        return float(np.exp(errors[-1] + fall * (place - sizes[-1])))

    def slope(self, rows: int) -> float:
        """Error saved per bit by the next larger number of rows."""
        more = min(self.ids, max(rows + 1, math.ceil(rows * _STEPS)))
        cost = self.bits(more) - self.bits(rows)
        return (self.error(rows) - self.error(more)) / cost if cost > 0 else 0.0


_Choice = tuple[int, _Field]
"""A number of rows, and the field with its number of stages."""


def _cost(choice: _Choice) -> int:
    rows, field = choice
    return field.bits(rows)


def _by_gain(
    fields: Mapping[str, Sequence[_Field]], budget_bits: float, least: Mapping[str, _Choice]
) -> dict[str, _Choice]:
    """The rows of each field with the least total error, costs rounded up to a small part of the budget."""
    units = max(_UNITS, 64 * len(fields))
    # The cheapest choice of each field is paid first, so that rounding cannot put it out of reach.
    spare = budget_bits - sum(map(_cost, least.values()))
    if spare <= 0:
        return dict(least)
    unit = spare / units
    best = np.zeros(units + 1)  # the least error for each number of units
    tried: list[tuple[str, list[_Choice], np.ndarray, list[int]]] = []
    for name, some in fields.items():
        base = _cost(least[name])
        choices = [
            (rows, field) for field in some for rows in field.ladder() if base <= field.bits(rows) <= base + spare
        ]
        costs = [math.ceil((_cost(choice) - base) / unit) for choice in choices]
        errors = np.full((len(choices), units + 1), np.inf)
        for place, ((rows, field), cost) in enumerate(zip(choices, costs, strict=True)):
            if cost <= units:
                errors[place, cost:] = best[: units + 1 - cost] + field.error(rows)
        tried.append((name, choices, errors.argmin(axis=0), costs))
        best = errors.min(axis=0)
    chosen: dict[str, _Choice] = {}
    left = units
    for name, choices, choice, costs in reversed(tried):
        chosen[name] = choices[choice[left]]
        left -= costs[choice[left]]
    return chosen


def _by_power(fields: Mapping[str, _Field], budget_bits: float, alpha: float) -> dict[str, _Choice]:
    def rows_at(scale: float) -> dict[str, _Choice]:
        rows: dict[str, _Choice] = {}
        for name, field in fields.items():
            wanted = min(max(field.min_rows(), int(scale * field.ids**alpha)), field.ids)
            if field.keeps_all and field.bits(wanted) >= field.bits(field.ids):
                wanted = field.ids
            rows[name] = (
                (wanted if field.keeps_all and wanted == field.ids else min(wanted, field.max_shared_rows)),
                field,
            )
        return rows

    return rows_at(_largest(lambda scale: sum(map(_cost, rows_at(scale).values())) <= budget_bits))


def _largest(fits: Callable[[float], bool]) -> float:
    """Largest number that fits, by bisection; 0 always fits."""
    low, high = 0.0, 1.0
    while fits(high) and high < 2.0**40:
        low, high = high, 2.0 * high
    for _ in range(_MAX_TRIES):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
