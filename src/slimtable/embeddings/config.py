"""Options of a method, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from slimtable.config import Config

if TYPE_CHECKING:
    from slimtable.data.interactions.interactions import Interactions
    from slimtable.grouping.row_map import RowMap


@dataclass(frozen=True)
class MethodConfig(Config):
    """Options that every method has.

    Attributes:
        init_std: standard deviation of the normal that fresh rows are drawn from; 0.01 as in NCF and MGQE §5.4.
    """

    init_std: float = 0.01

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({})
    """Recommended options by name, for :func:`get_config`."""

    def row_maps(self, train: Interactions, embedding_dim: int) -> Mapping[str, Sequence[RowMap]]:
        """The shared rows of the ids of each "user" and "item" side, for methods that group them; none by default.

        Args:
            train: the training interactions.
            embedding_dim: width of the rows, which budgets in bytes depend on.

        Returns:
            For each side one row map, or several for several views.
        """
        return {}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.init_std <= 0:
            raise ValueError(f"`{type(self).__name__}.init_std` must be positive, got {self.init_std}.")
