"""Compress tables that are already trained: inside a model, or in a file."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from slimtable.artifact.packed import Packed
from slimtable.codecs.base import FitContext, Rows
from slimtable.embeddings.base import EmbeddingTable, MethodConfig, method_of
from slimtable.embeddings.frozen import FrozenEmbedding
from slimtable.files import check_archive

_LISTED = 6  # matrices that a message names


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
        filter_fn: ``(module, name) -> bool``, True for tables to compress; None for all.
        frequencies: (num_embeddings,) training counts by table name, for methods with frequency tiers.
        trainable: True to keep the method's trainable module, with its dense table, for fine-tuning. Otherwise the
            new tables hold the packed arrays only.

    Returns:
        ``model`` itself.

    Raises:
        ValueError: no table was selected, a selected one cannot be compressed by this method, or a name in
            ``frequencies`` is not a selected table. The model is then unchanged.
    """
    chosen: dict[str, nn.Embedding | EmbeddingTable] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        is_table = isinstance(module, (nn.Embedding, nn.EmbeddingBag, EmbeddingTable))
        if name and is_table and (filter_fn is None or filter_fn(module, name)):
            if isinstance(module, nn.EmbeddingBag):
                raise ValueError(
                    f"Table {name} is an EmbeddingBag, which cannot be replaced in place. Use nn.Embedding with "
                    "slimtable.embeddings.bag.embedding_bag, or leave it out with filter_fn."
                )
            assert isinstance(module, (nn.Embedding, EmbeddingTable))
            chosen[name] = module
    if not chosen:
        raise ValueError(
            "compress_ found no embedding table to compress. Check filter_fn, and that the model holds one."
        )
    unknown = sorted(set(frequencies or {}) - set(chosen))
    if unknown:
        raise ValueError(f"frequencies names {', '.join(unknown)}, but the tables are {', '.join(chosen)}.")
    _refuse_outside_ties(model, chosen)
    # A table may have several names in the model, or be in several modules: compress it once and share it.
    compressed: dict[int, EmbeddingTable] = {}
    for name, module in chosen.items():
        if _identity(module) not in compressed:
            counts = (frequencies or {}).get(name)
            compressed[_identity(module)] = _compress(name, module, config, counts, trainable)
    for name, module in chosen.items():
        model.set_submodule(name, compressed[_identity(module)])
    return model


def compress_table(
    table: np.ndarray,
    config: MethodConfig,
    *,
    padding_idx: int | None = None,
    frequencies: np.ndarray | None = None,
) -> Packed:
    """Compresses one trained table, block by block if the method has a codec.

    Args:
        table: float (N, d), finite; with a codec, a :class:`numpy.memmap` is read a block at a time.
        config: configuration of the method.
        padding_idx: id that is served as zeros; its row must be zeros.
        frequencies: (N,) training counts, for methods with frequency tiers.

    Returns:
        The packed table, ready for ``write_artifact``.

    Raises:
        ValueError: the table is not a finite matrix, or the configuration does not fit its shape.
    """
    rows = Rows(table, padding_idx)
    codec = config.codec(*rows.shape)
    if codec is not None:
        context = FitContext(None if frequencies is None else np.asarray(frequencies))
        return codec.compress(rows, context, method_of(config).method, config.to_dict())
    counts = None if frequencies is None else torch.from_numpy(np.asarray(frequencies))
    with np.errstate(over="ignore"):  # values too large for float32 become infinite, and are rejected below
        values = torch.from_numpy(np.array(table, dtype=np.float32))
    return method_of(config).from_table(values, config, padding_idx=padding_idx, frequencies=counts).eval().pack()


