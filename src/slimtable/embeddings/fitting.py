"""Options from a budget: the largest table of a method that fits it."""

from __future__ import annotations

from typing import Any, TypeVar

from slimtable.budget import bits_of_budget, largest
from slimtable.codecs.base import FitContext
from slimtable.embeddings.config import MethodConfig
from slimtable.errors import BudgetError

_C = TypeVar("_C", bound=MethodConfig)


def fit_budget(config: _C, budget: str | float, num_embeddings: int, embedding_dim: int, frequencies: Any = None) -> _C:
    """The configuration whose table is the largest within a budget.

    Sizes are arithmetic: nothing is allocated or trained.

    Args:
        config: options of the method; those that set its size are replaced.
        budget: packed size, such as "4%" of the float32 table, "16x" smaller or "2MB"; or a number of bits.
        num_embeddings: number of ids, N.
        embedding_dim: width of a row, d.
        frequencies: (N,) how often each id occurs; None if ids are numbered from most to least frequent.

    Returns:
        The configuration with that size.

    Raises:
        BudgetError: the smallest table of the method is larger; the message states its size.
        ValueError: the budget cannot be parsed, or the frequencies do not match the table.

    Example:
        >>> from slimtable.methods.uniform import UniformConfig
        >>> fit_budget(UniformConfig(axis="row"), "8x", 100_000, 64).bits
        3
    """
    limit = bits_of_budget(budget, 32 * num_embeddings * embedding_dim) if isinstance(budget, str) else budget
    FitContext(frequencies).checked(num_embeddings)
    candidates = config.sizes(num_embeddings, embedding_dim)

    def bits_of(place: int) -> int:
        return candidates[place].table_bits(num_embeddings, embedding_dim, frequencies)

    place = largest(lambda index: bits_of(index) <= limit, 0, len(candidates) - 1)
    if place < 0:
        raise BudgetError(
            f"A budget of {budget if isinstance(budget, str) else f'{limit / 8:,.0f}B'} is too small for this method: "
            f"its smallest table of {num_embeddings:,} ids takes {-(-bits_of(0) // 8):,}B."
        )
    return candidates[place]
