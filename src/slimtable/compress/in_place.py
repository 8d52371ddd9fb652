"""Compress the tables of a trained model, in place."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from slimtable.compress.one_table import compress_table
from slimtable.embeddings.base import EmbeddingTable, MethodConfig, method_of
from slimtable.embeddings.frozen import FrozenEmbedding
from slimtable.errors import ArtifactValueError, BudgetError


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
        BudgetError: the budget is too small for a table.
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
    if source.is_meta:
        raise ValueError(f"Table {name} has no values yet: its weight is on the meta device. Load the model first.")
    try:
        if not trainable and source.device.type == "cpu" and source.dtype == torch.float32:
            counts = None if frequencies is None else _counts(frequencies)
            packed = compress_table(source.numpy(), config, padding_idx=padding_idx, frequencies=counts)
        else:
            table = method_of(config).from_table(source, config, padding_idx=padding_idx, frequencies=frequencies)
            if trainable:
                return table.train(module.training)
            packed = table.eval().pack()
        frozen = FrozenEmbedding(packed)
    except BudgetError as error:
        raise BudgetError(f"Table {name}: {error}") from error
    except (ValueError, ArtifactValueError) as error:
        raise ValueError(f"Table {name}: {error}") from error
    return frozen.to(source.device, source.dtype).train(module.training)


def _counts(frequencies: Tensor) -> np.ndarray:
    """Frequencies as an array; bfloat16, which NumPy does not have, as float32."""
    counts = torch.as_tensor(frequencies).detach().cpu()
    array: np.ndarray = (counts.float() if counts.dtype == torch.bfloat16 else counts).numpy()
    return array
