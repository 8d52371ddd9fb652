"""What the contract is tested on: every registered method, in configurations that exercise its options."""

from __future__ import annotations

import numpy as np
import torch

from slimtable.embeddings.base import CompressedEmbedding, MethodConfig, get_config, method_names, method_of
from slimtable.embeddings.base import create as create_embedding
from slimtable.embeddings.shared_rows import SharedRows
from slimtable.grouping.row_map import RowMap

# Options beyond the defaults that a method must also keep the contract with. A method not named here is tested
# with its defaults alone, so a new method is under contract from its first day.
_OPTIONS: dict[str, list[dict[str, object]]] = {
    "low_rank": [{"rank": 3}],
    "uniform": [
        {"bits": 1},
        {"bits": 3},
        {"bits": 4, "axis": "row"},
        {"bits": 5, "axis": "row", "scale_bits": 16},
        {"bits": 2, "axis": "row", "clip": True},
        {"preset": "int4"},
        {"bits": 2, "axis": "row", "scale_bits": 8},
        {"bits": 4, "axis": "row", "scale_bits": 8, "clip": True},
    ],
    "rabitq": [
        {"bits": 1, "gain_bits": 16},
        {"bits": 2, "gain": "least_squares", "rounds": 2, "seed": 5},
        {"bits": 3, "grid": "uniform", "rounds": 0},
    ],
    "binary": [{"gain_bits": 16}],
    "nmf": [{"rank": 5, "factor_bits": 16}],
    "magnitude": [{"keep": 0.6}],
    "svd": [{"rank": 5, "factor_bits": 16}, {"select": "energy"}, {"select": "nuclear"}],
    "tiered": [
        {"head": "uniform[bits=8;axis=row]", "tail": "uniform[bits=3;axis=row;scale_bits=8]", "head_rows": 5},
        {"head": "full", "tail": "dpq[num_codebooks=2;codebook_size=8]", "head_share": 0.3},
        {"head": "low_rank[rank=5]", "tail": "saec[budget=20%]"},
    ],
    "ternary": [{"gain_bits": 16}],
    "pq": [
        {"num_codebooks": 4, "codebook_size": 5, "gain_bits": 5, "codebook_bits": 4},
        {"num_codebooks": 2, "codebook_size": 8, "gain_bits": 16, "codebook_bits": 16, "power": 0.0},
        {"num_codebooks": 4, "codebook_size": 8, "gain_bits": 0, "codebook_bits": 32, "share_subspaces": True},
    ],
    "opq": [{"num_codebooks": 4, "codebook_size": 4, "rotation_bits": 32}],
    "rq": [
        {"num_codebooks": 1, "codebook_size": 9, "gain_bits": 4, "codebook_bits": 4},
        {"num_codebooks": 3, "codebook_size": 4, "gain_bits": 8, "codebook_bits": 8, "beam": 1},
        {"num_codebooks": 2, "codebook_size": 5, "gain_bits": 0, "codebook_bits": 16},
    ],
    "dpq": [
        {"num_codebooks": 4, "codebook_size": 5},
        {"num_codebooks": 2, "codebook_size": 16, "share_subspaces": True},
        {"num_codebooks": 4, "codebook_size": 8, "batch_norm": True},
        {"num_codebooks": 4, "codebook_size": 8, "variant": "softmax"},
        {"num_codebooks": 4, "codebook_size": 8, "initialization": "kmeans", "revive_dead": True},
        {"codebook_size": 16, "share_subspaces": True},
        {"codebook_size": 8, "codebook_bits": 16},
        {"num_codebooks": 4, "codebook_size": 8, "codebook_bits": 16, "dense_epochs": 1},
        {"num_codebooks": 4, "codebook_size": 8, "share_subspaces": True, "variant": "softmax"},
    ],
    "mgqe": [
        {"codebook_sizes": [16, 8, 4], "tier_fractions": [0.2, 0.3, 0.5], "num_codebooks": 4},
        {"codebook_sizes": [16, 4], "share_codebook": False},
        {"codebook_sizes": [8, 8], "share_codebook": False, "num_codebooks": [8, 2]},
        {"codebook_sizes": [16, 4], "num_codebooks": 4, "variant": "softmax"},
        {"codebook_sizes": [16, 4], "num_codebooks": 4, "batch_norm": True},
        {"codebook_sizes": [16, 4], "initialization": "kmeans", "revive_dead": True},
        {"codebook_sizes": [16, 4], "share_codebook": False, "codebook_bits": 16},
        {"preset": "compact"},
    ],
    "shared": [
        {"grouping": "louvain"},
        {"grouping": "louvain", "views": 2, "row_bits": 8},
        {"grouping": "louvain", "views": 2, "combine": "concat", "row_bits": 4},
        {"views": 3, "row_bits": 16},
        {"views": 2, "combine": "concat", "head": 0.3, "row_bits": 4},
        {"head": 0.5, "rows": "40%"},
    ],
    "baco": [{"preset": "published", "row_bits": 4}],
    "double_hash": [{"num_rows": 9, "hash_seed": 5}],
    "hybrid_hash": [{"rows": "50%"}, {"budget": "4x"}],
    "qr": [{"combine": "sum", "rows": "45%"}, {"combine": "concat", "rows": "40%"}, {"divisor": 7}],
    "cce": [{"chunks": 2, "num_rows": 10}, {"chunks": 8, "recluster_epochs": 0}],
    "saec": [
        {"num_rows": 9, "head": 0.4, "row_bits": 8},
        {"budget": "30%", "stages": 2, "row_bits": 4},
        {"budget": "40%", "row_bits": 16},
    ],
    "legcf": [{"initialization": "random"}, {"anchor_weight": 0.9, "assignment_epochs": 0}],
}

