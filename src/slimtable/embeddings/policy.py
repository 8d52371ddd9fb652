"""What a policy is: from the shape of a table and a size to configurations of methods, best guess first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from slimtable.embeddings.config import MethodConfig

DEFAULT_BUDGET = "16x"
"""Budget where none is given."""

Side = Literal["item", "user"]
"""What the rows of a table are: what is ranked, or who asks."""


@dataclass(frozen=True)
class TableFacts:
    """What a policy may know about a table besides its shape.

    Attributes:
        side: "item" for rows that are ranked, "user" for rows that ask.
        top_share: share of the occurrences that the most frequent tenth of the ids has; None if unknown.
    """

    side: Side = "item"
    top_share: float | None = None


NOTHING_MEASURED = TableFacts()


@runtime_checkable
class Policy(Protocol):
    """Picks methods for tables."""

    def candidates(
        self,
        num_embeddings: int,
        embedding_dim: int,
        bits: float,
        facts: TableFacts = NOTHING_MEASURED,
        frequencies: Any = None,
    ) -> Sequence[MethodConfig]:
        """Configurations whose packed tables take at most ``bits``, best guess first; empty if none does.

        Args:
            num_embeddings: number of ids, N.
            embedding_dim: width of a row, d.
            bits: size of the packed table.
            facts: what is known about the table.
            frequencies: (N,) how often each id occurs, which sizes of tiers may depend on; None if unknown.
        """
        ...

    def smallest_bits(self, num_embeddings: int, embedding_dim: int) -> int:
        """Bits of the smallest table that the policy can make."""
        ...
