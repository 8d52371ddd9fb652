"""The one abstraction: an embedding table kept in fewer bits, trained like ``nn.Embedding``."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol, Self, runtime_checkable

import torch
from torch import Tensor

from slimtable.codecs.base import FitContext
from slimtable.embeddings.config import CodecConfig, MethodConfig
from slimtable.embeddings.registry import create, get_config, get_method, method_names, method_of, register
from slimtable.embeddings.table import EmbeddingTable

if TYPE_CHECKING:
    from slimtable.grouping.row_map import RowMap

__all__ = [
    "CodecConfig",
    "CompressedEmbedding",
    "EmbeddingTable",
    "FitContext",
    "Growable",
    "MethodConfig",
    "create",
    "get_config",
    "get_method",
    "method_names",
    "method_of",
    "register",
]


@runtime_checkable
class Growable(Protocol):
    """A table to which ids can be added."""

    def grow_(self, num_embeddings: int, rows: Tensor | None = None) -> None:
        """Adds ids at the end, in place; the parameters are replaced by longer ones.

        Args:
            num_embeddings: number of ids afterwards.
            rows: float (new ids, embedding_dim) rows of the new ids; None to initialize them as in a new table.

        Raises:
            ValueError: there would be fewer ids than now, or the shape of ``rows`` does not match.
        """
        ...


class CompressedEmbedding(EmbeddingTable):
    """A table of shape (num_embeddings, embedding_dim) that is trained in, or compressed to, fewer bits.

    A method is a subclass with six parts: ``build``, ``reset_parameters``, ``rows``, ``bits``, ``pack`` and ``fit_``.
    In training mode a lookup is differentiable; in evaluation mode it returns exactly the rows that a packed file
    decodes to.

    Args:
        num_embeddings: number of ids, N.
        embedding_dim: width of a row, d.
        config: the method's configuration; None for its defaults.
        padding_idx: id whose row is always zeros and is never trained, or None; negative ones count from the end.
        frequencies: (N,) how often each id occurs in training. Methods with frequency tiers put the most
            frequent ids first; None means that ids are already sorted from most to least frequent.
        row_maps: the shared row of each id, one map per view, for methods that share rows by given maps. An empty
            list if the maps come later, with a state dict.
        device: device of the parameters.
        dtype: data type of the parameters.

    Raises:
        ValueError: a size is not positive, ``padding_idx`` is out of range, or the configuration does not fit.
        TypeError: ``config`` belongs to another method.
    """

    config_class: ClassVar[type[MethodConfig]]
    """The frozen dataclass with this method's options."""
    post_training: ClassVar[bool] = False
    """True if a table is trained as by ``full`` and compressed afterwards."""
    signed: ClassVar[bool] = True
    """False if rows cannot have negative values; trained tables that have some are refused."""
    row_prefix: ClassVar[str] = "table"
    """Name prefix of the parameters from which a lookup picks rows."""
    sparse: bool = False
    """True for sparse gradients of :meth:`row_parameters`, as with ``nn.Embedding(sparse=True)``."""

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
        self.build(_checked_frequencies(frequencies, num_embeddings), device, dtype)
        self.reset_parameters()

    # What a method implements, besides `rows`, `bits` and `pack`.

    @abstractmethod
    def build(self, frequencies: Tensor | None, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        """Checks the configuration against the sizes and creates the (uninitialized) parameters and buffers."""

    @abstractmethod
    def reset_parameters(self) -> None:
        """Draws fresh parameters from PyTorch's generator."""

    @abstractmethod
    def fit_(self, table: Tensor, context: FitContext) -> None:
        """Fits the parameters to a trained table, as closely as the method can.

        Args:
            table: finite float (num_embeddings, embedding_dim).
            context: what else is known about the table; ``previous`` is an :class:`EmbeddingTable`.
        """

    # What training may call.

    def penalty(self) -> Tensor:
        """The codebook loss of the lookups since the last call, to add to the loss; a scalar, zero by default."""
        return next(self.parameters()).new_zeros(())

    def end_epoch(self) -> None:
        """Called after each epoch, for methods that adapt between epochs; does nothing by default."""

    # The same for every method.

    def row_parameters(self) -> list[Tensor]:
        """The parameters that hold rows; their gradients are sparse if ``sparse`` is set."""
        return [
            parameter for name, parameter in self.named_parameters(recurse=False) if name.startswith(self.row_prefix)
        ]

    def num_vectors(self) -> int:
        return sum(len(parameter) for parameter in self.row_parameters())

    def trained_parameters(self) -> int:
        """Number of trained values; with Adam, training keeps two moments for each."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    @classmethod
    def from_table(
        cls,
        table: Tensor,
        config: MethodConfig | None = None,
        *,
        padding_idx: int | None = None,
        frequencies: Tensor | None = None,
        row_maps: Sequence[RowMap] | None = None,
        previous: EmbeddingTable | None = None,
        metric: Tensor | None = None,
    ) -> Self:
        """Compresses a trained table.

        Args:
            table: float (num_embeddings, embedding_dim).
            config: the method's configuration; None for its defaults.
            padding_idx: id that is served as zeros; its row in ``table`` must be zeros.
            frequencies: (N,) how often each id occurs, as in :class:`FitContext`.
            row_maps: the shared row of each id.
            previous: an earlier table to start from, possibly of another method.
            metric: float (d, d) cost of errors, as in :class:`FitContext`.

        Returns:
            A module of this method, still trainable, whose rows approximate ``table``.

        Raises:
            ValueError: the table is not a finite matrix, its padding row is not zeros, or ``metric`` is invalid.
        """
        table = table.detach()
        _check_table(table, padding_idx)
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
        costs = None if metric is None else _checked_metric(metric, table.shape[1]).cpu().numpy()
        counts = None if frequencies is None else torch.as_tensor(frequencies).cpu().numpy()
        with torch.no_grad():
            embedding.fit_(table, FitContext(counts, previous, costs))
        return embedding


def _check_table(table: Tensor, padding_idx: int | None) -> None:
    if table.ndim != 2 or not table.is_floating_point():
        raise ValueError(f"A table is a floating-point matrix, got {table.dtype} of shape {tuple(table.shape)}.")
    if not bool(torch.isfinite(table).all()):
        bad = int((~torch.isfinite(table).all(dim=1)).nonzero()[0])
        raise ValueError(f"The table holds NaN or infinite values, first in row {bad}. Repair it before compressing.")
    in_range = padding_idx is not None and -len(table) <= padding_idx < len(table)
    if in_range and bool(table[padding_idx].any()):
        raise ValueError(f"The row of padding_idx={padding_idx} is not zeros. Zero it, or drop padding_idx.")


def _checked_frequencies(frequencies: Tensor | None, num_embeddings: int) -> Tensor | None:
    if frequencies is None:
        return None
    frequencies = torch.as_tensor(frequencies)
    FitContext(frequencies.detach().double().cpu().numpy()).checked(num_embeddings)
    return frequencies


def _checked_metric(metric: Tensor, width: int) -> Tensor:
    metric = torch.as_tensor(metric).double()
    if tuple(metric.shape) != (width, width) or not bool(torch.isfinite(metric).all()):
        raise ValueError(f"A metric of errors must be a finite {width} × {width} matrix, got {tuple(metric.shape)}.")
    spectrum = torch.linalg.eigvalsh((metric + metric.T) / 2)
    if float(spectrum[0]) < -1e-6 * float(spectrum.abs().max()):
        raise ValueError(
            "A metric of errors must be positive semi-definite, but some errors would have a negative cost."
        )
    return (metric + metric.T) / 2
