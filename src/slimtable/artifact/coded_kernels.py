"""Compiled kernel of the ``coded`` layout: rows from centroids."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped, call-arg, assignment"
# numba compiles these functions from the types of their arguments, which mypy cannot follow.

from __future__ import annotations

import numpy as np
from numba import njit

from slimtable.artifact.kernels import BLOCK, borrowed, copy_floats, unpack_rows


@njit(cache=True, nogil=True)
def coded_rows(codes, width, num_codebooks, book, book_stride, rows, slots, block, out):
    """Write the centroids of row ``rows[i]`` of the codes to row ``slots[i]`` of ``out``.

    Args:
        codes: uint8 stream of ``num_codebooks`` codes of ``width`` bits per row.
        width: bits of a code.
        num_codebooks: codes per row, M; ``d / M`` floats come from each.
        book: float32 centroids, flat; each codebook has at least 2**width, so that no code points outside.
        book_stride: floats from one codebook to the next; 0 if all subspaces share one.
        rows: int64 (n,) rows inside the codes.
        slots: int64 (n,) rows of ``out``; empty means 0, 1, 2, ...
        block: uint16 (BLOCK, M), overwritten.
        out: float32 (n', d).
    """
    codes, book, rows, slots = borrowed(codes), borrowed(book), borrowed(rows), borrowed(slots)
    block, flat, dim = borrowed(block), borrowed(out).reshape(-1), out.shape[1]
    for start in range(0, rows.size, BLOCK):
        stop = min(start + BLOCK, rows.size)
        unpack_rows(codes, width, num_codebooks, rows, start, stop, block, flat, dim)
        place_centroids(block, book, book_stride, start, stop, slots, flat, dim)


@njit(cache=True, nogil=True)
def place_centroids(codes, book, book_stride, start, stop, slots, flat, dim):
    """Write the centroids of ``codes`` (BLOCK, M) to the rows ``start`` to ``stop``, or to their slots.

    ``flat`` has the rows of width ``dim``, flat: a view that is made for each block takes longer than the copy.
    """
    num_codebooks = codes.shape[1]
    size = dim // num_codebooks
    for i in range(start, stop):
        target = (slots[i] if slots.size > 0 else i) * dim
        line = i - start
        # The compiler inlines a copy of constant size, hence one loop for each common size.
        if size == 8:
            for m in range(num_codebooks):
                copy_floats(flat, target + 8 * m, book, m * book_stride + 8 * np.int64(codes[line, m]), 8)
        elif size == 4:
            for m in range(num_codebooks):
                copy_floats(flat, target + 4 * m, book, m * book_stride + 4 * np.int64(codes[line, m]), 4)
        elif size == 2:
            for m in range(num_codebooks):
                copy_floats(flat, target + 2 * m, book, m * book_stride + 2 * np.int64(codes[line, m]), 2)
        elif size == 1:
            for m in range(num_codebooks):
                copy_floats(flat, target + m, book, m * book_stride + np.int64(codes[line, m]), 1)
        elif size == 16:
            for m in range(num_codebooks):
                copy_floats(flat, target + 16 * m, book, m * book_stride + 16 * np.int64(codes[line, m]), 16)
        else:
            for m in range(num_codebooks):
                copy_floats(flat, target + size * m, book, m * book_stride + size * np.int64(codes[line, m]), size)
