"""What a packed table consists of, whatever its layout: codes and the centroids that they point to, or scalar codes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from slimtable.artifact import layouts
from slimtable.artifact.bits import code_bits, pack_bits, unpack_bits
from slimtable.artifact.codes import Codes, codes_of
from slimtable.artifact.layout import read_only
from slimtable.artifact.log_scales import scale_table
from slimtable.artifact.packed import Packed
from slimtable.artifact.quantized import padded_codebook, read_quantized
from slimtable.artifact.rotation import rotate
from slimtable.artifact.shared import STORED, read_shared


@dataclass(frozen=True, eq=False)
class Quantizer:
    """A table of codes: row = (gain · shape) · rotation + offset, where the shape is joined or summed centroids.

    Attributes:
        codes: the M codes of each id.
        joined: True if centroids are joined, False if they are summed.
        centroids: of each code, float32 (K, d/M), or (K, d) if they are summed.
        gains: float32 gain of each id by slice, or None if all are 1.
        rotation: float32 (d, d), or None.
        offset: float32 (d,), or None.
    """

    codes: Codes
    joined: bool
    centroids: tuple[np.ndarray, ...]
    gains: Callable[[int, int], np.ndarray] | None = None
    rotation: np.ndarray | None = None
    offset: np.ndarray | None = None

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows of ids as decoded, but for rounding: float32 (stop - start, d)."""
        codes = self.codes.read(start, stop)
        parts = [book[codes[:, m]] for m, book in enumerate(self.centroids)]
        rows: np.ndarray = np.concatenate(parts, axis=1) if self.joined else np.add.reduce(parts)
        if self.gains is not None:
            rows = rows * self.gains(start, stop)[:, None]
        rows = rows if self.rotation is None else rows @ self.rotation
        return rows if self.offset is None else rows + self.offset


@dataclass(frozen=True, eq=False)
class ScalarCodes:
    """A table of scalar codes: value = offset + step · code.

    Attributes:
        bits: bits of a code.
        read: uint8 (n, d) codes of ids by slice.
        by_row: True if offset and step belong to ids, (N,); False if to columns, (d,).
        scales: float32 offsets and steps of the columns, or of ids by slice.
    """

    bits: int
    read: Callable[[int, int], np.ndarray]
    by_row: bool
    scales: Callable[[int, int], tuple[np.ndarray, np.ndarray]]

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows of ids as decoded, but for rounding: float32 (stop - start, d)."""
        offset, step = self.scales(start, stop)
        if self.by_row:
            offset, step = offset[:, None], step[:, None]
        return offset + step * self.read(start, stop).astype(np.float32)


def quantizer_of(packed: Packed) -> Quantizer | None:
    """The codes and centroids of a table, whose structure is valid; None if its rows are not made of codes alone.

    That is so for tables with several tiers, with computed maps or weights, and for other layouts.
    """
    found = _READERS.get(packed.layout)
    return None if found is None else found(packed)


def scalar_codes_of(packed: Packed) -> ScalarCodes | None:
    """The scalar codes of a table, whose structure is valid; None if it has none."""
    config = packed.layout_config
    if packed.layout != "scaled" or config.get("scale_bits") == 8:
        return None
    bits, dim, by_row = config["bits"], packed.embedding_dim, config["axis"] == "row"

    def read(start: int, stop: int) -> np.ndarray:
        first = start * dim * bits // 8  # `start` is a multiple of 8
        last = -(-stop * dim * bits // 8)
        found = unpack_bits(np.asarray(packed.arrays["codes"][first:last]), bits, (stop - start) * dim)
        return found.astype(np.uint8).reshape(-1, dim)

    def scales(start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        part = slice(start, stop) if by_row else slice(None)
        return tuple(packed.arrays[name][part].astype(np.float32) for name in ("offset", "step"))  # type: ignore[return-value]

    return ScalarCodes(bits, read, by_row, scales)


def _coded(packed: Packed) -> Quantizer | None:
    found = codes_of(packed)
    if len(found) != 1:
        return None
    (codes,) = found
    book = packed.arrays["codebook.0"].astype(np.float32)[:, : codes.sizes[0]]
    return Quantizer(codes, True, tuple(np.broadcast_to(book, (len(codes.sizes), *book.shape[1:]))))


def _quantized(packed: Packed) -> Quantizer:
    config = read_quantized(packed)
    (codes,) = codes_of(packed)
    book = padded_codebook(packed, config)[:, : config.codebook_size]
    rotation = None
    if config.stored_rotation:
        rotation = packed.arrays["rotation"].astype(np.float32)
    elif config.seed is not None:
        identity = np.eye(packed.embedding_dim, dtype=np.float32)
        rotation = np.ascontiguousarray(rotate(identity, config.seed, config.rounds).T)
    gains = None
    if config.gain_bits:
        bits = config.gain_bits
        table = scale_table(*packed.arrays["gain_range"].tolist()) if config.coded_gain else None

        def gains(start: int, stop: int) -> np.ndarray:
            if table is None:
                return packed.arrays["gain"][start:stop].astype(np.float32)
            part = packed.arrays["gain"][start * bits // 8 : -(-stop * bits // 8)]  # `start` is a multiple of 8
            return table[unpack_bits(np.asarray(part), bits, stop - start)]

    return Quantizer(
        codes=codes,
        joined=not config.summed,
        centroids=tuple(np.broadcast_to(book, (config.num_codebooks, *book.shape[1:]))),
        gains=gains,
        rotation=rotation,
        offset=packed.arrays["offset"] if config.has_offset else None,
    )


def _shared(packed: Packed) -> Quantizer | None:
    tables, terms = read_shared(packed)
    dim = packed.embedding_dim
    plain = all(
        term.computed is None and term.weight == 1 and not term.multiplies and tables[term.table].width == dim
        for term in terms
    )
    if not plain or packed.layout_config["activation"] != "none":
        return None
    (codes,) = codes_of(packed)
    return Quantizer(codes, False, tuple(_shared_rows(packed, term.table) for term in terms))


def _shared_rows(packed: Packed, index: int) -> np.ndarray:
    """The rows of a table of shared rows, float32 (K, d)."""
    table = packed.layout_config["tables"][index]
    names = ("rows", "offset", "step")
    arrays = {f"{name}.0": packed.arrays[f"{name}.{index}"] for name in names if f"{name}.{index}" in packed.arrays}
    count = table["num_rows"]
    arrays["map.0"] = pack_bits(np.arange(count), code_bits(count))
    terms = [{"table": 0, "column": 0, "weight": 1.0, "map": STORED}]
    config = {"tables": [dict(table)], "terms": terms, "activation": "none"}
    alone = Packed("shared", count, packed.embedding_dim, arrays, config)
    return layouts.decode(alone, read_only(np.arange(count)))


_READERS: Mapping[str, Callable[[Packed], Quantizer | None]] = MappingProxyType(
    {"coded": _coded, "quantized": _quantized, "shared": _shared}
)
