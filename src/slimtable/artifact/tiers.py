"""Tiers of ids: the tier of each id, and its rank there, which is its row."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from slimtable.artifact.bits import code_bits
from slimtable.artifact.layout import RowsInto, check_stream_end, read_only
from slimtable.artifact.packed import Packed
from slimtable.errors import ArtifactValueError

_IDS_AT_ONCE = 4096

RowsOfTier = Callable[[np.ndarray, np.ndarray, np.ndarray], None]
"""(rows, slots, out): writes the int64 ``rows`` (n,) of a tier to the rows ``slots`` (n,) of float32 ``out``; empty
``slots`` mean 0, 1, 2, ..."""

_SelectTier = Callable[[np.ndarray, int, np.ndarray, np.ndarray], int]
"""(ids, tier, rows, slots) -> number of ids in the tier; fills their rows and positions."""


def check_flags(packed: Packed, counts: list[int]) -> None:
    """Check the array ``tiers``, a bit stream of the tier of each id.

    Args:
        packed: the table.
        counts: number of ids of each tier.

    Raises:
        ArtifactValueError: if a flag names no tier, or a tier has another number of ids.
    """
    check_stream_end(packed, "tiers", packed.num_embeddings, code_bits(len(counts)))
    _flag_directory(packed, counts)


def rows_by_tier(packed: Packed, counts: list[int], rows_of_tier: list[RowsOfTier]) -> RowsInto:
    """The function that decodes rows of ids of several tiers.

    Args:
        packed: the table; without an array ``tiers``, its ids are sorted by tier.
        counts: number of ids of each tier.
        rows_of_tier: decodes rows of each tier.

    Returns:
        The function.

    Raises:
        ArtifactValueError: if the flags are not valid.
    """
    select = _flagged(packed, counts) if "tiers" in packed.arrays else _sorted(counts)

    def rows_into(ids: np.ndarray, out: np.ndarray) -> None:
        rows, slots = np.empty((2, min(ids.size, _IDS_AT_ONCE)), np.int64)
        for start in range(0, ids.size, _IDS_AT_ONCE):
            some = ids[start : start + _IDS_AT_ONCE]
            for t, decode in enumerate(rows_of_tier):
                found = select(some, t, rows, slots)
                if found:
                    decode(read_only(rows[:found]), read_only(slots[:found]), out[start : start + some.size])

    return rows_into


def _sorted(counts: list[int]) -> _SelectTier:
    from slimtable.artifact import tier_kernels

    first = [sum(counts[:t]) for t in range(len(counts))]

    def select(ids: np.ndarray, t: int, rows: np.ndarray, slots: np.ndarray) -> int:
        return int(tier_kernels.sorted_tier(ids, first[t], counts[t], rows, slots))

    return select


def _flagged(packed: Packed, counts: list[int]) -> _SelectTier:
    from slimtable.artifact import tier_kernels

    flags = read_only(packed.arrays["tiers"])
    directory = _flag_directory(packed, counts)
    width = code_bits(len(counts))

    def select(ids: np.ndarray, t: int, rows: np.ndarray, slots: np.ndarray) -> int:
        found = tier_kernels.flagged_tier(flags, width, directory, ids, t, counts[t], rows, slots)
        if found < 0:
            raise ArtifactValueError("array `tiers` changed after it was opened; open the artifact again.")
        return int(found)

    return select


def _flag_directory(packed: Packed, counts: list[int]) -> np.ndarray:
    """Number of ids of each tier before each block of 64 ids; also checks the flags.

    Returns:
        (ceil(N / 64), T), int32 if that is enough.

    Raises:
        ArtifactValueError: if a flag names no tier, or a tier does not have as many ids as it should.
    """
    from slimtable.artifact import tier_kernels

    num_ids = packed.num_embeddings
    blocks = -(-num_ids // tier_kernels.BLOCK)
    directory = np.empty((blocks, len(counts)), np.int32 if num_ids < 1 << 31 else np.int64)
    found = np.zeros(len(counts), np.int64)
    flags = read_only(packed.arrays["tiers"])
    bad = tier_kernels.tier_directory(flags, code_bits(len(counts)), num_ids, directory, found)
    if bad >= 0:
        raise ArtifactValueError(
            f"array `tiers` names a tier that does not exist for id {bad}; there are {len(counts)}."
        )
    if found.tolist() != counts:
        raise ArtifactValueError(f"array `tiers` gives the tiers {found.tolist()} ids, but `num_rows` says {counts}.")
    return directory
