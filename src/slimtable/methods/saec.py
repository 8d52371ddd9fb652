"""Saec: ids whose trained rows are alike share a row, found by fast clustering (Wu et al. 2020, arXiv 1903.00103)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from torch import Tensor

from slimtable.artifact.bits import code_bits
from slimtable.budget import bits_of_budget, largest
from slimtable.codecs.quantize import Clustering
from slimtable.codecs.quantize.metric import Metric
from slimtable.codecs.quantize.residual import cluster_levels
from slimtable.config import Bounds, Count, PositiveInt, Share
from slimtable.embeddings.base import EmbeddingTable, FitContext, MethodConfig, register
from slimtable.embeddings.shared_rows import SharedRows, Term
from slimtable.embeddings.shared_rows_config import NumberedRows
from slimtable.errors import BudgetError
from slimtable.grouping.row_map import Hash

_NOTHING = 2.0**-11  # of the largest value: an error that steps in half precision make anyway


@dataclass(frozen=True)
class SaecConfig(MethodConfig):
    """Options of Saec.

    Attributes:
        budget: bits that the table may have with its maps: a share of the float32 table such as "4%", "16x" for
            so many times smaller, or bytes such as "2MB". A table trained from the start has at least one row,
            whatever the share.
        num_rows: rows of all levels together, whatever the budget says; None to go by the budget.
        head: share of the rows that the most frequent ids have for themselves.
        min_frequency: ids seen less often share one default row.
        levels: 1 as in the paper; with more, up to 32, an id has the sum of one row of each level. Each level first
            clusters what the levels before it leave; then all are improved together.
        beam: sums that are kept from level to level in the search for those of an id; 1 to leave levels as they were
            found one by one. Smaller by itself where there is much to search.
        row_bits: bits per value of a row as served: 32, 16, or 8 or 4 with an offset and a step per row, in 16 bits
            each.
        sample: vectors that centroids are found on: drawn "proportional" to frequency, the "head" that carries 90 %
            of the occurrences, or drawn "uniform".
        iterations: rounds of k-means on the sample.
        hysteresis: where a table continues an earlier one, share of its squared distance by which another row must
            be nearer for an id to leave its row.
        hash_seed: of what is drawn; also of the maps before there is a table to cluster.

    Raises:
        ValueError: a number is out of range, or there is neither a budget nor a number of rows.
    """

    needs_trained = True

    budget: str = "25%"
    num_rows: PositiveInt | None = None
    head: Share = 0.0
    min_frequency: Count = 0
    levels: Annotated[int, Bounds(1, 32)] = 1
    beam: PositiveInt = 16
    row_bits: Literal[32, 16, 8, 4] = 32
    sample: Literal["proportional", "head", "uniform"] = "proportional"
    iterations: PositiveInt = 8
    hysteresis: Share = 0.1
    hash_seed: Count = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_rows is not None and self.num_rows < self.levels:
            raise ValueError(
                f"`SaecConfig.num_rows`={self.num_rows} must be one or more for each of {self.levels} levels."
            )
        if self.num_rows is None or self.budget:
            bits_of_budget(self.budget, 0)

    def bits_of_rows(self, num_rows: int, num_embeddings: int, embedding_dim: int) -> int:
        """Bits that a table with so many rows serves, maps and scales with them."""
        scales = 32 if self.row_bits <= 8 else 0
        maps = sum(code_bits(rows) for rows in self.split(num_rows))
        return num_rows * (self.row_bits * embedding_dim + scales) + num_embeddings * maps

    def split(self, num_rows: int) -> list[int]:
        """Rows of each level, the first ones with what is left over; one or more each."""
        even, more = divmod(max(num_rows, self.levels), self.levels)
        return [even + (level < more) for level in range(self.levels)]

    def rows_within(self, bits: float, num_embeddings: int, embedding_dim: int) -> int:
        """The most rows, up to the number of ids, that a number of bits pays for; 0 where it pays for none."""
        rows = largest(
            lambda count: self.bits_of_rows(count, num_embeddings, embedding_dim) <= bits,
            self.levels,
            max(self.levels, num_embeddings),
        )
        return rows if rows >= self.levels else 0

    def rows_of_table(self, num_embeddings: int, embedding_dim: int) -> int:
        """Rows of all levels; as few as there can be where the budget does not pay for them.

        Raises:
            ValueError: ``num_rows`` leaves nothing to share.
        """
        if self.num_rows is not None:
            if self.num_rows >= num_embeddings > 1:
                raise ValueError(
                    f"`SaecConfig.num_rows`={self.num_rows} leaves nothing to share among {num_embeddings} ids. Use "
                    "method full."
                )
            return self.num_rows
        limit = bits_of_budget(self.budget, 32 * num_embeddings * embedding_dim)
        rows = self.rows_within(limit, num_embeddings, embedding_dim)
        return max(self.levels, min(rows, num_embeddings - 1))

    def table_bits(self, num_embeddings: int, embedding_dim: int, frequencies: Any = None) -> int:
        return self.bits_of_rows(self.rows_of_table(num_embeddings, embedding_dim), num_embeddings, embedding_dim)

    def sizes(self, num_embeddings: int, embedding_dim: int) -> Sequence[Self]:
        return NumberedRows(self, self.levels, max(self.levels, num_embeddings - 1))


@register("saec")
class Saec(SharedRows):
    """Clusters the rows of a trained table by frequency-weighted k-means; ids of a cluster share its row.

    Tencent's Saec does so for every field of a click-through-rate model, and trains the shared rows on. There is no
    public code: which vectors k-means looks at (:func:`slimtable.codecs.quantize.fast_kmeans`), own rows for frequent
    ids, default rows and levels are our reconstruction, and so is the search over levels
    (:func:`slimtable.codecs.quantize.residual.refine_levels`). Until there is a table to cluster, ids are hashed to
    rows by maps that are stored, so that the size is the same before and after.

    Bits: K·d·row_bits (and 32·K for offsets and steps of 8 or 4 bits), and N·⌈log2 (K / levels)⌉ for each level.
    """

    config_class = SaecConfig
    config: SaecConfig

    @property
    def row_bits(self) -> int:
        return self.config.row_bits

    def build(self, frequencies: Tensor | None, device: torch.device | str | None, dtype: torch.dtype | None) -> None:
        config = self.config
        shapes = [(rows, self.embedding_dim) for rows in config.split(self._num_rows())]
        terms = []
        for level, (rows, _) in enumerate(shapes):
            generator = np.random.default_rng([config.hash_seed, level])
            terms.append(Term(level, rows=Hash.universal(rows, generator).rows(self.num_embeddings)))
        self._earlier: list[_Earlier] = []
        self._metric: Metric | None = None
        self.share(shapes, terms, frequencies, device, dtype)

    def _continue_from(self, previous: EmbeddingTable | None) -> None:
        """Starts from the rows and maps of an earlier table of saec, of which this one may have more ids at the end.

        Tables of other methods, of another width or with other levels are passed over.

        Raises:
            ValueError: the earlier table had more ids.
        """
        if not isinstance(previous, Saec) or previous.num_tables != self.num_tables:
            return
        if previous.embedding_dim != self.embedding_dim:
            return
        if previous.num_embeddings > self.num_embeddings:
            raise ValueError(
                f"A table of {self.num_embeddings} ids does not continue one of {previous.num_embeddings}. Ids "
                "may only be added at the end."
            )
        default = 0 if previous.config.min_frequency else None
        self._earlier = []
        for level, table in enumerate(previous.tables()):
            rows, alone = previous.row_map(level).cpu().numpy(), np.empty(0, np.int64)
            clusters = len(table) - (int(previous.config.head * len(table)) if level == 0 else 0)
            if clusters < len(table):
                ids = np.flatnonzero(rows >= clusters)
                alone = ids[np.argsort(rows[ids])]
            shared = table.detach().float().cpu().numpy()[:clusters]
            self._earlier.append(_Earlier(shared, rows, default, alone))

    def _weigh_errors(self, metric: Tensor | None) -> None:
        """Clusters in the coordinates of the metric; only the ratios of costs matter."""
        if metric is None:
            return
        matrix = metric.cpu().numpy()
        trace = float(np.trace(matrix))
        self._metric = Metric.of(matrix * (len(matrix) / trace) if trace > 0 else matrix)

    def fit_(self, table: Tensor, context: FitContext) -> None:
        """Clusters the rows of the table, frequent ids weighing more.

        Raises:
            BudgetError: not even one row fits into the budget.
            ValueError: ids are to be told apart by frequency, and there are no frequencies.
        """
        config = self.config
        self._continue_from(context.previous)
        self._weigh_errors(context.metric)
        self._check_budget()
        values = self._coordinates(table.detach().float().cpu().numpy())
        counts = None if self._importance is None else self._importance.cpu().numpy()
        if config.min_frequency and counts is None:
            raise ValueError("`SaecConfig.min_frequency` needs frequencies. Pass them, or set it to 0.")
        own = self._own_ids(counts)
        others = np.ones(self.num_embeddings, bool)
        others[own] = False
        if self.padding_idx is not None:
            others[self.padding_idx] = False
        ids = np.flatnonzero(others)
        left = values if len(ids) == len(values) else values[ids]
        counts = None if counts is None else counts[ids]
        terms, of_own, tables = [], values[own], self.tables()
        sizes = [len(shared) - (len(own) if level == 0 else 0) for level, shared in enumerate(tables)]
        # Without a copy of absolute values, which would be as large as the table.
        smallest = _NOTHING * max(float(values.max()), -float(values.min())) if config.row_bits <= 8 else 0.0

        def placed(level: int, centroids: np.ndarray) -> Tensor:
            if level > 0 and np.abs(centroids).max() <= smallest:
                centroids = np.zeros_like(centroids)  # too little is left for a grid of 16-bit steps
            return torch.from_numpy(self._vectors(centroids))

        def served(level: int, centroids: np.ndarray) -> np.ndarray:
            return self._coordinates(self._as_served(placed(level, centroids)).numpy())

        codes = np.empty((0, len(sizes)), np.int32)
        if len(ids):
            found = cluster_levels(
                left,
                sizes,
                counts,
                sample=config.sample,
                iterations=config.iterations,
                min_frequency=config.min_frequency,
                beam=config.beam,
                seed=config.hash_seed,
                previous=[earlier.of(ids, self._coordinates) for earlier in self._earlier],
                hysteresis=config.hysteresis,
                serve=served if config.row_bits <= 8 else None,
            )
            codes = found.codes
            for level, (shared, size) in enumerate(zip(tables, sizes, strict=True)):
                shared[:size].copy_(placed(level, found.centroids[level]))
        for level, shared in enumerate(tables):
            rows = np.zeros(self.num_embeddings, np.int32)
            rows[ids] = codes[:, level]
            if level == 0:
                rows[own] = sizes[0] + np.arange(len(own))
            elif len(own):
                # They have row 0 of this level; what is left is their own row.
                of_own -= self._coordinates(shared[:1].float().cpu().numpy())
            terms.append(Term(level, rows=rows))
        if len(own):
            self.tables()[0][-len(own) :].copy_(torch.from_numpy(self._vectors(of_own)))
        self.place(terms, self.device, self.dtype)
        self._earlier, self._metric, self._served = [], None, None

    def _coordinates(self, vectors: np.ndarray) -> np.ndarray:
        """Where vectors lie for the clustering, float32 and contiguous."""
        return np.ascontiguousarray(vectors) if self._metric is None else self._metric.apply(vectors)

    def _vectors(self, coordinates: np.ndarray) -> np.ndarray:
        return coordinates if self._metric is None else self._metric.undo(coordinates)

    def _num_rows(self) -> int:
        """Rows of all levels; those of a state dict that is to come are known only then."""
        if self.row_maps == ():
            return self.config.levels
        return self.config.rows_of_table(self.num_embeddings, self.embedding_dim)

    def _check_budget(self) -> None:
        """Raises BudgetError where the fewest rows that there can be are too many."""
        if self.config.num_rows is None and self.bits() > bits_of_budget(self.config.budget, self.dense_bits):
            raise BudgetError(
                f"{self.config.budget} does not pay for {self.config.levels} row(s) and the map of "
                f"{self.num_embeddings:,} ids. The smallest budget is {-(-self.bits() // 8):,}B; a table as small as "
                "this is best left to method full."
            )

    def _own_ids(self, counts: np.ndarray | None) -> np.ndarray:
        """Ids that have rows of their own, in the order of those rows; existing ones are kept where possible."""
        wanted = min(int(self.config.head * len(self.tables()[0])), len(self.tables()[0]) - 1)
        before = self._earlier[0].own[:wanted] if self._earlier else np.empty(0, np.int64)
        if wanted < 1:
            return np.empty(0, np.int64)
        scores = -np.arange(self.num_embeddings, dtype=np.float64) if counts is None else counts.astype(np.float64)
        if self.padding_idx is not None:
            scores[self.padding_idx] = -np.inf
        if counts is not None:
            scores[before] /= 1.0 - self.config.hysteresis
        chosen = np.argpartition(-scores, wanted - 1)[:wanted]
        stays = np.isin(before, chosen)
        new = np.setdiff1d(chosen, before[stays])
        places = np.concatenate([np.flatnonzero(~stays), np.arange(len(before), wanted)])
        own = np.empty(wanted, np.int64)
        own[np.flatnonzero(stays)] = before[stays]
        own[places] = new
        return own


@dataclass(frozen=True, eq=False)
class _Earlier:
    """A level of the table that is continued: shared rows, who has which, and who has one alone."""

    centroids: np.ndarray
    rows: np.ndarray
    default: int | None
    own: np.ndarray

    def of(self, ids: np.ndarray, coordinates: Callable[[np.ndarray], np.ndarray]) -> Clustering:
        """The clusters of some ids, those of now; -1 for ids that are new or had rows of their own."""
        known = ids[ids < len(self.rows)]
        rows = np.full(len(ids), -1, np.int32)
        rows[: len(known)] = self.rows[known]
        rows[rows >= len(self.centroids)] = -1
        return Clustering(coordinates(self.centroids), rows, self.default, 0.0)
