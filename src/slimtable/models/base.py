"""Base classes of recommenders: the interface for training, evaluation and packing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimtable.config import Config
from slimtable.data.interactions.interactions import Interactions
from slimtable.data.interactions.negatives import NegativeSampler
from slimtable.embeddings.base import CompressedEmbedding, EmbeddingTable, MethodConfig, create
from slimtable.embeddings.tensors import to_array
from slimtable.grouping.row_map import RowMap
from slimtable.registry import Registry


@dataclass(frozen=True)
class TableSpec:
    """One embedding table of a model.

    Attributes:
        name: its name in the constructor of the model and in the artifact.
        side: "user" or "item", whose ids it holds.
        num_embeddings: number of rows.
        embedding_dim: width of a row.
        padding_idx: id served as zeros, or None.
    """

    name: str
    side: Literal["user", "item"]
    num_embeddings: int
    embedding_dim: int
    padding_idx: int | None = None


@dataclass(frozen=True)
class Selection:
    """The validation metric that selects the best epoch.

    Attributes:
        mask: the group of metrics in the output of :func:`slimtable.training.evaluation.evaluate`.
        metric: its key in that group.
        lower_is_better: true for an error.
    """

    mask: str
    metric: str
    lower_is_better: bool = False

    @property
    def ks(self) -> tuple[int, ...]:
        """The list length k of the metric; empty for an error."""
        _, at, k = self.metric.partition("@")
        return (int(k),) if at else ()

    def prefers(self, value: float, other: float) -> bool:
        """True if a value is better than another."""
        return value < other if self.lower_is_better else value > other


Batch = tuple[Tensor, ...]


class BatchSampler(Protocol):
    """Sampler of training batches, prepared once for a training set."""

    def epoch(self, generator: np.random.Generator, batch_size: int, negatives: int) -> tuple[int, Iterator[Batch]]:
        """The number of batches in an epoch, and an iterator over batches with fresh negatives."""


class Recommender(nn.Module, ABC):
    """A model around embedding tables, of either kind: :class:`Ranker` or :class:`slimtable.models.ctr.CTRModel`."""

    name: ClassVar[str]
    """Registry name: the file stem and the command-line word."""
    task: ClassVar[Literal["ranking", "regression", "ctr"]]
    """The evaluation task: ranks of held-out items, errors of predicted scores, or predicted clicks."""
    config_class: ClassVar[type[Config]]
    """The frozen dataclass with this model's options."""
    selection: ClassVar[Selection]
    """The metric that selects the best epoch."""
    train_defaults: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    """Training settings of its paper, where they differ from the general defaults."""
    config: Config

    @abstractmethod
    def embeddings(self) -> dict[str, EmbeddingTable]:
        """Its tables by name."""

    def trained_tables(self) -> list[CompressedEmbedding]:
        """Its trainable tables (all except packed ones), each once."""
        tables = {id(t): t for t in self.embeddings().values() if isinstance(t, CompressedEmbedding)}
        return list(tables.values())

    def penalty(self) -> Tensor:
        """Sum of the codebook losses of all tables since the last call."""
        first, *others = (table.penalty() for table in self.trained_tables())
        return sum(others, start=first)

    def end_epoch(self) -> None:
        """Calls ``end_epoch`` of every table."""
        for table in self.trained_tables():
            table.end_epoch()

    def dense_tensors(self) -> dict[str, np.ndarray]:
        """The tensors served uncompressed, by name: parameters outside the tables, and :meth:`extra_buffers`."""
        compressed = {id(p) for embedding in self.embeddings().values() for p in embedding.parameters()}
        parameters = {name: to_array(p) for name, p in self.named_parameters() if id(p) not in compressed}
        return {**parameters, **self.extra_buffers()}

    def extra_buffers(self) -> dict[str, np.ndarray]:
        """Other arrays that scoring needs, by name, such as the graph of LightGCN; none by default."""
        return {}

    def load_buffers(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Loads the output of :meth:`extra_buffers` of another model.

        Raises:
            ValueError: the arrays do not fit the tables or each other.
        """

    def bits(self) -> int:
        """All bits served, of the tables and of all other arrays."""
        tables = sum(embedding.bits() for embedding in self.embeddings().values())
        return tables + sum(8 * array.nbytes for array in self.dense_tensors().values())

    def full_bits(self) -> int:
        """Bits of the same model with uncompressed float32 tables."""
        tables = sum(embedding.dense_bits for embedding in self.embeddings().values())
        return tables + sum(8 * array.nbytes for array in self.dense_tensors().values())


_MODELS: Registry[Recommender] = Registry("model", "slimtable.models")

register_model = _MODELS.add
"""Class decorator that makes a recommender known under a name, its file stem."""


def model_names(*tasks: str) -> list[str]:
    """Names of all recommenders, or of those with the given tasks ("ranking", "regression", "ctr"), sorted."""
    names = _MODELS.names()
    return [name for name in names if not tasks or _MODELS.get(name).task in tasks]


def get_model(name: str) -> type[Recommender]:
    """The class of a recommender.

    Raises:
        ValueError: there is no such model; the message lists the known ones.
    """
    return _MODELS.get(name)


class Ranker(Recommender):
    """A recommender that takes its embedding tables as arguments and is trained on sampled negatives.

    The base class trains pointwise, as NCF does: a batch is (users, items, labels) and the loss is the binary
    cross-entropy of the logits.
    """

    task: ClassVar[Literal["ranking", "regression"]] = "ranking"
    sequential: ClassVar[bool] = False
    """True if it predicts the continuation of a history, and so needs splits by time."""
    selection: ClassVar[Selection] = Selection("train", "ndcg@10")
    """The metric that selects the best epoch: of ranked lists without training items, or errors of all pairs."""
    adam_betas: ClassVar[tuple[float, float]] = (0.9, 0.999)
    """Decay rates of Adam in its paper."""

    @classmethod
    @abstractmethod
    def table_specs(cls, num_users: int, num_items: int, embedding_dim: int, config: Config) -> list[TableSpec]:
        """Its tables, in the order of its constructor's arguments."""

    @abstractmethod
    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Logits (B,) of users (B,) for items (B,)."""

    @abstractmethod
    def scorer(self, history: Interactions | None = None) -> Callable[[Tensor], Tensor]:
        """A function from users (B,) to the logits (B, num_items) of all items, with tables decoded once.

        Args:
            history: earlier interactions of every user, in time order; only sequential recommenders use it.
        """

    def init_from_data(self, train: Interactions) -> None:
        """Initializes parameters and buffers from the training data; called once, before training."""

    def batch_sampler(self, train: Interactions) -> BatchSampler:
        """Creates the sampler of its training batches.

        Raises:
            DatasetError: the data does not suit the model.
        """
        return PointwiseSampler(train)

    def loss(self, batch: Batch) -> Tensor:
        """Mean binary cross-entropy of a batch, without :meth:`penalty`."""
        users, items, labels = batch
        return F.binary_cross_entropy_with_logits(self(users, items), labels)

    def embeddings(self) -> dict[str, EmbeddingTable]:
        """Its tables by name."""
        return {
            name.removesuffix("_embedding"): module
            for name, module in self.named_modules()
            if isinstance(module, EmbeddingTable)
        }


class PointwiseSampler:
    """All training interactions with negatives, shuffled: batches of (users, items, labels), as in NCF.

    Args:
        train: the training interactions.
    """

    def __init__(self, train: Interactions) -> None:
        self._sampler = NegativeSampler(train)

    def epoch(self, generator: np.random.Generator, batch_size: int, negatives: int) -> tuple[int, Iterator[Batch]]:
        """The number of batches, and users int32 (B,), items int32 (B,) and labels float32 (B,) of each."""
        tensors = [torch.from_numpy(array) for array in self._sampler.pointwise_epoch(generator, negatives)]
        steps = -(-len(tensors[0]) // batch_size)
        return steps, zip(*(tensor.split(batch_size) for tensor in tensors), strict=True)


def ranker_names() -> list[str]:
    """Names of the models that rank items or predict ratings, sorted."""
    return model_names("ranking", "regression")


def get_ranker(name: str) -> type[Ranker]:
    """The class of a model that ranks items or predicts ratings.

    Raises:
        ValueError: there is no such model, or it predicts clicks; the message lists the known ones.
    """
    cls = get_model(name)
    if not issubclass(cls, Ranker):
        known = ", ".join(ranker_names())
        raise ValueError(f"Model {name} predicts clicks and does not rank items. Rankers: {known}.")
    return cls


def build(
    name: str,
    num_users: int,
    num_items: int,
    embedding_dim: int,
    config: MethodConfig | Mapping[str, MethodConfig],
    options: Config | None = None,
    *,
    counts: dict[str, np.ndarray] | None = None,
    train: Interactions | None = None,
    restoring: bool = False,
) -> Ranker:
    """Builds a recommender.

    Args:
        name: registry name of the model.
        num_users: number of users.
        num_items: number of items.
        embedding_dim: width of the tables.
        config: configuration of the method, one for all tables or one per table.
        options: configuration of the model; None for its defaults.
        counts: training interactions of each "user" and "item", for frequency tiers; None if ids are sorted by
            descending frequency.
        train: the training interactions, for methods that group ids.
        restoring: true if a state dict is loaded next, which contains the groups, so that ``train`` is not needed.

    Returns:
        The model with its tables.

    Raises:
        ValueError: there is no such model, or the configuration does not fit the sizes.
    """
    cls = get_ranker(name)
    options = options if options is not None else cls.config_class()
    maps = {}
    if train is not None and isinstance(config, MethodConfig):
        maps = dict(config.row_maps(train, embedding_dim))
    tables = {}
    for spec in cls.table_specs(num_users, num_items, embedding_dim, options):
        frequencies = None
        if counts is not None:
            frequencies = torch.from_numpy(counts_of_rows(np.asarray(counts[spec.side], dtype=np.int64), spec))
        tables[f"{spec.name}_embedding"] = create(
            config if isinstance(config, MethodConfig) else config[spec.name],
            spec.num_embeddings,
            spec.embedding_dim,
            padding_idx=spec.padding_idx,
            frequencies=frequencies,
            row_maps=[] if restoring else _maps_of_rows(maps[spec.side], spec) if spec.side in maps else None,
        )
    return cls(**tables, config=options)


def counts_of_rows(counts: np.ndarray, spec: TableSpec) -> np.ndarray:
    """Counts (num_embeddings,) of a table's rows; the padding row counts as the most frequent.

    Ids sorted by frequency thus stay sorted behind a padding row 0, and need no tier flags.
    """
    if spec.padding_idx is None or len(counts) == spec.num_embeddings:
        return counts
    return np.insert(counts, spec.padding_idx, counts.max(initial=0) + 1)


def _maps_of_rows(maps: Sequence[RowMap], spec: TableSpec) -> list[RowMap]:
    """Row maps of a table, including its padding row."""
    if spec.padding_idx is None or maps[0].num_embeddings == spec.num_embeddings:
        return list(maps)
    return [row_map.with_padding(spec.padding_idx) for row_map in maps]
