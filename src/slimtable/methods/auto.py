"""Auto: the method that suits the shape of a table and its budget.

The rules were chosen on validation data and confirmed on other data; docs/decisions/0016-auto.md has the figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from slimtable.budget import bits_of_budget
from slimtable.codecs.base import Codec
from slimtable.embeddings.base import MethodConfig, get_config, register
from slimtable.embeddings.fitting import fit_budget
from slimtable.embeddings.policy import NOTHING_MEASURED, TableFacts
from slimtable.embeddings.post_training import PostTraining
from slimtable.errors import BudgetError

_STAGES = (1, 2, 3, 4, 6, 8, 12, 16)
_BEST_ROWS = 256  # of a stage, where the table is large enough to pay for them


@dataclass(frozen=True)
class AutoConfig(MethodConfig):
    """Options of auto.

    Attributes:
        budget: size of the packed table: a share of the float32 table such as "4%", a compression ratio such as "16x",
            or bytes such as "2MB".
        side: "item" for rows that are ranked, "user" for rows that ask.
    """

    budget: str = "16x"
    side: Literal["item", "user"] = "item"

    def __post_init__(self) -> None:
        super().__post_init__()
        bits_of_budget(self.budget, 0)

    def candidates(
        self,
        num_embeddings: int,
        embedding_dim: int,
        bits: float,
        facts: TableFacts = NOTHING_MEASURED,
        frequencies: Any = None,
    ) -> list[MethodConfig]:
        """Configurations within ``bits``, best guess first; see :class:`slimtable.embeddings.policy.Policy`."""
        found = []
        for method, options in _guesses(num_embeddings, embedding_dim, bits):
            try:
                config = get_config(method, options)
                config = fit_budget(config, bits, num_embeddings, embedding_dim, frequencies)
            except (BudgetError, ValueError):
                continue
            if config not in found:
                found.append(config)
        return found

    def smallest_bits(self, num_embeddings: int, embedding_dim: int) -> int:
        """Bits of the smallest table that auto can make."""
        smallest = get_config("saec", {"row_bits": 8}).sizes(num_embeddings, embedding_dim)[0]
        return smallest.table_bits(num_embeddings, embedding_dim)

    def chosen(self, num_embeddings: int, embedding_dim: int) -> MethodConfig:
        """The best guess for a table.

        Raises:
            BudgetError: no table is as small as the budget.
        """
        limit = bits_of_budget(self.budget, 32 * num_embeddings * embedding_dim)
        found = self.candidates(num_embeddings, embedding_dim, limit, TableFacts(self.side))
        if not found:
            smallest = self.smallest_bits(num_embeddings, embedding_dim)
            raise BudgetError(
                f"A budget of {self.budget} is too small for {num_embeddings:,} ids. The smallest possible is "
                f"{-(-smallest // 8):,}B."
            )
        return found[0]

    def codec(self, num_embeddings: int, embedding_dim: int) -> Codec:
        codec = self.chosen(num_embeddings, embedding_dim).codec(num_embeddings, embedding_dim)
        assert codec is not None
        return codec

    def table_bits(self, num_embeddings: int, embedding_dim: int, frequencies: Any = None) -> int:
        return self.chosen(num_embeddings, embedding_dim).table_bits(num_embeddings, embedding_dim, frequencies)


@register("auto")
class Auto(PostTraining):
    """Trains as a dense table, and is then compressed by the method that suits its shape and its budget.

    Bits: those of the method, at most the budget.
    """

    config_class = AutoConfig
    config: AutoConfig


def _guesses(num_embeddings: int, embedding_dim: int, bits: float) -> Iterator[tuple[str, dict[str, Any]]]:
    """Methods and their options but for the size, best guess first."""
    per_value = bits / (num_embeddings * embedding_dim)
    scalar = "uniform", {"axis": "row", "scale_bits": 16}
    if per_value >= 3:
        yield scalar
    # Stages of 256 rows, as many as the codes and the rows together leave room for.
    room = bits / (8 * num_embeddings + _BEST_ROWS * (8 * embedding_dim + 32))
    for stages in sorted(_STAGES, key=lambda stages: abs(stages - room)):
        yield "saec", {"stages": stages, "row_bits": 8}
    if per_value < 3:
        yield scalar
