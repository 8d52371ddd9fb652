"""The one abstraction: an embedding table kept in fewer bits, called like ``nn.Embedding``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from slimtable.artifact.packed import Packed
from slimtable.config import Config
from slimtable.embeddings.modes import evaluating
from slimtable.embeddings.registry import create, get_config, get_method, method_names, method_of, register

if TYPE_CHECKING:
    from slimtable.data.interactions.interactions import Interactions
    from slimtable.grouping.row_map import RowMap

__all__ = [
    "CompressedEmbedding",
    "MethodConfig",
    "create",
    "get_config",
    "get_method",
    "method_names",
    "method_of",
    "register",
]

_ROWS_PER_CHUNK = 65_536  # rows decoded at a time when a whole table is asked for


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


class CompressedEmbedding(nn.Module, ABC):
    """A table of shape (num_embeddings, embedding_dim) kept in fewer bits. Called like ``nn.Embedding``.

    A method is a subclass that says how it is built, how rows are looked up and what is served. In training
    mode a lookup is differentiable; in evaluation mode it returns exactly the rows that a packed file serves (in
    float32 on the CPU; rounded to the type of the parameters otherwise).
    The state dict holds plain tensors only.

    Args:
        num_embeddings: number of ids, N.
        embedding_dim: width of a row, d.
        config: the method's configuration; None for its defaults.
        padding_idx: id whose row is always zeros and is never trained, or None; negative ones count from the end.
        frequencies: (N,) how often each id occurs in training. Methods with frequency tiers put the most
            frequent ids first; None means that ids are already sorted from most to least frequent.
        row_maps: the shared row of each id, one map per view, for methods that share rows as they are told. An empty
            list: they come later, with a state dict.
        device: where the parameters live.
        dtype: floating-point type of the parameters.

    Raises:
        ValueError: a size is not positive, ``padding_idx`` is out of range, or the configuration does not fit.
        TypeError: ``config`` belongs to another method.
    """

    method: ClassVar[str]
    """Registry name: the file stem, the command-line word and the row in docs/methods.md."""
    config_class: ClassVar[type[MethodConfig]]
    """The frozen dataclass with this method's options."""
    post_training: ClassVar[bool] = False
    """True where training is that of ``full`` and the table is compressed afterwards."""
    serve_tolerance: ClassVar[float] = 0.0
    """Largest relative difference between a served row and a looked-up one; 0 means bit for bit."""
    grows: ClassVar[bool] = False
    """Whether :meth:`grow_` works."""
    sparse: bool = False
    """Whether :meth:`row_parameters` get sparse gradients, as those of ``nn.Embedding(sparse=True)``."""

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        config: MethodConfig | None = None,
        *,
        padding_idx: int | None = None,
        frequencies: Tensor | None = None,
        row_maps: Sequence[RowMap] | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if num_embeddings < 1 or embedding_dim < 1:
            raise ValueError(f"A table needs at least one row and one column, got {num_embeddings} × {embedding_dim}.")
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise ValueError(f"padding_idx={padding_idx} is not an id of a table of {num_embeddings} rows.")
            padding_idx %= num_embeddings  # -1 is the last id, as in nn.Embedding
        if frequencies is not None:
            frequencies = torch.as_tensor(frequencies)
            if tuple(frequencies.shape) != (num_embeddings,):
                raise ValueError(f"frequencies must have shape ({num_embeddings},), got {tuple(frequencies.shape)}.")
            if not bool((torch.isfinite(frequencies) & (frequencies >= 0)).all()):
                raise ValueError("frequencies must be finite and not negative.")
        for row_map in row_maps or ():
            if row_map.num_embeddings != num_embeddings:
                raise ValueError(f"A row map of {row_map.num_embeddings} ids does not fit a table of {num_embeddings}.")
        if config is None:
            config = self.config_class()
        elif not isinstance(config, self.config_class):
            raise TypeError(f"{type(self).__name__} takes a {self.config_class.__name__}, got {type(config).__name__}.")
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = padding_idx
        self.config = config
        self.row_maps = None if row_maps is None else tuple(row_maps)
        self.build(frequencies, device, dtype)
        self.reset_parameters()

    # What a method says about itself.

    @abstractmethod
    def build(self, frequencies: Tensor | None, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        """Checks the configuration against the sizes and makes the (empty) parameters and buffers."""

    @abstractmethod
    def reset_parameters(self) -> None:
        """Draws fresh parameters from PyTorch's generator."""

    @abstractmethod
    def rows(self, ids: Tensor) -> Tensor:
        """Looks up a flat batch.

        Args:
            ids: integer (B,).

        Returns:
            float (B, embedding_dim). The row of ``padding_idx`` is zeroed by the caller.

        Raises:
            IndexError: an id is out of range.
        """

    @abstractmethod
    def bits(self) -> int:
        """All bits that are served: codes, codebooks, maps and scales, by arithmetic alone."""

    @abstractmethod
    def pack(self) -> Packed:
        """The served table as plain arrays, decodable without PyTorch."""

    @abstractmethod
    def fit_(self, table: Tensor) -> None:
        """Takes over a trained table of shape (num_embeddings, embedding_dim) as well as the method can."""

    def num_vectors(self) -> int:
        """Rows that are kept: one per id, or fewer where ids share them."""
        return self.num_embeddings

    # What training may call, or report.

    def trained_parameters(self) -> int:
        """Numbers that gradients change; with Adam, training holds three times as many for them."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    def penalty(self) -> Tensor:
        """The term to add to the loss for the lookups since the last call; a scalar, zero by default."""
        return next(self.parameters()).new_zeros(())

    def end_epoch(self) -> None:
        """Called after each epoch, for methods that adjust themselves; nothing by default."""

    def row_parameters(self) -> list[Tensor]:
        """The parameters whose gradients are sparse where ``sparse`` is set: rows that a lookup touches; else none."""
        return []

    def stored_rows(self) -> tuple[Tensor, Tensor | None] | None:
        """Where lookups copy whole rows from, for those who look many tables up at once; None where rows are computed.

        Returns:
            A table (K, embedding_dim), and the row of each id in it, int32 (num_embeddings,), or None where ids are
            rows. It is the table of the present mode, training or evaluation.
        """
        return None

    def continue_from(self, previous: CompressedEmbedding) -> None:
        """Takes over choices of an earlier table of the same ids, the first of them, before :meth:`fit_`.

        Args:
            previous: it may be of another method, and have fewer ids. What is of no use is passed over; by default all.
        """

    def weigh_errors(self, metric: Tensor) -> None:
        """Takes over what errors cost, before :meth:`fit_`: an error e of a row costs eᵀ · metric · e.

        Args:
            metric: float (embedding_dim, embedding_dim), symmetric and positive semi-definite. By default it is passed
                over, and all directions cost the same.
        """

    def grow_(self, num_embeddings: int, rows: Tensor | None = None) -> None:
        """Adds ids at the end, in place; the parameters are replaced by longer ones.

        Args:
            num_embeddings: how many there are then.
            rows: float (new ids, embedding_dim) of the new ids; None to draw them as fresh ones.

        Raises:
            TypeError: tables of this method cannot grow.
            ValueError: there would be fewer ids than now, or the rows do not fit.
        """
        raise TypeError(f"A table of method {self.method} cannot grow. Make one from the grown uncompressed table.")

    # Written once here.

    @classmethod
    def from_table(
        cls,
        table: Tensor,
        config: MethodConfig | None = None,
        *,
        padding_idx: int | None = None,
        frequencies: Tensor | None = None,
        row_maps: Sequence[RowMap] | None = None,
        previous: CompressedEmbedding | None = None,
        metric: Tensor | None = None,
    ) -> Self:
        """Compresses a trained table.

        Args:
            table: float (num_embeddings, embedding_dim).
            config: the method's configuration; None for its defaults.
            padding_idx: id that is served as zeros; its row in ``table`` must be zeros.
            frequencies: (num_embeddings,) training counts, as in the constructor.
            row_maps: the shared row of each id, as in the constructor.
            previous: an earlier table of the same ids or the first of them, for methods that continue from it.
            metric: float (embedding_dim, embedding_dim) by which an error e of a row costs eᵀ · metric · e, for methods
                that weigh directions; None where all cost the same.

        Returns:
            A module of this method, still trainable, whose rows approximate ``table``.

        Raises:
            ValueError: the table is not a finite matrix, its padding row is not zeros, or ``metric`` is no such matrix.
        """
        table = table.detach()
        if table.ndim != 2 or not table.is_floating_point():
            raise ValueError(f"A table is a floating-point matrix, got {table.dtype} of shape {tuple(table.shape)}.")
        if not bool(torch.isfinite(table).all()):
            bad = int((~torch.isfinite(table).all(dim=1)).nonzero()[0])
            raise ValueError(
                f"The table holds NaN or infinite values, first in row {bad}. Repair it before compressing."
            )
        in_range = padding_idx is not None and -len(table) <= padding_idx < len(table)
        if in_range and bool(table[padding_idx].any()):
            raise ValueError(f"The row of padding_idx={padding_idx} is not zeros. Zero it, or drop padding_idx.")
        embedding = cls(
            table.shape[0],
            table.shape[1],
            config,
            padding_idx=padding_idx,
            frequencies=frequencies,
            row_maps=row_maps,
            device=table.device,
            dtype=table.dtype,
        )
        with torch.no_grad():
            if previous is not None:
                embedding.continue_from(previous)
            if metric is not None:
                embedding.weigh_errors(_checked_metric(metric, table.shape[1]))
            embedding.fit_(table)
        return embedding

    def forward(self, ids: Tensor) -> Tensor:
        """Looks rows up.

        Args:
            ids: int32 or int64 of any shape.

        Returns:
            float (*ids.shape, embedding_dim).

        Raises:
            TypeError: ``ids`` are not a tensor of int32 or int64.
            IndexError: an id is out of range.
        """
        if not isinstance(ids, Tensor) or ids.dtype not in (torch.int64, torch.int32):
            raise TypeError(f"ids must be a tensor of int32 or int64, got {getattr(ids, 'dtype', type(ids).__name__)}.")
        flat = ids.reshape(-1)  # (B,)
        rows = self.rows(flat)  # (B, d)
        if self.padding_idx is not None:
            rows = rows.masked_fill((flat == self.padding_idx).unsqueeze(1), 0.0)
        return rows.reshape(*ids.shape, self.embedding_dim)

    def packed(self, layout: str, arrays: dict[str, np.ndarray], layout_config: dict[str, Any] | None = None) -> Packed:
        """The arrays of :meth:`pack` with what every table says about itself."""
        return Packed(
            layout=layout,
            num_embeddings=self.num_embeddings,
            embedding_dim=self.embedding_dim,
            arrays=arrays,
            layout_config=layout_config or {},
            padding_idx=self.padding_idx,
            method=self.method,
            method_config=self.config.to_dict(),
        )

    @property
    def device(self) -> torch.device:
        """Where the table lives."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the rows."""
        return next(self.parameters()).dtype

    @property
    def weight(self) -> Tensor:
        """The decoded table, (num_embeddings, embedding_dim), as it would be served, without gradient.

        Costs a full decode each time.
        """
        with evaluating(self), torch.no_grad():
            chunks = torch.arange(self.num_embeddings, device=self.device).split(_ROWS_PER_CHUNK)
            return torch.cat([self(chunk) for chunk in chunks])

    @property
    def dense_bits(self) -> int:
        """Bits of the uncompressed float32 table, 32·N·d."""
        return 32 * self.num_embeddings * self.embedding_dim

    def compression_ratio(self) -> float:
        """How many times smaller than float32: 32·N·d / bits."""
        return self.dense_bits / self.bits()

    def size_percent(self) -> float:
        """Size in percent of float32: 100 / compression_ratio."""
        return 100.0 / self.compression_ratio()

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}, {self.config}"


def _checked_metric(metric: Tensor, width: int) -> Tensor:
    metric = torch.as_tensor(metric).double()
    if tuple(metric.shape) != (width, width) or not bool(torch.isfinite(metric).all()):
        raise ValueError(f"A metric of errors must be a finite {width} × {width} matrix, got {tuple(metric.shape)}.")
    spectrum = torch.linalg.eigvalsh((metric + metric.T) / 2)
    if float(spectrum[0]) < -1e-6 * float(spectrum.abs().max()):
        raise ValueError(
            "A metric of errors must be positive semi-definite, but some errors would cost less than none."
        )
    return (metric + metric.T) / 2
