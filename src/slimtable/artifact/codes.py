"""The codes of a packed table as integers, whatever its layout: which centroid or shared row each id points to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from slimtable.artifact.bits import code_bits
from slimtable.artifact.coded import read_tiers
from slimtable.artifact.layout import read_only
from slimtable.artifact.packed import Packed
from slimtable.artifact.shared import read_shared

BLOCK_IDS = 1 << 16
"""Ids whose codes are read at a time."""

ReadCodes = Callable[[int, int], np.ndarray]
"""(start, stop) -> integers (stop - start, M): the codes of these ids."""


@dataclass(frozen=True, eq=False)
class Codes:
    """The codes of ids that have codes of the same sizes; read block by block.

    Attributes:
        name: name of the ids in reports, such as "tier 0"; empty if these are all ids of the table.
        num_ids: number of ids, N.
        names: name of each of the M codes of an id.
        sizes: number of centroids or rows that each code can point to, K.
        read: reads the codes of some ids.
        one_codebook: True if all M codes point into the same codebook.
    """

    name: str
    num_ids: int
    names: tuple[str, ...]
    sizes: tuple[int, ...]
    read: ReadCodes
    one_codebook: bool = False

    def blocks(self) -> Iterator[np.ndarray]:
        """The codes of all ids in order, integers (n, M) each."""
        for start in range(0, self.num_ids, BLOCK_IDS):
            yield self.read(start, min(start + BLOCK_IDS, self.num_ids))


def codes_of(packed: Packed) -> list[Codes]:
    """The codes of a packed table, whose structure is valid.

    Args:
        packed: the table.

    Returns:
        One entry for each group of ids whose codes have the same sizes; none if the table has no codebooks and no
        stored maps, such as one of scalar codes.

    Example:
        >>> arrays = {"rows.0": np.zeros((3, 2), np.float32), "map.0": np.array([0b100100], np.uint8)}
        >>> term = {"table": 0, "column": 0, "map": "stored", "weight": 1.0}
        >>> tables = [{"num_rows": 3, "width": 2, "bits": 32}]
        >>> config = {"tables": tables, "terms": [term], "activation": "none"}
        >>> (codes,) = codes_of(Packed("shared", 3, 2, arrays, config))
        >>> codes.read(0, 3).ravel().tolist()
        [0, 1, 2]
    """
    reader = _READERS.get(packed.layout)
    return [] if reader is None else reader(packed)


def codes_of_array(array: np.ndarray, sizes: tuple[int, ...]) -> Codes:
    """Codes that another program made.

    Args:
        array: integers (N, M).
        sizes: the number of centroids of each of the M codes, K.

    Raises:
        TypeError: the codes are not integers.
        ValueError: the array is not a matrix with rows and columns, or a code is not in [0, K); the message names the
            first one.
    """
    if array.dtype.kind not in "iu":
        raise TypeError(f"Codes must be integers, got {array.dtype}.")
    if array.ndim != 2 or not array.size:
        raise ValueError(f"Codes must be a matrix with one row per id and one column per codebook, got {array.shape}.")
    if len(sizes) != array.shape[1]:
        raise ValueError(f"There are {array.shape[1]} codes per id, but {len(sizes)} codebook sizes.")
    names = tuple(f"codebook {m}" for m in range(len(sizes)))
    codes = Codes("", len(array), names, sizes, lambda start, stop: np.asarray(array[start:stop]))
    first = 0
    for block in codes.blocks():
        outside = (block < 0) | (block >= np.array(sizes, np.int64))
        if outside.any():
            i, m = np.argwhere(outside)[0]
            raise ValueError(
                f"Code {m} of id {first + i} is {block[i, m]}, but its codebook has {sizes[m]} centroids, 0 to "
                f"{sizes[m] - 1}. Pass the codebook size."
            )
        first += len(block)
    return codes


def _stream(array: np.ndarray, width: int, per_id: int) -> ReadCodes:
    """Reads ``per_id`` codes of each id from a bit stream."""
    stream = read_only(array)

    def read(start: int, stop: int) -> np.ndarray:
        from slimtable.artifact import kernels  # numba is imported on first use

        found = np.empty((stop - start) * per_id, np.uint32)
        kernels.unpack(stream, start * per_id * width, width, found.size, found)
        return found.reshape(-1, per_id)

    return read


def _codebook_names(count: int) -> tuple[str, ...]:
    return tuple(f"codebook {m}" for m in range(count))


def _coded(packed: Packed) -> list[Codes]:
    tiers = read_tiers(packed)
    return [
        Codes(
            name=f"tier {t}" if len(tiers) > 1 else "",
            num_ids=tier.num_rows,
            names=_codebook_names(tier.num_codebooks),
            sizes=(tier.codebook_size,) * tier.num_codebooks,
            read=_stream(packed.arrays[f"codes.{t}"], tier.width, tier.num_codebooks),
            one_codebook=bool(packed.layout_config["share_subspaces"]) and tier.num_codebooks > 1,
        )
        for t, tier in enumerate(tiers)
    ]


def _shared(packed: Packed) -> list[Codes]:
    """The stored maps of all terms as the codes of an id; computed maps are not codes."""
    tables, terms = read_shared(packed)
    stored = [(t, term) for t, term in enumerate(terms) if term.computed is None]
    if not stored:
        return []
    sizes = tuple(tables[term.table].num_rows for _, term in stored)
    reads = [_stream(packed.arrays[f"map.{t}"], code_bits(size), 1) for (t, _), size in zip(stored, sizes, strict=True)]

    def read(start: int, stop: int) -> np.ndarray:
        return np.concatenate([each(start, stop) for each in reads], axis=1)

    one_table = len({term.table for _, term in stored}) == 1 and len(stored) > 1
    return [Codes("", packed.num_embeddings, tuple(f"map {t}" for t, _ in stored), sizes, read, one_table)]


def _quantized(packed: Packed) -> list[Codes]:
    config = packed.layout_config
    number, size = config["num_codebooks"], config["codebook_size"]
    return [
        Codes(
            name="",
            num_ids=packed.num_embeddings,
            names=_codebook_names(number),
            sizes=(size,) * number,
            read=_stream(packed.arrays["codes"], code_bits(size), number),
            one_codebook=bool(config["shared"]) and number > 1,
        )
    ]


def _tiered(packed: Packed) -> list[Codes]:
    found = []
    for i, part in enumerate(packed.layout_config["parts"]):
        start = f"part.{i}."
        arrays = {name.removeprefix(start): array for name, array in packed.arrays.items() if name.startswith(start)}
        inner = Packed(part["layout"], part["num_rows"], packed.embedding_dim, arrays, part["layout_config"])
        found += [
            replace(codes, name=f"part {i}, {codes.name}" if codes.name else f"part {i}") for codes in codes_of(inner)
        ]
    return found


_READERS: Mapping[str, Callable[[Packed], list[Codes]]] = MappingProxyType(
    {"coded": _coded, "shared": _shared, "quantized": _quantized, "tiered": _tiered}
)
