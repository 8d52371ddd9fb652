"""Tables whose ids share rows: the row of an id is a sum of shared rows, selected by maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slimtable.artifact.bits import code_bits, pack_bits
from slimtable.artifact.packed import Packed
from slimtable.embeddings.base import CompressedEmbedding, FitContext
from slimtable.embeddings.scalar_grid import codes_of, make_grid
from slimtable.embeddings.shared_rows_kernels import CombineRows, Summand, summand
from slimtable.embeddings.tensors import float_bits, to_array
from slimtable.grouping.row_map import Hash, Quotient, numbers_of_map, read_map

_MAX_ITERATIONS = 30  # of conjugate gradients, when fitting a trained table
_ADVICE = "Use row_bits=32"
_NEARLY_ONE = 0.999  # values are clamped to this before atanh when fitting a trained table


@dataclass(frozen=True, eq=False)
class Term:
    """One summand of every row: ``weight · table[map(id)]``, in the columns from ``column`` on.

    Attributes:
        table: index of the shared table.
        column: first column in the row.
        rows: integer (N,) stored shared row of each id; None if the rows are computed.
        computed: hash or quotient that computes the rows instead, and takes no space.
        weight: weight of all ids, or float (N,) weight of each.
        multiply: True to multiply the earlier terms of these columns by it, False to add it to them.
    """

    table: int
    column: int = 0
    rows: np.ndarray | None = None
    computed: Hash | Quotient | None = None
    weight: float | np.ndarray = 1.0
    multiply: bool = False


@dataclass(frozen=True)
class _Placed:
    """A term whose arrays are buffers of the module; ``weight`` is None if each id has its own."""

    table: int
    column: int
    computed: Hash | Quotient | None
    weight: float | None
    multiply: bool = False


class SharedRows(CompressedEmbedding):
    """Rows ``Σ_t weight_t · table_t[map_t(id)]``, terms of different columns or of the same (layout ``shared``).

    A subclass calls :meth:`share` from ``build``. The maps are part of the state dict, so that a model can be restored
    without the data that its groups come from: the sizes of tables, the maps and the hashes are then taken from the
    state dict. Only the tables are trained; they have far fewer rows than there are ids, and so do the optimizer's
    moments.
    """

    activation: ClassVar[Literal["none", "tanh"]] = "none"
    terms: Tensor

    @property
    def row_bits(self) -> int:
        """Bits per value of a packed row: 32, 16, or 1 to 8 on a grid per row."""
        return 32

    @property
    def scale_bits(self) -> int:
        """Bits of the offset and of the step of each row on a grid."""
        return 16

    def share(
        self,
        shapes: Sequence[tuple[int, int]],
        terms: Sequence[Term],
        frequencies: Tensor | None,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        """Creates the shared tables and the maps.

        Args:
            shapes: rows and columns of each table.
            terms: the summands, in order.
            frequencies: (N,) weight of each id when a trained table is fitted; None for equal weights.
            device: as in the constructor.
            dtype: as in the constructor.
        """
        self.num_tables = len(shapes)
        for table, shape in enumerate(shapes):
            self.register_parameter(f"table_{table}", nn.Parameter(torch.empty(shape, device=device, dtype=dtype)))
        self._importance = frequencies
        self._served: tuple[Any, list[Tensor]] | None = None  # state of the tables, and their rows as packed
        self._placed: list[_Placed] = []
        self.place(terms, device, dtype)

    def place(self, terms: Sequence[Term], device: torch.device | str | None, dtype: torch.dtype | None = None) -> None:
        """Replaces the maps; the tables are kept."""
        for index in range(len(self._placed)):
            for name in (f"map_{index}", f"weights_{index}"):
                self._buffers.pop(name, None)
                self._non_persistent_buffers_set.discard(name)
        self._placed = []
        for index, term in enumerate(terms):
            # Computed maps are evaluated once, so that a lookup is the same in both cases.
            rows = term.rows if term.computed is None else term.computed.rows(self.num_embeddings)
            stored = torch.from_numpy(np.array(rows, dtype=np.int32)).to(device)
            self.register_buffer(f"map_{index}", stored, persistent=term.computed is None)
            weight = float(term.weight) if isinstance(term.weight, (int, float)) else None
            if weight is None:
                weights = torch.from_numpy(np.array(term.weight, dtype=np.float32)).to(device, dtype)
                self.register_buffer(f"weights_{index}", weights)
            self._placed.append(_Placed(term.table, term.column, term.computed, weight, term.multiply))
        self.register_buffer("terms", torch.from_numpy(_numbers(self._placed)).to(device))

    def reset_parameters(self) -> None:
        """Draws rows from N(0, init_std²), with less variance if terms are summed, so that sums have that deviation.

        There is no correction for means: their rows start with init_std, as in an uncompressed table.
        """
        depths: dict[int, float] = {}
        for index, term in enumerate(self._placed):
            weight = term.weight if term.weight is not None else float(getattr(self, f"weights_{index}").float().mean())
            depths[term.column] = depths.get(term.column, 0.0) + weight
        for table in self.tables():
            nn.init.normal_(table, std=self.config.init_std * max(1.0, max(depths.values())) ** -0.5)

    def tables(self) -> list[Tensor]:
        """The shared tables, (K, w) each, which are the trained parameters."""
        return [getattr(self, f"table_{index}") for index in range(self.num_tables)]

    def stored_rows(self) -> tuple[Tensor, Tensor | None] | None:
        term = self._placed[0]
        if len(self._placed) > 1 or term.weight != 1 or self.activation != "none" or self.padding_idx is not None:
            return None
        return (self.tables() if self.training else self._served_tables())[0], self.row_map(0)

    def row_map(self, term: int) -> Tensor:
        """The shared row of each id in a term, int32 (N,)."""
        rows: Tensor = getattr(self, f"map_{term}")
        return rows

    def rows(self, ids: Tensor) -> Tensor:
        tables = self.tables() if self.training else self._served_tables()
        rows = self._combine(tables, ids)
        return torch.tanh(rows) if self.activation == "tanh" else rows

    def bits(self) -> int:
        total = 0
        for table in self.tables():
            total += table.numel() * self._bits_of(table)
            total += 2 * self.scale_bits * len(table) if self._bits_of(table) <= 8 else 0
        for index, term in enumerate(self._placed):
            if term.computed is None:
                total += self.num_embeddings * code_bits(len(self.tables()[term.table]))
            if term.weight is None:
                total += self.num_embeddings * float_bits(getattr(self, f"weights_{index}"))
        return total

    @torch.no_grad()
    def pack(self) -> Packed:
        arrays: dict[str, np.ndarray] = {}
        tables = []
        for index, table in enumerate(self.tables()):
            if not bool(torch.isfinite(table).all()):
                raise ValueError("A row holds NaN or infinite values; the training diverged. Lower the learning rate.")
            bits = self._bits_of(table)
            tables.append({"num_rows": table.shape[0], "width": table.shape[1], "bits": bits})
            if bits > 8:
                arrays[f"rows.{index}"] = to_array(table if bits == 32 else table.half())
                continue
            offset, step = make_grid(table, bits, self.scale_bits, 1, _ADVICE)
            codes = codes_of(table, offset, step, bits).to("cpu", torch.uint8).numpy()
            arrays[f"rows.{index}"] = pack_bits(codes, bits)
            scale_dtype = torch.float16 if self.scale_bits == 16 else torch.float32
            arrays[f"offset.{index}"] = offset.flatten().to("cpu", scale_dtype).numpy()
            arrays[f"step.{index}"] = step.flatten().to("cpu", scale_dtype).numpy()
        terms = []
        for index, term in enumerate(self._placed):
            described: dict[str, Any] = {"table": term.table, "column": term.column, "weight": term.weight}
            if term.computed is None:
                width = code_bits(tables[term.table]["num_rows"])
                arrays[f"map.{index}"] = pack_bits(self.row_map(index).cpu().numpy(), width)
                described["map"] = "stored"
            else:
                described["map"] = dict(vars(term.computed))
            if term.multiply:
                described["multiply"] = True
            if term.weight is None:
                arrays[f"weights.{index}"] = to_array(getattr(self, f"weights_{index}"))
                described["weight"] = "stored"
            terms.append(described)
        return self.packed("shared", arrays, {"tables": tables, "terms": terms, "activation": self.activation})

    def fit_(self, table: Tensor, context: FitContext) -> None:
        """Fits the rows by least squares for the present maps, with ids weighted by frequency.

        If every id has one row, the rows are weighted means; sums take some iterations of conjugate gradients.
        """
        table = table.to(torch.promote_types(table.dtype, torch.float32))  # sums over many ids need its range
        wanted = table.clamp(-_NEARLY_ONE, _NEARLY_ONE).atanh() if self.activation == "tanh" else table
        importance = self._weights_of_ids(table)
        for own, fitted in zip(self.tables(), self._least_squares(wanted, importance), strict=True):
            own.copy_(fitted)

    def _weights_of_ids(self, table: Tensor) -> Tensor:
        """Weight of each id when a trained table is fitted, (N, 1), 1 on average; dtype and device of ``table``."""
        importance = torch.ones(self.num_embeddings) if self._importance is None else self._importance.float()
        importance = importance + importance.mean() * 1e-3 + 1e-9  # so that a row of ids never seen is their mean, too
        return (importance / importance.mean()).to(table.device, table.dtype).unsqueeze(1)

    def train(self, mode: bool = True) -> Self:
        self._served = None  # fused optimizers change the tables without increasing their versions
        return super().train(mode)

    def __getstate__(self) -> dict[str, Any]:
        """State of a copy or a pickle: everything but the cached rows as packed."""
        return {**self.__dict__, "_served": None}

    # Rows from terms.

    def _combine(self, tables: Sequence[Tensor], ids: Tensor) -> Tensor:
        """Rows (B, d) of ids (B,) before the activation, with the same rounding as the layout ``shared``."""
        if _compiled(ids, *tables) and not any(term.multiply for term in self._placed):
            sparse = self.sparse and self.training
            return CombineRows.apply(ids, self.embedding_dim, self._summands(), sparse, *tables)  # type: ignore[no-untyped-call]
        parts: dict[int, Tensor] = {}
        for index, term in enumerate(self._placed):
            value = F.embedding(
                self.row_map(index).index_select(0, ids), tables[term.table], sparse=self.sparse
            )  # (B, w)
            if term.weight is None:
                value = getattr(self, f"weights_{index}").index_select(0, ids).unsqueeze(1) * value
            elif term.weight != 1:
                value = term.weight * value
            before = parts.get(term.column)
            parts[term.column] = value if before is None else before * value if term.multiply else before + value
        if len(parts) == 1:
            return next(iter(parts.values()))
        return torch.cat([parts[column] for column in sorted(parts)], dim=1)

    def _summands(self) -> list[Summand]:
        reached: set[int] = set()
        summands = []
        for index, term in enumerate(self._placed):
            weight = term.weight if term.weight is not None else getattr(self, f"weights_{index}").float()
            summands.append(summand(term.table, term.column, self.row_map(index), weight, term.column not in reached))
            reached.add(term.column)
        return summands

    def _transposed(self, rows: Tensor, power: int = 1) -> list[Tensor]:
        """Sums, for every shared row, of the rows (N, d) of the ids that use it, times weight to a power."""
        sums = [torch.zeros_like(table, dtype=rows.dtype) for table in self.tables()]
        for index, term in enumerate(self._placed):
            width = sums[term.table].shape[1]
            weight = getattr(self, f"weights_{index}").unsqueeze(1) if term.weight is None else term.weight
            part = rows[:, term.column : term.column + width] * weight**power
            sums[term.table].index_add_(0, self.row_map(index), part.contiguous())
        return sums

    def _least_squares(self, wanted: Tensor, importance: Tensor) -> list[Tensor]:
        """Shared rows x that minimize ``Σ importance · (A x − wanted)²``, by conjugate gradients."""
        ids = torch.arange(self.num_embeddings, device=wanted.device)
        scale = [1 / s.where(s > 0, torch.inf) for s in self._transposed(importance.expand_as(wanted), power=2)]
        found = [torch.zeros_like(table, dtype=wanted.dtype) for table in self.tables()]
        residual = self._transposed(importance * wanted)
        direction = [s * r for s, r in zip(scale, residual, strict=True)]
        size = start = _dot(residual, direction)
        for _ in range(_MAX_ITERATIONS):
            if size <= 1e-10 * start or size == 0:
                break
            image = self._transposed(importance * self._combine(direction, ids))
            length = size / _dot(direction, image)
            found = [x + length * p for x, p in zip(found, direction, strict=True)]
            residual = [r - length * q for r, q in zip(residual, image, strict=True)]
            step = [s * r for s, r in zip(scale, residual, strict=True)]
            size, before = _dot(residual, step), size
            direction = [z + size / before * p for z, p in zip(step, direction, strict=True)]
        return found

    # Rows as packed.

    def _bits_of(self, table: Tensor) -> int:
        return min(self.row_bits, float_bits(table))

    def _served_tables(self) -> list[Tensor]:
        """The shared rows as a file holds them; cached in evaluation mode while the tables are unchanged."""
        tables = self.tables()
        if self.row_bits == 32:
            return tables
        key = [(table._version, table.data_ptr()) for table in tables]
        if self._served is None or self._served[0] != key:
            with torch.no_grad():
                self._served = (key, [self._as_served(table) for table in tables])
        return self._served[1]

    def _as_served(self, table: Tensor) -> Tensor:
        bits = self._bits_of(table)
        if bits > 8:
            return table.half().to(table.dtype)
        offset, step = make_grid(table, bits, self.scale_bits, 1, _ADVICE)
        return (offset + step * codes_of(table, offset, step, bits)).to(table.dtype)

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *arguments: Any) -> None:
        """Takes maps, hashes and numbers of rows from the state dict, which may come from other groups."""
        if f"{prefix}terms" in state:
            try:
                self._make_room(state, prefix)
            except (KeyError, ValueError, IndexError, OverflowError) as error:
                arguments[-1].append(f"The rows of {prefix}terms do not fit this table: {error}")
                return
        super()._load_from_state_dict(state, prefix, *arguments)

    def _make_room(self, state: dict[str, Any], prefix: str) -> None:
        shapes = [tuple(state[f"{prefix}table_{index}"].shape) for index in range(self.num_tables)]
        terms = []
        for index, placed in enumerate(_read_numbers(state[f"{prefix}terms"].cpu().numpy())):
            weight = state[f"{prefix}weights_{index}"].float().cpu().numpy() if placed.weight is None else placed.weight
            rows = None if placed.computed is not None else state[f"{prefix}map_{index}"].cpu().numpy()
            multiply = index < len(self._placed) and self._placed[index].multiply  # set by the configuration
            term = Term(placed.table, placed.column, rows, placed.computed, weight, multiply)
            _check(term, shapes, self.num_embeddings, self.embedding_dim)
            terms.append(term)
        _check_columns(terms, shapes, self.embedding_dim)
        for index, (shape, own) in enumerate(zip(shapes, self.tables(), strict=True)):
            if shape != tuple(own.shape):
                setattr(self, f"table_{index}", nn.Parameter(own.new_empty(shape)))
        self.place(terms, self.device, self.dtype)


def _check(term: Term, shapes: Sequence[tuple[int, ...]], num_embeddings: int, embedding_dim: int) -> None:
    """Raises ValueError or IndexError if a term of a state dict refers to rows or columns that do not exist."""
    if not 0 <= term.table < len(shapes):
        raise ValueError(f"a term names table {term.table} of {len(shapes)}.")
    num_rows, width = shapes[term.table]
    rows = term.rows if term.computed is None else term.computed.rows(num_embeddings)
    assert rows is not None
    if rows.shape != (num_embeddings,) or np.shape(term.weight) not in ((), (num_embeddings,)):
        raise ValueError(f"a map of {len(rows)} ids for a table of {num_embeddings}.")
    if not 0 <= rows.min() <= rows.max() < num_rows:
        raise ValueError(f"a map names row {rows.max()} of {num_rows}.")
    if not 0 <= term.column <= embedding_dim - width:
        raise ValueError(f"{width} columns from column {term.column} on are not in a row of {embedding_dim}.")


def _check_columns(terms: Sequence[Term], shapes: Sequence[tuple[int, ...]], embedding_dim: int) -> None:
    """Raises ValueError unless any two terms have the same columns or none in common, and together fill a row."""
    ends = {term.column: term.column + shapes[term.table][1] for term in terms}
    alike = all(ends[term.column] == term.column + shapes[term.table][1] for term in terms)
    if not alike or [0, *sorted(ends.values())] != [*sorted(ends), embedding_dim]:
        raise ValueError(f"its terms do not fill a row of {embedding_dim} columns.")


def _numbers(placed: Sequence[_Placed]) -> np.ndarray:
    """Terms as int64 (T, 8): table, column, bits of the weight (of NaN for one per id), and the hash."""
    weights = np.array([np.nan if term.weight is None else term.weight for term in placed], dtype=np.float64)
    lines = []
    for term, weight in zip(placed, weights.view(np.int64), strict=True):
        lines.append((term.table, term.column, int(weight), *numbers_of_map(term.computed)))
    return np.array(lines, dtype=np.int64)


def _read_numbers(numbers: np.ndarray) -> list[_Placed]:
    if numbers.ndim != 2 or numbers.shape[1] != 8 or numbers.dtype != np.int64:
        raise ValueError(f"terms of shape {numbers.shape}.")
    placed = []
    for table, column, weight, *mapping in numbers.tolist():
        value = float(np.int64(weight).view(np.float64))
        placed.append(_Placed(table, column, read_map(tuple(mapping)), None if np.isnan(value) else value))
    return placed


def _compiled(ids: Tensor, *tables: Tensor) -> bool:
    """True if rows are combined by compiled kernels."""
    on_cpu = all(table.dtype == torch.float32 and table.device.type == "cpu" for table in tables)
    return on_cpu and ids.device.type == "cpu" and not torch.compiler.is_compiling()


def _dot(left: Sequence[Tensor], right: Sequence[Tensor]) -> float:
    return sum(float((a.double() * b.double()).sum()) for a, b in zip(left, right, strict=True))
