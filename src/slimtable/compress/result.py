"""What compression within a budget returns: the packed tables, what was tried, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slimtable.artifact.packed import Packed


@dataclass(frozen=True)
class Kept:
    """The share of the guard's measure that compressed tables keep; 1 means as good as the uncompressed tables.

    Attributes:
        share: compressed over uncompressed; above 1 if the compressed tables happen to be better.
        low: lower end of the 95 % interval.
        high: upper end of the 95 % interval.
    """

    share: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """The share and its interval as JSON values."""
        return {"share": self.share, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Choice:
    """How one table is compressed.

    Attributes:
        method: registry name of the method.
        config: its options that differ from the defaults.
        bits: bits of the packed table, from its shape.
    """

    method: str
    config: Mapping[str, Any]
    bits: int

    def to_dict(self) -> dict[str, Any]:
        """The choice as JSON values."""
        return {"method": self.method, "config": dict(self.config), "bytes": -(-self.bits // 8)}

    def __str__(self) -> str:
        options = ", ".join(f"{name}={value}" for name, value in self.config.items())
        return f"{self.method}({options})"


@dataclass(frozen=True)
class Candidate:
    """A way to compress all tables, tried or only considered.

    Attributes:
        tables: choice of each table, by its name.
        bytes: bytes of the packed tables together, from their shapes.
        kept: the guard's measure by its name, such as "recall@20"; empty if the guard was not run.
        reason: why it was tried, and why it was chosen or not.
        chosen: True for the candidate whose tables are returned.
    """

    tables: Mapping[str, Choice]
    bytes: int
    kept: Mapping[str, Kept] = field(default_factory=dict)
    reason: str = ""
    chosen: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The candidate as JSON values."""
        return {
            "tables": {name: choice.to_dict() for name, choice in self.tables.items()},
            "bytes": self.bytes,
            "kept": {name: kept.to_dict() for name, kept in self.kept.items()},
            "reason": self.reason,
            "chosen": self.chosen,
        }


@dataclass(frozen=True)
class GuardFacts:
    """How candidates were judged.

    Attributes:
        kind: "task" for held-out interactions, "neighbours" for the overlap with uncompressed scores, "none" if
            candidates were not judged.
        measures: names of the measures, the one that decides first.
        queries: users or sampled queries that candidates were judged on.
        description: one sentence for people.
    """

    kind: str
    measures: tuple[str, ...]
    queries: int
    description: str

    def to_dict(self) -> dict[str, Any]:
        """The facts as JSON values."""
        return {
            "kind": self.kind,
            "measures": list(self.measures),
            "queries": self.queries,
            "description": self.description,
        }


@dataclass(frozen=True, eq=False)
class Compressed:
    """Tables compressed together within a budget, or to a quality.

    Attributes:
        tables: packed table of each name, ready for ``write_artifact``.
        candidates: what was tried, the chosen one included, from small to large.
        reasons: why this was chosen, in sentences.
        guard: how candidates were judged.
        ledger: bytes of each array of each packed table.
        report: the chosen tables' measures on queries that the guard did not see, by name; empty without a guard.
    """

    tables: Mapping[str, Packed]
    candidates: tuple[Candidate, ...]
    reasons: tuple[str, ...]
    guard: GuardFacts
    ledger: Mapping[str, Mapping[str, int]]
    report: Mapping[str, Kept] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Bytes of all packed tables, without the header of a file."""
        return sum(size for arrays in self.ledger.values() for size in arrays.values())

    def to_dict(self) -> dict[str, Any]:
        """All but the packed tables, as JSON values."""
        return {
            "bytes": self.bytes,
            "ledger": {name: dict(arrays) for name, arrays in self.ledger.items()},
            "guard": self.guard.to_dict(),
            "report": {name: kept.to_dict() for name, kept in self.report.items()},
            "reasons": list(self.reasons),
            "candidates": [candidate.to_dict() for candidate in self.candidates],
        }


def ledger_of(tables: Mapping[str, Packed]) -> dict[str, dict[str, int]]:
    """Bytes of each array of packed tables."""
    return {name: {array: values.nbytes for array, values in packed.arrays.items()} for name, packed in tables.items()}
