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
from slimtable.embeddings.base import EmbeddingTable, MethodConfig, method_of
from slimtable.embeddings.frozen import FrozenEmbedding
from slimtable.files import check_archive


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
    # One table may stand in the model under several names, or in several modules: compress it once and share it.
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
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused below
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


def _identity(module: nn.Embedding | EmbeddingTable) -> int:
    """What makes two modules the same table."""
    return id(module.weight) if isinstance(module, nn.Embedding) else id(module)


def _refuse_outside_ties(model: nn.Module, chosen: dict[str, nn.Embedding | EmbeddingTable]) -> None:
    """Raises ValueError where another module uses the weight of a table, which it would keep uncompressed."""
    weights = {id(module.weight): name for name, module in chosen.items() if isinstance(module, nn.Embedding)}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owner = name.rpartition(".")[0]
        if id(parameter) in weights and owner not in chosen:
            raise ValueError(
                f"Table {weights[id(parameter)]} shares its weight with {name}, which would stay as it is. Give them "
                "weights of their own, or leave the table out with filter_fn."
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
        raise ValueError(f"Table {name} has sparse or scaled gradients, which a trainable compressed table has not.")
    source = module.weight.detach()
    try:
        table = method_of(config).from_table(source, config, padding_idx=module.padding_idx, frequencies=frequencies)
    except ValueError as error:
        raise ValueError(f"Table {name}: {error}") from error
    if trainable:
        return table.train(module.training)
    return FrozenEmbedding(table.eval().pack()).to(source.device, source.dtype).train(module.training)


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
        from safetensors import SafetensorError, safe_open
        from safetensors.torch import load_file

        try:
            with safe_open(path, framework="pt") as opened:
                if "slimtable" in (opened.metadata() or {}):
                    raise ValueError(f"{path} is an artifact, whose tables are compressed already.")
            return _to_arrays(load_file(path))
        except (SafetensorError, json.JSONDecodeError) as error:
            raise ValueError(f"{path} is not a readable safetensors file: {error}") from error
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if all(name.endswith(".npy") for name in archive.namelist()):
                raise ValueError(f"{path} is an .npz archive. Save the table alone with numpy.save.")
        try:
            check_archive(path)
        except ValueError as error:
            raise ValueError(f"{path} is damaged: {error}.") from error
        try:
            loaded = torch.load(path, weights_only=True, map_location="cpu")
        except Exception as error:
            raise ValueError(
                f"{path} holds more than plain tensors, so it is not opened. Save the state dict alone."
            ) from error
        if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
            loaded = loaded["state_dict"]
        if isinstance(loaded, Tensor):
            loaded = {"table": loaded}
        if not isinstance(loaded, Mapping):
            raise ValueError(f"{path} holds a {type(loaded).__name__}, not a tensor or a state dict.")
        return _to_arrays(loaded)
    raise ValueError(f"{path} is neither .npy, .safetensors nor a PyTorch file; pickles are never opened.")


def _to_arrays(tensors: Mapping[str, object]) -> dict[str, np.ndarray]:
    return {
        str(name): (value.detach().float() if value.is_floating_point() else value).numpy()
        for name, value in tensors.items()
        if isinstance(value, Tensor)
    }