CASES = [(name, options) for name in method_names() for options in [{}, *_OPTIONS.get(name, [])]]


def case_id(case: tuple[str, dict[str, object]]) -> str:
    name, options = case
    return "-".join([name, *(f"{k}={v}" for k, v in options.items())]).replace(" ", "")


def made_for(config: MethodConfig, num_embeddings: int) -> list[RowMap] | None:
    """Row maps for a table, where its groups come from interactions, with second rows for about half of the ids."""
    if config.with_budget("50%") is None:  # it needs no interactions to group by
        return None
    maps = []
    for view in range(getattr(config, "views", 1)):
        generator = np.random.default_rng(view)
        labels = generator.integers(max(1, num_embeddings // 3), size=num_embeddings)
        second = np.where(generator.random(num_embeddings) < 0.5, generator.permutation(labels), -1)
        maps.append(RowMap.from_labels(labels, second if hasattr(config, "grouping") else None))
    return maps


def without_graph(name: str) -> MethodConfig:
    """A configuration of a method whose tables need no interactions."""
    fields = get_config(name).to_dict()
    options = {"grouping": "random"} if "grouping" in fields else {}
    if get_config(name, options).with_budget("50%") is not None:
        options["initialization"] = "random"
    return get_config(name, options)


def create(config: MethodConfig, num_embeddings: int, embedding_dim: int, **options) -> CompressedEmbedding:
    """A fresh embedding, with the row maps that it needs."""
    maps = made_for(config, num_embeddings)
    return create_embedding(config, num_embeddings, embedding_dim, row_maps=maps, **options)


def from_table(table: torch.Tensor, config: MethodConfig, **options) -> CompressedEmbedding:
    """A table taken over, with the row maps that it needs."""
    maps = made_for(config, len(table))
    return method_of(config).from_table(table, config, row_maps=maps, **options)


def fitting(config: MethodConfig, table: torch.Tensor) -> torch.Tensor:
    """A table, or its magnitudes for a method that refuses negative values."""
    return table if method_of(config).signed else table.abs()


def shares_rows(config: MethodConfig) -> bool:
    """Whether ids share rows by maps that were made before the table was seen."""
    return issubclass(method_of(config), SharedRows)


def make_config(case: tuple[str, dict[str, object]]):
    return get_config(*case)
