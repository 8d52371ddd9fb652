"""Compress the tables of a trained model, in place."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from slimtable.compress.guard import Guard
from slimtable.compress.inputs import make_inputs
from slimtable.compress.one_table import compress_table
from slimtable.compress.together import compress_tables
from slimtable.embeddings.base import EmbeddingTable, MethodConfig, method_of
from slimtable.embeddings.frozen import FrozenEmbedding
from slimtable.errors import ArtifactValueError, BudgetError


def compress_(
    model: nn.Module,
    config: MethodConfig | Mapping[str, MethodConfig] | str,
    filter_fn: Callable[[nn.Module, str], bool] | None = None,
    *,
    frequencies: dict[str, Tensor] | None = None,
    trainable: bool = False,
    guard: Guard | None = None,
) -> nn.Module:
    """Replaces the embedding tables of a trained model by compressed ones, in place.

    Takes ``nn.Embedding`` and slimtable's own tables alike.

    Args:
        model: any module with tables inside.
        config: configuration of the method, such as ``UniformConfig(bits=4)``; or configurations by patterns of names,
            such as ``{"user*": …, "*item*": …}``, where the first that matches counts and tables that none matches stay
            as they are; or a budget of all tables together, such as "16x", within which
            :func:`slimtable.compress.compress_tables` picks the methods.
        filter_fn: ``(module, name) -> bool``, True for tables to compress; None for all.
        frequencies: (num_embeddings,) training counts by table name, for methods with frequency tiers.
        trainable: True to keep the method's trainable module, with its dense table, for fine-tuning. Otherwise the
            new tables hold the packed arrays only. Not possible with a budget.
        guard: with a budget, judges candidates; its tables have the names that they have in the model. None for the
            policy's guess.

    Returns:
        ``model`` itself.

    Raises:
        ValueError: no table was selected, a selected one cannot be compressed by this method, a pattern matches no
            table, or a name in ``frequencies`` is not a selected table. The model is then unchanged.
        BudgetError: the budget is too small for a table.

    Example:
        >>> from slimtable.methods.uniform import UniformConfig
        >>> model = nn.ModuleDict({"user": nn.Embedding(50, 8), "item": nn.Embedding(60, 8)})
        >>> compress_(model, {"item": UniformConfig(bits=4)})["item"].bits()
        2432
    """
    chosen = _tables_of(model, filter_fn)
    configs = _configs(chosen, config)
    if configs is not None:
        chosen = {name: module for name, module in chosen.items() if name in configs}
    unknown = sorted(set(frequencies or {}) - set(chosen))
    if unknown:
        raise ValueError(f"frequencies names {', '.join(unknown)}, but the tables are {', '.join(chosen)}.")
    _refuse_outside_ties(model, chosen)
    # A table may have several names in the model, or be in several modules: compress it once and share it.
    first = {_identity(module): name for name, module in reversed(chosen.items())}
    counts = frequencies or {}
    if configs is None:
        if trainable:
            raise ValueError("A budget picks methods for trained tables. For trainable tables, give configurations.")
        together = {name: chosen[name] for name in sorted(first.values(), key=list(chosen).index)}
        made = _within_budget(together, str(config), counts, guard)
    else:
        made = {
            name: _compress(name, chosen[name], configs[name], counts.get(name), trainable) for name in first.values()
        }
    for name, module in chosen.items():
        model.set_submodule(name, made[first[_identity(module)]])
    return model


def _tables_of(
    model: nn.Module, filter_fn: Callable[[nn.Module, str], bool] | None
) -> dict[str, nn.Embedding | EmbeddingTable]:
    """The tables of a model that a filter selects, by name."""
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
    return chosen


def _configs(
    chosen: Mapping[str, nn.Embedding | EmbeddingTable], config: MethodConfig | Mapping[str, MethodConfig] | str
) -> dict[str, MethodConfig] | None:
    """The configuration of each table to compress; None for a budget."""
    if isinstance(config, str):
        return None
    if isinstance(config, MethodConfig):
        return dict.fromkeys(chosen, config)
    found: dict[int, MethodConfig] = {}  # by table: several names may be of one
    for pattern, own in config.items():
        names = fnmatch.filter(chosen, pattern)
        if not names:
            raise ValueError(f"No table matches {pattern!r}. The tables: {', '.join(chosen)}.")
        for name in names:
            first = found.setdefault(_identity(chosen[name]), own)
            if name == pattern and first != own:
                raise ValueError(f"Table {name} is configured twice. Leave one of the patterns out.")
    return {name: found[_identity(module)] for name, module in chosen.items() if _identity(module) in found}


def _within_budget(
    tables: Mapping[str, nn.Embedding | EmbeddingTable],
    budget: str,
    frequencies: Mapping[str, Tensor],
    guard: Guard | None,
) -> dict[str, EmbeddingTable]:
    """Compresses tables together, within a budget."""
    dense, padding, counts = {}, {}, {}
    for name, module in tables.items():
        _refuse_options(name, module, trainable=False)
        dense[name] = module.weight.detach().float().cpu().numpy()
        padding[name] = module.padding_idx
        if name in frequencies:
            counts[name] = _counts(frequencies[name])
    result = compress_tables(make_inputs(dense, frequencies=counts, padding_idx=padding), budget, guard=guard)
    made: dict[str, EmbeddingTable] = {}
    for name, module in tables.items():
        source = module.weight
        made[name] = FrozenEmbedding(result.tables[name]).to(source.device, source.dtype).train(module.training)
    return made


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
    _refuse_options(name, module, trainable)
    source, padding_idx = module.weight.detach(), module.padding_idx
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


def _refuse_options(name: str, module: nn.Embedding | EmbeddingTable, trainable: bool) -> None:
    """Raises ValueError for options of ``nn.Embedding`` that a compressed table does not have."""
    if isinstance(module, nn.Embedding) and module.max_norm is not None:
        raise ValueError(
            f"Table {name} has max_norm, which changes rows at lookup. Renormalise it, then drop max_norm."
        )
    if isinstance(module, nn.Embedding) and trainable and (module.sparse or module.scale_grad_by_freq):
        raise ValueError(
            f"Table {name} has sparse or scaled gradients, which a trainable compressed table does not support."
        )
    if module.weight.is_meta:
        raise ValueError(f"Table {name} has no values yet: its weight is on the meta device. Load the model first.")
