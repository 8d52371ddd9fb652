"""LEGCF: every row is a sparse mixture of learned meta-embeddings (Liang et al. 2024, arXiv 2403.18479)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
import torch
from torch import Tensor

from slimtable.artifact.bits import code_bits
from slimtable.codecs.quantize.nearest import nearest_codes
from slimtable.codecs.quantize.subspace_kmeans import kmeans
from slimtable.config import Count, OpenShare
from slimtable.embeddings.base import FitContext, register
from slimtable.embeddings.shared_rows import SharedRows, Term
from slimtable.embeddings.shared_rows_config import HashedRowsConfig
from slimtable.grouping.graph import InteractionGraph
from slimtable.grouping.row_map import Hash, RowMap

if TYPE_CHECKING:
    from slimtable.data.interactions.interactions import Interactions

_KMEANS_ROUNDS = 20
_NEARLY_ONE = 0.999  # so that atanh is finite
_ELEMENTS_AT_ONCE = 1 << 24  # of the scores of ids for meta-embeddings


@dataclass(frozen=True)
class LEGCFConfig(HashedRowsConfig):
    """Options of LEGCF.

    Attributes:
        num_rows: as in the base class; METIS then cuts the graph into this many parts, and each side has a row for each
            part that it uses.
        hash_seed: random seed of the partition and of the second meta-embedding of each id.
        anchor_weight: initial weight of the first meta-embedding, that of the id's part; the second has the rest.
        initialization: parts of the interaction graph by "metis", or "random" parts, which need no interactions.
        assignment_epochs: number of first epochs after which the two meta-embeddings of each id are chosen again.

    Raises:
        ValueError: a number is out of range.
    """

    anchor_weight: OpenShare = 0.5
    initialization: Literal["metis", "random"] = "metis"
    assignment_epochs: Count = 1

    def with_budget(self, budget: str) -> Self | None:
        return replace(self, budget=budget) if self.initialization == "metis" else None

    def row_maps(self, train: Interactions, embedding_dim: int) -> Mapping[str, Sequence[RowMap]]:
        """The part of each user and item, by METIS on the graph of both."""
        if self.initialization == "random":
            return super().row_maps(train, embedding_dim)
        parts = self.num_rows
        if parts is None:
            sizes = (train.num_users, train.num_items)

            def bits_of(rows: int) -> int:  # a part has a row on each side
                each = [max(1, min(size, rows // 2)) for size in sizes]
                return sum(self.bits_with_rows(*pair, embedding_dim, True) for pair in zip(sizes, each, strict=True))

            parts = max(1, self.rows_of_both(*sizes, embedding_dim, bits_of) // 2)
        labels = _metis(InteractionGraph.from_interactions(train), parts, self.hash_seed)
        return {
            "user": [RowMap.from_labels(labels[: train.num_users])],
            "item": [RowMap.from_labels(labels[train.num_users :])],
        }

    def bits_with_rows(self, num_embeddings: int, num_rows: int, embedding_dim: int, sorted_ids: bool) -> int:
        """Bits of the rows, and of two maps with weights."""
        return 32 * num_rows * embedding_dim + 2 * num_embeddings * (code_bits(num_rows) + 32)


@register("legcf")
class LEGCF(SharedRows):
    """Row ``tanh(w₁·M[s₁] + w₂·M[s₂])`` with K meta-embeddings M.

    Bits: 32·K·d, 2·N·⌈log2 K⌉ for the assignment and 64·N for its weights.

    Differences from the published system: there users and items share one table, the assignment is part of the
    propagation graph, and after a first training it is computed again in every epoch from the propagated rows. Here
    each side has its own table, with the parts of its ids, and works with any model. A table has no access to
    propagated rows, so the assignment is computed from its own rows E: the two largest entries of E·M⁺, with positive
    parts scaled to sum to one, after the first ``assignment_epochs`` epochs as in BACO's comparison.
    """

    config_class = LEGCFConfig
    config: LEGCFConfig
    activation = "tanh"
    serve_tolerance = 1e-6
    epochs_done: Tensor

    def build(self, frequencies: Tensor | None, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        config, maps = self.config, self.row_maps
        generator = np.random.default_rng(config.hash_seed)
        if config.initialization == "metis":
            if maps is None:
                raise ValueError(
                    "`LEGCFConfig.initialization`=metis needs the interaction graph, which a table does not have. "
                    "Train with slimtable.train, pass row_maps, or set initialization to random."
                )
            num_rows = maps[0].num_rows if maps else 1
            anchors = maps[0].rows if maps else np.zeros(self.num_embeddings, np.int32)
        else:
            num_rows = config.rows_of_table(self.num_embeddings, self.embedding_dim, maps, frequencies)
            anchors = Hash.universal(num_rows, generator).rows(self.num_embeddings)
        others = (anchors + generator.integers(1, max(2, num_rows), self.num_embeddings)) % num_rows
        ones = np.ones(self.num_embeddings, np.float32)
        terms = [
            Term(0, 0, anchors, weight=config.anchor_weight * ones),
            Term(0, 0, others, weight=(1 - config.anchor_weight) * ones),
        ]
        self.share([(num_rows, self.embedding_dim)], terms, frequencies, device, dtype)
        self.register_buffer("epochs_done", torch.zeros((), dtype=torch.int64, device=device))

    def end_epoch(self) -> None:
        epoch = int(self.epochs_done)
        self.epochs_done += 1
        if epoch < self.config.assignment_epochs:
            with torch.no_grad():
                self._assign(self.weight)

    def fit_(self, table: Tensor, context: FitContext) -> None:
        """Fits meta-embeddings by k-means, assigns two to every id, and refits them by least squares."""
        wanted = np.ascontiguousarray(table.float().clamp(-_NEARLY_ONE, _NEARLY_ONE).atanh().cpu().numpy())
        num_rows = len(self.tables()[0])
        centroids = kmeans(wanted, num_rows, iterations=_KMEANS_ROUNDS, seed=self.config.hash_seed)
        everyone = np.zeros(len(wanted), np.int8)
        first = nearest_codes(wanted, centroids, everyone, (num_rows,))[:, 0]
        # The second centroid is the nearest to the row mirrored at the first, so that their mean is near the row.
        second = nearest_codes(2 * wanted - centroids[0, first], centroids, everyone, (num_rows,))[:, 0]
        along = centroids[0, second] - centroids[0, first]
        length = np.square(along).sum(axis=1)
        share = ((wanted - centroids[0, first]) * along).sum(axis=1) / np.where(length > 0, length, 1.0)
        share = share.clip(0.0, 1.0).astype(np.float32)
        self.place([Term(0, 0, first, weight=1 - share), Term(0, 0, second, weight=share)], self.device, self.dtype)
        super().fit_(table, context)
        self.epochs_done.fill_(self.config.assignment_epochs)

    def _assign(self, table: Tensor) -> None:
        """Assigns to every id the two meta-embeddings with the largest entries of ``table · M⁺``."""
        meta = self.tables()[0].float()
        count = min(2, len(meta))
        inverse = torch.linalg.pinv(meta)  # (d, K)
        values, rows = [], []
        for chunk in table.float().split(max(1, _ELEMENTS_AT_ONCE // len(meta))):
            best = (chunk @ inverse).topk(count, dim=1)
            values.append(best.values)
            rows.append(best.indices)
        weights, chosen = torch.cat(values).clamp(min=0), torch.cat(rows)  # (N, 2)
        total = weights.sum(dim=1, keepdim=True)
        start = torch.tensor([self.config.anchor_weight, 1 - self.config.anchor_weight], device=weights.device)
        weights = torch.where(total > 0, weights / total.where(total > 0, 1.0), start[:count])
        if count == 1:
            weights, chosen = torch.cat([weights, torch.zeros_like(weights)], 1), chosen.expand(-1, 2)
        terms = [Term(0, 0, chosen[:, t].cpu().numpy(), weight=weights[:, t].float().cpu().numpy()) for t in range(2)]
        self.place(terms, self.device, self.dtype)


def _metis(graph: InteractionGraph, parts: int, seed: int) -> np.ndarray:
    """The part of every user and item, users first, int64 (U + V,)."""
    import pymetis

    starts = np.concatenate([graph.user_starts, graph.num_edges + graph.item_starts[1:]])
    neighbours = np.concatenate([graph.user_items + graph.num_users, graph.item_users])
    adjacency = pymetis.CSRAdjacency(starts, neighbours)
    found = pymetis.part_graph(min(parts, graph.num_nodes), adjacency, options=pymetis.Options(seed=seed))
    return np.asarray(found[1], dtype=np.int64)
