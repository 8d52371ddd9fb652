"""Saec: ids with similar trained rows share a row, found by fast clustering (Wu et al. 2020, arXiv 1903.00103)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from torch import Tensor

from slimtable.budget import bits_of_budget, largest
from slimtable.codecs.base import Rows
from slimtable.codecs.saec import EarlierStage
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
        budget: size of the packed table, including its maps: a share of the float32 table such as "4%", a compression
            ratio such as "16x", or bytes such as "2MB". A table that is trained from scratch has at least one row,
            whatever the budget.
        num_rows: total number of rows of all stages, in place of the budget; None to use the budget.
        head: fraction of the first stage's rows that the most frequent ids have alone, one each.
        min_frequency: ids seen less often share one default row.
        stages: 1 as in the paper; with more, up to 32, the row of an id is the sum of one row per stage. Each stage
            first clusters the residuals of the stages before it; then all are improved together.
        beam: number of sums that the beam search for an id keeps from stage to stage; 1 leaves stages as found one by
            one. It is reduced automatically for large searches.
        row_bits: bits per value of a packed row: 32, 16, or 8 or 4 with an offset and a step per row, in 16 bits
            each.
        sample: vectors that k-means runs on: drawn "proportional" to frequency, the "head" that covers 90 % of the
            occurrences, or drawn "uniform".
        iterations: rounds of k-means on the sample.
        hysteresis: when starting from an earlier table, an id moves to another row only if that reduces its squared
            distance by more than this fraction.
        hash_seed: seed of all random draws, including the hashed maps that a table has before it is clustered.

    Raises:
        ValueError: a value is out of range, or there is neither a budget nor a number of rows.
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
                f"`SaecConfig.num_rows`={self.num_rows} must be at least one for each of {self.stages} stages."
            )
        if self.num_rows is None or self.budget:
            bits_of_budget(self.budget, 0)

    def codec(self, num_embeddings: int, embedding_dim: int) -> SaecCodec:
        """As :meth:`MethodConfig.codec`.

        Raises:
            BudgetError: the budget is too small for one row per stage.
        """
        codec = self._codec_of(self.rows_of_table(num_embeddings, embedding_dim))
        bits = codec.bits_of(num_embeddings, embedding_dim)
        if self.num_rows is None and bits > bits_of_budget(self.budget, 32 * num_embeddings * embedding_dim):
            raise BudgetError(
                f"A budget of {self.budget} is too small for {self.stages} row(s) and the map of {num_embeddings:,} "
                f"ids. The smallest budget is {-(-bits // 8):,}B; use method full for a table as small as this."
            )
        return codec

    def bits_of_rows(self, num_rows: int, num_embeddings: int, embedding_dim: int) -> int:
        """Bits of a packed table with ``num_rows`` rows, including maps and scales."""
        return self._codec_of(num_rows).bits_of(num_embeddings, embedding_dim)

    def split(self, num_rows: int) -> list[int]:
        """Number of rows of each stage."""
        return self._codec_of(num_rows).split()

    def rows_within(self, bits: float, num_embeddings: int, embedding_dim: int) -> int:
        """Maximum number of rows, up to the number of ids, that fit into ``bits``; 0 if none do."""
        rows = largest(
            lambda count: self.bits_of_rows(count, num_embeddings, embedding_dim) <= bits,
            self.stages,
            max(self.stages, num_embeddings),
        )
        return rows if rows >= self.stages else 0

    def rows_of_table(self, num_embeddings: int, embedding_dim: int) -> int:
        """Total number of rows of all stages; the minimum, one per stage, if the budget is too small for that.

        Raises:
            ValueError: ``num_rows`` is not below the number of ids, so that no ids would share a row.
        """
        if self.num_rows is not None:
            if self.num_rows >= num_embeddings > 1:
                raise ValueError(
                    f"`SaecConfig.num_rows`={self.num_rows} must be less than num_embeddings={num_embeddings}, or "
                    "no ids share a row. Use method full."
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

    Tencent's Saec does so for every field of a click-through-rate model, and then continues to train the shared rows.
    There is no public code: the sampling of k-means (:func:`slimtable.codecs.quantize.fast_kmeans`), own rows for
    frequent ids, default rows and stages are our reconstruction, and so is the beam search over stages
    (:func:`slimtable.codecs.quantize.residual.refine_stages`). Before a table is clustered, ids are hashed to rows by
    stored maps, so that the size is the same before and after.

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
        """Clusters the rows of the table by frequency-weighted k-means.

        If ``context.previous`` is a saec table, clustering starts from its rows and maps; the new table may have
        additional ids at the end. Earlier tables of other methods, widths or numbers of stages are ignored.

        Raises:
            BudgetError: the budget is too small for one row per stage.
            ValueError: ``min_frequency`` is set without frequencies, or the earlier table has more ids.
        """
        codec = self.config.codec(self.num_embeddings, self.embedding_dim)
        rows = Rows(table.detach().float().cpu().numpy(), self.padding_idx)
        fitted = codec.fit(rows, replace(context, previous=self._stages_of(context.previous)))
        for own, found in zip(self.tables(), fitted.tables, strict=True):
            own.copy_(torch.from_numpy(found))
        self.place([Term(stage, rows=codes) for stage, codes in enumerate(fitted.codes.T)], self.device, self.dtype)
        self._served = None

    def _stages_of(self, previous: EmbeddingTable | None) -> list[EarlierStage] | None:
        """The stages of an earlier table, or None if clustering cannot start from it."""
        if not isinstance(previous, Saec) or previous.num_tables != self.num_tables:
            return None
        if previous.embedding_dim != self.embedding_dim:
            return None
        if previous.num_embeddings > self.num_embeddings:
            raise ValueError(
                f"A table of {self.num_embeddings} ids cannot start from an earlier one of "
                f"{previous.num_embeddings}. Ids may only be added at the end."
            )
        default = 0 if previous.config.min_frequency else None
        stages = []
        for stage, table in enumerate(previous.tables()):
            rows, own = previous.row_map(stage).cpu().numpy(), np.empty(0, np.int64)
            clusters = len(table) - (int(previous.config.head * len(table)) if stage == 0 else 0)
            if clusters < len(table):
                ids = np.flatnonzero(rows >= clusters)
                own = ids[np.argsort(rows[ids])]
            shared = table.detach().float().cpu().numpy()[:clusters]
            stages.append(EarlierStage(shared, rows, default, own))
        return stages

    def _num_rows(self) -> int:
        """Total number of rows of all stages; a placeholder if they come later, with a state dict."""
        if self.row_maps == ():
            return self.config.stages
        return self.config.rows_of_table(self.num_embeddings, self.embedding_dim)
