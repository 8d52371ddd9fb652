"""A packed table as a PyTorch module: it keeps the packed arrays only and cannot be trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from slimtable.artifact.layouts import Decoder, exact_bits, num_vectors, validate
from slimtable.artifact.packed import Packed
from slimtable.embeddings.base import EmbeddingTable, MethodConfig
from slimtable.embeddings.frozen_rows import ROWS_OF_LAYOUT
from slimtable.embeddings.registry import saved_config


class FrozenEmbedding(EmbeddingTable):
    """Looks up rows in the packed arrays of any method, on any device.

    On the CPU rows are decoded by the kernels that serve artifacts; elsewhere, and under ``torch.compile``, by
    PyTorch operations with the same result. The arrays are held as bytes, so ``half()`` and the like change the
    type of the rows and never the stored values. There are no parameters.

    Args:
        packed: the table, from :meth:`EmbeddingTable.pack` or from an artifact.

    Raises:
        ArtifactError: the arrays are inconsistent.

    Example:
        >>> packed = Packed("dense", 2, 2, {"table": np.eye(2, dtype=np.float32)})
        >>> FrozenEmbedding(packed)(torch.tensor([1, 0])).tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """

    _like: Tensor

    def __init__(self, packed: Packed) -> None:
        validate(packed)
        super().__init__()
        self.method = packed.method  # type: ignore[misc]
        self.num_embeddings = packed.num_embeddings
        self.embedding_dim = packed.embedding_dim
        self.padding_idx = packed.padding_idx
        self.config = _config_of(packed)
        self._shapes: dict[str, tuple[tuple[int, ...], np.dtype]] = {}
        for name, array in packed.arrays.items():
            raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8).copy()
            self.register_buffer(_buffer_name(name), torch.from_numpy(raw))
            self._shapes[name] = (array.shape, array.dtype)
        self.register_buffer("_like", torch.empty(0), persistent=False)  # tracks the device and dtype of the module
        self._head = Packed(**{**packed.__dict__, "arrays": {}})
        self._bits = exact_bits(packed)
        self._decoder: tuple[Any, Decoder] | None = None
        self._directories: dict[str, tuple[Any, tuple[Tensor, ...]]] = {}  # by stream: its state, what is made of it

    def rows(self, ids: Tensor) -> Tensor:
        if torch._C._get_tracing_state() is not None:  # as torch.jit.is_tracing, without its deprecation
            raise TypeError(
                "torch.jit.trace would record the rows of its example as constants. Use torch.compile, or trace the "
                "model before its tables are compressed."
            )
        if ids.device.type != "cpu" or torch.compiler.is_compiling():
            return self._rows_by_torch(ids.long()).to(self._like.dtype)
        rows = torch.from_numpy(self._decoder_now()(ids.numpy()))
        return rows.to(self._like.dtype)

    def bits(self) -> int:
        return self._bits

    def num_vectors(self) -> int:
        return num_vectors(self._head)

    def pack(self) -> Packed:
        arrays = {}
        for name, (shape, dtype) in self._shapes.items():
            arrays[name] = self._buffer(name).cpu().numpy().view(dtype).reshape(shape)
        return Packed(**{**self._head.__dict__, "arrays": arrays})

    def __getstate__(self) -> dict[str, Any]:
        """State of a copy or a pickle: everything but the decoder, which points into this module's arrays."""
        return {**self.__dict__, "_decoder": None, "_directories": {}}

    @property
    def layout(self) -> str:
        """Name of the layout of the arrays."""
        return self._head.layout

    @property
    def layout_config(self) -> Mapping[str, Any]:
        """Config of the layout."""
        return self._head.layout_config

    @property
    def device(self) -> torch.device:
        """Device of the table."""
        return self._like.device

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the rows."""
        return self._like.dtype

    def _buffer(self, name: str) -> Tensor:
        buffer: Tensor = getattr(self, _buffer_name(name))
        return buffer

    def array(self, name: str) -> Tensor:
        """An array with its own type and shape, on the module's device."""
        shape, dtype = self._shapes[name]
        return self._buffer(name).view(torch.from_numpy(np.empty(0, dtype)).dtype).reshape(shape)

    def _decoder_now(self) -> Decoder:
        """The decoder of the present buffers; loading a state dict or moving devices makes a new one."""
        buffers = [self._buffer(name) for name in self._shapes]
        key = [(buffer.data_ptr(), buffer._version) for buffer in buffers]
        if self._decoder is None or self._decoder[0] != key:
            self._decoder = (key, Decoder(self.pack()))
        return self._decoder[1]

    def _rows_by_torch(self, ids: Tensor) -> Tensor:
        """Rows (B, d) float32 of int64 ids (B,)."""
        inside = ((ids >= 0) & (ids < self.num_embeddings)).all()
        message = f"An id is out of range: ids are in 0..{self.num_embeddings - 1}."
        if torch.compiler.is_compiling():
            torch._assert_async(inside, message)
        elif not bool(inside):
            raise IndexError(message)
        return ROWS_OF_LAYOUT[self.layout](self, ids)

    def directory(self, name: str, make: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """What ``make`` gives for a bit stream, made again only when the stream changes."""
        stream = self._buffer(name)
        key = (stream.data_ptr(), stream._version)
        if name not in self._directories or self._directories[name][0] != key:
            self._directories[name] = (key, make())
        return self._directories[name][1]

    def has(self, name: str) -> bool:
        """Whether there is such an array."""
        return name in self._shapes

    def codes(self, name: str, index: Tensor, width: int) -> Tensor:
        """The codes at positions ``index`` of a bit stream, int64 of the same shape."""
        stream = self._buffer(name)
        first = index * width
        byte, last = first >> 3, len(stream) - 1
        touched = (width + 14) // 8  # bytes that a code may span
        window = sum(stream[(byte + i).clamp(max=last)].long() << (8 * i) for i in range(touched))
        return (window >> (first & 7)) & ((1 << width) - 1)

    def __len__(self) -> int:
        return self.num_embeddings


def freeze_(module: nn.Module) -> nn.Module:
    """Replaces every compressed table inside ``module`` by its frozen form, in place.

    Args:
        module: a model with compressed tables.

    Returns:
        ``module`` itself.

    Raises:
        ValueError: ``module`` holds no compressed table, or is one itself: then use ``FrozenEmbedding(x.pack())``.
    """
    children = module.named_modules(remove_duplicate=False)
    tables = {name: child for name, child in children if isinstance(child, EmbeddingTable)}
    if not tables or "" in tables:
        raise ValueError("freeze_ needs a module that holds compressed tables inside.")
    frozen: dict[int, FrozenEmbedding] = {}  # a table with several names stays one table
    for name, table in tables.items():
        if id(table) not in frozen:
            frozen[id(table)] = FrozenEmbedding(table.pack()).to(table.device, table.dtype).train(table.training)
        module.set_submodule(name, frozen[id(table)])
    return module


@dataclass(frozen=True)
class _UnknownConfig(MethodConfig):
    """Placeholder for the options of a method that this version does not know; decoding needs none."""

    def table_bits(self, num_embeddings: int, embedding_dim: int, frequencies: Any = None) -> int:
        raise ValueError("The table was made by a method that this version does not know. Ask the table for its bits.")


def _buffer_name(array_name: str) -> str:
    return "bytes_" + array_name.replace(".", "_")


def _config_of(packed: Packed) -> MethodConfig:
    """The configuration that made the table, or a placeholder if it is unknown: decoding does not need it."""
    try:
        return saved_config(packed.method, packed.method_config)
    except (ValueError, TypeError):
        return _UnknownConfig()
