"""Random rotations that a seed describes: signed Walsh-Hadamard transforms.

A row of width d is rotated in rounds. With p the largest power of two up to d, a round changes the sign of columns
0..p - 1 at random and applies the transform of size p to them; if p < d, it then does the same to the last p
columns. Each transform is orthonormal, so the inverse applies the same transforms in the reverse order. Cost: O(d log
d) per row; stored: the seed. ``docs/format.md`` specifies the arithmetic.

Source: N. Ailon and B. Chazelle, The fast Johnson-Lindenstrauss transform, SIAM J. Comput. 39 (2009).
"""

from __future__ import annotations

import numpy as np

MAX_ROUNDS = 3
MAX_SEED = (1 << 53) - 1  # exact in every JSON reader
_GOLDEN = 0x9E37_79B9_7F4A_7C15
_COLUMNS = 1 << 16  # random numbers per transform; no row is wider


def rotate(rows: np.ndarray, seed: int, rounds: int) -> np.ndarray:
    """Rotate rows in place: ``row = R · row``.

    Args:
        rows: float32 (n, d), contiguous; changed in place.
        seed: 0 to 2**53 - 1.
        rounds: 1 to 3.

    Returns:
        ``rows``. Each row depends on itself only, whatever the batch.

    Raises:
        TypeError: if the rows are not float32.
        ValueError: if shape, seed or rounds are not valid.

    Example:
        >>> rows = np.array([[3, 4, 0, 0]], np.float32)
        >>> float((rotate(rows, seed=1, rounds=1) ** 2).sum())
        25.0
    """
    from slimtable.artifact import rotation_kernels

    _check(rows)
    rotation_kernels.rotate_rows(scaled_signs(rows.shape[1], seed, rounds), rows)
    return rows


def unrotate(rows: np.ndarray, seed: int, rounds: int) -> np.ndarray:
    """Undo :func:`rotate` in place, up to rounding: ``row = Rᵀ · row``; exactly what decoders of artifacts do.

    Args:
        rows: float32 (n, d), contiguous; changed in place.
        seed: as in :func:`rotate`.
        rounds: as in :func:`rotate`.

    Returns:
        ``rows``.

    Raises:
        TypeError: if the rows are not float32.
        ValueError: if shape, seed or rounds are not valid.
    """
    from slimtable.artifact import rotation_kernels

    _check(rows)
    signs = scaled_signs(rows.shape[1], seed, rounds)
    rotation_kernels.unrotate_rows(signs.reshape(-1), signs.shape[1], rows.reshape(-1), rows.shape[1], 0, len(rows))
    return rows


def transform_size(dim: int) -> int:
    """Size of the transforms of rows of width ``dim``: the largest power of two up to it."""
    return 1 << (dim.bit_length() - 1)


def scaled_signs(dim: int, seed: int, rounds: int) -> np.ndarray:
    """The signs of each transform, times its scale.

    Column ``j`` of transform ``t`` has the sign of output ``t · 2**16 + j`` of splitmix64 with the state ``seed``:
    minus if its highest bit is set.

    Args:
        dim: width of a row, d.
        seed: 0 to 2**53 - 1.
        rounds: 1 to 3.

    Returns:
        float32 (transforms, p): ±1/√p; one transform per round if p = d, else two.

    Raises:
        ValueError: if an argument is out of range.
    """
    if not 1 <= dim <= _COLUMNS:
        raise ValueError(f"rows must have 1 to {_COLUMNS} columns, got {dim}.")
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"`seed` must be in 0..{MAX_SEED}, got {seed}.")
    if not 1 <= rounds <= MAX_ROUNDS:
        raise ValueError(f"`rounds` must be in 1..{MAX_ROUNDS}, got {rounds}.")
    size = transform_size(dim)
    transforms = np.arange(rounds if size == dim else 2 * rounds, dtype=np.uint64)
    outputs = transforms[:, None] * np.uint64(_COLUMNS) + np.arange(size, dtype=np.uint64)
    negative = _splitmix64(np.uint64(seed), outputs) >> np.uint64(63)  # (transforms, p)
    scale = np.float32(1 / np.sqrt(np.float64(size)))
    return np.where(negative, -scale, scale).astype(np.float32)


def _splitmix64(state: np.uint64, numbers: np.ndarray) -> np.ndarray:
    """Outputs of splitmix64 by number, from 0; uint64. Source: Steele, Lea and Flood, OOPSLA 2014."""
    mixed = state + (numbers + np.uint64(1)) * np.uint64(_GOLDEN)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    return mixed ^ (mixed >> np.uint64(31))


def _check(rows: np.ndarray) -> None:
    if not isinstance(rows, np.ndarray) or rows.dtype != np.float32:
        raise TypeError(f"`rows` must be a float32 array, got {getattr(rows, 'dtype', type(rows).__name__)}.")
    if rows.ndim != 2 or not rows.flags.c_contiguous or not rows.flags.writeable:
        raise ValueError(f"`rows` must be a writable contiguous array of shape (n, d), got shape {rows.shape}.")
