"""Compress tables that are already trained: inside a model, or in a file."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from slimtable.artifact.packed import Packed
from slimtable.embedding import CompressedEmbedding, MethodConfig, method_of
from slimtable.frozen import FrozenEmbedding


def compress_(
    model: nn.Module,
    config: MethodConfig,
    filter_fn: Callable[[nn.Module, str], bool] | None = None,
    *,
    frequencies: dict[str, Tensor] | None = None,
    trainable: bool = False,
) -> nn.Module:
    """Replaces the embedding tables of a trained model by compressed ones, in place.

    Takes ``nn.Embedding`` and slimtable's own tables alike.

    Args:
        model: any module with tables inside.
        config: configuration of the method, such as ``UniformConfig(bits=4)``.
        filter_fn: ``(module, name) -> bool``, which tables to compress; None for all.
        frequencies: (num_embeddings,) training counts by name of the table, for methods with frequency tiers.
        trainable: keep the method's trainable module, with its dense table, for fine-tuning. Otherwise the new
            tables hold the served bits alone.

    Returns:
        ``model`` itself.

    Raises:
        ValueError: no table was chosen, a chosen one cannot be compressed as asked, or a name in ``frequencies``
            is not a chosen table. The model is then unchanged.
    """
    chosen: dict[str, nn.Module] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        is_table = isinstance(module, (nn.Embedding, CompressedEmbedding))
        if name and is_table and (filter_fn is None or filter_fn(module, name)):
            chosen[name] = module
    if not chosen:
        raise ValueError(
            "compress_ found no embedding table to compress. Check filter_fn, and that the model holds one."
        )
    unknown = sorted(set(frequencies or {}) - set(chosen))
    if unknown:
        raise ValueError(f"frequencies names {', '.join(unknown)}, but the tables are {', '.join(chosen)}.")
    # One table may stand in the model under several names: compress it once and keep it shared.
    compressed: dict[int, CompressedEmbedding] = {}
    for name, module in chosen.items():
        if id(module) not in compressed:
            counts = (frequencies or {}).get(name)
            compressed[id(module)] = _compress(name, module, config, counts, trainable)
    for name, module in chosen.items():
        model.set_submodule(name, compressed[id(module)])
    return model


def compress_table(
    table: np.ndarray,
    config: MethodConfig,
    *,
    padding_idx: int | None = None,
    frequencies: np.ndarray | None = None,
) -> Packed:
    """Compresses one trained table.

    Args:
        table: float (N, d), finite.
        config: configuration of the method.
        padding_idx: id that is served as zeros; its row must be zeros.
        frequencies: (N,) training counts, for methods with frequency tiers.

    Returns:
        The packed table, ready for ``write_artifact``.

    Raises:
        ValueError: the table is not a finite matrix, or the configuration does not fit it.
    """
    counts = None if frequencies is None else torch.from_numpy(np.asarray(frequencies))
    values = torch.from_numpy(np.array(table, dtype=np.float32))
    return method_of(config).from_table(values, config, padding_idx=padding_idx, frequencies=counts).eval().pack()


def read_table(path: str | Path, name: str | None = None) -> np.ndarray:
    """Reads a dense table from ``.npy``, ``.safetensors`` or a PyTorch file, without ever running code in it.

    Args:
        path: the file; what it is is told by its content.
        name: which tensor, where the file holds several matrices.

    Returns:
        float (N, d).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file holds no such matrix; the message lists those it holds.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    tensors = _read_tensors(path)
    matrices = {key: array for key, array in tensors.items() if array.ndim == 2 and array.dtype.kind == "f"}
    if name is None and len(matrices) == 1:
        return next(iter(matrices.values()))
    if name in matrices:
        return matrices[name]
    listed = ", ".join(f"{key} {array.shape}" for key, array in matrices.items()) or "none"
    wanted = "which table is meant" if name is None else f"a table {name!r}"
    raise ValueError(f"{path} does not tell {wanted}. Its floating-point matrices: {listed}.")


def _compress(
    name: str, module: nn.Module, config: MethodConfig, frequencies: Tensor | None, trainable: bool
) -> CompressedEmbedding:
    if isinstance(module, nn.Embedding) and module.max_norm is not None:
        raise ValueError(
            f"Table {name} has max_norm, which changes rows at lookup. Renormalise it, then drop max_norm."
        )
    assert isinstance(module, (nn.Embedding, CompressedEmbedding))
    try:
        table = method_of(config).from_table(
            module.weight, config, padding_idx=module.padding_idx, frequencies=frequencies
        )
    except ValueError as error:
        raise ValueError(f"Table {name}: {error}") from error
    if trainable:
        return table.train(module.training)
    return FrozenEmbedding(table.eval().pack()).to(table.device).to(table.weight.dtype).train(module.training)


def _read_tensors(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a file by name; a lone array is named "table"."""
    with path.open("rb") as file:
        start = file.read(10)
    if start.startswith(b"\x93NUMPY"):
        try:
            return {"table": np.load(path, mmap_mode="r", allow_pickle=False)}
        except ValueError as error:
            raise ValueError(f"{path} is not a readable .npy table: {error}") from error
    if start[8:9] == b"{":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return _to_arrays(load_file(path))
        except (SafetensorError, json.JSONDecodeError) as error:
            raise ValueError(f"{path} is not a readable safetensors file: {error}") from error
    if zipfile.is_zipfile(path):
        try:
            loaded = torch.load(path, weights_only=True, map_location="cpu")
        except Exception as error:
            raise ValueError(
                f"{path} holds more than plain tensors, so it is not opened. Save the state dict alone."
            ) from error
        return _to_arrays({"table": loaded} if isinstance(loaded, Tensor) else dict(loaded))
    raise ValueError(f"{path} is neither .npy, .safetensors nor a PyTorch file; pickles are never opened.")


def _to_arrays(tensors: Mapping[str, object]) -> dict[str, np.ndarray]:
    return {
        name: (value.float() if value.is_floating_point() else value).numpy()
        for name, value in tensors.items()
        if isinstance(value, Tensor)
    }
