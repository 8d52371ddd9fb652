"""Plans: how each of several tables is compressed so that all together fit into a number of bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from slimtable.codecs.base import FitContext, Rows
from slimtable.codecs.vectors import TableLike
from slimtable.compress.allocation import Demand, allocate, spectrum
from slimtable.compress.result import Choice
from slimtable.embeddings.base import MethodConfig, method_of
from slimtable.embeddings.policy import Policy, Side, TableFacts
from slimtable.errors import BudgetError

SMALL = 0.01
"""Tables with less than this share of all bytes get 8 bits per value."""

_SMALL_OF_BUDGET = 0.1  # and share like the others if they would take more than this part of the budget
_MOST_PER_VALUE = 9.0  # bits per value, scales included, beyond which nothing is gained that anyone could measure
_FILLED = 0.97  # of a budget, that there is no point in filling further


@dataclass(frozen=True, eq=False)
class Input:
    """A trained table to compress.

    Attributes:
        name: name of the table.
        table: float (N, d), in memory or read block by block.
        side: what its rows are.
        frequencies: (N,) how often each id occurs in training; None if unknown.
        padding_idx: id that is served as zeros, or None.
    """

    name: str
    table: TableLike
    side: Side = "item"
    frequencies: np.ndarray | None = None
    padding_idx: int | None = None
    rows: Rows = field(init=False)

    def __post_init__(self) -> None:
        FitContext(self.frequencies).checked(self.table.shape[0])
        object.__setattr__(self, "rows", Rows(self.table, self.padding_idx))

    @property
    def dense_bits(self) -> int:
        """Bits of the table in float32."""
        return 32 * self.rows.num_embeddings * self.rows.embedding_dim

    @cached_property
    def facts(self) -> TableFacts:
        """What a policy may know."""
        return TableFacts(self.side, None if self.frequencies is None else top_share(self.frequencies))

    @cached_property
    def spectrum(self) -> np.ndarray:
        """Spectrum of the directions of the rows; frequent rows count more if they are ranked."""
        return spectrum(self.rows, self.frequencies if self.side == "item" else None)


@dataclass(frozen=True, eq=False)
class Plan:
    """A configuration for each table.

    Attributes:
        configs: by name of the table.
        bits: of the packed table, by name.
        reason: why these.
    """

    configs: Mapping[str, MethodConfig]
    bits: Mapping[str, int]
    reason: str

    @property
    def total(self) -> int:
        """Bits of all packed tables."""
        return sum(self.bits.values())

    def choices(self) -> dict[str, Choice]:
        """The plan as choices of a :class:`slimtable.compress.result.Candidate`."""
        return {name: choice_of(config, self.bits[name]) for name, config in self.configs.items()}


class Planner:
    """Makes plans for given tables.

    Args:
        tables: at least one, with different names.
        policy: picks methods.
    """

    def __init__(self, tables: Mapping[str, Input], policy: Policy) -> None:
        self.tables = tables
        self._policy = policy
        self.dense_bits = sum(table.dense_bits for table in tables.values())
        self.smallest_bits = sum(policy.smallest_bits(*table.rows.shape) for table in tables.values())

    def plan(self, bits: float, tilt: float = 0.0, guesses: Mapping[str, int] | None = None, reason: str = "") -> Plan:
        """A plan within a number of bits.

        Args:
            bits: of all packed tables together.
            tilt: bits per value that the tables of users get at the expense of the others.
            guesses: by name, which guess of the policy to use; 0, the best, for others.
            reason: why.

        Raises:
            BudgetError: the bits are too few; the message states the smallest possible budget.
        """
        if bits < self.smallest_bits:
            raise BudgetError(
                f"The budget leaves {max(bits, 0) / 8:,.0f} bytes for the tables, which is too small. The smallest "
                f"possible tables take {-(-self.smallest_bits // 8):,} bytes."
            )
        small = self._small(bits)
        chosen = dict(small)
        others = [table for table in self.tables.values() if table.name not in small]
        room = bits - sum(self._bits_of(name, config) for name, config in small.items())
        shares = self._shares(room, others, tilt)
        guesses = guesses or {}
        for table, share in zip(others, shares, strict=True):
            chosen[table.name] = self._pick(table, share, guesses.get(table.name, 0))
        for _ in range(2):  # what one table leaves, another may use
            for table in sorted(others, key=lambda table: -table.dense_bits):
                left = bits - sum(self._bits_of(name, config) for name, config in chosen.items())
                if left > (1 - _FILLED) * bits / 4:
                    own = self._bits_of(table.name, chosen[table.name])
                    again = self._pick(table, own + left, guesses.get(table.name, 0))
                    if self._bits_of(table.name, again) > own:
                        chosen[table.name] = again
        ordered = {name: chosen[name] for name in self.tables}
        return Plan(ordered, {name: self._bits_of(name, config) for name, config in ordered.items()}, reason)

    def large(self, bits: float) -> list[Input]:
        """The tables that share the budget, largest first."""
        small = self._small(bits)
        return sorted(
            (table for table in self.tables.values() if table.name not in small), key=lambda table: -table.dense_bits
        )

    def guesses(self, name: str, bits: float) -> int:
        """How many guesses the policy has for a table of at most this size."""
        table = self.tables[name]
        return len(self._policy.candidates(*table.rows.shape, bits, table.facts, table.frequencies))

    def _small(self, bits: float) -> dict[str, MethodConfig]:
        """Tables that are too small to matter, and get 8 bits per value."""
        found = {}
        for name, table in self.tables.items():
            if table.dense_bits < SMALL * self.dense_bits:
                some = self._policy.candidates(*table.rows.shape, _MOST_PER_VALUE / 32 * table.dense_bits, table.facts)
                if some:
                    found[name] = some[0]
        taken = sum(self._bits_of(name, config) for name, config in found.items())
        return found if taken <= _SMALL_OF_BUDGET * bits and len(found) < len(self.tables) else {}

    def _shares(self, bits: float, tables: list[Input], tilt: float) -> list[float]:
        """Bits of each of several tables."""
        if len(tables) == 1:
            return [bits]
        demands = []
        for table in tables:
            most = _MOST_PER_VALUE * table.dense_bits / 32
            least = self._policy.smallest_bits(*table.rows.shape)
            demands.append(Demand(table.rows.num_embeddings, table.spectrum, least, max(most, least)))
        sides = [table.side for table in tables]
        shifts = {"user": tilt, "item": 0.0} if len(set(sides)) == 2 else {"user": 0.0, "item": 0.0}
        return allocate(bits, demands, [shifts[side] for side in sides])

    def _pick(self, table: Input, bits: float, guess: int) -> MethodConfig:
        found = self._policy.candidates(*table.rows.shape, bits, table.facts, table.frequencies)
        if not found:
            smallest = self._policy.smallest_bits(*table.rows.shape)
            raise BudgetError(
                f"Table {table.name} gets {bits / 8:,.0f} bytes of the budget, but the smallest possible takes "
                f"{-(-smallest // 8):,}."
            )
        return found[min(guess, len(found) - 1)]

    def _bits_of(self, name: str, config: MethodConfig) -> int:
        table = self.tables[name]
        return config.table_bits(*table.rows.shape, table.frequencies)


def top_share(frequencies: np.ndarray) -> float:
    """Share of the occurrences that the most frequent tenth of the ids has; 0 without any.

    Example:
        >>> top_share(np.array([90, 2, 2, 1, 1, 1, 1, 1, 1, 0]))
        0.9
    """
    counts = np.sort(np.asarray(frequencies, np.float64))[::-1]
    total = counts.sum()
    return float(counts[: max(1, len(counts) // 10)].sum() / total) if total else 0.0


def choice_of(config: MethodConfig, bits: int) -> Choice:
    """A configuration as a choice, with the options that differ from the defaults."""
    plain = type(config)().to_dict()
    options = {name: value for name, value in config.to_dict().items() if value != plain.get(name)}
    return Choice(method_of(config).method, options, bits)
