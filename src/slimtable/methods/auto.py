"""Auto: the method that suits the shape of a table and its budget.

The rules were chosen on validation data and confirmed on other data; docs/decisions/0016-auto.md has the figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from slimtable.budget import bits_of_budget
from slimtable.codecs.base import Codec
from slimtable.embeddings.base import MethodConfig, get_config, register
from slimtable.embeddings.fitting import fit_budget
from slimtable.embeddings.policy import DEFAULT_BUDGET, NOTHING_MEASURED, Side, TableFacts
from slimtable.embeddings.post_training import PostTraining
from slimtable.errors import BudgetError

_FILLED = 0.98  # of a budget, that a larger head is not worth it


@dataclass(frozen=True)
class AutoConfig(MethodConfig):
    """Options of auto.

    Attributes:
        budget: size of the packed table: a share of the float32 table such as "4%", a compression ratio such as "16x",
            or bytes such as "2MB". None for a sixteenth, or for the smallest possible table if that is larger.
        side: "item" for rows that are ranked, "user" for rows that ask.
    """

    budget: str | None = None
    side: Literal["item", "user"] = "item"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.budget is not None:
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
        for method, options in _guesses(num_embeddings, embedding_dim, bits, facts.side):
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
        shape = num_embeddings, embedding_dim
        limit = bits_of_budget(self.budget or DEFAULT_BUDGET, 32 * num_embeddings * embedding_dim)
        found = self.candidates(*shape, limit, TableFacts(self.side))
        smallest = 0 if found else self.smallest_bits(*shape)
        if not found and self.budget is None:
            found = self.candidates(*shape, smallest, TableFacts(self.side))
        if not found:
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


def _guesses(num_embeddings: int, embedding_dim: int, bits: float, side: Side) -> Iterator[tuple[str, dict[str, Any]]]:
    """Methods and their options but for the size, best guess first.

    Three regions of sizes. Where 4 bits per value fit, every value is rounded alone: errors are too small to matter,
    and a larger head of one more bit fills the budget. Where fewer fit, rows are sums of centroids, fitted with the
    weights that frequencies give where rows are ranked, and with equal ones where rows ask, since every user counts
    once. Between, with 3 bits per value, rows that ask are rotated and rounded, which needs no fit.
    """
    shape = num_embeddings, embedding_dim
    learned: tuple[str, dict[str, Any]] = ("rq", {"power": 1.0})
    if side == "user":
        learned = "rq", {"power": 0.0, "num_codebooks": _stages_for_users(*shape, bits)}
    scalar = list(_two_widths(num_embeddings, embedding_dim, bits, _scalar, 8))
    rotated = list(_two_widths(num_embeddings, embedding_dim, bits, _rotated, 4))
    if _bits_of(*_scalar(4), *shape) <= bits:
        yield from [*scalar, learned]
    elif _bits_of(*_rotated(3), *shape) <= bits and side == "user":
        yield from [*rotated, learned, *scalar]
    else:
        other: tuple[str, dict[str, Any]] = ("rq", {"power": 0.5 if side == "item" else 0.0})
        yield from [learned, other, *rotated, *scalar]
    yield "saec", {"row_bits": 8}


def _stages_for_users(num_embeddings: int, embedding_dim: int, bits: float) -> int:
    """Stages of rq for rows that count alike: as many as have room with 16 to 256 centroids, one for 48 rows.

    Where a few frequent ids count most, large codebooks give them centroids of their own, and few stages are best; that
    is what rq chooses by itself. Rows that count alike need the many sums of many stages.
    """
    size = 1 << min(max((num_embeddings // 48).bit_length() - 1, 4), 8)
    stage = num_embeddings * (size.bit_length() - 1) + size * (8 * embedding_dim + 16)
    return min(max(round((bits - 8 * num_embeddings) / stage), 1), 32)


def _scalar(bits: int) -> tuple[str, dict[str, Any]]:
    return "uniform", {"bits": bits, "axis": "row", "scale_bits": 8, "clip": True}


def _rotated(bits: int) -> tuple[str, dict[str, Any]]:
    return "rabitq", {"bits": bits}


def _two_widths(
    num_embeddings: int, embedding_dim: int, bits: float, of: Callable[[int], tuple[str, dict[str, Any]]], most: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The widest method that fits, with a head of one more bit if that fills a part of the budget worth it."""
    for width in range(most, 0, -1):
        method, options = of(width)
        taken = _bits_of(method, options, num_embeddings, embedding_dim)
        if taken <= bits:
            finer = _spec(*of(width + 1)) if width < most else "full"
            if taken < _FILLED * bits:
                yield "tiered", {"head": finer, "tail": _spec(method, options)}
            yield method, options
            return


def _bits_of(method: str, options: dict[str, Any], num_embeddings: int, embedding_dim: int) -> int:
    return get_config(method, options).table_bits(num_embeddings, embedding_dim)


def _spec(method: str, options: dict[str, Any]) -> str:
    """A method with its options as one text."""
    return f"{method}[{';'.join(f'{name}={_word(value)}' for name, value in options.items())}]"


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
