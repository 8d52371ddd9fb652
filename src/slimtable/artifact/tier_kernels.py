"""Compiled kernels of tiers: the tier of an id, its rank among the ids of that tier, and rows put in their places."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped, call-arg, assignment"
# numba compiles these functions from the types of their arguments, which mypy cannot follow.

from __future__ import annotations

import numpy as np
from numba import njit

from slimtable.artifact.kernels import AHEAD, copy_floats, prefetch, unpack

BLOCK = 64  # ids per entry of the rank directory
EVERY_BIT = np.uint64(0xFFFF_FFFF_FFFF_FFFF)


@njit(cache=True, nogil=True)
def sorted_tier(ids, first, count, rows, slots):
    """Find the ids in [first, first + count): their rows in the tier and their positions; returns their number."""
    found = 0
    for i in range(ids.size):
        row = ids[i] - first
        if 0 <= row < count:
            rows[found] = row
            slots[found] = i
            found += 1
    return found


@njit(cache=True, nogil=True)
def tier_directory(flags, width, num_ids, directory, counts):
    """Count each tier's ids before every block of 64 ids, in one pass over the flags.

    Args:
        flags: uint8 stream of one tier number of ``width`` bits per id.
        width: bits of a flag.
        num_ids: number of ids, N.
        directory: integer (ceil(N / 64), T), filled with the counts before each block.
        counts: int64 (T,) zeros, filled with the counts of the whole table.

    Returns:
        The first id whose flag names no tier, or -1.
    """
    tiers = np.empty(BLOCK, np.uint16)
    for block in range(directory.shape[0]):
        directory[block, :] = counts
        first = block * BLOCK
        size = min(BLOCK, num_ids - first)
        unpack(flags, first * width, width, size, tiers)
        for i in range(size):
            if tiers[i] >= counts.size:
                return first + i
            counts[tiers[i]] += 1
    return -1


@njit(cache=True, nogil=True)
def flagged_tier(flags, width, directory, ids, tier, count, rows, slots):
    """Find the ids whose flag is ``tier``: their rows in the tier and their positions.

    Returns:
        Number of ids found, or -1 if a row is beyond the tier's ``count`` rows, because the flags changed after
        the directory was built.
    """
    found = 0
    flag = np.empty(1, np.uint16)
    for i in range(ids.size):
        if i + AHEAD < ids.size:
            prefetch(flags, ids[i + AHEAD] * width >> 3)
            prefetch(directory, ids[i + AHEAD] // BLOCK * directory.shape[1])
        unpack(flags, ids[i] * width, width, 1, flag)
        if flag[0] == tier:
            block = ids[i] // BLOCK
            row = directory[block, tier] + _rank(flags, width, block * BLOCK, ids[i] % BLOCK, tier)
            if row >= count:
                return -1
            rows[found] = row
            slots[found] = i
            found += 1
    return found


@njit(cache=True, nogil=True)
def _rank(flags, width, first, count, tier):
    """Number of ids with the flag ``tier`` among the ``count`` < 64 ids from ``first``, a multiple of 64."""
    total = np.int64(0)
    if 64 % width != 0:  # a flag may span two words
        tiers = np.empty(BLOCK, np.uint16)
        unpack(flags, first * width, width, count, tiers)
        for i in range(count):
            total += tiers[i] == tier
        return total
    lowest = EVERY_BIT // np.uint64((1 << width) - 1)  # the lowest bit of each flag in a word
    pattern = lowest * np.uint64(tier)
    byte = first * width >> 3
    bits = count * width
    while bits > 0:
        word = np.uint64(0)
        for k in range(min(8, (bits + 7) >> 3)):
            word |= np.uint64(flags[byte + k]) << np.uint64(8 * k)
        differs = word ^ pattern
        for shift in range(1, width):
            differs |= (word ^ pattern) >> np.uint64(shift)
        same = ~differs & lowest
        if bits < 64:
            same &= (np.uint64(1) << np.uint64(bits)) - np.uint64(1)
        total += ones(same)
        byte += 8
        bits -= 64
    return total


@njit(cache=True, nogil=True)
def ones(word):
    """Number of one bits of a uint64."""
    word -= (word >> np.uint64(1)) & np.uint64(0x5555_5555_5555_5555)
    pairs = np.uint64(0x3333_3333_3333_3333)
    word = (word & pairs) + ((word >> np.uint64(2)) & pairs)
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F_0F0F_0F0F_0F0F)
    return np.int64(word * np.uint64(0x0101_0101_0101_0101) >> np.uint64(56))


@njit(cache=True, nogil=True)
def scatter_rows(rows, slots, out):
    """Copy row ``i`` of ``rows`` (n, d) to row ``slots[i]`` of ``out`` (n', d)."""
    dim = out.shape[1]
    source, target = rows.reshape(-1), out.reshape(-1)
    for i in range(slots.size):
        copy_floats(target, slots[i] * dim, source, i * dim, dim)
