"""Slim embedding tables for recommender systems: train, compress, pack, verify and serve them.

    >>> from slimtable import MGQEConfig
    >>> MGQEConfig(codebook_sizes=(256, 64)).share_codebook
    True

The names below are imported when they are first used, so that opening and serving artifacts needs no PyTorch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from slimtable._version import __version__

if TYPE_CHECKING:
    from slimtable.artifact.file import verify_artifact, write_artifact
    from slimtable.bench import run_bench
    from slimtable.compress import compress_
    from slimtable.data import Interactions, load_dataset
    from slimtable.embeddings.base import CompressedEmbedding
    from slimtable.errors import (
        ArtifactChecksumError,
        ArtifactError,
        ArtifactFormatError,
        ArtifactValueError,
        ArtifactVersionError,
        BudgetError,
        CheckpointError,
        DatasetError,
        DatasetNotFoundError,
        SlimtableError,
    )
    from slimtable.grouping import InteractionGraph, RowMap, group
    from slimtable.methods.baco import BACO, BACOConfig
    from slimtable.methods.cce import CCE, CCEConfig
    from slimtable.methods.double_graph_hash import DoubleGraphHash, DoubleGraphHashConfig
    from slimtable.methods.double_hash import DoubleHash, DoubleHashConfig
    from slimtable.methods.dpq import DPQ, DPQConfig
    from slimtable.methods.full import Full, FullConfig
    from slimtable.methods.hybrid_hash import HybridHash, HybridHashConfig
    from slimtable.methods.legcf import LEGCF, LEGCFConfig
    from slimtable.methods.low_rank import LowRank, LowRankConfig
    from slimtable.methods.mgqe import MGQE, MGQEConfig
    from slimtable.methods.qr import QR, QRConfig
    from slimtable.methods.saec import Saec, SaecConfig
    from slimtable.methods.shared import Shared, SharedConfig
    from slimtable.methods.uniform import Uniform, UniformConfig
    from slimtable.serve import Artifact, open_artifact
    from slimtable.training.evaluation import evaluate
    from slimtable.training.packing import load_model
    from slimtable.training.trainer import TrainConfig, train

__all__ = [
    "BACO",
    "CCE",
    "DPQ",
    "LEGCF",
    "MGQE",
    "QR",
    "Artifact",
    "ArtifactChecksumError",
    "ArtifactError",
    "ArtifactFormatError",
    "ArtifactValueError",
    "ArtifactVersionError",
    "BACOConfig",
    "BudgetError",
    "CCEConfig",
    "CheckpointError",
    "CompressedEmbedding",
    "DPQConfig",
    "DatasetError",
    "DatasetNotFoundError",
    "DoubleGraphHash",
    "DoubleGraphHashConfig",
    "DoubleHash",
    "DoubleHashConfig",
    "Full",
    "FullConfig",
    "HybridHash",
    "HybridHashConfig",
    "InteractionGraph",
    "Interactions",
    "LEGCFConfig",
    "LowRank",
    "LowRankConfig",
    "MGQEConfig",
    "QRConfig",
    "RowMap",
    "Saec",
    "SaecConfig",
    "Shared",
    "SharedConfig",
    "SlimtableError",
    "TrainConfig",
    "Uniform",
    "UniformConfig",
    "__version__",
    "compress_",
    "evaluate",
    "group",
    "load_dataset",
    "load_model",
    "open_artifact",
    "run_bench",
    "train",
    "verify_artifact",
    "write_artifact",
]

_NAMES_OF_MODULE = {
    "slimtable.artifact.file": ("verify_artifact", "write_artifact"),
    "slimtable.bench": ("run_bench",),
    "slimtable.compress": ("compress_",),
    "slimtable.data": ("Interactions", "load_dataset"),
    "slimtable.embeddings.base": ("CompressedEmbedding",),
    "slimtable.errors": tuple(name for name in __all__ if name.endswith("Error")),
    "slimtable.training.evaluation": ("evaluate",),
    "slimtable.grouping": ("InteractionGraph", "RowMap", "group"),
    "slimtable.methods.baco": ("BACO", "BACOConfig"),
    "slimtable.methods.cce": ("CCE", "CCEConfig"),
    "slimtable.methods.double_graph_hash": ("DoubleGraphHash", "DoubleGraphHashConfig"),
    "slimtable.methods.double_hash": ("DoubleHash", "DoubleHashConfig"),
    "slimtable.methods.dpq": ("DPQ", "DPQConfig"),
    "slimtable.methods.full": ("Full", "FullConfig"),
    "slimtable.methods.hybrid_hash": ("HybridHash", "HybridHashConfig"),
    "slimtable.methods.legcf": ("LEGCF", "LEGCFConfig"),
    "slimtable.methods.low_rank": ("LowRank", "LowRankConfig"),
    "slimtable.methods.mgqe": ("MGQE", "MGQEConfig"),
    "slimtable.methods.qr": ("QR", "QRConfig"),
    "slimtable.methods.saec": ("Saec", "SaecConfig"),
    "slimtable.methods.shared": ("Shared", "SharedConfig"),
    "slimtable.methods.uniform": ("Uniform", "UniformConfig"),
    "slimtable.training.packing": ("load_model",),
    "slimtable.serve": ("Artifact", "open_artifact"),
    "slimtable.training.trainer": ("TrainConfig", "train"),
}
_MODULE_OF_NAME = {name: module for module, names in _NAMES_OF_MODULE.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF_NAME:
        raise AttributeError(f"module 'slimtable' has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(_MODULE_OF_NAME[name]), name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("slimtable"):
            raise
        raise ModuleNotFoundError(
            f"slimtable.{name} needs {error.name}, which is not installed. Run: pip install 'slimtable[train]'",
            name=error.name,
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
