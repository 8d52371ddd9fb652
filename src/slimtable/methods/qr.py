"""Quotient–remainder embeddings: a different pair of rows for each id (Shi et al. 2020, arXiv 1909.02107)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from slimtable.config import PositiveInt
from slimtable.embeddings.base import FitContext, register
from slimtable.embeddings.shared_rows import SharedRows, Term
from slimtable.embeddings.shared_rows_config import CountedRowsConfig, NumberedRows
from slimtable.grouping.row_map import Hash, Quotient, RowMap

_ROUNDS = 20  # of alternating least squares


@dataclass(frozen=True)
class QRConfig(CountedRowsConfig):
    """Options of quotient–remainder embeddings.

    Attributes:
        combine: multiply the two rows ("mult"), add them ("sum"), or concatenate them at half width ("concat").
        num_rows: as in the base class, of both tables together; at least the minimum that gives each id its own pair,
            ⌈2·√N⌉ (half of it for "concat"). Fewer ``rows`` are raised to this minimum.
        divisor: m, regardless of the budget: m rows for remainders, ⌈N/m⌉ for quotients. None for the largest that the
            rows allow.

    Raises:
        ValueError: a number is out of range.
    """

    combine: Literal["mult", "sum", "concat"] = "mult"
    divisor: PositiveInt | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.divisor is not None and self.num_rows is not None:
            raise ValueError("`QRConfig.divisor` and `QRConfig.num_rows` both set the number of rows; set one.")

    def shapes(self, num_embeddings: int, num_rows: int) -> tuple[int, int]:
        """Numbers of rows for remainders (the divisor) and for quotients, given K rows of full width."""
        if self.divisor is not None:
            return self.divisor, -(-num_embeddings // self.divisor)
        rows = max(num_rows * self._tables_per_row, _fewest(num_embeddings))
        # The largest m with m · (rows - m) ≥ N.
        divisor = min((rows + math.isqrt(rows * rows - 4 * num_embeddings)) // 2, num_embeddings)
        return divisor, -(-num_embeddings // divisor)

    def bits_with_rows(self, num_embeddings: int, num_rows: int, embedding_dim: int, sorted_ids: bool) -> int:
        """Bits of the rows; both maps are computed."""
        return 32 * sum(self.shapes(num_embeddings, num_rows)) * (embedding_dim // self._tables_per_row)

    def rows_of_table(
        self,
        num_embeddings: int,
        embedding_dim: int,
        row_maps: Sequence[RowMap] | None = None,
        frequencies: Any = None,
    ) -> int:
        if self.divisor is not None:
            if self.divisor > num_embeddings:
                raise ValueError(f"`QRConfig.divisor` must be at most num_embeddings={num_embeddings}.")
            return 1
        if self.num_rows is not None and self.num_rows * self._tables_per_row < _fewest(num_embeddings):
            least = -(-_fewest(num_embeddings) // self._tables_per_row)
            raise ValueError(
                f"`QRConfig.num_rows`={self.num_rows} is too few to give each of {num_embeddings} ids its "
                f"own pair of rows. Use at least {least}."
            )
        return super().rows_of_table(num_embeddings, embedding_dim, row_maps, frequencies)

    def sizes(self, num_embeddings: int, embedding_dim: int) -> Sequence[Self]:
        if self.divisor is not None:
            return [self]
        return NumberedRows(self, -(-_fewest(num_embeddings) // self._tables_per_row), num_embeddings)

    @property
    def _tables_per_row(self) -> int:
        """Number of rows of a table with the size of a row of full width."""
        return 2 if self.combine == "concat" else 1


@register("qr")
class QR(SharedRows):
    """Row ``R[id mod m] ∘ Q[⌊id / m⌋]``: the remainder and the quotient together identify the id.

    So no two ids have the same pair of rows, which two hashes do not guarantee. Bits: 32·(m + ⌈N/m⌉)·d, half of that
    for "concat"; both maps are computed and take no space.

    For products, rows of remainders are initialized from N(0, init_std²) and rows of quotients from N(1, init_std²). A
    row then starts close to that of its remainder, at the scale of an uncompressed row, and training quotients
    separates ids. (The published code initializes both uniformly between 1/√N and 1, so all rows start similar and
    positive.)
    """

    config_class = QRConfig
    config: QRConfig

    def build(self, frequencies: Tensor | None, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        config, width = self.config, self.embedding_dim
        if config.combine == "concat":
            if width % 2:
                raise ValueError(
                    f"`QRConfig.combine`=concat needs an even width, but embedding_dim={width} is odd. "
                    "Choose an even one, or combine=mult or sum."
                )
            width //= 2
        num_rows = config.rows_of_table(self.num_embeddings, self.embedding_dim, self.row_maps)
        divisor, quotients = config.shapes(self.num_embeddings, num_rows)
        terms = [
            Term(0, 0, computed=Hash(count=divisor)),  # the remainder, of ids below 2³¹
            Term(
                1,
                width if config.combine == "concat" else 0,
                computed=Quotient(divisor),
                multiply=config.combine == "mult",
            ),
        ]
        self.share([(divisor, width), (quotients, width)], terms, frequencies, device, dtype)

    def reset_parameters(self) -> None:
        if self.config.combine != "mult":
            super().reset_parameters()
            return
        for table, mean in zip(self.tables(), (0.0, 1.0), strict=True):
            nn.init.normal_(table, mean, self.config.init_std)

    def fit_(self, table: Tensor, context: FitContext) -> None:
        """Fits the rows by frequency-weighted least squares; for products by alternating between both tables."""
        if self.config.combine != "mult":
            super().fit_(table, context)
            return
        table = table.to(torch.promote_types(table.dtype, torch.float32))
        weights = self._weights_of_ids(table)
        remainders, quotients = (own.to(table.dtype) for own in self.tables())
        quotients = torch.ones_like(quotients)
        for _ in range(_ROUNDS):
            remainders = self._best_factor(table, weights, 0, quotients, 1)
            quotients = self._best_factor(table, weights, 1, remainders, 0)
            # Only the product counts; quotients near 1 keep both factors in range.
            scale = quotients.square().mean(dim=0).sqrt()
            quotients = torch.where(scale > 0, quotients / scale, 1.0)
            remainders = remainders * scale
        for own, fitted in zip(self.tables(), (remainders, quotients), strict=True):
            own.copy_(fitted)

    def _best_factor(self, table: Tensor, weights: Tensor, term: int, other: Tensor, other_term: int) -> Tensor:
        """The rows x of a term that minimize ``Σ weight · (x[map] · other − table)²``, column by column."""
        factor = other.index_select(0, self.row_map(other_term))  # (N, d)
        weighted = weights * factor
        shape = self.tables()[term].shape
        above, below = (
            torch.zeros(shape, dtype=table.dtype, device=table.device).index_add_(0, self.row_map(term), part)
            for part in (weighted * table, weighted * factor)
        )
        return torch.where(below > 0, above / below, 0.0)


def _fewest(num_embeddings: int) -> int:
    """The smallest number of rows m + ⌈N/m⌉ of both tables: ⌈2·√N⌉.

    Example:
        >>> [_fewest(count) for count in (1, 2, 100, 101)]
        [2, 3, 20, 21]
    """
    return math.isqrt(4 * num_embeddings - 1) + 1
