"""The layout ``shared``: ids share rows; the row of an id is a weighted sum or product of shared rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from slimtable.artifact.bits import code_bits
from slimtable.artifact.layout import (
    FLOATS,
    LARGEST,
    MAX_DIM,
    Layout,
    RowsInto,
    check_array,
    check_arrays,
    check_config,
    check_config_integer,
    check_finite,
    check_scales,
    check_stream,
    check_stream_end,
    read_only,
)
from slimtable.artifact.packed import Packed
from slimtable.artifact.roles import Role
from slimtable.artifact.scaled import scale_bits
from slimtable.errors import ArtifactFormatError, ArtifactValueError

MAX_PARTS = 256  # tables, and terms
MAX_ROWS = 1 << 31
PRIME = (1 << 31) - 1
STORED = "stored"
ACTIVATIONS = ("none", "tanh")
_IDS_AT_ONCE = 1024

Gather = Callable[[np.ndarray, np.ndarray], None]
"""Writes float32 rows (n, w) of a table, given their int64 indices (n,), all in range."""


@dataclass(frozen=True)
class SharedTable:
    """Rows that ids share.

    Attributes:
        num_rows: number of rows, K.
        width: width of a row, w.
        bits: bits of a value: 32 or 16 for floats, 1 to 8 for codes with an offset and a step per row.
    """

    num_rows: int
    width: int
    bits: int

    @property
    def coded(self) -> bool:
        """True if values are codes."""
        return self.bits <= 8

    @property
    def num_values(self) -> int:
        """Number of values in all rows."""
        return self.num_rows * self.width


@dataclass(frozen=True)
class PackedHash:
    """A computed map: the id itself below ``head``, else ``first + ((a·id + b) mod (2**31 - 1)) mod count``."""

    a: int
    b: int
    head: int
    first: int
    count: int


@dataclass(frozen=True)
class PackedQuotient:
    """A computed map: ``⌊id / divisor⌋``."""

    divisor: int


@dataclass(frozen=True)
class PackedTerm:
    """One summand or factor of a row.

    Attributes:
        table: index of the table.
        column: first column of its rows in the row of an id.
        computed: the computed map from ids to rows; None if array ``map.<t>`` stores it.
        weight: weight of its rows; None if array ``weights.<t>`` has one per id.
        begins: True if no earlier term covers its columns.
        multiplies: True if its rows multiply the result of earlier terms instead of being added.
    """

    table: int
    column: int
    computed: PackedHash | PackedQuotient | None
    weight: float | None
    begins: bool
    multiplies: bool


class SharedLayout(Layout):
    """Sums and products of shared rows.

    ``rows.<r>`` is a table of shared rows: float32 or float16 (K, w), or a bit stream of K·w codes with
    ``offset.<r>`` and ``step.<r>`` (K,). Term ``t`` adds ``weight · row`` at its column, or multiplies by it; its map
    is the bit stream ``map.<t>`` of one row number per id, a hash or a quotient, and its weight a number or
    ``weights.<t>`` (N,). Quotients and products need format version 3.
    """

    format_version: ClassVar[int] = 2
    row_arrays = ("rows.",)

    def version_of(self, packed: Packed) -> int:
        _, terms = read_shared(packed)
        newer = any(term.multiplies or isinstance(term.computed, PackedQuotient) for term in terms)
        return 3 if newer else self.format_version

    def check(self, packed: Packed) -> None:
        tables, terms = read_shared(packed)
        check_arrays(packed, _array_names(tables, terms))
        for r, table in enumerate(tables):
            if table.coded:
                check_stream(packed, f"rows.{r}", table.num_values, table.bits)
                check_array(packed, f"offset.{r}", FLOATS, (table.num_rows,))
                check_array(packed, f"step.{r}", FLOATS, (table.num_rows,))
            else:
                check_array(packed, f"rows.{r}", (f"float{table.bits}",), (table.num_rows, table.width))
        for t, term in enumerate(terms):
            if term.computed is None:
                check_stream(packed, f"map.{t}", packed.num_embeddings, code_bits(tables[term.table].num_rows))
            if term.weight is None:
                check_array(packed, f"weights.{t}", FLOATS, (packed.num_embeddings,))

    def check_values(self, packed: Packed) -> None:
        tables, terms = read_shared(packed)
        largest = [_check_rows(packed, r, table) for r, table in enumerate(tables)]
        bounds = np.zeros(packed.embedding_dim)
        for t, term in enumerate(terms):
            table = tables[term.table]
            if term.computed is None:
                _check_map(packed, f"map.{t}", table.num_rows)
            weight = abs(term.weight) if term.weight is not None else check_finite(packed, f"weights.{t}")
            bound = weight * largest[term.table]
            columns = bounds[term.column : term.column + table.width]  # a view
            if term.multiplies:
                columns *= bound
            else:
                columns += bound
            if max(bound, bounds.max()) > LARGEST:
                what = "product" if term.multiplies else "sum"
                raise ArtifactValueError(f"the {what} of rows up to term {t} may overflow float32.")

    def exact_bits(self, packed: Packed) -> int:
        tables, terms = read_shared(packed)
        rows = sum(table.num_values * table.bits for table in tables)
        maps = sum(code_bits(tables[term.table].num_rows) for term in terms if term.computed is None)
        scales = ("offset.", "step.", "weights.")
        floats = sum(array.nbytes for name, array in packed.arrays.items() if name.startswith(scales))
        return rows + maps * packed.num_embeddings + 8 * floats

    def num_vectors(self, packed: Packed) -> int:
        tables, _ = read_shared(packed)
        return sum(table.num_rows for table in tables)

    def streams(self, packed: Packed) -> dict[str, Role]:
        tables, terms = read_shared(packed)
        found = {
            f"rows.{r}": Role("rows", table.bits, table.num_values, table.width, stream=True)
            for r, table in enumerate(tables)
            if table.coded
        }
        for t, term in enumerate(terms):
            width = code_bits(tables[term.table].num_rows)
            found[f"map.{t}"] = Role("assignments", width, packed.num_embeddings, 1, stream=True)
        return found

    def open(self, packed: Packed) -> RowsInto:
        tables, terms = read_shared(packed)
        opened = [_open_term(packed, t, term, tables[term.table]) for t, term in enumerate(terms)]
        tanh = packed.layout_config["activation"] == "tanh"

        def rows_into(ids: np.ndarray, out: np.ndarray) -> None:
            for start in range(0, ids.size, _IDS_AT_ONCE):
                some = ids[start : start + _IDS_AT_ONCE]
                place = out[start : start + some.size]
                for add in opened:
                    add(some, place)
                if tanh:  # in float64, so that all libraries round to the same float32
                    place[:] = np.tanh(place.astype(np.float64))

        return rows_into


def read_shared(packed: Packed) -> tuple[list[SharedTable], list[PackedTerm]]:
    """Read and check ``layout_config``.

    Raises:
        ArtifactFormatError: if the config is not valid for this layout.
    """
    config = packed.layout_config
    check_config(config, "layout_config", ("tables", "terms", "activation"))
    for key in ("tables", "terms"):
        if not isinstance(config[key], list | tuple) or not 1 <= len(config[key]) <= MAX_PARTS:
            raise ArtifactFormatError(f"`layout_config.{key}` must be a list of 1 to {MAX_PARTS} {key}.")
    if config["activation"] not in ACTIVATIONS:
        raise ArtifactFormatError(f"`layout_config.activation` must be one of {ACTIVATIONS}.")
    tables = [_read_table(packed, r, table) for r, table in enumerate(config["tables"])]
    covered = np.zeros(packed.embedding_dim, bool)
    terms = [_read_term(packed, t, term, tables, covered) for t, term in enumerate(config["terms"])]
    unused = sorted(set(range(len(tables))) - {term.table for term in terms})
    if unused:
        raise ArtifactFormatError(f"the tables {unused} are used by no term.")
    if not covered.all():
        raise ArtifactFormatError(f"no term reaches column {int(covered.argmin())} of {packed.embedding_dim}.")
    return tables, terms


def _read_table(packed: Packed, r: int, table: Any) -> SharedTable:
    what = f"layout_config.tables[{r}]"
    limits = {"num_rows": (1, MAX_ROWS), "width": (1, min(MAX_DIM, packed.embedding_dim)), "bits": (1, 32)}
    check_config(table, what, limits)
    read = SharedTable(**{key: check_config_integer(table, what, key, *limit) for key, limit in limits.items()})
    if not read.coded and read.bits not in (16, 32):
        raise ArtifactFormatError(f"`{what}.bits` must be 32, 16, or 1 to 8, got {read.bits}.")
    return read


def _read_term(packed: Packed, t: int, term: Any, tables: list[SharedTable], covered: np.ndarray) -> PackedTerm:
    """Read one term; marks its columns in ``covered``, bool (d,)."""
    what = f"layout_config.terms[{t}]"
    multiplies = hasattr(term, "keys") and "multiply" in term  # a key that older readers reject
    check_config(term, what, ("table", "column", "map", "weight", *(("multiply",) if multiplies else ())))
    if multiplies and term["multiply"] is not True:
        raise ArtifactFormatError(f"`{what}.multiply` must be true if present, got {term['multiply']!r:.40}.")
    number = check_config_integer(term, what, "table", 0, len(tables) - 1)
    table = tables[number]
    column = check_config_integer(term, what, "column", 0, packed.embedding_dim - table.width)
    columns = covered[column : column + table.width]
    begins = not columns.any()
    if not begins and not columns.all():
        raise ArtifactFormatError(
            f"`{what}` adds to columns that earlier terms cover only in part; put the widest terms first."
        )
    if begins and multiplies:
        raise ArtifactFormatError(f"`{what}` multiplies columns that no earlier term has set.")
    columns[:] = True
    return PackedTerm(
        table=number,
        column=column,
        computed=_read_map(packed, f"{what}.map", term["map"], table.num_rows),
        weight=_read_weight(f"{what}.weight", term["weight"]),
        begins=begins,
        multiplies=multiplies,
    )


def _read_map(packed: Packed, what: str, value: Any, num_rows: int) -> PackedHash | PackedQuotient | None:
    if isinstance(value, str) and value == STORED:
        return None
    if hasattr(value, "keys") and "divisor" in value:
        check_config(value, what, ("divisor",))
        divisor = check_config_integer(value, what, "divisor", 1, MAX_ROWS - 1)
        last = (packed.num_embeddings - 1) // divisor
        if last >= num_rows:
            raise ArtifactFormatError(f"`{what}` leads to row {last}, its table has {num_rows}.")
        return PackedQuotient(divisor)
    limits = {
        "a": (1, PRIME - 1),
        "b": (0, PRIME - 1),
        "head": (0, min(num_rows, packed.num_embeddings)),
        "first": (0, num_rows - 1),
        "count": (1, num_rows),
    }
    if not hasattr(value, "keys"):
        raise ArtifactFormatError(f"`{what}` must be '{STORED}' or an object with the keys {sorted(limits)}.")
    check_config(value, what, limits)
    read = PackedHash(**{key: check_config_integer(value, what, key, *limit) for key, limit in limits.items()})
    if read.first + read.count > num_rows:
        raise ArtifactFormatError(
            f"`{what}` leads to the rows {read.first} to {read.first + read.count - 1}, its table has {num_rows}."
        )
    return read


def _read_weight(what: str, value: Any) -> float | None:
    if isinstance(value, str) and value == STORED:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not -LARGEST <= value <= LARGEST:
        raise ArtifactFormatError(f"`{what}` must be '{STORED}' or a number that fits float32.")
    return float(np.float32(value))


def _array_names(tables: list[SharedTable], terms: list[PackedTerm]) -> list[str]:
    rows = [f"rows.{r}" for r in range(len(tables))]
    scales = [f"{name}.{r}" for r, table in enumerate(tables) if table.coded for name in ("offset", "step")]
    maps = [f"map.{t}" for t, term in enumerate(terms) if term.computed is None]
    weights = [f"weights.{t}" for t, term in enumerate(terms) if term.weight is None]
    return [*rows, *scales, *maps, *weights]


def _check_rows(packed: Packed, r: int, table: SharedTable) -> float:
    """Check the values of a table; returns their largest magnitude."""
    if not table.coded:
        return check_finite(packed, f"rows.{r}")
    check_stream_end(packed, f"rows.{r}", table.num_values, table.bits)
    return check_scales(packed, f"offset.{r}", f"step.{r}", table.bits)


def _check_map(packed: Packed, name: str, num_rows: int) -> None:
    from slimtable.artifact import kernels

    width = code_bits(num_rows)
    check_stream_end(packed, name, packed.num_embeddings, width)
    if num_rows == 1 << width:
        return  # every code of this width is a row
    largest = kernels.max_code(read_only(packed.arrays[name]), width, packed.num_embeddings)
    if largest >= num_rows:
        raise ArtifactValueError(f"array `{name}` names the row {largest}, but its table has {num_rows} rows.")


def _open_term(packed: Packed, t: int, term: PackedTerm, table: SharedTable) -> RowsInto:
    """The function that adds a term to the rows of at most ``_IDS_AT_ONCE`` ids, or multiplies them by it."""
    from slimtable.artifact import shared_kernels

    rows_of = _open_map(packed, t, term, table)
    constant = read_only(np.array([1.0 if term.weight is None else term.weight], np.float32))
    stored = packed.arrays[f"weights.{t}"] if term.weight is None else None
    in_order = read_only(np.arange(_IDS_AT_ONCE))
    floats = read_only(packed.arrays[f"rows.{term.table}"].reshape(-1)) if table.bits == 32 else None
    gather = None if floats is not None else _open_rows(packed, term.table, table)
    whole = term.begins and term.weight == 1 and table.width == packed.embedding_dim

    def place(source: np.ndarray, slots: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
        if term.multiplies:
            shared_kernels.multiply_rows(source, table.width, slots, weights, term.column, out)
        else:
            shared_kernels.place_rows(source, table.width, slots, weights, term.column, term.begins, out)

    def add(ids: np.ndarray, out: np.ndarray) -> None:
        rows = read_only(rows_of(ids))
        if gather is not None and whole:
            gather(rows, out)
            return
        weights = constant if stored is None else read_only(stored[ids].astype(np.float32, copy=False))
        if floats is not None:
            place(floats, rows, weights, out)
        elif gather is not None:
            gathered = np.empty((ids.size, table.width), np.float32)
            gather(rows, gathered)
            place(read_only(gathered.reshape(-1)), in_order[: ids.size], weights, out)

    return add


def _open_map(packed: Packed, t: int, term: PackedTerm, table: SharedTable) -> Callable[[np.ndarray], np.ndarray]:
    """The function from ids (n,) to rows, int64 (n,), all in range."""
    from slimtable.artifact import shared_kernels

    if isinstance(term.computed, PackedQuotient):
        divisor = term.computed.divisor
        return lambda ids: ids // divisor
    if term.computed is not None:
        mix = term.computed

        def rows_of(ids: np.ndarray) -> np.ndarray:
            rows = np.empty(ids.size, np.int64)
            shared_kernels.hashed_rows(mix.a, mix.b, mix.head, mix.first, mix.count, ids, rows)
            return rows

        return rows_of
    stream = read_only(packed.arrays[f"map.{t}"])
    width = code_bits(table.num_rows)

    def stored_rows_of(ids: np.ndarray) -> np.ndarray:
        rows = np.empty(ids.size, np.int64)
        shared_kernels.stored_rows(stream, width, table.num_rows, ids, rows)
        return rows

    return stored_rows_of


def _open_rows(packed: Packed, r: int, table: SharedTable) -> Gather:
    """The function that decodes rows of float16 or codes to float32."""
    from slimtable.artifact import kernels, scaled_kernels

    values = read_only(packed.arrays[f"rows.{r}"])
    if not table.coded:

        def widen(rows: np.ndarray, out: np.ndarray) -> None:
            out[:] = np.take(values, rows, axis=0, mode="clip")

        return widen
    offset, step = (scale_bits(packed.arrays[f"{name}.{r}"]) for name in ("offset", "step"))

    def decode(rows: np.ndarray, out: np.ndarray) -> None:
        scratch = np.empty((kernels.BLOCK, table.width), np.uint16)
        scaled_kernels.rows_scaled_by_row(values, table.bits, offset, step, rows, scratch, out)

    return decode
