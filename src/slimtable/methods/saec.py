"""Saec: ids whose trained rows are alike share a row, found by fast clustering (Wu et al. 2020, arXiv 1903.00103)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from torch import Tensor

from slimtable.budget import bits_of_budget, largest
from slimtable.codecs.base import Codec, Rows
from slimtable.codecs.saec import EarlierStage, FittedSaec
from slimtable.codecs.saec import Saec as SaecCodec
from slimtable.config import Bounds, Count, PositiveInt, Share
from slimtable.embeddings.base import EmbeddingTable, FitContext, MethodConfig, register
from slimtable.embeddings.shared_rows import SharedRows, Term
from slimtable.embeddings.shared_rows_config import NumberedRows
from slimtable.errors import BudgetError
from slimtable.grouping.row_map import Hash


@dataclass(frozen=True)
class SaecConfig(MethodConfig):
    """Options of Saec.

    Attributes:
        budget: bits that the table may have with its maps: a share of the float32 table such as "4%", "16x" for
            so many times smaller, or bytes such as "2MB". A table trained from the start has at least one row,
            whatever the share.
        num_rows: rows of all stages together, whatever the budget says; None to go by the budget.
        head: share of the rows that the most frequent ids have for themselves.
        min_frequency: ids seen less often share one default row.
        stages: 1 as in the paper; with more, up to 32, an id has the sum of one row of each stage. Each stage first
            clusters what the stages before it leave; then all are improved together.
        beam: sums that are kept from stage to stage in the search for those of an id; 1 to leave stages as they were
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
    old_names = MappingProxyType({"levels": "stages"})

    budget: str = "25%"
    num_rows: PositiveInt | None = None
    head: Share = 0.0
    min_frequency: Count = 0
    stages: Annotated[int, Bounds(1, 32)] = 1
    beam: PositiveInt = 16
    row_bits: Literal[32, 16, 8, 4] = 32
    sample: Literal["proportional", "head", "uniform"] = "proportional"
    iterations: PositiveInt = 8
    hysteresis: Share = 0.1
    hash_seed: Count = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_rows is not None and self.num_rows < self.stages:
            raise ValueError(
                f"`SaecConfig.num_rows`={self.num_rows} must be one or more for each of {self.stages} stages."
            )
        if self.num_rows is None or self.budget:
            bits_of_budget(self.budget, 0)

    def codec(self, num_embeddings: int, embedding_dim: int) -> Codec:
        """As :meth:`MethodConfig.codec`.

        Raises:
            BudgetError: not even one row of each stage fits into the budget.
        """
        codec = self._codec_of(self.rows_of_table(num_embeddings, embedding_dim))
        bits = codec.bits_of(num_embeddings, embedding_dim)
        if self.num_rows is None and bits > bits_of_budget(self.budget, 32 * num_embeddings * embedding_dim):
            raise BudgetError(
                f"{self.budget} does not pay for {self.stages} row(s) and the map of {num_embeddings:,} ids. The "
                f"smallest budget is {-(-bits // 8):,}B; a table as small as this is best left to method full."
            )
        return codec

    def bits_of_rows(self, num_rows: int, num_embeddings: int, embedding_dim: int) -> int:
        """Bits that a table with so many rows serves, maps and scales with them."""
        return self._codec_of(num_rows).bits_of(num_embeddings, embedding_dim)

    def split(self, num_rows: int) -> list[int]:
        """Rows of each stage."""
        return self._codec_of(num_rows).split()

    def rows_within(self, bits: float, num_embeddings: int, embedding_dim: int) -> int:
        """The most rows, up to the number of ids, that a number of bits pays for; 0 where it pays for none."""
        rows = largest(
            lambda count: self.bits_of_rows(count, num_embeddings, embedding_dim) <= bits,
            self.stages,
            max(self.stages, num_embeddings),
        )
        return rows if rows >= self.stages else 0

    def rows_of_table(self, num_embeddings: int, embedding_dim: int) -> int:
        """Rows of all stages; as few as there can be where the budget does not pay for them.

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
        return max(self.stages, min(rows, num_embeddings - 1))

    def table_bits(self, num_embeddings: int, embedding_dim: int, frequencies: Any = None) -> int:
        return self.bits_of_rows(self.rows_of_table(num_embeddings, embedding_dim), num_embeddings, embedding_dim)

    def sizes(self, num_embeddings: int, embedding_dim: int) -> Sequence[Self]:
        return NumberedRows(self, self.stages, max(self.stages, num_embeddings - 1))

    def _codec_of(self, num_rows: int) -> SaecCodec:
        return SaecCodec(
            num_rows,
            self.head,
            self.min_frequency,
            self.stages,
            self.beam,
            self.row_bits,
            self.sample,
            self.iterations,
            self.hysteresis,
            self.hash_seed,
        )


@register("saec")
class Saec(SharedRows):
    """Clusters the rows of a trained table by frequency-weighted k-means; ids of a cluster share its row.

    Tencent's Saec does so for every field of a click-through-rate model, and trains the shared rows on. There is no
    public code: which vectors k-means looks at (:func:`slimtable.codecs.quantize.fast_kmeans`), own rows for frequent
    ids, default rows and stages are our reconstruction, and so is the search over stages
    (:func:`slimtable.codecs.quantize.residual.refine_stages`). Until there is a table to cluster, ids are hashed to
    rows by maps that are stored, so that the size is the same before and after.

    Bits: K·d·row_bits (and 32·K for offsets and steps of 8 or 4 bits), and N·⌈log2 (K / stages)⌉ for each stage.
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
        for stage, (rows, _) in enumerate(shapes):
            generator = np.random.default_rng([config.hash_seed, stage])
            terms.append(Term(stage, rows=Hash.universal(rows, generator).rows(self.num_embeddings)))
        self.share(shapes, terms, frequencies, device, dtype)

    @torch.no_grad()
    def fit_(self, table: Tensor, context: FitContext) -> None:
        """Clusters the rows of the table, frequent ids weighing more.

        It starts from the rows and maps of an earlier table of saec, of which this one may have more ids at the end.
        Tables of other methods, of another width or with other stages are passed over.

        Raises:
            BudgetError: not even one row fits into the budget.
            ValueError: ids are to be told apart by frequency, and there are no frequencies; or the earlier table had
                more ids.
        """
        codec = self.config.codec(self.num_embeddings, self.embedding_dim)
        rows = Rows(table.detach().float().cpu().numpy(), self.padding_idx)
        fitted = codec.fit(rows, replace(context, previous=self._stages_of(context.previous)))
        assert isinstance(fitted, FittedSaec)
        for own, found in zip(self.tables(), fitted.tables, strict=True):
            own.copy_(torch.from_numpy(found))
        self.place([Term(stage, rows=codes) for stage, codes in enumerate(fitted.codes.T)], self.device, self.dtype)
        self._served = None

    def _stages_of(self, previous: EmbeddingTable | None) -> list[EarlierStage] | None:
        """The stages of an earlier table, where it can be continued."""
        if not isinstance(previous, Saec) or previous.num_tables != self.num_tables:
            return None
        if previous.embedding_dim != self.embedding_dim:
            return None
        if previous.num_embeddings > self.num_embeddings:
            raise ValueError(
                f"A table of {self.num_embeddings} ids does not continue one of {previous.num_embeddings}. Ids "
                "may only be added at the end."
            )
        default = 0 if previous.config.min_frequency else None
        stages = []
        for stage, table in enumerate(previous.tables()):
            rows, alone = previous.row_map(stage).cpu().numpy(), np.empty(0, np.int64)
            clusters = len(table) - (int(previous.config.head * len(table)) if stage == 0 else 0)
            if clusters < len(table):
                ids = np.flatnonzero(rows >= clusters)
                alone = ids[np.argsort(rows[ids])]
            shared = table.detach().float().cpu().numpy()[:clusters]
            stages.append(EarlierStage(shared, rows, default, alone))
        return stages

    def _num_rows(self) -> int:
        """Rows of all stages; those of a state dict that is to come are known only then."""
        if self.row_maps == ():
            return self.config.stages
        return self.config.rows_of_table(self.num_embeddings, self.embedding_dim)