def read_table(path: str | Path, name: str | None = None) -> np.ndarray:
    """Reads a dense table from ``.npy``, ``.npz``, ``.safetensors`` or a PyTorch file, without ever running code in it.

    Args:
        path: the file; its format is detected from its content.
        name: name of the tensor, if the file holds several matrices.

    Returns:
        float (N, d).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file has no such matrix; the message lists its matrices.
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
    listed = ", ".join(f"{key} {array.shape}" for key, array in list(matrices.items())[:_LISTED]) or "none"
    more = f", and {len(matrices) - _LISTED} more" if len(matrices) > _LISTED else ""
    if name is not None:
        raise ValueError(f"{path} holds no table {name[:60]!r}. Its floating-point matrices: {listed}{more}.")
    advice = " Choose one with name=…, or --name." if matrices else ""
    raise ValueError(f"{path} does not hold exactly one table. Its floating-point matrices: {listed}{more}.{advice}")


def _identity(module: nn.Embedding | EmbeddingTable) -> int:
    """Key that is equal for modules of the same table."""
    return id(module.weight) if isinstance(module, nn.Embedding) else id(module)


def _refuse_outside_ties(model: nn.Module, chosen: dict[str, nn.Embedding | EmbeddingTable]) -> None:
    """Raises ValueError if another module shares the weight of a table and would keep it uncompressed."""
    weights = {id(module.weight): name for name, module in chosen.items() if isinstance(module, nn.Embedding)}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owner = name.rpartition(".")[0]
        if id(parameter) in weights and owner not in chosen:
            raise ValueError(
                f"Table {weights[id(parameter)]} shares its weight with {name}, which would stay uncompressed. Give "
                "them separate weights, or leave the table out with filter_fn."
            )


def _compress(
    name: str,
    module: nn.Embedding | EmbeddingTable,
    config: MethodConfig,
    frequencies: Tensor | None,
    trainable: bool,
) -> EmbeddingTable:
    if isinstance(module, nn.Embedding) and module.max_norm is not None:
        raise ValueError(
            f"Table {name} has max_norm, which changes rows at lookup. Renormalise it, then drop max_norm."
        )
    if isinstance(module, nn.Embedding) and trainable and (module.sparse or module.scale_grad_by_freq):
        raise ValueError(
            f"Table {name} has sparse or scaled gradients, which a trainable compressed table does not support."
        )
    source, padding_idx = module.weight.detach(), module.padding_idx
    try:
        if not trainable and source.device.type == "cpu" and source.dtype == torch.float32:
            counts = None if frequencies is None else torch.as_tensor(frequencies).cpu().numpy()
            packed = compress_table(source.numpy(), config, padding_idx=padding_idx, frequencies=counts)
        else:
            table = method_of(config).from_table(source, config, padding_idx=padding_idx, frequencies=frequencies)
            if trainable:
                return table.train(module.training)
            packed = table.eval().pack()
    except ValueError as error:
        raise ValueError(f"Table {name}: {error}") from error
    return FrozenEmbedding(packed).to(source.device, source.dtype).train(module.training)


def _read_tensors(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a file by name; a lone array is named "table"."""
    with path.open("rb") as file:
        start = file.read(10)
    if start.startswith(b"\x93NUMPY"):
        return {"table": _map_array(path)}
    if start[8:9] == b"{":
        return _read_safetensors(path)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        try:
            check_archive(path)
        except ValueError as error:
            raise ValueError(f"{path} is damaged: {error}.") from error
        return _read_archive(path) if all(name.endswith(".npy") for name in names) else _read_pytorch(path)
    raise ValueError(f"{path} is neither .npy, .npz, .safetensors nor a PyTorch file; pickles are never opened.")


def _map_array(path: Path) -> np.ndarray:
    """The array of an ``.npy`` file, mapped into memory, once the shape in its header is checked."""
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version[0] == 1 else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(file)
            there = path.stat().st_size - file.tell()
        if min(shape, default=1) < 0 or math.prod(shape) * dtype.itemsize > there:
            raise ValueError(f"its header says shape {str(shape)[:60]}, which its {there:,} bytes do not hold")
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{path} is not a readable .npy table: {str(error)[:160]}") from error


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    try:
        with safe_open(path, framework="pt") as opened:
            if "slimtable" in (opened.metadata() or {}):
                raise ValueError(f"{path} is an artifact, whose tables are compressed already.")
        return _to_arrays(load_file(path))
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from error


def _read_archive(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except ValueError as error:
        raise ValueError(f"{path} is not a readable .npz archive: {str(error)[:160]}") from error


def _read_pytorch(path: Path) -> dict[str, np.ndarray]:
    try:
        loaded = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:
        raise ValueError(
            f"{path} holds more than plain tensors, so it is not opened. Save the state dict alone."
        ) from error
    if isinstance(loaded, Tensor):
        loaded = {"table": loaded}
    if not isinstance(loaded, Mapping):
        raise ValueError(f"{path} holds a {type(loaded).__name__}, not a tensor or a state dict.")
    return _to_arrays(_flattened(loaded))


def _flattened(nested: Mapping[Any, object], depth: int = 3) -> dict[str, Tensor]:
    """The tensors of a checkpoint, also from nested dictionaries such as "model_state_dict", by short names."""
    found = {str(name): value for name, value in nested.items() if isinstance(value, Tensor)}
    for key, inner in nested.items():
        if isinstance(inner, Mapping) and depth:
            for name, value in _flattened(inner, depth - 1).items():
                found[name if name not in found else f"{key}.{name}"] = value
    return found


def _to_arrays(tensors: Mapping[str, object]) -> dict[str, np.ndarray]:
    """Dense tensors as arrays; sparse and quantized ones cannot be tables and are left out."""
    return {
        str(name): (value.detach().float() if value.is_floating_point() else value).numpy()
        for name, value in tensors.items()
        if isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized
    }
