"""Compress several tables together: within a budget of bytes, or as far as the quality allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from slimtable.artifact.file import header_size
from slimtable.artifact.packed import Packed
from slimtable.budget import bits_of_budget
from slimtable.codecs.vectors import Vectors
from slimtable.compress.guard import Decoded, Guard
from slimtable.compress.one_table import compress_table
from slimtable.compress.plans import Input, Plan, Planner
from slimtable.compress.result import Candidate, Compressed, GuardFacts, Kept, ledger_of
from slimtable.embeddings.policy import Policy
from slimtable.embeddings.registry import get_config
from slimtable.errors import BudgetError

_TILT = 0.5  # bits per value that users get beyond their share, and by which neighbours of a plan differ from it
_SMALLEST_RATIO, _LARGEST_RATIO = 3.5, 128.0  # that a search for the smallest size covers
_EVALUATIONS = 7  # of such a search: halves the range on a log scale each time
_FEW_VALUES = 1 << 27  # tables with more are compressed only once, without alternatives
_NO_GUARD = GuardFacts("none", (), 0, "no table was compared with its uncompressed form")
_GUESSES = 3  # of the policy for the largest table
_HEADER, _HEADER_OF_TABLE = 512, 1024  # bytes, until the header is known
_UNUSED = 0.005  # of the budget that may be left for a header that turns out smaller
_ATTEMPTS = 6  # headers that a plan is made for
_HEADER_STEP = 8 * 64  # bits by which the sizes of headers differ

Progress = Callable[[str], None]


def compress_tables(
    tables: Sequence[Input],
    budget: str | None = None,
    *,
    max_drop: float | None = None,
    guard: Guard | None = None,
    policy: Policy | None = None,
    model: Mapping[str, Any] | None = None,
    progress: Progress = lambda line: None,
) -> Compressed:
    """Compresses tables together, without a method being named.

    With a budget, the guess of the policy is compared with its neighbours: more bits for users or for items, and
    another method for the largest table. The one that keeps most of the guard's first measure is returned. With a
    largest drop, the smallest size is searched at which the lower end of the interval of that measure keeps enough.

    Args:
        tables: the trained tables, with different names.
        budget: bytes of the file with the packed tables, header included: a share of the float32 tables such as "10%",
            a ratio such as "16x", or bytes such as "200MB". Never exceeded.
        max_drop: largest share of the guard's first measure that may be lost, such as 0.01.
        guard: judges candidates; None to take the policy's guess without judging it, possible with a budget only.
        policy: picks methods; None for that of method auto.
        model: description of the model that the file will hold, whose size counts.
        progress: called with a line before each candidate.

    Returns:
        The packed tables, with what was tried and why.

    Raises:
        ValueError: there is not exactly one of a budget and a largest drop, or a table is not a finite matrix.
        BudgetError: the budget is too small, and the message states the smallest possible; or no size keeps enough.
    """
    if (budget is None) == (max_drop is None):
        raise ValueError("Give either a budget, such as 16x, or a largest drop, such as 1%.")
    if max_drop is not None and guard is None:
        raise ValueError("A largest drop needs a guard to measure it with.")
    if max_drop is not None and not 0 < max_drop < 1:
        raise ValueError(f"The largest drop is a share between 0 and 1, got {max_drop:g}.")
    named = {table.name: table for table in tables}
    if not tables or len(named) < len(tables):
        raise ValueError("Give at least one table, and different names to all.")
    if policy is None:
        found = get_config("auto")
        assert isinstance(found, Policy)
        policy = found
    workshop = _Workshop(Planner(named, policy), guard, model, progress)
    if budget is not None:
        return workshop.within(budget)
    assert max_drop is not None
    return workshop.down_to(1 - max_drop)


class _Workshop:
    """Makes and judges plans, and remembers what was made."""

    def __init__(
        self, planner: Planner, guard: Guard | None, model: Mapping[str, Any] | None, progress: Progress
    ) -> None:
        self._planner = planner
        self._guard = guard
        self._model = model
        self._progress = progress
        self._header = 8 * (_HEADER + _HEADER_OF_TABLE * len(planner.tables))
        self._made: dict[tuple[str, str], Packed] = {}
        self._notes: list[str] = []
        self._tried: list[tuple[Plan, dict[str, Kept]]] = []

    # Within a budget.

    def within(self, budget: str) -> Compressed:
        """The best plan of a few within a budget."""
        limit = bits_of_budget(budget, self._planner.dense_bits)
        best = self._best_within(budget, limit)
        header = header_size(self._packed(best), model=self._model)
        reasons = [
            f"{budget} are {limit / 8:,.0f} bytes: the header of the file takes {header:,} and the packed tables "
            f"{self._packed_bytes(best):,}",
            *self._notes,
        ]
        return self._result(best, reasons)

    def _best_within(self, budget: str, limit: float) -> Plan:
        planner = self._planner
        if limit - self._header < planner.smallest_bits:
            self._require_possible(budget, limit)
        first = self._first(limit)
        best, kept, tilt = first, self._judge(first), _TILT
        if self._guard is None or planner.dense_bits > 32 * _FEW_VALUES:
            return best
        large = planner.large(limit)
        for sign, who in ((1, "users"), (-1, "items")) if len({table.side for table in large}) == 2 else ():
            for steps in (1, 2):
                plan = self._neighbour(limit, tilt=_TILT * (1 + sign * steps), reason=f"more bits for {who}")
                now = 0.0 if plan is None else self._judge(plan)
                if plan is None or now <= kept:
                    break
                best, kept, tilt = plan, now, _TILT * (1 + sign * steps)
            if best is not first:
                break
        name = large[0].name
        for guess in range(1, min(_GUESSES, planner.guesses(name, first.bits[name]))):
            plan = self._neighbour(limit, tilt=tilt, guesses={name: guess}, reason=f"another method for {name}")
            now = 0.0 if plan is None else self._judge(plan)
            if plan is not None and now > kept:
                best, kept = plan, now
        return best

    def _first(self, limit: float) -> Plan:
        """The policy's best guess that can code the values of the tables."""
        for guess in range(_GUESSES):
            try:
                guesses = dict.fromkeys(self._planner.tables, guess)
                return self._fitting(limit, tilt=_TILT, guesses=guesses, reason="best guess from shapes")
            except ValueError as error:  # values that a codec refuses, such as those of a table of another range
                refused = error
                self._notes.append(f"guess {guess + 1} cannot be used: {error}")
        raise refused

    def _neighbour(self, limit: float, **options: Any) -> Plan | None:
        """A plan like the first one but for one thing; None, and a note, if it is not possible."""
        try:
            return self._fitting(limit, **options)
        except (BudgetError, ValueError) as error:
            self._notes.append(f"{options['reason']} is not possible: {error}")
            return None

    def _require_possible(self, budget: str, limit: float) -> None:
        """Raises BudgetError if even the smallest tables do not fit; else their header is what is reckoned with."""
        least = self._planner.plan(self._planner.smallest_bits)
        self._header = 8 * header_size(self._packed(least), model=self._model)
        smallest = self._packed_bytes(least) + self._header // 8
        if 8 * smallest > limit:
            raise BudgetError(
                f"A budget of {budget} is too small. The smallest possible is {smallest:,}B, of which the header "
                f"of the file takes {self._header // 8:,}."
            )

    def _fitting(self, limit: float, **options: Any) -> Plan:
        """A plan whose file, header included, takes at most ``limit`` bits; of a few, the one that fills them best.

        The header is known only with the plan, and the plan depends on the room that the header leaves.
        """
        best, most = None, -1.0
        headers, seen = [self._header], set[int]()
        while headers and len(seen) < _ATTEMPTS:
            header = headers.pop(0)
            seen.add(header)
            plan = self._planner.plan(max(limit - header, self._planner.smallest_bits), **options)
            now = 8 * header_size(self._packed(plan), model=self._model)
            taken = 8 * self._packed_bytes(plan) + now
            if most < taken <= limit:
                best, most = plan, taken
                self._header = now
            if best is not None and (limit - most <= _UNUSED * limit or header == now):
                break
            headers += [each for each in (now, now + _HEADER_STEP) if each not in seen]
        if best is None:
            raise BudgetError(
                f"No plan was found whose file takes at most {limit / 8:,.0f} bytes. Use a larger budget."
            )
        return best

    def _packed_bytes(self, plan: Plan) -> int:
        return sum(packed.nbytes for packed in self._packed(plan).values())

    # Down to a quality.

    def down_to(self, least: float) -> Compressed:
        """The smallest plan that surely keeps a share of the measure."""
        dense = self._planner.dense_bits
        lowest = float(self._planner.smallest_bits)
        low, high = np.log(_SMALLEST_RATIO), np.log(min(_LARGEST_RATIO, dense / lowest))
        best = self._planner.plan(dense / _SMALLEST_RATIO, _TILT, reason="the largest size that is tried")
        self._judge(best)
        if self._low_end(best) < least:
            raise BudgetError(
                f"Even at {dense / best.total:.1f}x the guard is only sure that {self._low_end(best):.2%} are kept, "
                f"and {least:.2%} must be. Allow a larger drop, or give more held-out interactions."
            )
        reason = "search for the smallest size that keeps enough"
        for _ in range(_EVALUATIONS):
            middle = (low + high) / 2
            plan = self._planner.plan(dense / float(np.exp(middle)), _TILT, reason=reason)
            if plan.total >= best.total:  # the step of the codec is larger than what is left of the range
                low = middle
                continue
            self._judge(plan)
            if self._low_end(plan) >= least:
                best, low = plan, middle
            else:
                high = middle
        tried = len(self._tried)
        return self._result(
            best,
            [
                f"the smallest of {tried} sizes of which the guard is sure that at least {least:.2%} of "
                f"{self._measure()} are kept"
            ],
        )

    def _low_end(self, plan: Plan) -> float:
        return next(kept[self._measure()].low for tried, kept in self._tried if tried is plan)

    # What both need.

    def _measure(self) -> str:
        assert self._guard is not None
        return self._guard.facts.measures[0]

    def _judge(self, plan: Plan) -> float:
        """The share that a plan keeps of the guard's first measure; 0 without a guard."""
        described = ", ".join(f"{name}: {choice}" for name, choice in plan.choices().items())
        self._progress(f"{plan.reason} ({plan.total / 8:,.0f} bytes): {described}")
        kept = {} if self._guard is None else self._guard.judge(self._decoded(plan))
        self._tried.append((plan, kept))
        return kept[self._measure()].share if kept else 0.0

    def _decoded(self, plan: Plan) -> dict[str, Vectors]:
        return {name: Decoded(packed) for name, packed in self._packed(plan).items()}

    def _packed(self, plan: Plan) -> dict[str, Packed]:
        packed = {}
        for name, config in plan.configs.items():
            key = name, repr(config)
            if key not in self._made:
                table = self._planner.tables[name]
                self._made[key] = compress_table(
                    table.table, config, padding_idx=table.padding_idx, frequencies=table.frequencies
                )
            packed[name] = self._made[key]
        return packed

    def _result(self, best: Plan, reasons: list[str]) -> Compressed:
        packed = self._packed(best)
        candidates = [
            Candidate(plan.choices(), -(-plan.total // 8), kept, plan.reason, plan is best)
            for plan, kept in self._tried
        ]
        report = {}
        if self._guard is not None:
            measure = self._measure()
            of_best = next(kept for plan, kept in self._tried if plan is best)[measure]
            reasons.append(
                f"{best.reason}: it keeps {of_best.share:.2%} of {measure} ({of_best.low:.2%} to {of_best.high:.2%})"
            )
            report = self._guard.judge(self._decoded(best), "report")
        order = sorted(candidates, key=lambda candidate: candidate.bytes)
        facts = _NO_GUARD if self._guard is None else self._guard.facts
        result = Compressed(packed, tuple(order), tuple(reasons), facts, ledger_of(packed), report)
        self._made.clear()
        return result
