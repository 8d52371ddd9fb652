"""Options of a method, and the size of the table that they make."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from slimtable.config import Config, Positive

if TYPE_CHECKING:
    from slimtable.codecs.base import Codec
    from slimtable.data.interactions.interactions import Interactions
    from slimtable.grouping.row_map import RowMap


@dataclass(frozen=True)
class MethodConfig(Config, ABC):
    """Options that every method has.

    Attributes:
        init_std: standard deviation of the normal distribution of initial rows; 0.01 as in NCF and MGQE §5.4.
    """

    init_std: Positive = 0.01

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({})
    """Recommended options by name, for :func:`get_config`."""

    @abstractmethod
    def table_bits(self, num_embeddings: int, embedding_dim: int, frequencies: Any = None) -> int:
        """All bits of a packed table that was trained in float32, from its shape alone: nothing is allocated.

        Args:
            num_embeddings: number of ids, N.
            embedding_dim: width of a row, d.
            frequencies: (N,) how often each id occurs; None if ids are numbered from most to least frequent.

        Returns:
            The bits; an upper bound if row maps depend on a grouping.

        Raises:
            ValueError: the options do not fit the sizes, or do not determine the size of a single table.
            BudgetError: the budget is too small for the method.
        """

    def sizes(self, num_embeddings: int, embedding_dim: int) -> Sequence[Self]:
        """The configuration in all possible sizes, from small to large, for :func:`fit_budget`; itself by default."""
        return [self]

    def codec(self, num_embeddings: int, embedding_dim: int) -> Codec | None:
        """The codec that compresses a trained table as the method does, block by block; None if only the module can.

        Raises:
            ValueError: the options do not fit the sizes.
            BudgetError: the budget is too small for the method.
        """
        return None

    def with_budget(self, budget: str) -> Self | None:
        """The configuration with a joint budget of users and items; None if each table gets its own size."""
        return None

    @classmethod
    def from_saved(cls, values: Mapping[str, Any]) -> Self:
        """The configuration from a file or a run folder, possibly of an earlier version."""
        return cls.from_dict(dict(values))

    needs_trained: ClassVar[bool] = False
    """True if the method works best when it compresses a trained table and then continues training."""

    def row_maps(self, train: Interactions, embedding_dim: int) -> Mapping[str, Sequence[RowMap]]:
        """The shared rows of the ids of each "user" and "item" side, for methods that group them; none by default.

        Args:
            train: the training interactions.
            embedding_dim: width of the rows, which budgets in bytes depend on.

        Returns:
            For each side one row map, or several for several views.
        """
        return {}


@dataclass(frozen=True)
class CodecConfig(MethodConfig):
    """Options of a method that compresses trained tables by a codec, which also tells the size of a table."""

    @abstractmethod
    def codec(self, num_embeddings: int, embedding_dim: int) -> Codec: ...

    def table_bits(self, num_embeddings: int, embedding_dim: int, frequencies: Any = None) -> int:
        return self.codec(num_embeddings, embedding_dim).bits_of(num_embeddings, embedding_dim, frequencies)
