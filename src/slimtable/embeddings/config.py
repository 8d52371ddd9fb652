"""Options of a method, and what they cost."""

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
        init_std: standard deviation of the normal that fresh rows are drawn from; 0.01 as in NCF and MGQE §5.4.
    """

    init_std: Positive = 0.01

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({})
    """Recommended options by name, for :func:`get_config`."""

    @abstractmethod
    def table_bits(self, num_embeddings: int, embedding_dim: int, frequencies: Any = None) -> int:
        """All bits that a float32-trained table serves, from sizes alone: nothing is allocated.

        Args:
            num_embeddings: number of ids, N.
            embedding_dim: width of a row, d.
            frequencies: (N,) how often each id occurs; None where ids are numbered from most to least frequent.

        Returns:
            The bits; the most that there may be where row maps depend on a grouping.

        Raises:
            ValueError: the options do not fit the sizes, or do not tell the size of a table by themselves.
            BudgetError: the options ask for less than the method can do.
        """

    def sizes(self, num_embeddings: int, embedding_dim: int) -> Sequence[Self]:
        """Itself in all sizes that it can have, from small to large, for :func:`fit_budget`; by default as it is."""
        return [self]

    def codec(self, num_embeddings: int, embedding_dim: int) -> Codec | None:
        """The codec that compresses a trained table as the method does, block by block; None where only the module can.

        Raises:
            ValueError: the options do not fit the sizes.
            BudgetError: the options ask for less than the method can do.
        """
        return None

    def with_budget(self, budget: str) -> Self | None:
        """Itself with a budget of users and items together; None where each table is given its own size."""
        return None

    @classmethod
    def from_saved(cls, values: Mapping[str, Any]) -> Self:
        """The configuration that a file or a run folder holds, perhaps of an earlier version."""
        return cls.from_dict(dict(values))

    needs_trained: ClassVar[bool] = False
    """Whether it is at its best when it compresses a trained table, which is then trained on."""

    def row_maps(self, train: Interactions, embedding_dim: int) -> Mapping[str, Sequence[RowMap]]:
        """The shared rows of the ids of each "user" and "item" side, for methods that group them; none by default.

        Args:
            train: the training interactions.
            embedding_dim: width of the rows, which budgets in bytes depend on.

        Returns:
            For each side one row map, or several for several views.
        """
        return {}
