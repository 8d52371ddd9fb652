"""Shared rows found by clustering: the row of an id is the sum of one shared row per stage (Saec, arXiv 1903.00103)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from slimtable.artifact.bits import code_bits, pack_bits
from slimtable.codecs.base import NOTHING_KNOWN, Block, Codec, FitContext, Fitted, Rows
from slimtable.codecs.quantize import Clustering
from slimtable.codecs.quantize.metric import Metric
from slimtable.codecs.quantize.residual import cluster_stages
from slimtable.codecs.quantize.sample import Sampling
from slimtable.codecs.quantize.scalar import codes_of, make_grid
from slimtable.codecs.vectors import Array, Vectors

_SCALE_BITS = 16
_ADVICE = "Use row_bits=32"
_ASYMMETRY = 1e-3  # of a metric, relative to its largest value: more is not rounding
_NEGLIGIBLE = 2.0**-11  # relative to the largest value: steps in half precision cause errors of this size anyway


@dataclass(frozen=True)
class Saec(Codec):
    """Ids with similar rows share a row, found by frequency-weighted k-means.

    Attributes:
        num_rows: total number of rows of all stages.
        head: fraction of the first stage's rows that the most frequent ids have alone, one each.
        min_frequency: ids seen less often share one default row.
        stages: number of rows that are summed for an id, one per stage.
        beam: number of sums that the beam search keeps from stage to stage.
        row_bits: bits per value of a shared row; 8 and 4 with an offset and a step per row, in 16 bits each.
        sample: how the sample that k-means runs on is drawn.
        iterations: rounds of k-means on the sample.
        hysteresis: when starting from an earlier table, an id moves to another row only if that reduces its squared
            distance by more than this fraction.
        seed: seed of all random draws.
    """

    streams = False

    num_rows: int
    head: float = 0.0
    min_frequency: int = 0
    stages: int = 1
    beam: int = 16
    row_bits: Literal[32, 16, 8, 4] = 32
    sample: Sampling = "proportional"
    iterations: int = 8
    hysteresis: float = 0.1
    seed: int = 0

    def split(self) -> list[int]:
        """Number of rows of each stage, at least one; the first stages take the remainder."""
        even, more = divmod(max(self.num_rows, self.stages), self.stages)
        return [even + (stage < more) for stage in range(self.stages)]

    def fit(self, rows: Rows, context: FitContext = NOTHING_KNOWN) -> FittedSaec:
        """As :meth:`Codec.fit`.

        Args:
            rows: of the trained table.
            context: ``previous`` is a list of :class:`EarlierStage`, one for each stage, or None.
        """
        return FittedSaec(self, rows, context)

    def bits_of(self, num_embeddings: int, embedding_dim: int, frequencies: np.ndarray | None = None) -> int:
        scales = 2 * _SCALE_BITS if self.row_bits <= 8 else 0
        maps = sum(code_bits(rows) for rows in self.split())
        return self.num_rows * (self.row_bits * embedding_dim + scales) + num_embeddings * maps


@dataclass(frozen=True, eq=False)
class EarlierStage:
    """A stage of the earlier table that the fit starts from.

    Attributes:
        centroids: float32 (K, d) rows that ids share.
        rows: int32 (n,) row of each id; K or above if the id has a row of its own.
        default: the row of rare ids, or None.
        own: ids that have rows of their own, in the order of those rows.
    """

    centroids: np.ndarray
    rows: np.ndarray
    default: int | None
    own: np.ndarray

    def clusters_of(self, ids: np.ndarray, coordinates: Callable[[np.ndarray], np.ndarray]) -> Clustering:
        """The clusters of some of the present ids; -1 for ids that are new or had rows of their own."""
        known = ids[ids < len(self.rows)]
        rows = np.full(len(ids), -1, np.int32)
        rows[: len(known)] = self.rows[known]
        rows[rows >= len(self.centroids)] = -1
        return Clustering(coordinates(self.centroids), rows, self.default, 0.0)


class FittedSaec(Fitted):
    """Shared rows, and the rows of each id.

    Attributes:
        tables: float32 (K_l, d) rows of each stage, before they are rounded to ``row_bits``.
        codes: int32 (N, stages) row of each id.
    """

    layout = "shared"

    def __init__(self, codec: Saec, rows: Rows, context: FitContext) -> None:
        super().__init__(rows)
        self.codec = codec
        counts = None if context.frequencies is None else np.asarray(context.frequencies)
        if codec.min_frequency and counts is None:
            raise ValueError("`min_frequency` needs frequencies. Pass them, or set it to 0.")
        self._metric = _scaled(context.metric, self.embedding_dim)
        earlier: Sequence[EarlierStage] = context.previous or ()
        if any(len(stage.rows) > self.num_embeddings for stage in earlier):
            raise ValueError("The earlier table has more ids than this one. Ids may only be added at the end.")
        # With a metric, all vectors are transformed in memory at once: products of blocks would round differently.
        source = rows.for_repeated_reads()
        vectors = source if self._metric is None else Array(self._coordinates(source.read(0, len(source))))
        sizes = codec.split()
        own = self._own_ids(sizes[0], counts, earlier)
        sizes[0] -= len(own)
        self.tables = [np.zeros((size, self.embedding_dim), np.float32) for size in sizes]
        self.codes = self._cluster(vectors, sizes, own, counts, earlier)
        if len(own):
            self._add_own_rows(vectors.take(own), own)

    def encode(self, rows: np.ndarray, first_id: int) -> Block:
        maps = {}
        for stage, table in enumerate(self.tables):
            codes = self.codes[first_id : first_id + len(rows), stage]
            maps[f"map.{stage}"] = pack_bits(codes, code_bits(len(table)))
        return Block(first_id, len(rows), maps)

    def shared_arrays(self) -> dict[str, np.ndarray]:
        arrays: dict[str, np.ndarray] = {}
        bits = self.codec.row_bits
        for stage, table in enumerate(self.tables):
            if bits > 8:
                with np.errstate(over="ignore"):  # values that overflow 16 bits become infinite, and are rejected below
                    rows = table.astype(np.float16 if bits == 16 else np.float32)
                if not np.isfinite(rows).all():
                    raise ValueError(f"A shared row is too large for {bits} bits. {_ADVICE}, or scale the table.")
                arrays[f"rows.{stage}"] = rows
                continue
            offset, step = _grid(table, bits)
            arrays[f"rows.{stage}"] = pack_bits(codes_of(table, offset, step, bits), bits)
            arrays[f"offset.{stage}"] = offset.ravel().astype(np.float16)
            arrays[f"step.{stage}"] = step.ravel().astype(np.float16)
        return arrays

    def layout_config(self) -> dict[str, Any]:
        tables = [
            {"num_rows": len(table), "width": self.embedding_dim, "bits": self.codec.row_bits} for table in self.tables
        ]
        terms = [{"table": stage, "column": 0, "weight": 1.0, "map": "stored"} for stage in range(len(tables))]
        return {"tables": tables, "terms": terms, "activation": "none"}

    def _cluster(
        self,
        vectors: Vectors,
        sizes: Sequence[int],
        own: np.ndarray,
        counts: np.ndarray | None,
        earlier: Sequence[EarlierStage],
    ) -> np.ndarray:
        """Clusters all ids except the padding and those with rows of their own, and sets ``tables``.

        Returns:
            int32 (N, stages) row of each id in each stage; 0 for the excluded ids.
        """
        others = np.ones(self.num_embeddings, bool)
        others[own] = False
        if self.padding_idx is not None:
            others[self.padding_idx] = False
        ids = np.flatnonzero(others)
        if not len(ids):
            return np.zeros((self.num_embeddings, len(sizes)), np.int32)
        codec, smallest = self.codec, 0.0
        if codec.row_bits <= 8:
            smallest = _NEGLIGIBLE * vectors.largest()

        def placed(stage: int, centroids: np.ndarray) -> np.ndarray:
            if stage > 0 and np.abs(centroids).max() <= smallest:
                return np.zeros_like(centroids)  # residuals are too small for a grid with 16-bit steps
            return self._rows_at(centroids)

        def served(stage: int, centroids: np.ndarray) -> np.ndarray:
            rows = placed(stage, centroids)
            offset, step = _grid(rows, codec.row_bits)
            return self._coordinates(offset + step * codes_of(rows, offset, step, codec.row_bits))

        found = cluster_stages(
            vectors.pick(ids),
            sizes,
            None if counts is None else counts[ids],
            sample=codec.sample,
            iterations=codec.iterations,
            min_frequency=codec.min_frequency,
            beam=codec.beam,
            seed=codec.seed,
            previous=[stage.clusters_of(ids, self._coordinates) for stage in earlier],
            hysteresis=codec.hysteresis,
            serve=served if codec.row_bits <= 8 else None,
        )
        self.tables = [placed(stage, centroids) for stage, centroids in enumerate(found.centroids)]
        if len(ids) == self.num_embeddings:
            return found.codes
        codes = np.zeros((self.num_embeddings, len(sizes)), np.int32)
        codes[ids] = found.codes
        return codes

    def _add_own_rows(self, residuals: np.ndarray, own: np.ndarray) -> None:
        """Gives some ids rows of their own: their vectors (n, d) minus row 0 of every further stage."""
        first, *further = self.tables
        for table in further:
            residuals = residuals - self._coordinates(table[:1])
        self.codes[own] = 0
        self.codes[own, 0] = len(first) + np.arange(len(own))
        self.tables[0] = np.concatenate([first, self._rows_at(residuals)])

    def _own_ids(self, num_rows: int, counts: np.ndarray | None, earlier: Sequence[EarlierStage]) -> np.ndarray:
        """Ids that get rows of their own, in the order of those rows; existing rows keep their ids where possible."""
        wanted = min(int(self.codec.head * num_rows), num_rows - 1)
        before = earlier[0].own[:wanted] if earlier else np.empty(0, np.int64)
        if wanted < 1:
            return np.empty(0, np.int64)
        scores = -np.arange(self.num_embeddings, dtype=np.float64) if counts is None else counts.astype(np.float64)
        if self.padding_idx is not None:
            scores[self.padding_idx] = -np.inf
        if counts is not None:
            scores[before] /= 1.0 - self.codec.hysteresis
        chosen = np.argpartition(-scores, wanted - 1)[:wanted]
        stays = np.isin(before, chosen)
        new = np.setdiff1d(chosen, before[stays])
        places = np.concatenate([np.flatnonzero(~stays), np.arange(len(before), wanted)])
        own = np.empty(wanted, np.int64)
        own[np.flatnonzero(stays)] = before[stays]
        own[places] = new
        return own

    def _coordinates(self, vectors: np.ndarray) -> np.ndarray:
        """The vectors in the coordinates of the metric, in which they are clustered."""
        return vectors if self._metric is None else self._metric.apply(vectors)

    def _rows_at(self, coordinates: np.ndarray) -> np.ndarray:
        return coordinates if self._metric is None else self._metric.undo(coordinates)


def _scaled(matrix: np.ndarray | None, width: int) -> Metric | None:
    """The metric of a matrix, scaled to a mean cost of 1, since only the ratios of costs matter."""
    if matrix is None:
        return None
    matrix = np.asarray(matrix, np.float64)
    fits = matrix.shape == (width, width) and bool(np.isfinite(matrix).all())
    if not fits or np.abs(matrix - matrix.T).max() > _ASYMMETRY * np.abs(matrix).max():
        raise ValueError(f"A metric must be a finite, symmetric matrix ({width}, {width}), got shape {matrix.shape}.")
    trace = float(np.trace(matrix))
    return Metric.of(matrix * (len(matrix) / trace) if trace > 0 else matrix)


def _grid(table: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Offset and step (K, 1) of every row, as stored."""
    low, high = table.min(axis=1, keepdims=True), table.max(axis=1, keepdims=True)
    return make_grid(low, high, bits, _SCALE_BITS, float(np.abs(table).max(initial=0.0)), _ADVICE)
